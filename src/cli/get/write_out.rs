//! `-w`: a format with curl's variables.
//!
//! ```text
//!   %{http_code} in %{time_total} s\n ──► 200 in 0.012345 s
//! ```
//! Times are in seconds, and count from the beginning of the last request of the URL, as curl's do;
//! `time_redirect` is what came before that, `time_total` all of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::cli::Failure;
use crate::cli::console::Console;
use crate::cli::get::invalid;
use crate::cli::get::unreadable;
use crate::cli::get::unwritable;

/// What is known of a URL when it is done.
#[derive(Default)]
pub struct Facts {
    pub index: usize,
    pub url: String,
    pub method: String,
    pub status: u16,
    pub version: String,
    pub content_type: Option<String>,
    pub redirect_url: Option<String>,
    pub peer: Option<SocketAddr>,
    pub head_bytes: usize,
    pub download_bytes: u64,
    pub upload_bytes: Option<u64>,
    pub connections: u32,
    pub redirects: usize,
    pub name_lookup: Duration,
    pub connect: Duration,
    pub pretransfer: Duration,
    pub start_transfer: Duration,
    pub redirect: Duration,
    pub total: Duration,
    /// The exit code of this URL alone, and its text.
    pub failure: Option<(u8, String)>,
}

/// A format that was read.
pub struct Format {
    pieces: Vec<Piece>,
}

enum Piece {
    Text(String),
    Variable(Variable),
}

type Variable = fn(&Facts) -> String;

/// The variables that there are, by curl's names.
const VARIABLES: &[(&str, Variable)] = &[
    ("content_type", |facts| {
        facts.content_type.clone().unwrap_or_default()
    }),
    ("errormsg", |facts| match &facts.failure {
        Some((_, text)) => text.clone(),
        None => String::new(),
    }),
    ("exitcode", |facts| match &facts.failure {
        Some((code, _)) => code.to_string(),
        None => "0".to_owned(),
    }),
    ("http_code", |facts| format!("{:03}", facts.status)),
    ("http_version", |facts| {
        facts.version.trim_start_matches("HTTP/").to_owned()
    }),
    ("method", |facts| facts.method.clone()),
    ("num_connects", |facts| facts.connections.to_string()),
    ("num_redirects", |facts| facts.redirects.to_string()),
    ("redirect_url", |facts| {
        facts.redirect_url.clone().unwrap_or_default()
    }),
    ("remote_ip", |facts| {
        facts
            .peer
            .map(|peer| peer.ip().to_string())
            .unwrap_or_default()
    }),
    ("remote_port", |facts| {
        facts
            .peer
            .map_or_else(|| "0".to_owned(), |peer| peer.port().to_string())
    }),
    ("response_code", |facts| format!("{:03}", facts.status)),
    ("scheme", |facts| {
        facts
            .url
            .split_once("://")
            .map_or("http", |(scheme, _)| scheme)
            .to_owned()
    }),
    ("size_download", |facts| facts.download_bytes.to_string()),
    ("size_header", |facts| facts.head_bytes.to_string()),
    ("size_upload", |facts| {
        facts.upload_bytes.unwrap_or(0).to_string()
    }),
    ("speed_download", |facts| {
        let seconds = facts.total.as_secs_f64().max(1e-6);
        format!("{:.0}", facts.download_bytes as f64 / seconds)
    }),
    ("time_appconnect", |_| seconds(Duration::ZERO)),
    ("time_connect", |facts| seconds(facts.connect)),
    ("time_namelookup", |facts| seconds(facts.name_lookup)),
    ("time_pretransfer", |facts| seconds(facts.pretransfer)),
    ("time_redirect", |facts| seconds(facts.redirect)),
    ("time_starttransfer", |facts| seconds(facts.start_transfer)),
    ("time_total", |facts| seconds(facts.total)),
    ("url_effective", |facts| facts.url.clone()),
    ("urlnum", |facts| facts.index.to_string()),
];

fn seconds(duration: Duration) -> String {
    format!("{:.6}", duration.as_secs_f64())
}

impl Format {
    /// Reads a format, or the file that `@` names.
    pub fn new(text: &str) -> Result<Format, Failure> {
        let read;
        let mut rest = match text.strip_prefix('@') {
            Some(name) => {
                read = std::fs::read_to_string(name).map_err(|error| unreadable(name, error))?;
                &read[..]
            }
            None => text,
        };
        let mut pieces = Vec::new();
        while let Some(at) = rest.find(['%', '\\']) {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            rest = &rest[at..];
            let (piece, used) = special(rest)?;
            pieces.push(piece);
            rest = &rest[used..];
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Format { pieces })
    }

    /// Writes it to standard output.
    pub fn write(&self, facts: &Facts, stdout: &Console) -> Result<(), Failure> {
        let shown = stdout.show(self.text(facts).as_bytes());
        let shown = shown.and_then(|()| stdout.end());
        shown.map_err(|error| unwritable("standard output", error))
    }

    fn text(&self, facts: &Facts) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            let written = match piece {
                Piece::Text(piece) => text.write_str(piece),
                Piece::Variable(variable) => text.write_str(&variable(facts)),
            };
            written.expect("a string grows");
        }
        text
    }
}

/// A variable, `%%` or an escape at the start of `text`, and its length.
fn special(text: &str) -> Result<(Piece, usize), Failure> {
    let plain = |text: &str, used| Ok((Piece::Text(text.to_owned()), used));
    if text.starts_with("%%") {
        return plain("%", 2);
    }
    if let Some(inside) = text.strip_prefix("%{") {
        let Some((name, _)) = inside.split_once('}') else {
            return Err(invalid("-w: `%{` without `}`"));
        };
        let found = VARIABLES.iter().find(|(known, _)| *known == name);
        return match found {
            Some((_, variable)) => Ok((Piece::Variable(*variable), name.len() + 3)),
            None => Err(invalid(format!(
                "-w: there is no `{name}`; there are {}",
                VARIABLES
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        };
    }
    match text.get(..2) {
        Some("\\n") => plain("\n", 2),
        Some("\\r") => plain("\r", 2),
        Some("\\t") => plain("\t", 2),
        _ => plain(&text[..1], 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_escapes_and_the_rest() {
        let facts = Facts {
            status: 200,
            url: "http://h/".to_owned(),
            total: Duration::from_micros(1_500),
            ..Facts::default()
        };
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("%{http_code} %{time_total}\\n", "200 0.001500\n"),
            ("100%% %{url_effective}", "100% http://h/"),
            ("a%b\\q", "a%b\\q"),
            ("%", "%"),
            ("\\", "\\"),
            ("%{exitcode}%{errormsg}", "0"),
            ("ü%{method}ü", "üü"),
        ];
        for (format, expected) in cases {
            let format = Format::new(format).unwrap();
            assert_eq!(format.text(&facts), expected);
        }
        for bad in ["%{http_code", "%{no_such}"] {
            assert!(Format::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_in_order() {
        assert!(VARIABLES.is_sorted_by_key(|(name, _)| *name));
    }
}
