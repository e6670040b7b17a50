//! Parses complete heads: httparse finds the parts, and our own rules come on top.
//!
//! ```text
//!   head ──► httparse ──► parts ──► line ends, target form, version, Host ──► copied once
//!                                        └── Facts: framing, Connection, Expect
//! ```

use std::mem::MaybeUninit;

use ::http::Method;
use ::http::StatusCode;
use ::http::Version;

use crate::h1::head::Facts;
use crate::h1::head::RequestHead;
use crate::h1::head::ResponseHead;
use crate::h1::head::facts::is_valid_authority;
use crate::h1::head::folds::unfold;
use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::http::head::INCOMPLETE;
use crate::http::head::TARGET_TOO_LONG;
use crate::http::head::TOO_MANY_BYTES;
use crate::http::head::TOO_MANY_FIELDS;
use crate::http::head::parse_section;
use crate::http::head::rule_of;
use crate::http::headers::Field;
use crate::http::headers::Headers;
use crate::http::known::Known;
use crate::http::known::is_forbidden_trailer;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::token;
use crate::limits::HEAD_BYTES_SETTABLE_MAX;
use crate::limits::HEADER_COUNT_MAX;
use crate::limits::METHOD_BYTES_MAX;

/// Parses a request head that a [`Scanner`](crate::http::head::Scanner) found complete (RFC 9112
/// §3, §5). The error says what to answer.
pub fn parse_request(head: &[u8], limits: &HeadLimits) -> Result<RequestHead, HeadError> {
    parse_request_over(false, head, limits)
}

/// The same, of a connection that is secured or is not, which decides of what it may be asked for
/// (RFC 9110 §7.4).
pub fn parse_request_over(
    is_secured: bool,
    head: &[u8],
    limits: &HeadLimits,
) -> Result<RequestHead, HeadError> {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    match parse_request_at(is_secured, head, limits) {
        Ok((used, request)) if used == head.len() => Ok(request),
        Ok(_) => Err(INCOMPLETE),
        Err(Unread::Version) => other_version(is_secured, head, limits),
        Err(Unread::Partial) => Err(INCOMPLETE),
        Err(Unread::Refused(error)) => Err(error),
    }
}

/// The common case: a whole request head at the beginning of what arrived, and how long it is.
/// `None` where a [`Scanner`](crate::http::head::Scanner) has to find its end, or what is wrong
/// with it: this accepts nothing that the scanner and [`parse_request`] would not.
pub fn parse_whole_request(input: &[u8], limits: &HeadLimits) -> Option<(usize, RequestHead)> {
    // What only a secured connection may be asked for is none of the common case.
    let (used, head) = parse_request_at(false, input, limits).ok()?;
    // With a target within its limit, the line is within its own.
    let is_short = head.method().as_str().len() < METHOD_BYTES_MAX;
    let is_usual = is_short && used <= limits.bytes_max();
    is_usual.then_some((used, head))
}

/// Why there is no head.
enum Unread {
    /// The head has no end.
    Partial,
    /// The version is another one, or none.
    Version,
    Refused(HeadError),
}

impl From<HeadError> for Unread {
    fn from(error: HeadError) -> Unread {
        Unread::Refused(error)
    }
}

/// The request at the beginning of the input, and how long its head is.
#[inline(always)]
fn parse_request_at(
    is_secured: bool,
    input: &[u8],
    limits: &HeadLimits,
) -> Result<(usize, RequestHead), Unread> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADER_COUNT_MAX];
    let fields = &mut fields[..limits.fields.min(HEADER_COUNT_MAX)];
    let mut parsed = httparse::Request::new(&mut []);
    let used = match parsed.parse_with_uninit_headers(input, fields) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Err(Unread::Partial),
        Err(httparse::Error::Version) => return Err(Unread::Version),
        Err(error) => return Err(rule_of(error).into()),
    };
    let head = &input[..used];
    let target = parsed.path.unwrap_or_default();
    let method = parsed.method.unwrap_or_default();
    if target.len() > limits.target_bytes {
        return Err(TARGET_TOO_LONG.into());
    }
    // httparse skips line ends before the request line; the one that is allowed is gone already.
    if !head.starts_with(method.as_bytes()) {
        return Err(HeadError::bad("an empty line before the head").into());
    }
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| HeadError::bad("the method is not a token"))?;
    let kinds = check_target(is_secured, &method, target)?;
    let version = version_of(parsed.version);
    let mut request = Request::blank();
    let line_len = method.as_str().len() + 1 + target.len() + " HTTP/1.1".len();
    let facts = take_fields(head, line_len, parsed.headers, request.headers_mut())?;
    check_host(version, &facts)?;
    request.set_head(method, target, kinds, version);
    Ok((used, RequestHead { request, facts }))
}

/// Parses a response head that a [`Scanner`](crate::http::head::Scanner) found complete (RFC 9112
/// §4, §5). The reason phrase is dropped; a missing one is accepted, since servers that omit the
/// blank before it exist and nothing depends on it. Folded field lines are joined (§5.2), but for
/// those that two readers must not read differently.
pub fn parse_response(head: &[u8], limits: &HeadLimits) -> Result<ResponseHead, HeadError> {
    parse_unfolded_response(head, limits).or_else(|error| match unfold(head, 1)? {
        Some(joined) => parse_unfolded_response(&joined, limits),
        None => Err(error),
    })
}

fn parse_unfolded_response(head: &[u8], limits: &HeadLimits) -> Result<ResponseHead, HeadError> {
    match parse_response_at(head, limits) {
        Ok((used, response)) if used == head.len() => Ok(response),
        Ok(_) => Err(INCOMPLETE),
        Err(Unread::Version) => other_response_version(head, limits),
        Err(Unread::Partial) => Err(INCOMPLETE),
        Err(Unread::Refused(error)) => Err(error),
    }
}

/// As [`parse_whole_request`], for a response; folded lines are left to the scanner, too.
pub fn parse_whole_response(input: &[u8], limits: &HeadLimits) -> Option<(usize, ResponseHead)> {
    let (used, head) = parse_response_at(input, limits).ok()?;
    (used <= limits.bytes_max()).then_some((used, head))
}

/// The response at the beginning of the input, and how long its head is.
#[inline(always)]
fn parse_response_at(input: &[u8], limits: &HeadLimits) -> Result<(usize, ResponseHead), Unread> {
    let mut fields = [const { MaybeUninit::uninit() }; HEADER_COUNT_MAX];
    let max = limits.response_fields_max();
    match parse_response_into(input, &mut fields[..max.min(HEADER_COUNT_MAX)]) {
        Err(Unread::Refused(TOO_MANY_FIELDS)) if max > HEADER_COUNT_MAX => {
            parse_long_response(input, max)
        }
        other => other,
    }
}

/// As [`parse_response_at`], of more fields than usual: their places do not stand on the stack.
#[cold]
fn parse_long_response(input: &[u8], max: usize) -> Result<(usize, ResponseHead), Unread> {
    parse_response_into(input, &mut vec![MaybeUninit::uninit(); max])
}

#[inline(always)]
fn parse_response_into<'a>(
    input: &'a [u8],
    fields: &mut [MaybeUninit<httparse::Header<'a>>],
) -> Result<(usize, ResponseHead), Unread> {
    let mut parsed = httparse::Response::new(&mut []);
    let strict = httparse::ParserConfig::default();
    let used = match strict.parse_response_with_uninit_headers(&mut parsed, input, fields) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Err(Unread::Partial),
        Err(httparse::Error::Version) => return Err(Unread::Version),
        Err(error) => return Err(rule_of(error).into()),
    };
    let head = &input[..used];
    if !head.starts_with(b"HTTP/") {
        return Err(HeadError::bad("an empty line before the head").into());
    }
    let status = StatusCode::from_u16(parsed.code.unwrap_or_default())
        .map_err(|_| HeadError::bad("the status is not between 100 and 999"))?;
    let mut response = Response::new();
    let line_len = memchr::memchr(b'\r', head).unwrap_or(0);
    let facts = take_fields(head, line_len, parsed.headers, response.headers_mut())?;
    response.set_head(status, version_of(parsed.version));
    Ok((used, ResponseHead { response, facts }))
}

/// Parses the complete trailer section of a request (RFC 9112 §7.1.2). Fields that frame, route,
/// authenticate or control the connection are dropped (RFC 9110 §6.5.1).
pub(in crate::h1) fn parse_trailers(
    section: &[u8],
    limits: &HeadLimits,
) -> Result<Headers, HeadError> {
    parse_section(section, limits, |name| !is_forbidden_trailer(name))
}

/// As [`parse_trailers`], of a response: folded lines are joined as those of its head.
pub(in crate::h1) fn parse_response_trailers(
    section: &[u8],
    limits: &HeadLimits,
) -> Result<Headers, HeadError> {
    parse_trailers(section, limits).or_else(|error| match unfold(section, 0)? {
        Some(joined) => parse_trailers(&joined, limits),
        None => Err(error),
    })
}

/// The fields, copied behind each other into `headers`, and what they say.
fn take_fields(
    head: &[u8],
    line_len: usize,
    fields: &[httparse::Header<'_>],
    headers: &mut Headers,
) -> Result<Facts, HeadError> {
    let mut facts = Facts::default();
    // Positions are 32 bits wide, also for heads that no scanner has seen.
    if head.len() > HEAD_BYTES_SETTABLE_MAX {
        return Err(TOO_MANY_BYTES);
    }
    // Also true for heads that no scanner has seen: every line ends in CRLF.
    if head.get(line_len..line_len + 2) != Some(b"\r\n") || !head.ends_with(b"\r\n\r\n") {
        return Err(BARE_LF);
    }
    let section_start = line_len + 2;
    headers.load(&head[section_start..], fields.len());
    let base = head.as_ptr().addr();
    for field in fields {
        let name = field.name.as_bytes();
        let name_start = name.as_ptr().addr() - base;
        if !head[..name_start].ends_with(b"\r\n") {
            return Err(BARE_LF);
        }
        let Ok(name_len) = u16::try_from(name.len()) else {
            return Err(HeadError::too_large("a field name is too long"));
        };
        let known = Known::of(name);
        facts.note(known, field.value);
        let value_start = match field.value {
            [] => section_start,
            value => value.as_ptr().addr() - base,
        };
        headers.push_checked(Field {
            name_start: (name_start - section_start) as u32,
            value_start: (value_start - section_start) as u32,
            value_len: field.value.len() as u32,
            name_len,
            known,
        });
    }
    // Whoever passes the message on looks for each option among the fields (RFC 9110 §7.6.1).
    if facts.connection_options > HEADER_COUNT_MAX {
        return Err(HeadError::too_large(
            "Connection has more options than a head has fields",
        ));
    }
    Ok(facts)
}

const BARE_LF: HeadError = HeadError::bad("a line ends in LF without CR");

fn version_of(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

/// A request whose version is not 1.0 or 1.1: 505 for another major version, 1.1 for a higher
/// minor one (RFC 9110 §2.5), 400 for what is no version.
#[cold]
fn other_version(
    is_secured: bool,
    head: &[u8],
    limits: &HeadLimits,
) -> Result<RequestHead, HeadError> {
    let line_end = memchr::memchr(b'\r', head).unwrap_or(head.len());
    let version_start = memchr::memrchr(b' ', &head[..line_end]).map_or(0, |at| at + 1);
    let known = as_version_1_1(head, version_start, line_end)?;
    parse_request_over(is_secured, &known, limits)
}

/// As [`other_version`], for a status line.
#[cold]
fn other_response_version(head: &[u8], limits: &HeadLimits) -> Result<ResponseHead, HeadError> {
    let version_end = memchr::memchr(b' ', head).unwrap_or(head.len());
    let known = as_version_1_1(head, 0, version_end)?;
    parse_unfolded_response(&known, limits)
}

/// The head with its higher minor version replaced by 1.
fn as_version_1_1(head: &[u8], start: usize, end: usize) -> Result<Vec<u8>, HeadError> {
    match head[start..end] {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'2'..=b'9'] => {
            let mut head = head.to_vec();
            head[end - 1] = b'1';
            Ok(head)
        }
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major != b'1' && major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(HeadError {
                status: StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                rule: "this HTTP version is not spoken here",
            })
        }
        _ => Err(HeadError::bad("the version is malformed")),
    }
}

/// RFC 9112 §3.2: which form of target goes with which method. Which kinds of bytes it has.
fn check_target(is_secured: bool, method: &Method, target: &str) -> Result<u8, HeadError> {
    let bytes = target.as_bytes();
    let kinds = token::target_kinds(bytes);
    if bytes.is_empty() || kinds & token::TARGET_INVALID != 0 {
        return Err(HeadError::bad("the target holds a byte no URI has"));
    }
    if kinds & token::PERCENT != 0 && !is_path_coded(bytes) {
        return Err(HeadError::bad(
            "a percent sign in the path of the target is not followed by two digits",
        ));
    }
    if *method == Method::CONNECT {
        return match is_tunnel_target(bytes) {
            true => Ok(kinds),
            false => Err(HeadError::bad("the target of CONNECT is not host:port")),
        };
    }
    if bytes[0] == b'/' {
        return Ok(kinds);
    }
    if bytes == b"*" {
        return match *method {
            Method::OPTIONS => Ok(kinds),
            _ => Err(HeadError::bad("the target * is for OPTIONS")),
        };
    }
    check_absolute(is_secured, bytes).map(|()| kinds)
}

/// True for what a CONNECT asks for: a host and a port, and nothing else (RFC 9112 §3.2.3).
pub(in crate::h1) fn is_tunnel_target(target: &[u8]) -> bool {
    let has_port = memchr::memrchr(b':', target)
        .is_some_and(|at| at > 0 && token::decimal(&target[at + 1..]).is_some());
    has_port && is_valid_authority(target)
}

/// True when two digits follow each percent sign of the path (RFC 3986 §2.1): two readers would make
/// two paths of it otherwise. Browsers do send such queries, which are read by whoever wants them.
fn is_path_coded(target: &[u8]) -> bool {
    let path_end = memchr::memchr(b'?', target).unwrap_or(target.len());
    token::is_percent_coded(&target[..path_end])
}

/// A whole URL (RFC 9112 §3.2.2), of a scheme that the connection carries.
fn check_absolute(is_secured: bool, target: &[u8]) -> Result<(), HeadError> {
    const NO_PATH: HeadError = HeadError::bad("the target is neither a path nor a URL");
    let starts = |scheme: &[u8]| {
        let prefix = target.get(..scheme.len())?;
        prefix
            .eq_ignore_ascii_case(scheme)
            .then(|| &target[scheme.len()..])
    };
    let secured = starts(b"https://");
    if secured.is_some() && !is_secured {
        return Err(HeadError {
            status: StatusCode::MISDIRECTED_REQUEST,
            rule: "the target is https, and this connection is not secured (RFC 9110 §7.4)",
        });
    }
    let rest = secured.or_else(|| starts(b"http://")).ok_or(NO_PATH)?;
    let authority_end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let authority = &rest[..authority_end];
    if !is_valid_authority(authority) {
        return Err(HeadError::bad("the target has no valid host"));
    }
    Ok(())
}

/// RFC 9112 §3.2: a 1.1 request has exactly one `Host`; no request has two, or an invalid one.
fn check_host(version: Version, facts: &Facts) -> Result<(), HeadError> {
    if facts.host_invalid {
        return Err(HeadError::bad("the Host field is malformed"));
    }
    match facts.hosts {
        1 => Ok(()),
        0 if version == Version::HTTP_10 => Ok(()),
        0 => Err(HeadError::bad("the Host field is missing")),
        _ => Err(HeadError::bad("more than one Host field")),
    }
}
