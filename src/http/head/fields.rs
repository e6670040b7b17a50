//! Sections of fields: complete, in memory.
//!
//! ```text
//!   name: value CRLF … CRLF ──► httparse ──► Headers
//! ```

use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::http::head::TOO_MANY_FIELDS;
use crate::http::headers::Headers;
use crate::limits::HEADER_COUNT_MAX;

/// Parses a complete section of fields: the head of a part of a multipart body.
pub fn parse_fields(section: &[u8], limits: &HeadLimits) -> Result<Headers, HeadError> {
    parse_section(section, limits, |_| true)
}

/// The same, of the fields whose names are to be kept.
pub fn parse_section(
    section: &[u8],
    limits: &HeadLimits,
    is_kept: impl Fn(&[u8]) -> bool,
) -> Result<Headers, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; HEADER_COUNT_MAX];
    let fields = &mut fields[..limits.fields.min(HEADER_COUNT_MAX)];
    let parsed = match httparse::parse_headers(section, fields) {
        Ok(httparse::Status::Complete((used, parsed))) if used == section.len() => parsed,
        Ok(_) => return Err(INCOMPLETE),
        Err(error) => return Err(rule_of(error)),
    };
    let mut headers = Headers::new();
    for field in parsed {
        if is_kept(field.name.as_bytes()) {
            let added = headers.append(field.name, field.value);
            added.map_err(|_| HeadError::bad("a trailer field is malformed"))?;
        }
    }
    Ok(headers)
}

pub(crate) const INCOMPLETE: HeadError = HeadError::bad("the head has no end, or bytes behind it");

/// The rule behind an error of the parser.
pub(crate) fn rule_of(error: httparse::Error) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::bad("a field name is not a token and a colon"),
        httparse::Error::HeaderValue => HeadError::bad("a field value holds a control character"),
        httparse::Error::NewLine => HeadError::bad("a line does not end in CRLF"),
        httparse::Error::Status => HeadError::bad("the status line is malformed"),
        httparse::Error::Token => HeadError::bad("the request line is malformed"),
        httparse::Error::TooManyHeaders => TOO_MANY_FIELDS,
        httparse::Error::Version => HeadError::bad("the version is malformed"),
    }
}
