//! What the body of a request says: text, or a form as `application/x-www-form-urlencoded`.
//!
//! ```text
//!   request.form().await ──► type ──► length, 2 MiB ──► Pairs
//!                             └ 415     └ 413            └ 400
//! ```

use ::http::StatusCode;
use bytes::Bytes;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body;
use crate::http::field::Parameterized;
use crate::http::query::Pairs;
use crate::http::request::Request;
use crate::http::token;
use crate::limits::BODY_COLLECT_BYTES_MAX;

impl Request {
    /// The names and values of a form that was sent as `application/x-www-form-urlencoded`, of up
    /// to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]). Those of the query are apart:
    /// [`Request::query_pairs`]. Takes the body.
    ///
    /// ```
    /// use roundtrip::Request;
    ///
    /// async fn sign_up(mut request: Request) -> roundtrip::Result<String> {
    ///     let form = request.form().await?;
    ///     let name = form.get("name").unwrap_or_default();
    ///     let age: u8 = form.get_as("age")?.unwrap_or(0);
    ///     Ok(format!("{name} is {age}"))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Returned by a handler they are answered: 415 for another type or character set, 413 for a
    /// form that is too long, 400 for one that readers could read differently or with more than
    /// 10,000 pairs ([`InvalidPairs`]), or whose body did not arrive. One in another character set is
    /// read with [`Request::text`] and [`decode`](crate::http::query::decode).
    ///
    /// [`InvalidPairs`]: crate::http::query::InvalidPairs
    pub async fn form(&mut self) -> Result<Pairs<'static>> {
        self.form_within(BODY_COLLECT_BYTES_MAX).await
    }

    /// As [`Request::form`], of up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Request::form`].
    pub async fn form_within(&mut self, limit_bytes: usize) -> Result<Pairs<'static>> {
        self.check_form_type()?;
        let bytes = self.bytes(limit_bytes).await?;
        let text = String::from_utf8(bytes.into()).map_err(|_| no_text())?;
        Ok(Pairs::parse(text)?)
    }

    /// All of the body, which is taken.
    ///
    /// # Errors
    ///
    /// It is longer than `limit_bytes`, which is answered 413; it did not arrive; it was taken
    /// before.
    pub async fn bytes(&mut self, limit_bytes: usize) -> Result<Bytes> {
        if self.body_was_taken() {
            return Err(was_taken());
        }
        let collected = self.take_body().collect(limit_bytes).await;
        collected.map_err(|error| match error.phase() {
            None if error.is_limit() => too_long(limit_bytes),
            _ => error,
        })
    }

    /// All of the body as UTF-8 text, up to 2 MiB ([`BODY_COLLECT_BYTES_MAX`]). Takes the body.
    ///
    /// # Errors
    ///
    /// As for [`Request::bytes`]; it is not UTF-8, which is answered 400.
    pub async fn text(&mut self) -> Result<String> {
        let bytes = self.bytes(BODY_COLLECT_BYTES_MAX).await?;
        body::utf8_text(bytes).map_err(|_| no_text())
    }

    /// True when the body is gone that the head announced: a second look at it would find an empty
    /// one.
    pub(super) fn body_was_taken(&self) -> bool {
        let length = self.headers().get_all("content-length").next();
        let announced = length.and_then(token::decimal).unwrap_or(0);
        announced > 0 && self.body().is_empty()
    }

    fn check_form_type(&self) -> Result<()> {
        const FORM: &str = "application/x-www-form-urlencoded";
        let is_form = |found: &Parameterized<'_>| {
            let charset = found.get("charset").unwrap_or("utf-8");
            let is_utf8 = ["utf-8", "utf8", "us-ascii"]
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known));
            found.value.eq_ignore_ascii_case(FORM) && is_utf8
        };
        match Parameterized::of(self.headers(), "content-type") {
            Ok(Some(found)) if is_form(&found) => Ok(()),
            _ => Err(unsupported(FORM)),
        }
    }
}

fn body_error(kind: ErrorKind, text: String, status: StatusCode) -> Error {
    Error::new(kind, text)
        .in_phase(Phase::RequestBody)
        .answered(status)
}

/// The error of a body of another type (RFC 9110 §15.5.16).
pub(super) fn unsupported(expected: &str) -> Error {
    let text = format!("the body is not {expected}");
    body_error(
        ErrorKind::Protocol,
        text,
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
    )
}

/// The error of a handler that wants the body twice.
pub(super) fn was_taken() -> Error {
    Error::new(
        ErrorKind::Invalid,
        "the body of the request was read or taken before",
    )
}

fn too_long(limit_bytes: usize) -> Error {
    body_error(
        ErrorKind::Limit,
        format!("the body is longer than {limit_bytes} bytes, as the handler takes it"),
        StatusCode::PAYLOAD_TOO_LARGE,
    )
}

fn no_text() -> Error {
    body_error(
        ErrorKind::Protocol,
        "the body is not UTF-8 text".into(),
        StatusCode::BAD_REQUEST,
    )
}

#[cfg(test)]
mod tests {
    use std::task::Context;
    use std::task::Poll;
    use std::task::Waker;

    use super::*;
    use crate::http::body::Body;

    /// Runs a future that never has to wait.
    fn ready<T>(future: impl Future<Output = T>) -> T {
        let mut cx = Context::from_waker(Waker::noop());
        match std::pin::pin!(future).as_mut().poll(&mut cx) {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("the future waits"),
        }
    }

    fn request(content_type: &[&str], body: impl Into<Body>) -> Request {
        let mut request = Request::for_target("POST", "/?a=query").unwrap();
        for value in content_type {
            request.headers_mut().append("Content-Type", value).unwrap();
        }
        request.with_body(body)
    }

    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn forms_of_all_types() {
        for content_type in [
            FORM,
            "Application/X-WWW-Form-URLencoded",
            "application/x-www-form-urlencoded; charset=UTF-8",
            "application/x-www-form-urlencoded;charset=\"utf-8\";x=y",
        ] {
            let mut request = request(&[content_type], "a=1&b=%C3%A4&a=2");
            let form = ready(request.form()).unwrap();
            assert_eq!(form.get("a"), Some("1"), "{content_type}");
            assert_eq!(form.get("b"), Some("\u{e4}"));
        }
        let mut empty = request(&[FORM], "");
        assert!(ready(empty.form()).unwrap().is_empty());
        assert!(ready(empty.form()).unwrap().is_empty());
        let mut raw = request(&[FORM], "a=\u{e4}");
        let form = ready(raw.form()).unwrap();
        assert_eq!(form.get("a"), Some("\u{e4}"));
    }

    #[test]
    fn each_failure_has_its_status() {
        let check = |types: &[&str], body: &[u8], status: u16| {
            let mut request = request(types, body.to_vec());
            let error = ready(request.form_within(20)).unwrap_err();
            let found = error.answer().map(|status| status.as_u16());
            assert_eq!(found, Some(status), "{types:?}: {error}");
        };
        check(&[], b"a=1", 415);
        check(&["text/plain"], b"a=1", 415);
        check(&["multipart/form-data; boundary=a"], b"a=1", 415);
        check(&[FORM, FORM], b"a=1", 415);
        check(
            &["application/x-www-form-urlencoded; charset=latin1"],
            b"a=1",
            415,
        );
        check(&["application/x-www-form-urlencoded; x"], b"a=1", 415);
        check(&[FORM], b"a=1;b=2", 400);
        check(&[FORM], b"a=%4", 400);
        check(&[FORM], b"a=%ff", 400);
        check(&[FORM], b"a=\xff", 400);
        check(&[FORM], b"a=1234567890123456789", 413);
    }

    #[test]
    fn a_body_is_read_once() {
        let with_length = |body: &'static str| {
            let request = request(&[FORM], body);
            let length = body.len().to_string();
            request.with_header("Content-Length", length).unwrap()
        };
        let mut request = with_length("a=1");
        assert_eq!(ready(request.form()).unwrap().len(), 1);
        let error = ready(request.form()).unwrap_err();
        assert_eq!((error.kind(), error.answer()), (ErrorKind::Invalid, None));
        assert!(ready(request.text()).is_err());
        let mut request = with_length("");
        assert!(ready(request.form()).unwrap().is_empty());
        assert_eq!(ready(request.text()).unwrap(), "");
    }

    #[test]
    fn the_text_and_its_bound() {
        let mut text = request(&[], "abc");
        assert_eq!(ready(text.text()).unwrap(), "abc");
        let mut bad = request(&[], vec![0xff]);
        let error = ready(bad.text()).unwrap_err();
        assert_eq!(error.answer(), Some(StatusCode::BAD_REQUEST));
        let mut long = request(&[], "abc");
        let error = ready(long.bytes(2)).unwrap_err();
        assert!(error.is_limit() && error.to_string().contains("2 bytes"));
        assert_eq!(error.answer(), Some(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
