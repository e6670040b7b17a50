//! CONNECT (RFC 9110 §9.3.6), without I/O: asks an HTTP proxy for a tunnel.
//!
//! ```text
//!   request ──► CONNECT host:port HTTP/1.1
//!   receive ──► 1xx, a bounded number ──► 2xx, and nothing behind it ──► the tunnel stands
//!                                    └──► any other status ───────────► ConnectError
//! ```

use std::fmt;

use ::http::StatusCode;

use crate::client::failure::setting;
use crate::client::proxy::handshake::Handshake;
use crate::h1::head::parse_response;
use crate::http::head::HeadError;
use crate::http::head::HeadLimits;
use crate::http::head::Scan;
use crate::http::head::Scanner;
use crate::limits::INFORMATIONAL_COUNT_MAX;

/// Fields that this side writes, or that would announce a body.
pub(super) const OWN_FIELDS: [&str; 4] =
    ["Host", "Content-Length", "Transfer-Encoding", "Connection"];

/// The answer to one CONNECT.
#[derive(Debug)]
pub(super) struct Connect {
    /// What all heads together may take.
    limits: HeadLimits,
    scanner: Scanner,
    /// The head, as far as it has come.
    head: Vec<u8>,
    informational_count: usize,
    /// True exactly when the proxy was given credentials.
    has_credentials: bool,
    is_done: bool,
}

/// Why there is no tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// The proxy refused.
    Status {
        status: StatusCode,
        has_credentials: bool,
    },
    /// Its answer is malformed, or too large.
    Head(HeadError),
    TooManyInformational,
    /// Bytes stand behind the head: of a server that nobody has spoken to yet.
    Leftover,
    /// The connection ended without an answer, or within it.
    Ended {
        within: bool,
    },
}

impl Connect {
    /// Writes the request for a tunnel to `authority` (`host:port`) to `out`. `fields` are further
    /// fields, as they are sent.
    pub(super) fn begin(
        authority: &str,
        authorization: Option<&str>,
        fields: &str,
        limits: HeadLimits,
        out: &mut Vec<u8>,
    ) -> Connect {
        let own = fields.lines().any(|line| {
            let name = line.split(':').next().unwrap_or_default();
            name.eq_ignore_ascii_case("Proxy-Authorization")
        });
        let mut write = |text: &str| out.extend_from_slice(text.as_bytes());
        write("CONNECT ");
        write(authority);
        write(" HTTP/1.1\r\nHost: ");
        write(authority);
        write("\r\n");
        if let Some(authorization) = authorization.filter(|_| !own) {
            write("Proxy-Authorization: ");
            write(authorization);
            write("\r\n");
        }
        write(fields);
        write("\r\n");
        Connect {
            limits,
            scanner: Scanner::response(limits),
            head: Vec::new(),
            informational_count: 0,
            has_credentials: own || authorization.is_some(),
            is_done: false,
        }
    }

    /// The head is complete: true when the tunnel stands, false when another head follows.
    fn take_head(&mut self) -> Result<bool, ConnectError> {
        let head = std::mem::take(&mut self.head);
        let parsed = parse_response(&head, &self.limits).map_err(ConnectError::Head)?;
        let status = parsed.status();
        if status.is_success() {
            return Ok(true);
        }
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(ConnectError::Status {
                status,
                has_credentials: self.has_credentials,
            });
        }
        self.informational_count += 1;
        if self.informational_count > INFORMATIONAL_COUNT_MAX {
            return Err(ConnectError::TooManyInformational);
        }
        self.limits.bytes = self.limits.bytes.saturating_sub(head.len());
        self.scanner = Scanner::response(self.limits);
        Ok(false)
    }
}

impl Handshake for Connect {
    type Error = ConnectError;

    fn receive(&mut self, mut input: &[u8], _: &mut Vec<u8>) -> Result<bool, ConnectError> {
        while !input.is_empty() {
            if self.is_done {
                return Err(ConnectError::Leftover);
            }
            match self.scanner.push(input).map_err(ConnectError::Head)? {
                Scan::Partial => {
                    self.head.extend_from_slice(input);
                    return Ok(false);
                }
                Scan::Complete { used } => {
                    self.head.extend_from_slice(&input[..used]);
                    input = &input[used..];
                }
            }
            self.is_done = self.take_head()?;
        }
        Ok(self.is_done)
    }

    fn ended(&self) -> ConnectError {
        let within = !self.head.is_empty() || self.informational_count > 0;
        ConnectError::Ended { within }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Status {
                status,
                has_credentials,
            } => {
                write!(f, "it answered {}", status.as_str())?;
                if let Some(reason) = status.canonical_reason() {
                    write!(f, " {reason}")?;
                }
                match (
                    *status == StatusCode::PROXY_AUTHENTICATION_REQUIRED,
                    has_credentials,
                ) {
                    (true, true) => f.write_str(": it refused the credentials"),
                    (true, false) => f.write_str(
                        ": it wants credentials, and its URL has none (http://user:password@host)",
                    ),
                    (false, _) => Ok(()),
                }
            }
            ConnectError::Head(error) if error.is_limit() => {
                write!(f, "its answer is too large: {error}{}", setting(*error))
            }
            ConnectError::Head(error) => write!(f, "its answer is malformed: {error}"),
            ConnectError::TooManyInformational => write!(
                f,
                "more than {INFORMATIONAL_COUNT_MAX} informational responses before the final one"
            ),
            ConnectError::Leftover => {
                f.write_str("bytes came behind its answer, before anything was sent")
            }
            ConnectError::Ended { within: true } => {
                f.write_str("it closed the connection within its answer")
            }
            ConnectError::Ended { within: false } => {
                f.write_str("it closed the connection without an answer")
            }
        }
    }
}

impl std::error::Error for ConnectError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::ProptestConfig;
    use proptest::prelude::any;
    use proptest::prop_assert_eq;
    use proptest::proptest;

    use super::*;
    use crate::client::proxy::handshake::tests::feed;

    const LIMITS: HeadLimits = HeadLimits {
        bytes: 200,
        ..HeadLimits::RESPONSE
    };

    fn machine() -> Connect {
        Connect::begin("a.example:443", None, "", LIMITS, &mut Vec::new())
    }

    /// What became of an answer, the same however it is split.
    #[track_caller]
    fn answered(answer: &[u8]) -> Result<bool, ConnectError> {
        let whole = feed(&mut machine(), answer, answer.len().max(1)).0;
        for size in [1, 2, 3, 7] {
            assert_eq!(
                feed(&mut machine(), answer, size).0,
                whole,
                "pieces of {size}"
            );
        }
        whole
    }

    #[test]
    fn what_is_asked() {
        let asked = |authorization, fields| {
            let mut out = Vec::new();
            Connect::begin("[::1]:443", authorization, fields, LIMITS, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            asked(None, ""),
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\r\n"
        );
        assert_eq!(
            asked(Some("Basic eA=="), "User-Agent: x\r\n"),
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\
             Proxy-Authorization: Basic eA==\r\nUser-Agent: x\r\n\r\n"
        );
        let own = asked(Some("Basic eA=="), "proxy-authorization: Bearer y\r\n");
        assert!(own.contains("Bearer y") && !own.contains("Basic"), "{own}");
    }

    #[test]
    fn any_success_is_a_tunnel() {
        for answer in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 Connection established\r\n\r\n",
            "HTTP/1.1 204 x\r\nA: b\r\n\r\n",
            // No body follows, whatever these say (RFC 9110 §9.3.6).
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(answered(answer.as_bytes()), Ok(true), "{answer}");
        }
    }

    #[test]
    fn refusals_name_the_status() {
        let text = |answer: &str| answered(answer.as_bytes()).unwrap_err().to_string();
        for (answer, said) in [
            ("HTTP/1.1 403 Hush\r\n\r\n", "it answered 403 Forbidden"),
            (
                "HTTP/1.1 503 x\r\n\r\n",
                "it answered 503 Service Unavailable",
            ),
            ("HTTP/1.1 599 x\r\n\r\n", "it answered 599"),
            (
                "HTTP/1.1 302 x\r\nLocation: /\r\n\r\n",
                "it answered 302 Found",
            ),
            (
                "HTTP/1.1 101 x\r\n\r\n",
                "it answered 101 Switching Protocols",
            ),
        ] {
            assert_eq!(text(answer), said);
        }
        let denied = b"HTTP/1.1 407 x\r\nProxy-Authenticate: Basic\r\n\r\nbody";
        let error = answered(denied).unwrap_err().to_string();
        assert!(
            error.contains("407") && error.contains("has none"),
            "{error}"
        );
        let mut with = Connect::begin("a:1", Some("Basic x"), "", LIMITS, &mut Vec::new());
        let error = feed(&mut with, denied, 9).0.unwrap_err().to_string();
        assert!(error.contains("refused the credentials"), "{error}");
    }

    #[test]
    fn hostile_answers_end_in_errors() {
        let error = |answer: &[u8]| answered(answer).unwrap_err();
        let is_head = |answer: &[u8]| matches!(error(answer), ConnectError::Head(_));
        assert_eq!(error(b"HTTP/1.1 200 OK\r\n\r\nx"), ConnectError::Leftover);
        assert!(is_head(b"\x16\x03\x01 tls"));
        assert!(is_head(b"SSH-2.0-OpenSSH\r\n\r\n"));
        assert!(is_head(b"HTTP/1.1 200 OK\n\n"));
        assert!(is_head(b"HTTP/1.1 2000 OK\r\n\r\n"));
        assert!(is_head(b"HTTP/2.0 200 OK\r\n\r\n"));
        // A head without an end, in lines and in one line.
        let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"A: b\r\n".repeat(100)].concat();
        assert!(
            error(&endless)
                .to_string()
                .contains("response_head_bytes_max")
        );
        let line = [b"HTTP/1.1 200 ".as_slice(), &b"x".repeat(300)].concat();
        assert!(error(&line).to_string().contains("response_head_bytes_max"));
        // All informational heads share one limit, and have one on their number.
        let long = b"HTTP/1.1 100 Continue\r\nA: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n\r\n".repeat(9);
        assert!(error(&long).to_string().contains("response_head_bytes_max"));
        let limits = HeadLimits::RESPONSE;
        let mut many = Connect::begin("a:1", None, "", limits, &mut Vec::new());
        let flood = b"HTTP/1.1 100 x\r\n\r\n".repeat(INFORMATIONAL_COUNT_MAX + 1);
        let error = feed(&mut many, &flood, 5).0.unwrap_err();
        assert_eq!(error, ConnectError::TooManyInformational);
    }

    #[test]
    fn an_early_end_is_told_at_every_byte() {
        let answer = b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        for len in 0..answer.len() {
            let mut machine = machine();
            assert_eq!(feed(&mut machine, &answer[..len], 1).0, Ok(false));
            assert_eq!(machine.ended(), ConnectError::Ended { within: len > 0 });
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_in_any_pieces(
            mut answer in proptest::collection::vec(any::<u8>(), 0..64),
            begins in 0..4usize,
            size in 1..9usize,
        ) {
            let begin = ["", "HTTP/1.1 200 ", "HTTP/1.1 100 x\r\n\r\n", "HTTP/1.1 407 x\r\nA:"];
            answer.splice(..0, begin[begins].bytes());
            let whole = feed(&mut machine(), &answer, answer.len().max(1));
            prop_assert_eq!(feed(&mut machine(), &answer, size), whole);
        }
    }
}
