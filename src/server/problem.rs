//! Errors that programs read: `application/problem+json` (RFC 9457), with the feature `json`.
//!
//! ```text
//!   Problem::new(status)                {
//!       .kind("https://…/sold-out")       "type": "https://…/sold-out",
//!       .title("Sold out")         ──►    "title": "Sold out",
//!       .detail("the last one went")      "status": 409,
//!       .with("item", 7)                  "detail": "the last one went", "item": 7 }
//! ```

use ::http::StatusCode;
use serde::Serialize;
use serde_json::Map;
use serde_json::Value;

use crate::error::Error;
use crate::http::json::to_bytes;
use crate::http::response::Response;
use crate::server::into_response::IntoResponse;
use crate::server::into_response::answer_of;
use crate::server::into_response::told_when_to_retry;

/// What went wrong, for a program and for the person before it. It tells nothing that is not for the
/// client.
///
/// ```
/// use roundtrip::IntoResponse;
/// use roundtrip::Response;
/// use roundtrip::server::Problem;
///
/// enum ShopError {
///     SoldOut { item: u32 },
/// }
///
/// impl IntoResponse for ShopError {
///     fn into_response(self) -> Response {
///         match self {
///             ShopError::SoldOut { item } => Problem::new(roundtrip::StatusCode::CONFLICT)
///                 .kind("https://shop.example/problems/sold-out")
///                 .title("Sold out")
///                 .with("item", item)
///                 .into_response(),
///         }
///     }
/// }
///
/// let response = ShopError::SoldOut { item: 7 }.into_response();
/// let text = response.body_ref().as_bytes().unwrap();
/// assert_eq!(
///     std::str::from_utf8(text).unwrap(),
///     r#"{"item":7,"status":409,"title":"Sold out","type":"https://shop.example/problems/sold-out"}"#
/// );
/// ```
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
    error: Option<Error>,
}

/// Members that RFC 9457 §3.1 defines.
const OWN: [&str; 5] = ["type", "title", "status", "detail", "instance"];

impl Problem {
    /// A problem that is no more than its status: its title is that of the status (RFC 9457
    /// §4.2.1).
    pub fn new(status: StatusCode) -> Problem {
        let mut members = Map::new();
        members.insert("status".into(), status.as_u16().into());
        if let Some(reason) = status.canonical_reason() {
            members.insert("title".into(), reason.into());
        }
        Problem {
            status,
            members,
            error: None,
        }
    }

    /// Which kind of problem it is: a URI, best one under which a page explains it (§3.1.1).
    #[must_use]
    pub fn kind(self, uri: impl Into<String>) -> Problem {
        self.member("type", uri.into().into())
    }

    /// What kind of problem it is, in a few words that are the same each time (§3.1.3).
    #[must_use]
    pub fn title(self, text: impl Into<String>) -> Problem {
        self.member("title", text.into().into())
    }

    /// What is the matter this time, and how to put it right (§3.1.4).
    #[must_use]
    pub fn detail(self, text: impl Into<String>) -> Problem {
        self.member("detail", text.into().into())
    }

    /// Which occurrence it is: a URI (§3.1.5).
    #[must_use]
    pub fn instance(self, uri: impl Into<String>) -> Problem {
        self.member("instance", uri.into().into())
    }

    /// One more member (§3.2): what programs go by instead of reading the texts. A value that
    /// cannot be written as JSON is left out.
    ///
    /// # Panics
    ///
    /// The name is one of those that have a meaning of their own: `type`, `title`, `status`,
    /// `detail`, `instance`.
    #[must_use]
    pub fn with(self, name: impl Into<String>, value: impl Serialize) -> Problem {
        let name = name.into();
        assert!(
            !OWN.contains(&name.as_str()),
            "{name:?} has a method of its own"
        );
        match serde_json::to_value(value) {
            Ok(value) => self.member(&name, value),
            Err(_) => self,
        }
    }

    fn member(mut self, name: &str, value: Value) -> Problem {
        self.members.insert(name.into(), value);
        self
    }
}

/// What a client of the server may know of an error: as [`Error::answered`] says, with its text as
/// the detail; else the status alone. The response keeps the error: [`Response::error`].
impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let (status, detail) = answer_of(&error);
        let problem = match detail {
            Some(detail) => Problem::new(status).detail(detail),
            None => Problem::new(status),
        };
        Problem {
            error: Some(error),
            ..problem
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let bytes = match to_bytes(&self.members) {
            Ok(bytes) => bytes,
            Err(error) => return error.into_response(),
        };
        let response = Response::new()
            .status(self.status)
            .content_type("application/problem+json")
            .header("X-Content-Type-Options", "nosniff")
            .body(bytes);
        match self.error {
            Some(error) => told_when_to_retry(response).with_error(error),
            None => response,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn read(problem: impl Into<Problem>) -> (u16, Value) {
        let response = problem.into().into_response();
        let content_type = response.headers().get("content-type");
        assert_eq!(content_type, Some("application/problem+json"));
        let body = response.body_ref().as_bytes().unwrap();
        let value = serde_json::from_slice(body).unwrap();
        (response.status_code().as_u16(), value)
    }

    #[test]
    fn members() {
        let (status, value) = read(Problem::new(StatusCode::NOT_FOUND));
        assert_eq!(status, 404);
        assert_eq!(
            value,
            serde_json::json!({"status": 404, "title": "Not Found"})
        );
        let problem = Problem::new(StatusCode::FORBIDDEN)
            .kind("https://a.example/credit")
            .title("Not enough credit")
            .detail("\"30\" is left\n")
            .instance("/account/12345/msgs/abc")
            .with("balance", 30)
            .with("accounts", ["/a", "/b"]);
        let expected = serde_json::json!({
            "type": "https://a.example/credit",
            "title": "Not enough credit",
            "status": 403,
            "detail": "\"30\" is left\n",
            "instance": "/account/12345/msgs/abc",
            "balance": 30,
            "accounts": ["/a", "/b"],
        });
        assert_eq!(read(problem), (403, expected));
    }

    #[test]
    #[should_panic(expected = "has a method of its own")]
    fn the_status_is_said_once() {
        let _ = Problem::new(StatusCode::FORBIDDEN).with("status", 200);
    }

    #[test]
    fn errors_tell_what_they_may() {
        let error = || Error::new(ErrorKind::Timeout, "the database is slow");
        let (status, value) = read(error());
        assert_eq!((status, value.get("detail")), (504, None));
        let kept = Problem::from(error()).into_response();
        assert_eq!(kept.error().unwrap().kind(), ErrorKind::Timeout);
        let told = error().answered(StatusCode::SERVICE_UNAVAILABLE);
        let (status, value) = read(told);
        assert_eq!(
            (status, &value["detail"]),
            (503, &"the database is slow".into())
        );
    }
}
