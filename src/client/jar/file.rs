//! Cookies in a file, as Netscape wrote it and curl reads and writes it.
//!
//! ```text
//!   .example.com               TRUE        /     FALSE   1893456000  lang  de
//!   #HttpOnly_www.example.com  FALSE       /     TRUE    0           sid   7
//!   host                       and below   path  secure  expires     name  value    tabs in between
//! ```
//!
//! `0` is a cookie without an end. Lines that begin with `#` are comments, except `#HttpOnly_`. The
//! form has no place for `SameSite`, which the jar does not need, nor for the time of creation: the
//! order of the lines stands for it. A line that is no cookie costs that cookie and no other: such
//! files are written by browsers' extensions and by hand.

use std::borrow::Cow;
use std::io::Read;
use std::io::Write;

use crate::client::jar::Loaded;
use crate::client::jar::SkippedLine;
use crate::client::jar::StoredCookie;
use crate::client::jar::rules;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::limits::COOKIE_ATTRIBUTE_BYTES_MAX;
use crate::limits::COOKIE_BYTES_MAX;
use crate::limits::COOKIE_DOMAIN_BYTES_MAX;
use crate::limits::JAR_FILE_BYTES_MAX;
use crate::limits::JAR_SKIPPED_LINES_MAX;

const HTTP_ONLY: &str = "#HttpOnly_";

/// Reads all cookies, in the order of the lines. The lines that are none are noted in `loaded`.
pub(super) fn read(reader: impl Read, loaded: &mut Loaded) -> Result<Vec<StoredCookie>> {
    let mut bytes = Vec::new();
    let mut bounded = reader.take(JAR_FILE_BYTES_MAX + 1);
    bounded.read_to_end(&mut bytes).map_err(|error| {
        Error::new(ErrorKind::Io, "the cookies cannot be read")
            .in_phase(Phase::File)
            .because(error)
    })?;
    if bytes.len() as u64 > JAR_FILE_BYTES_MAX {
        return Err(Error::new(
            ErrorKind::Limit,
            format!("a file of cookies has at most {JAR_FILE_BYTES_MAX} bytes"),
        )
        .in_phase(Phase::File));
    }
    let mut cookies = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        match cookie_of(line) {
            Ok(cookie) => cookies.extend(cookie),
            Err(reason) => {
                loaded.skipped_count += 1;
                if loaded.skipped.len() < JAR_SKIPPED_LINES_MAX {
                    let number = index + 1;
                    loaded.skipped.push(SkippedLine { number, reason });
                }
            }
        }
    }
    Ok(cookies)
}

/// The cookie of a line, `None` for an empty line and a comment, or why it is none. The line is not
/// repeated there: it is a secret.
fn cookie_of(line: &[u8]) -> std::result::Result<Option<StoredCookie>, Cow<'static, str>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (line, is_http_only) = match line.strip_prefix(HTTP_ONLY.as_bytes()) {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    if !is_http_only && (line.starts_with(b"#") || line.trim_ascii().is_empty()) {
        return Ok(None);
    }
    let fields: Vec<&[u8]> = line.split(|&byte| byte == b'\t').collect();
    let (name, value) = match fields[..] {
        [_, _, _, _, _, name, value] => (name, value),
        // An editor took the tab in front of the empty value.
        [_, _, _, _, _, name] => (name, &b""[..]),
        _ => return Err("it does not have seven fields with tabs in between".into()),
    };
    let text = |at: usize| std::str::from_utf8(fields[at]).map_err(|_| "a field is not UTF-8");
    let (host, below, path) = (text(0)?, text(1)?, text(2)?);
    let (secure, expires) = (text(3)?, text(4)?);
    let is_yes = |text: &str, field: u32| match text {
        _ if text.eq_ignore_ascii_case("TRUE") => Ok(true),
        _ if text.eq_ignore_ascii_case("FALSE") => Ok(false),
        _ => Err(format!("field {field} is neither TRUE nor FALSE")),
    };
    let domain = domain_of(host).ok_or("the host is no name and no address")?;
    // Nothing lies below these, whatever the file says.
    let is_alone = rules::is_address(&domain) || rules::is_public_suffix(&domain);
    if !path.starts_with('/')
        || !is_clean(path.as_bytes())
        || path.len() > COOKIE_ATTRIBUTE_BYTES_MAX
    {
        return Err(
            format!("the path is no path of at most {COOKIE_ATTRIBUTE_BYTES_MAX} bytes").into(),
        );
    }
    if name.is_empty() || name.contains(&b'=') || !is_clean(name) || !is_clean(value) {
        return Err("name or value is not that of a cookie".into());
    }
    if name.len() + value.len() > COOKIE_BYTES_MAX {
        return Err(format!("name and value have more than {COOKIE_BYTES_MAX} bytes").into());
    }
    // `+5` is no number.
    let is_number = expires.bytes().all(|byte| byte.is_ascii_digit());
    let expires = expires.parse().ok().filter(|_| is_number);
    let expires: u64 = expires.ok_or("field 5 is no number of seconds")?;
    Ok(Some(StoredCookie {
        name: name.to_owned(),
        value: value.to_owned(),
        domain,
        is_host_only: !is_yes(below, 2)? || is_alone,
        path: path.to_owned(),
        expires: (expires > 0).then_some(expires),
        is_secure: is_yes(secure, 4)?,
        is_http_only,
    }))
}

/// A host in the form in which the jar has it.
fn domain_of(host: &str) -> Option<String> {
    let host = host.strip_prefix('.').unwrap_or(host);
    let host = host.to_ascii_lowercase();
    let is_byte = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    let is_name = !host.is_empty()
        && host.len() <= COOKIE_DOMAIN_BYTES_MAX
        && !host.starts_with('.')
        && !host.ends_with('.')
        && host.bytes().all(is_byte);
    (is_name || rules::is_address(&host)).then_some(host)
}

fn is_clean(field: &[u8]) -> bool {
    let is_refused = |byte: &u8| byte.is_ascii_control() || *byte == b';';
    !field.iter().any(is_refused)
}

/// Writes cookies, a line each.
pub(super) fn write(mut writer: impl Write, cookies: &[StoredCookie]) -> Result<()> {
    let mut text = b"# Netscape HTTP Cookie File\n\n".to_vec();
    for cookie in cookies {
        if cookie.is_http_only {
            text.extend_from_slice(HTTP_ONLY.as_bytes());
        }
        if !cookie.is_host_only {
            text.push(b'.');
        }
        let yes = |is: bool| if is { "TRUE" } else { "FALSE" };
        let (below, secure) = (yes(!cookie.is_host_only), yes(cookie.is_secure));
        let (domain, path, expires) = (&cookie.domain, &cookie.path, cookie.expires.unwrap_or(0));
        let written = write!(text, "{domain}\t{below}\t{path}\t{secure}\t{expires}\t");
        written.expect("memory takes all that is written");
        text.extend_from_slice(&[&cookie.name, &b"\t"[..], &cookie.value, b"\n"].concat());
    }
    let written = writer.write_all(&text);
    written.and_then(|()| writer.flush()).map_err(|error| {
        Error::new(ErrorKind::Io, "the cookies cannot be written")
            .in_phase(Phase::File)
            .because(error)
    })
}
