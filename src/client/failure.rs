//! What went wrong with an exchange, as the error that the caller sees.
//!
//! ```text
//!   Failure ──► kind, phase, one line with the knob, URL without password, cause
//! ```

use std::io;
use std::time::Duration;

use url::Url;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::h1::client::FetchError;
use crate::h1::client::SendError;
use crate::http::close_reason::CloseReason;
use crate::http::head::HeadError;
use crate::http::response::reading::named;

/// Why an exchange ended without its response, or within the body of it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The response breaks a rule, or ends where it should not.
    Response(FetchError),
    /// The request cannot be sent as it is.
    Request(SendError),
    /// The body that the caller gave ended with an error.
    RequestBody(Error),
    /// A hook of the caller said no.
    Refused(Error),
    /// The answer is 417, and the request goes out again without its `Expect`.
    Expectation,
    /// The connection was cut: an error of the system, or our own side closed it.
    Connection(Option<io::Error>),
    /// Nothing was sent for so long.
    WriteTimeout(Duration),
    /// No response head came for so long.
    HeadTimeout(Duration),
    /// No byte of the body came for so long.
    BodyTimeout(Duration),
    /// The caller's time for all of it ran out, in this phase.
    Total(Duration, Phase),
}

impl Failure {
    /// True when the other side, or the way to it, was lost: a reused connection that ends like
    /// this without a byte of response was closed by the server while the request was on its way.
    pub(super) fn is_lost_connection(&self) -> bool {
        matches!(
            self,
            Failure::Response(FetchError::NoResponse) | Failure::Connection(Some(_))
        )
    }

    /// Why its connection is not used again.
    pub(super) fn close_reason(&self) -> CloseReason {
        match self {
            Failure::Response(FetchError::NoResponse | FetchError::HeadCut)
            | Failure::Response(FetchError::BodyCut { .. }) => CloseReason::PeerClosed,
            Failure::Response(_) => CloseReason::BadMessage,
            Failure::Request(_) | Failure::RequestBody(_) | Failure::Refused(_) => {
                CloseReason::Canceled
            }
            Failure::Expectation => CloseReason::ContinueUnsent,
            Failure::Connection(_) => CloseReason::Failed,
            Failure::WriteTimeout(_)
            | Failure::HeadTimeout(_)
            | Failure::BodyTimeout(_)
            | Failure::Total(..) => CloseReason::Timeout,
        }
    }

    /// The public error. `phase` is what was being done, where the failure itself does not tell.
    pub(super) fn into_error(self, phase: Phase, url: Option<&Url>) -> Error {
        let error = match self {
            Failure::Response(error) => of_response(error).in_phase(phase),
            Failure::Request(error) => {
                Error::new(ErrorKind::Invalid, error.to_string()).in_phase(Phase::Send)
            }
            Failure::RequestBody(error) => {
                Error::new(error.kind(), "the request body failed while it was sent")
                    .in_phase(Phase::RequestBody)
                    .because(error)
            }
            Failure::Refused(error) => match error.phase() {
                Some(_) => error,
                None => error.in_phase(phase),
            },
            Failure::Expectation => {
                Error::new(ErrorKind::Protocol, "the server does not know Expect").in_phase(phase)
            }
            Failure::Connection(Some(cause)) => {
                Error::new(ErrorKind::Closed, "the connection was lost")
                    .in_phase(phase)
                    .because(cause)
            }
            Failure::Connection(None) => Error::new(
                ErrorKind::Shutdown,
                "the connection was closed by our own side",
            )
            .in_phase(phase),
            Failure::WriteTimeout(after) => timeout(
                format!("nothing could be sent for {after:?} (write_timeout)"),
                Phase::Send,
            ),
            Failure::HeadTimeout(after) => timeout(
                format!("no response head within {after:?} (response_head_timeout)"),
                Phase::ResponseHead,
            ),
            Failure::BodyTimeout(after) => timeout(
                format!("nothing of the response body came for {after:?} (body_timeout)"),
                Phase::ResponseBody,
            ),
            Failure::Total(after, phase) => total_timeout(after, phase),
        };
        named(error, url)
    }
}

/// The time that the caller gave for everything ran out.
pub(super) fn total_timeout(after: Duration, phase: Phase) -> Error {
    let doing = match phase {
        Phase::Pool => "waiting for a connection",
        Phase::Resolve | Phase::Connect => "connecting",
        Phase::Send => "sending the request",
        Phase::RequestBody => "waiting for the request body",
        Phase::ResponseBody => "receiving the response body",
        _ => "waiting for the response head",
    };
    timeout(
        format!("the request took longer than its time-out of {after:?}, while {doing}"),
        phase,
    )
}

/// The time for getting a connection ran out.
pub(super) fn no_connection(after: Duration, knob: &str, phase: Phase) -> Error {
    timeout(format!("no connection within {after:?} ({knob})"), phase)
}

fn timeout(text: String, phase: Phase) -> Error {
    Error::new(ErrorKind::Timeout, text).in_phase(phase)
}

fn of_response(error: FetchError) -> Error {
    let kind = match error {
        FetchError::NoResponse | FetchError::HeadCut | FetchError::BodyCut { .. } => {
            ErrorKind::Closed
        }
        FetchError::TooManyInformational => ErrorKind::Limit,
        FetchError::Head(error) if error.is_limit() => ErrorKind::Limit,
        FetchError::Chunk(error) if error.is_limit => ErrorKind::Limit,
        _ => ErrorKind::Protocol,
    };
    let text = match error {
        FetchError::Head(error) if error.is_limit() => {
            format!("the response head is too large: {error}{}", setting(error))
        }
        FetchError::Chunk(error) if error.is_limit => {
            format!("the response body is over a limit: {error}")
        }
        error => error.to_string(),
    };
    Error::new(kind, text)
}

/// The setting that helps, where there is one, as it stands behind the rule that was broken.
pub(super) fn setting(error: HeadError) -> &'static str {
    if error.is_of_fields() {
        " (response_header_count_max)"
    } else if error.is_of_bytes() {
        " (response_head_bytes_max)"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::response::reading::redacted;

    #[test]
    fn passwords_are_not_shown() {
        let url = Url::parse("http://me:secret@a.example/x").unwrap();
        assert_eq!(redacted(&url), "http://me:***@a.example/x");
        let error =
            Failure::HeadTimeout(Duration::from_secs(1)).into_error(Phase::Send, Some(&url));
        assert!(error.is_timeout());
        assert_eq!(error.phase(), Some(Phase::ResponseHead));
        assert!(!error.to_string().contains("secret"));
        assert!(error.to_string().contains("response_head_timeout"));
    }

    #[test]
    fn kinds_follow_from_the_cause() {
        let kind = |failure: Failure| failure.into_error(Phase::ResponseHead, None).kind();
        assert_eq!(
            kind(Failure::Response(FetchError::NoResponse)),
            ErrorKind::Closed
        );
        assert_eq!(
            kind(Failure::Response(FetchError::Unsolicited)),
            ErrorKind::Protocol
        );
        assert_eq!(
            kind(Failure::Request(SendError::Target)),
            ErrorKind::Invalid
        );
        let reset = io::Error::from_raw_os_error(104);
        assert_eq!(kind(Failure::Connection(Some(reset))), ErrorKind::Closed);
    }
}
