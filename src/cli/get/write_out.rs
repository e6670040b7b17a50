//! `-w`: a format with curl's variables.
//!
//! ```text
//!   %{http_code} in %{time_total} s\n ──► 200 in 0.012345 s
//! ```
//! Times are in seconds, and count from the beginning of the last request of the URL, as curl's do;
//! `time_redirect` is what came before that, `time_total` all of it.

use std::ffi::OsStr;
use std::io;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use crate::cli::Failure;
use crate::cli::console::Console;
use crate::cli::get::invalid;
use crate::cli::get::plan;
use crate::cli::get::split_once;
use crate::cli::get::unwritable;

/// What is known of a URL when it is done.
#[derive(Default)]
pub struct Facts {
    pub index: usize,
    pub url: String,
    pub method: String,
    pub status: u16,
    pub version: String,
    pub content_type: Option<Vec<u8>>,
    pub redirect_url: Option<Vec<u8>>,
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
    Text(Vec<u8>),
    Variable(Variable),
}

type Variable = fn(&Facts, &mut Vec<u8>) -> io::Result<()>;

/// The variables that there are, by curl's names.
const VARIABLES: &[(&str, Variable)] = &[
    ("content_type", |facts, out| {
        out.write_all(facts.content_type.as_deref().unwrap_or_default())
    }),
    ("errormsg", |facts, out| match &facts.failure {
        Some((_, text)) => write!(out, "{text}"),
        None => Ok(()),
    }),
    ("exitcode", |facts, out| {
        let code = facts.failure.as_ref().map_or(0, |(code, _)| *code);
        write!(out, "{code}")
    }),
    ("http_code", status),
    ("http_version", |facts, out| {
        write!(out, "{}", facts.version.trim_start_matches("HTTP/"))
    }),
    ("method", |facts, out| write!(out, "{}", facts.method)),
    ("num_connects", |facts, out| {
        write!(out, "{}", facts.connections)
    }),
    ("num_redirects", |facts, out| {
        write!(out, "{}", facts.redirects)
    }),
    ("redirect_url", |facts, out| {
        out.write_all(facts.redirect_url.as_deref().unwrap_or_default())
    }),
    ("remote_ip", |facts, out| match facts.peer {
        Some(peer) => write!(out, "{}", peer.ip()),
        None => Ok(()),
    }),
    ("remote_port", |facts, out| {
        write!(out, "{}", facts.peer.map_or(0, |peer| peer.port()))
    }),
    ("response_code", status),
    ("scheme", |facts, out| {
        let scheme = facts.url.split_once("://");
        write!(out, "{}", scheme.map_or("http", |(scheme, _)| scheme))
    }),
    ("size_download", |facts, out| {
        write!(out, "{}", facts.download_bytes)
    }),
    ("size_header", |facts, out| {
        write!(out, "{}", facts.head_bytes)
    }),
    ("size_upload", |facts, out| {
        write!(out, "{}", facts.upload_bytes.unwrap_or(0))
    }),
    ("speed_download", |facts, out| {
        let seconds = facts.total.as_secs_f64().max(1e-6);
        write!(out, "{:.0}", facts.download_bytes as f64 / seconds)
    }),
    ("time_appconnect", |_, out| seconds(Duration::ZERO, out)),
    ("time_connect", |facts, out| seconds(facts.connect, out)),
    ("time_namelookup", |facts, out| {
        seconds(facts.name_lookup, out)
    }),
    ("time_pretransfer", |facts, out| {
        seconds(facts.pretransfer, out)
    }),
    ("time_redirect", |facts, out| seconds(facts.redirect, out)),
    ("time_starttransfer", |facts, out| {
        seconds(facts.start_transfer, out)
    }),
    ("time_total", |facts, out| seconds(facts.total, out)),
    ("url_effective", |facts, out| write!(out, "{}", facts.url)),
    ("urlnum", |facts, out| write!(out, "{}", facts.index)),
];

fn status(facts: &Facts, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, "{:03}", facts.status)
}

fn seconds(duration: Duration, out: &mut Vec<u8>) -> io::Result<()> {
    write!(out, "{:.6}", duration.as_secs_f64())
}

impl Format {
    /// Reads a format, or the file that `@` names.
    pub fn new(text: &OsStr) -> Result<Format, Failure> {
        let read;
        let mut rest = match text.as_bytes().strip_prefix(b"@") {
            Some(name) => {
                read = plan::read(OsStr::from_bytes(name))?;
                &read[..]
            }
            None => text.as_bytes(),
        };
        let mut pieces = Vec::new();
        while let Some(at) = rest.iter().position(|byte| b"%\\".contains(byte)) {
            pieces.push(Piece::Text(rest[..at].to_vec()));
            rest = &rest[at..];
            let (piece, used) = special(rest)?;
            pieces.push(piece);
            rest = &rest[used..];
        }
        pieces.push(Piece::Text(rest.to_vec()));
        Ok(Format { pieces })
    }

    /// Writes it to standard output.
    pub fn write(&self, facts: &Facts, stdout: &Console) -> Result<(), Failure> {
        let shown = stdout.show(&self.bytes(facts));
        let shown = shown.and_then(|()| stdout.end());
        shown.map_err(|error| unwritable("standard output", error))
    }

    fn bytes(&self, facts: &Facts) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in &self.pieces {
            let written = match piece {
                Piece::Text(piece) => bytes.write_all(piece),
                Piece::Variable(variable) => variable(facts, &mut bytes),
            };
            written.expect("a vector grows");
        }
        bytes
    }
}

/// A variable, `%%` or an escape at the start of `text`, and its length.
fn special(text: &[u8]) -> Result<(Piece, usize), Failure> {
    let plain = |text: &[u8], used| Ok((Piece::Text(text.to_vec()), used));
    if let Some(inside) = text.strip_prefix(b"%{") {
        let Some((name, _)) = split_once(inside, b'}') else {
            return Err(invalid("-w: `%{` without `}`"));
        };
        let found = VARIABLES.iter().find(|(known, _)| known.as_bytes() == name);
        return match found {
            Some((_, variable)) => Ok((Piece::Variable(*variable), name.len() + 3)),
            None => Err(invalid(format!(
                "-w: there is no `{}`; there are {}",
                String::from_utf8_lossy(name),
                VARIABLES
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        };
    }
    match text {
        [b'%', b'%', ..] => plain(b"%", 2),
        [b'\\', b'n', ..] => plain(b"\n", 2),
        [b'\\', b'r', ..] => plain(b"\r", 2),
        [b'\\', b't', ..] => plain(b"\t", 2),
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
            let format = Format::new(OsStr::new(format)).unwrap();
            assert_eq!(format.bytes(&facts), expected.as_bytes());
        }
        for bad in ["%{http_code", "%{no_such}"] {
            assert!(Format::new(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_in_order() {
        assert!(VARIABLES.is_sorted_by_key(|(name, _)| *name));
    }
}
