//! Writes heads, whole, behind what a connection already has to send.
//!
//! ```text
//!   status line │ fields of the message │ Date │ Connection │ Content-Length or coding │ empty line
//!                 without those that      ▲         ▲                 ▲
//!                 framing decides       cache   Persistence        Outgoing
//! ```
//!
//! What frames the message is never taken from its fields: `Content-Length`, `Transfer-Encoding`,
//! `Connection` and `Keep-Alive` are written from arguments alone. Fields that the message's own
//! `Connection` names are left out, so that a received message can be passed on as it is (RFC 9110
//! §7.6.1).

use ::http::Method;
use ::http::StatusCode;
use ::http::Version;

use crate::h1::framing::Outgoing;
use crate::http::date::DateCache;
use crate::http::headers::Headers;
use crate::http::known::Known;
use crate::http::known::is_forbidden_trailer;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::token;

/// What a server sends so that the client sends the body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What a message says about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing: the version's default, which is to stay open for HTTP/1.1.
    Default,
    /// `Connection: keep-alive`, for a client of HTTP/1.0 that asked for it.
    KeepAlive,
    /// `Connection: close`.
    Close,
    /// `Connection: upgrade`; the message has the `Upgrade` field.
    Upgrade,
    /// `Connection: close, upgrade`: it has the field, and is the last (RFC 9110 §7.8).
    CloseUpgrade,
}

impl Persistence {
    /// What a response to a request of this version says.
    pub fn of_response(version: Version, is_kept: bool) -> Persistence {
        match (is_kept, version) {
            (false, _) => Persistence::Close,
            (true, Version::HTTP_10) => Persistence::KeepAlive,
            (true, _) => Persistence::Default,
        }
    }

    /// What a response says that also names the protocols to upgrade to (RFC 9110 §15.5.22).
    pub fn with_upgrade(self) -> Persistence {
        match self {
            Persistence::Default | Persistence::Upgrade => Persistence::Upgrade,
            // A client of HTTP/1.0 cannot upgrade, and may close.
            Persistence::KeepAlive => Persistence::KeepAlive,
            Persistence::Close | Persistence::CloseUpgrade => Persistence::CloseUpgrade,
        }
    }

    fn line(self) -> &'static [u8] {
        match self {
            Persistence::Default => b"",
            Persistence::KeepAlive => b"Connection: keep-alive\r\n",
            Persistence::Close => b"Connection: close\r\n",
            Persistence::Upgrade => b"Connection: upgrade\r\n",
            Persistence::CloseUpgrade => b"Connection: close, upgrade\r\n",
        }
    }

    /// True where the `Upgrade` field of the message is sent.
    fn upgrades(self) -> bool {
        matches!(self, Persistence::Upgrade | Persistence::CloseUpgrade)
    }
}

/// Writes the head of a response. `seconds` is the wall clock; a `Date` field of the response
/// itself wins, and an empty one leaves the field away. A HEAD or 304 without a known length keeps a `Content-Length` that the response
/// brings, if it is one number: it is what a GET would have got.
#[inline(always)]
pub fn response_head(
    out: &mut Vec<u8>,
    response: &Response,
    outgoing: Outgoing,
    persistence: Persistence,
    date: (&mut DateCache, u64),
) {
    let status = response.status_code();
    out.reserve(HEAD_BYTES_USUAL);
    status_line(out, status);
    let headers = response.headers();
    let is_unmodified = status == StatusCode::NOT_MODIFIED;
    let is_skipped = |known| match known {
        Known::Trailer => true,
        Known::Upgrade => !persistence.upgrades(),
        // It describes a body that is not there (RFC 9110 §15.4.5).
        Known::ContentType => is_unmodified,
        known => frames(known),
    };
    let has_date = fields(out, headers, is_skipped);
    if !has_date && !status.is_informational() {
        let (cache, seconds) = date;
        out.extend_from_slice(cache.line(seconds));
    }
    out.extend_from_slice(persistence.line());
    if outgoing == Outgoing::Chunked {
        announce_trailers(out, response.headers(), response.trailers());
    }
    let is_informational = status.is_informational() || status == StatusCode::NO_CONTENT;
    if outgoing == Outgoing::Nothing && !is_informational {
        kept_length(out, headers);
    }
    framing(out, outgoing);
    out.extend_from_slice(b"\r\n");
}

/// Names the trailers that will follow: those that the message itself announces, else those that
/// are known already and may be sent (RFC 9110 §6.6.2).
fn announce_trailers(out: &mut Vec<u8>, headers: &Headers, trailers: Option<&Headers>) {
    if let Some(names) = headers.get_known(Known::Trailer) {
        return field(out, b"Trailer", names);
    }
    let Some(trailers) = trailers else {
        return;
    };
    let mut separator: &[u8] = b"Trailer: ";
    for (name, _) in trailers.iter() {
        if !is_forbidden_trailer(name.as_bytes()) {
            out.extend_from_slice(separator);
            out.extend_from_slice(name.as_bytes());
            separator = b", ";
        }
    }
    if separator == b", " {
        out.extend_from_slice(b"\r\n");
    }
}

/// Writes an informational (1xx) response: fields that frame, and those that belong to a connection,
/// are left out.
pub fn informational_head(out: &mut Vec<u8>, status: StatusCode, headers: &Headers) {
    assert!(status.is_informational(), "a final head is not this");
    status_line(out, status);
    let is_skipped = |known| frames(known) || matches!(known, Known::Trailer | Known::Upgrade);
    fields(out, headers, is_skipped);
    out.extend_from_slice(b"\r\n");
}

/// Whom a request is sent to, and thus in which form it names its target (RFC 9112 §3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipient<'a> {
    /// The server of its URL: `GET /path`.
    Origin,
    /// A proxy that forwards it: `GET http://host/path`.
    Proxy {
        /// The value of a `Proxy-Authorization`, which is sent unless the request has one.
        authorization: Option<&'a str>,
    },
}

/// Writes the head of a request of a client: the target as it is, and `Host` from the URL unless
/// the request has one of its own. A proxy goes by the URL alone (RFC 9112 §3.2.2).
pub fn request_head(
    out: &mut Vec<u8>,
    request: &Request,
    recipient: Recipient<'_>,
    outgoing: Outgoing,
    persistence: Persistence,
) {
    out.reserve(HEAD_BYTES_USUAL);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    let target = request.target();
    // A target that was set by hand and has no path is sent as it is, but for `OPTIONS *` (RFC 9112
    // §3.2.4).
    if recipient != Recipient::Origin && (target.starts_with('/') || target == "*") {
        out.extend_from_slice(b"http://");
        authority(out, request);
    }
    if recipient == Recipient::Origin || target != "*" {
        out.extend_from_slice(target.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    // It stands first (RFC 9110 §7.2), also where the caller has chosen it.
    let headers = request.headers();
    out.extend_from_slice(b"Host: ");
    match headers.get_known(Known::Host) {
        Some(host) => out.extend_from_slice(host),
        // The URL says where the proxy is (RFC 9112 §3.2).
        None if *request.method() == Method::CONNECT => out.extend_from_slice(target.as_bytes()),
        None => authority(out, request),
    }
    out.extend_from_slice(b"\r\n");
    if let Recipient::Proxy {
        authorization: Some(value),
    } = recipient
        && !headers.contains("proxy-authorization")
    {
        field(out, b"Proxy-Authorization", value.as_bytes());
    }
    let is_skipped = |known| match known {
        Known::Trailer | Known::Host => true,
        Known::Upgrade => !persistence.upgrades(),
        known => frames(known),
    };
    fields(out, headers, is_skipped);
    out.extend_from_slice(persistence.line());
    if outgoing == Outgoing::Chunked {
        announce_trailers(out, headers, request.trailers());
    }
    framing(out, outgoing);
    out.extend_from_slice(b"\r\n");
}

/// Writes a whole response for a request that could not be understood, or not be served: the
/// status, one line of text, `Connection: close`. Nothing that the peer sent is repeated. Without
/// body, for HEAD, it keeps the fields that it would have with one (RFC 9110 §9.3.2). A 503 says when
/// to come again. Returns how many bytes of body there are.
pub fn error_response(
    out: &mut Vec<u8>,
    status: StatusCode,
    rule: &'static str,
    with_body: bool,
    date: (&mut DateCache, u64),
) -> usize {
    let (cache, seconds) = date;
    let reason = status.canonical_reason().unwrap_or("Error");
    let separator = if rule.is_empty() { "" } else { ": " };
    let length = reason.len() + separator.len() + rule.len() + 1;
    status_line(out, status);
    out.extend_from_slice(cache.line(seconds));
    out.extend_from_slice(b"Content-Type: text/plain; charset=utf-8\r\n");
    if status == StatusCode::SERVICE_UNAVAILABLE {
        out.extend_from_slice(b"Retry-After: 1\r\n");
    }
    out.extend_from_slice(Persistence::Close.line());
    framing(out, Outgoing::Length(length as u64));
    out.extend_from_slice(b"\r\n");
    if !with_body {
        return 0;
    }
    for part in [reason, separator, rule, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    length
}

/// Room for a usual head, so that it is written without growing the buffer.
const HEAD_BYTES_USUAL: usize = 256;

fn status_line(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    // The blank stands even where there is no reason (RFC 9112 §4).
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Host and port of the URL, the port where it is not the scheme's own.
fn authority(out: &mut Vec<u8>, request: &Request) {
    let Some(url) = request.url() else {
        return;
    };
    out.extend_from_slice(url.host_str().unwrap_or("").as_bytes());
    if let Some(port) = url.port() {
        out.push(b':');
        decimal(out, u64::from(port));
    }
}

/// True for fields that are written from arguments alone.
fn frames(known: Known) -> bool {
    matches!(
        known,
        Known::Connection
            | Known::ContentLength
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
    )
}

/// Writes all fields but those to be skipped; true when there was a `Date`.
#[inline(always)]
fn fields(out: &mut Vec<u8>, headers: &Headers, is_skipped: impl Fn(Known) -> bool) -> bool {
    let mut has_date = false;
    // Rare: a message that was received and is passed on, or a handler that wants to close.
    let has_connection = headers.get_known(Known::Connection).is_some();
    for (known, name, value) in headers.iter_known() {
        if known != Known::Other {
            if is_skipped(known) {
                continue;
            }
            if known == Known::Date {
                // One of them, and none where an empty one says so.
                if has_date || value.is_empty() {
                    has_date = true;
                    continue;
                }
                has_date = true;
            }
        }
        // What every message needs cannot be named away.
        let may_go = matches!(known, Known::Other | Known::Te | Known::Trailer);
        if has_connection && may_go && is_nominated(headers, name) {
            continue;
        }
        field(out, name, value);
    }
    has_date
}

/// True when a `Connection` field names this field, which thus belongs to the connection over
/// which the message came.
fn is_nominated(headers: &Headers, name: &[u8]) -> bool {
    headers
        .get_all("connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|element| token::trim(element).eq_ignore_ascii_case(name))
}

fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn framing(out: &mut Vec<u8>, outgoing: Outgoing) {
    match outgoing {
        Outgoing::Nothing | Outgoing::UntilClose => {}
        Outgoing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Outgoing::Length(length) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, length);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// The length that a response without a body brings for a HEAD or with a 304.
fn kept_length(out: &mut Vec<u8>, headers: &Headers) {
    let length = headers.get_known(Known::ContentLength);
    if let Some(length) = length.and_then(token::decimal) {
        framing(out, Outgoing::Length(length));
    }
}

fn decimal(out: &mut Vec<u8>, number: u64) {
    let mut buffer = itoa::Buffer::new();
    out.extend_from_slice(buffer.format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;
    use crate::h1::head::parse_request;
    use crate::h1::head::parse_response;
    use crate::http::head::HeadLimits;

    const SECONDS: u64 = 784_111_777;

    fn written(response: &Response, outgoing: Outgoing, persistence: Persistence) -> String {
        let mut out = b"before".to_vec();
        let date = (&mut DateCache::new(), SECONDS);
        response_head(&mut out, response, outgoing, persistence, date);
        let text = String::from_utf8(out).unwrap();
        let head = text.strip_prefix("before").unwrap();
        parse_response(head.as_bytes(), &HeadLimits::RESPONSE).unwrap();
        head.to_owned()
    }

    #[test]
    fn a_usual_response() {
        let response = Response::new().header("Content-Type", "text/plain");
        assert_eq!(
            written(&response, Outgoing::Length(13), Persistence::Default),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\
             Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 13\r\n\r\n"
        );
    }

    #[test]
    fn fields_that_frame_come_from_arguments_alone() {
        let response = Response::new()
            .status(StatusCode::NOT_FOUND)
            .header("Content-Length", "5")
            .header("transfer-encoding", "chunked")
            .header("Connection", "keep-alive")
            .header("Keep-Alive", "timeout=5")
            .header("Date", "mine")
            .header("X", "y");
        assert_eq!(
            written(&response, Outgoing::Chunked, Persistence::Close),
            "HTTP/1.1 404 Not Found\r\nDate: mine\r\nX: y\r\n\
             Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let until_close = written(&response, Outgoing::UntilClose, Persistence::Close);
        assert!(!until_close.contains("Length") && !until_close.contains("chunked"));
    }

    #[test]
    fn a_date_is_there_once_or_not_at_all() {
        let dates = |response: Response| {
            let head = written(&response, Outgoing::Length(0), Persistence::Default);
            let dates = head.lines().filter(|line| line.starts_with("Date: "));
            dates.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(dates(Response::new()).len(), 1);
        let mut own = Response::new().header("Date", "mine");
        own.headers_mut().append("Date", "theirs").unwrap();
        assert_eq!(dates(own), ["Date: mine"]);
        assert!(dates(Response::new().without_date()).is_empty());
        let replaced = Response::new().header("Date", "mine").without_date();
        assert!(dates(replaced).is_empty());
    }

    #[test]
    fn a_message_that_is_passed_on_loses_what_belonged_to_its_connection() {
        let response = Response::new()
            .header("Connection", "close, X-Hop, Content-Type")
            .header("Content-Type", "a/b")
            .header("X-Hop", "1")
            .header("Upgrade", "h2c")
            .header("X-End", "2");
        let head = written(&response, Outgoing::Length(0), Persistence::Default);
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nX-End: 2\r\nDate: "),
            "{head}"
        );
        let head = written(&response, Outgoing::Nothing, Persistence::Upgrade);
        assert!(head.contains("Upgrade: h2c\r\n") && head.contains("Connection: upgrade\r\n"));
    }

    #[test]
    fn a_head_keeps_the_length_that_a_get_would_have() {
        let length = |status: u16, value: &str| {
            let status = StatusCode::from_u16(status).unwrap();
            let response = Response::new()
                .status(status)
                .header("Content-Length", value);
            let head = written(&response, Outgoing::Nothing, Persistence::Default);
            head.contains("Content-Length: 7\r\n")
        };
        assert!(length(200, "7"));
        assert!(length(304, "7"));
        assert!(!length(204, "7"));
        assert!(!length(200, "+7"));
    }

    #[test]
    fn statuses_without_a_name_keep_the_blank() {
        let response = Response::new().status(StatusCode::from_u16(599).unwrap());
        let head = written(&response, Outgoing::Length(0), Persistence::KeepAlive);
        assert!(head.starts_with("HTTP/1.1 599 \r\n"));
        assert!(head.contains("Connection: keep-alive\r\n"));
    }

    #[test]
    fn trailers_are_announced_in_chunked_messages_only() {
        let response = Response::new().header("Trailer", "X");
        let chunked = written(&response, Outgoing::Chunked, Persistence::Default);
        assert!(chunked.contains("Trailer: X\r\n"));
        let sized = written(&response, Outgoing::Length(1), Persistence::Default);
        assert!(!sized.contains("Trailer"));
    }

    #[test]
    fn requests() {
        let write = |url: &str, fields: &[(&str, &str)], outgoing| {
            let mut request = Request::new(Method::POST, Url::parse(url).unwrap());
            for (name, value) in fields {
                request.headers_mut().append(name, value).unwrap();
            }
            let mut out = Vec::new();
            let usual = Persistence::Default;
            request_head(&mut out, &request, Recipient::Origin, outgoing, usual);
            parse_request(&out, &HeadLimits::REQUEST).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            write("http://h:81/a?b#c", &[("X", "y")], Outgoing::Length(5)),
            "POST /a?b HTTP/1.1\r\nHost: h:81\r\nX: y\r\nContent-Length: 5\r\n\r\n"
        );
        assert_eq!(
            write("http://[::1]:80/", &[("TE", "trailers")], Outgoing::Nothing),
            "POST / HTTP/1.1\r\nHost: [::1]\r\nTE: trailers\r\n\r\n"
        );
        let own = [("Host", "mine"), ("Content-Length", "9")];
        assert_eq!(
            write("http://h/", &own, Outgoing::Chunked),
            "POST / HTTP/1.1\r\nHost: mine\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
    }

    #[test]
    fn a_proxy_is_sent_whole_urls() {
        let write = |url: &str, fields: &[(&str, &str)], authorization| {
            let mut request = Request::new(Method::GET, Url::parse(url).unwrap());
            for (name, value) in fields {
                request.headers_mut().append(name, value).unwrap();
            }
            let mut out = Vec::new();
            let recipient = Recipient::Proxy { authorization };
            let (outgoing, usual) = (Outgoing::Nothing, Persistence::Default);
            request_head(&mut out, &request, recipient, outgoing, usual);
            parse_request(&out, &HeadLimits::REQUEST).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            write("http://me:hush@a.example:81/b?c#d", &[], None),
            "GET http://a.example:81/b?c HTTP/1.1\r\nHost: a.example:81\r\n\r\n"
        );
        assert_eq!(
            write("http://[2001:DB8::1]:80", &[("X", "y")], Some("Basic eA==")),
            "GET http://[2001:db8::1]/ HTTP/1.1\r\nHost: [2001:db8::1]\r\n\
             Proxy-Authorization: Basic eA==\r\nX: y\r\n\r\n"
        );
        let own = [("Host", "mine"), ("proxy-authorization", "Bearer z")];
        assert_eq!(
            write("http://a.example/", &own, Some("Basic eA==")),
            "GET http://a.example/ HTTP/1.1\r\nHost: mine\r\nproxy-authorization: Bearer z\r\n\r\n"
        );
        let target = |method: Method, target: &str| {
            let url = Url::parse("http://a.example:81/b").unwrap();
            let mut request = Request::new(method, url);
            request.set_target(target).unwrap();
            let mut out = Vec::new();
            let recipient = Recipient::Proxy {
                authorization: None,
            };
            let (outgoing, usual) = (Outgoing::Nothing, Persistence::Default);
            request_head(&mut out, &request, recipient, outgoing, usual);
            let line = out.split(|&byte| byte == b'\r').next().unwrap();
            String::from_utf8(line.to_vec()).unwrap()
        };
        assert_eq!(
            target(Method::OPTIONS, "*"),
            "OPTIONS http://a.example:81 HTTP/1.1"
        );
        assert_eq!(target(Method::GET, "ftp://x/y"), "GET ftp://x/y HTTP/1.1");
        // A zone belongs to this machine; no URL has one.
        assert!(Url::parse("http://[fe80::1%25eth0]/").is_err());
    }

    #[test]
    fn error_responses_are_whole() {
        let mut out = Vec::new();
        let date = (&mut DateCache::new(), SECONDS);
        error_response(
            &mut out,
            StatusCode::BAD_REQUEST,
            "a CR without LF",
            true,
            date,
        );
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert!(head.contains("Connection: close"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        assert_eq!(body, "Bad Request: a CR without LF\n");
    }
}
