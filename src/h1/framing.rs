//! How long a message body is: one pure function of the complete head per direction.
//!
//! ```text
//!   received   RequestHead ───────────► request_framing  ──► Empty │ Length │ Chunked
//!              method + ResponseHead ─► response_framing ──► Empty │ Length │ Chunked │ UntilClose
//!   sent       method, version, status, length of the Body ──► Outgoing
//! ```
//!
//! The rules are RFC 9112 §6.3, and stricter where two readers of one message could disagree:
//! `Content-Length` together with `Transfer-Encoding` is an error, whoever wins.

use ::http::Method;
use ::http::StatusCode;
use ::http::Version;

use crate::h1::head::Coding;
use crate::h1::head::Facts;
use crate::h1::head::Length;
use crate::h1::head::RequestHead;
use crate::h1::head::ResponseHead;
use crate::http::body::Body;
use crate::http::close_reason::CloseReason;
use crate::http::head::HeadError;

/// Where the body of a received message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// After this many bytes, at least one.
    Length(u64),
    /// After the last chunk and its trailers.
    Chunked,
    /// When the connection ends; responses only.
    UntilClose,
}

/// Where the body of a request ends. An error is answered with its status, and the connection
/// closes.
pub fn request_framing(head: &RequestHead) -> Result<Framing, HeadError> {
    let (length, coding) = check_fields(head.version(), &head.facts)?;
    Ok(match (coding, length) {
        // Row 4: chunked is the last coding.
        (Transfer::Chunked, _) => Framing::Chunked,
        // Row 6: a valid Content-Length.
        (Transfer::None, Some(length)) => of_length(length),
        // Row 7: a request without both has no body.
        (Transfer::None, None) => Framing::Empty,
    })
}

/// Where the body of a response to `method` ends. After an error the connection cannot be used.
pub fn response_framing(method: &Method, head: &ResponseHead) -> Result<Framing, HeadError> {
    let status = head.status();
    // Row 1: these have no body, whatever their fields say; but nonsense stays nonsense.
    if *method == Method::HEAD || is_bodiless(status) {
        return match head.facts.length {
            Length::Invalid => Err(BAD_LENGTH),
            _ => Ok(Framing::Empty),
        };
    }
    // Row 2: after a 2xx to CONNECT comes the tunnel, and these fields do not count.
    if *method == Method::CONNECT && status.is_success() {
        return Ok(Framing::UntilClose);
    }
    let (length, coding) = check_fields(head.version(), &head.facts)?;
    Ok(match (coding, length) {
        (Transfer::Chunked, _) => Framing::Chunked,
        (Transfer::None, Some(length)) => of_length(length),
        // Row 8: all other responses end with the connection.
        (Transfer::None, None) => Framing::UntilClose,
    })
}

/// What is left of the fields once the bad cases are out.
enum Transfer {
    None,
    Chunked,
}

/// Rows 3, 4 and 5: what makes the framing of either kind of message invalid.
fn check_fields(version: Version, facts: &Facts) -> Result<(Option<u64>, Transfer), HeadError> {
    let length = match facts.length {
        Length::Absent => None,
        Length::Valid(length) => Some(length),
        Length::Invalid => return Err(BAD_LENGTH),
    };
    if facts.coding == Coding::Absent {
        return Ok((length, Transfer::None));
    }
    if length.is_some() {
        return Err(HeadError::bad(
            "Content-Length and Transfer-Encoding together",
        ));
    }
    // RFC 9112 §6.1: in HTTP/1.0 the framing is faulty.
    if version == Version::HTTP_10 {
        return Err(HeadError::bad("Transfer-Encoding in HTTP/1.0"));
    }
    match facts.coding {
        Coding::Chunked => Ok((None, Transfer::Chunked)),
        Coding::UnknownThenChunked => Err(HeadError {
            status: StatusCode::NOT_IMPLEMENTED,
            rule: "a transfer coding that is not implemented",
        }),
        Coding::NotChunkedLast => Err(HeadError::bad("the last transfer coding is not chunked")),
        Coding::Absent | Coding::Malformed => Err(HeadError::bad("Transfer-Encoding is malformed")),
    }
}

const BAD_LENGTH: HeadError = HeadError::bad("Content-Length is not one number");

fn of_length(length: u64) -> Framing {
    match length {
        0 => Framing::Empty,
        length => Framing::Length(length),
    }
}

/// True for statuses whose responses have no body: 1xx, 204, 304 (RFC 9110 §6.4.1).
pub fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}

/// How a message that we send says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// No field: there is no body and no length to tell.
    Nothing,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// No field: the body ends with the connection (HTTP/1.0).
    UntilClose,
}

impl Outgoing {
    /// For a response with a body of `length` bytes (`None`: unknown) to `method`. A HEAD gets the
    /// fields that a GET would get, as far as they are known (RFC 9110 §9.3.2); whether body bytes
    /// follow is said by [`Outgoing::has_body`].
    pub fn of_response(
        method: &Method,
        version: Version,
        status: StatusCode,
        length: Option<u64>,
    ) -> Outgoing {
        if is_bodiless(status) {
            return Outgoing::Nothing;
        }
        if status == StatusCode::RESET_CONTENT {
            // RFC 9110 §15.3.6: it has no content, and says so.
            return Outgoing::Length(0);
        }
        match length {
            // A handler that leaves the body away for a HEAD does not say that there is none.
            Some(0) | None if *method == Method::HEAD => Outgoing::Nothing,
            Some(length) => Outgoing::Length(length),
            None if version == Version::HTTP_10 => Outgoing::UntilClose,
            None => Outgoing::Chunked,
        }
    }

    /// The same for a response that has trailers: they need chunks, which HTTP/1.0 does not know. A
    /// file is sent as it is, without them.
    pub(super) fn with_trailers(self, version: Version, body: &Body) -> Outgoing {
        match self {
            Outgoing::Length(_) if version == Version::HTTP_11 && !body.is_file() => {
                Outgoing::Chunked
            }
            outgoing => outgoing,
        }
    }

    /// For a request with a body of `length` bytes (`None`: unknown). Methods that usually have a
    /// body say that there is none (RFC 9110 §8.6).
    pub fn of_request(method: &Method, length: Option<u64>) -> Outgoing {
        let expects_body =
            *method == Method::POST || *method == Method::PUT || *method == Method::PATCH;
        match length {
            Some(0) if !expects_body => Outgoing::Nothing,
            Some(length) => Outgoing::Length(length),
            None => Outgoing::Chunked,
        }
    }

    /// True when body bytes follow the head of a response to `method`.
    pub fn has_body(self, method: &Method) -> bool {
        *method != Method::HEAD && !matches!(self, Outgoing::Nothing | Outgoing::Length(0))
    }
}

/// Why the connection cannot be kept after this request, if so.
pub fn close_reason_of_request(head: &RequestHead) -> Option<CloseReason> {
    if *head.method() == Method::CONNECT {
        return Some(CloseReason::Tunnel);
    }
    close_reason_of_peer(head.version(), &head.facts)
}

/// Why the connection cannot be kept after this response, if so.
pub fn close_reason_of_response(head: &ResponseHead, framing: Framing) -> Option<CloseReason> {
    if framing == Framing::UntilClose {
        return Some(CloseReason::UntilClose);
    }
    // A 204 says that it has no body. One that announces a body may send it all the same, and
    // that would be read as the next response.
    let announces = head.facts.coding != Coding::Absent
        || !matches!(head.facts.length, Length::Absent | Length::Valid(0));
    if head.status() == StatusCode::NO_CONTENT && announces {
        return Some(CloseReason::BadMessage);
    }
    close_reason_of_peer(head.version(), &head.facts)
}

fn close_reason_of_peer(version: Version, facts: &Facts) -> Option<CloseReason> {
    if facts.is_keep_alive(version) {
        None
    } else if facts.close_token {
        Some(CloseReason::PeerAsked)
    } else {
        Some(CloseReason::Http10)
    }
}

#[cfg(test)]
mod tests {
    use Framing::Chunked;
    use Framing::Empty;
    use Framing::Length;
    use Framing::UntilClose;

    use super::*;
    use crate::h1::head::parse_request;
    use crate::h1::head::parse_response;
    use crate::http::head::HeadLimits;

    fn request(version: &str, fields: &str) -> Result<Framing, u16> {
        let head = format!("POST / {version}\r\nHost: a\r\n{fields}\r\n");
        let head = parse_request(head.as_bytes(), &HeadLimits::REQUEST).unwrap();
        request_framing(&head).map_err(|error| error.status.as_u16())
    }

    fn response(method: Method, start: &str, fields: &str) -> Result<Framing, ()> {
        let head = format!("{start}\r\n{fields}\r\n");
        let head = parse_response(head.as_bytes(), &HeadLimits::RESPONSE).unwrap();
        response_framing(&method, &head).map_err(|_| ())
    }

    const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

    /// RFC 9112 §6.3, its numbered rows, for requests.
    #[test]
    fn rows_for_requests() {
        for (row, fields, framing) in [
            // 3: both fields. We do not let Transfer-Encoding override.
            (
                3,
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                Err(400),
            ),
            (
                3,
                "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
                Err(400),
            ),
            (
                3,
                "Transfer-Encoding: gzip, chunked\r\nContent-Length: 0\r\n",
                Err(400),
            ),
            (
                3,
                "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
                Err(400),
            ),
            // 4: Transfer-Encoding.
            (4, CHUNKED, Ok(Chunked)),
            (4, "transfer-encoding: CHUNKED\r\n", Ok(Chunked)),
            (4, "Transfer-Encoding: gzip\r\n", Err(400)),
            (4, "Transfer-Encoding: identity\r\n", Err(400)),
            (4, "Transfer-Encoding: chunked, gzip\r\n", Err(400)),
            (
                4,
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Err(400),
            ),
            (4, "Transfer-Encoding: xchunked\r\n", Err(400)),
            (4, "Transfer-Encoding:\r\n", Err(400)),
            (4, "Transfer-Encoding: gzip, chunked\r\n", Err(501)),
            (
                4,
                "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
                Err(501),
            ),
            // 5: an invalid Content-Length.
            (5, "Content-Length: x\r\n", Err(400)),
            (5, "Content-Length: +3\r\n", Err(400)),
            (5, "Content-Length: -3\r\n", Err(400)),
            (5, "Content-Length:\r\n", Err(400)),
            (5, "Content-Length: 3\r\nContent-Length: 4\r\n", Err(400)),
            (5, "Content-Length: 3, 4\r\n", Err(400)),
            (
                5,
                "Content-Length: 3\r\nContent-Length: 3\r\n",
                Ok(Length(3)),
            ),
            (5, "Content-Length: 3, 3\r\n", Ok(Length(3))),
            // 6: a valid Content-Length.
            (6, "Content-Length: 3\r\n", Ok(Length(3))),
            (6, "Content-Length: 0\r\n", Ok(Empty)),
            // 7: neither.
            (7, "", Ok(Empty)),
        ] {
            assert_eq!(request("HTTP/1.1", fields), framing, "row {row}: {fields}");
        }
        assert_eq!(request("HTTP/1.0", CHUNKED), Err(400));
        assert_eq!(request("HTTP/1.0", ""), Ok(Empty));
    }

    /// RFC 9112 §6.3, its numbered rows, for responses.
    #[test]
    fn rows_for_responses() {
        let (get, head, connect) = (Method::GET, Method::HEAD, Method::CONNECT);
        let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
        let differing = "Content-Length: 3\r\nContent-Length: 4\r\n";
        for (row, method, start, fields, framing) in [
            // 1: no body whatever the fields say.
            (
                1,
                &head,
                "HTTP/1.1 200 OK",
                "Content-Length: 3\r\n",
                Ok(Empty),
            ),
            (1, &head, "HTTP/1.1 200 OK", CHUNKED, Ok(Empty)),
            (1, &get, "HTTP/1.1 100 Continue", "", Ok(Empty)),
            (
                1,
                &get,
                "HTTP/1.1 103 Early Hints",
                "Content-Length: 3\r\n",
                Ok(Empty),
            ),
            (1, &get, "HTTP/1.1 204 No Content", CHUNKED, Ok(Empty)),
            (
                1,
                &get,
                "HTTP/1.1 304 Not Modified",
                "Content-Length: 3\r\n",
                Ok(Empty),
            ),
            (1, &head, "HTTP/1.1 200 OK", differing, Err(())),
            // 2: a tunnel.
            (
                2,
                &connect,
                "HTTP/1.1 200 OK",
                "Content-Length: 3\r\n",
                Ok(UntilClose),
            ),
            (
                2,
                &connect,
                "HTTP/1.1 403 No",
                "Content-Length: 3\r\n",
                Ok(Length(3)),
            ),
            // 3: both fields.
            (3, &get, "HTTP/1.1 200 OK", both, Err(())),
            // 4: Transfer-Encoding. We could not decode another one, so it is an error.
            (4, &get, "HTTP/1.1 200 OK", CHUNKED, Ok(Chunked)),
            (
                4,
                &get,
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: gzip\r\n",
                Err(()),
            ),
            (
                4,
                &get,
                "HTTP/1.1 200 OK",
                "Transfer-Encoding: gzip, chunked\r\n",
                Err(()),
            ),
            (4, &get, "HTTP/1.0 200 OK", CHUNKED, Err(())),
            // 5: an invalid Content-Length.
            (5, &get, "HTTP/1.1 200 OK", differing, Err(())),
            (
                5,
                &get,
                "HTTP/1.1 200 OK",
                "Content-Length: +3\r\n",
                Err(()),
            ),
            // 6: a valid Content-Length.
            (
                6,
                &get,
                "HTTP/1.1 200 OK",
                "Content-Length: 3\r\n",
                Ok(Length(3)),
            ),
            (
                6,
                &get,
                "HTTP/1.1 200 OK",
                "Content-Length: 0\r\n",
                Ok(Empty),
            ),
            // 8: neither.
            (8, &get, "HTTP/1.1 200 OK", "", Ok(UntilClose)),
            (8, &get, "HTTP/1.0 200 OK", "", Ok(UntilClose)),
        ] {
            let found = response(method.clone(), start, fields);
            assert_eq!(found, framing, "row {row}: {start} {fields}");
        }
    }

    #[test]
    fn what_we_send_follows_from_the_body() {
        let (get, head) = (Method::GET, Method::HEAD);
        let (v10, v11) = (Version::HTTP_10, Version::HTTP_11);
        for (method, version, status, length, outgoing, has_body) in [
            (&get, v11, 200, Some(3), Outgoing::Length(3), true),
            (&get, v11, 200, Some(0), Outgoing::Length(0), false),
            (&get, v11, 200, None, Outgoing::Chunked, true),
            (&get, v10, 200, None, Outgoing::UntilClose, true),
            (&get, v11, 204, Some(3), Outgoing::Nothing, false),
            (&get, v11, 304, Some(3), Outgoing::Nothing, false),
            (&head, v11, 200, Some(3), Outgoing::Length(3), false),
            (&head, v11, 200, Some(0), Outgoing::Nothing, false),
            (&head, v11, 200, None, Outgoing::Nothing, false),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = Outgoing::of_response(method, version, status, length);
            assert_eq!(found, outgoing, "{method} {version:?} {status} {length:?}");
            assert_eq!(found.has_body(method), has_body);
        }
        assert_eq!(Outgoing::of_request(&get, Some(0)), Outgoing::Nothing);
        assert_eq!(
            Outgoing::of_request(&Method::POST, Some(0)),
            Outgoing::Length(0)
        );
        assert_eq!(Outgoing::of_request(&get, Some(1)), Outgoing::Length(1));
        assert_eq!(Outgoing::of_request(&Method::POST, None), Outgoing::Chunked);
    }

    #[test]
    fn reasons_to_close() {
        let reason = |version: &str, fields: &str| {
            let head = format!("GET / {version}\r\nHost: a\r\n{fields}\r\n");
            let head = parse_request(head.as_bytes(), &HeadLimits::REQUEST).unwrap();
            close_reason_of_request(&head)
        };
        assert_eq!(reason("HTTP/1.1", ""), None);
        let close = "Connection: keep-alive, close\r\n";
        assert_eq!(reason("HTTP/1.1", close), Some(CloseReason::PeerAsked));
        assert_eq!(reason("HTTP/1.0", ""), Some(CloseReason::Http10));
        assert_eq!(reason("HTTP/1.0", "Connection: keep-alive\r\n"), None);
    }

    #[test]
    fn a_request_for_a_tunnel_ends_the_connection() {
        for (line, reason) in [
            ("CONNECT h:1 HTTP/1.1", Some(CloseReason::Tunnel)),
            ("GET / HTTP/1.1", None),
            ("GET / HTTP/1.0", Some(CloseReason::Http10)),
        ] {
            let head = format!("{line}\r\nHost: h\r\n\r\n");
            let head = parse_request(head.as_bytes(), &HeadLimits::REQUEST).unwrap();
            assert_eq!(close_reason_of_request(&head), reason, "{line}");
        }
    }

    #[test]
    fn a_response_that_announces_a_body_it_cannot_have_is_the_last() {
        let close = Some(CloseReason::BadMessage);
        for (start, fields, reason) in [
            ("204 No Content", "", None),
            ("204 No Content", "Content-Length: 0\r\n", None),
            ("204 No Content", "Content-Length: 5\r\n", close),
            ("204 No Content", CHUNKED, close),
            ("304 Not Modified", "Content-Length: 5\r\n", None),
            ("304 Not Modified", CHUNKED, None),
            ("200 OK", "Content-Length: 5\r\n", None),
        ] {
            let head = format!("HTTP/1.1 {start}\r\n{fields}\r\n");
            let head = parse_response(head.as_bytes(), &HeadLimits::RESPONSE).unwrap();
            let framing = response_framing(&Method::GET, &head).unwrap();
            let found = close_reason_of_response(&head, framing);
            assert_eq!(found, reason, "{start} {fields}");
        }
    }
}
