//! Folded field lines of responses (RFC 9112 §5.2), joined before the fields are parsed.
//!
//! ```text
//!   X: a \r\n          X: a b
//!    \t b \r\n   ──►                    Content-Length: 1 \r\n 0   ──► HeadError
//! ```
//!
//! A client must read them, as a SP; a server refuses them. What decides about framing, the
//! connection or where a redirect leads is never read from two lines: others may read the first alone.

use memchr::memmem;

use crate::http::head::HeadError;
use crate::http::token;

/// Fields that two readers must not read differently.
const NEVER_FOLDED: [&[u8]; 5] = [
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"upgrade",
    b"location",
];

/// Complete lines with each fold, and the blanks around it, as one SP; `None` where nothing is folded.
/// The first field stands in line `first_field`.
#[cold]
pub(super) fn unfold(lines: &[u8], first_field: usize) -> Result<Option<Vec<u8>>, HeadError> {
    let is_folded = |at: usize| matches!(lines.get(at + 2), Some(b' ' | b'\t'));
    if !memmem::find_iter(lines, b"\r\n").any(is_folded) {
        return Ok(None);
    }
    let mut joined = Vec::with_capacity(lines.len());
    let (mut rest, mut count) = (lines, 0);
    // Where the field begins that a fold would continue.
    let mut field_start = 0;
    while let Some(end) = memmem::find(rest, b"\r\n") {
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        rest = after;
        if !matches!(line.first(), Some(b' ' | b'\t')) {
            field_start = joined.len();
            joined.extend_from_slice(line);
        } else if count <= first_field {
            return Err(HeadError::bad("white space before the first field"));
        } else {
            // The CRLF of the line before.
            joined.truncate(joined.len() - 2);
            let field = token::trim(&joined[field_start..]);
            check_name(field)?;
            let field_end = field_start + field.len();
            joined.truncate(field_end);
            joined.push(b' ');
            joined.extend_from_slice(token::trim(line));
        }
        joined.extend_from_slice(b"\r\n");
        count += 1;
    }
    joined.extend_from_slice(rest);
    Ok(Some(joined))
}

/// Not every field may be folded, and no empty line.
fn check_name(field: &[u8]) -> Result<(), HeadError> {
    if field.is_empty() {
        return Err(HeadError::bad("white space behind the last field"));
    }
    let name = field.split(|&byte| byte == b':').next().unwrap_or_default();
    let name = token::trim(name);
    if NEVER_FOLDED
        .iter()
        .any(|own| own.eq_ignore_ascii_case(name))
    {
        return Err(HeadError::bad(
            "a field that frames, routes or controls the connection is folded",
        ));
    }
    Ok(())
}
