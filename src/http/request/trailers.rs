//! Fields behind the body of a client's request (RFC 9110 §6.5).
//!
//! ```text
//!   Transfer-Encoding: chunked │ Trailer: names │ … body … │ 0 │ trailers
//! ```

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::headers::Headers;
use crate::http::known::is_forbidden_trailer;
use crate::http::request::Request;

impl Request {
    /// Adds a field that is sent behind the body, which is then sent in chunks whatever its length
    /// (RFC 9112 §7.1.2). For what is known only when the body has been made, the body brings its
    /// own: [`Sender::finish`](crate::http::incoming::Sender::finish). Few servers look at them.
    ///
    /// # Errors
    ///
    /// It is no field; or one that frames, routes or authenticates a message, or says how it is to
    /// be read, and thus cannot come behind it (RFC 9110 §6.5.1).
    pub fn add_trailer(&mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Result<()> {
        if is_forbidden_trailer(name.as_ref().as_bytes()) {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a field that frames, routes or authenticates a request is no trailer",
            ));
        }
        self.inner_mut().trailers.append(name, value)?;
        Ok(())
    }

    /// The trailer fields to be sent, `None` without any. Those of a received request are the
    /// body's: [`Body::take_trailers`](crate::Body::take_trailers).
    pub fn trailers(&self) -> Option<&Headers> {
        Some(&self.inner().trailers).filter(|trailers| !trailers.is_empty())
    }

    /// Sends no trailer fields but the body's own.
    pub fn remove_trailers(&mut self) {
        self.inner_mut().trailers.clear();
    }
}

#[cfg(test)]
mod tests {
    use ::http::Method;
    use url::Url;

    use super::*;

    fn request() -> Request {
        Request::new(Method::POST, Url::parse("http://h/").unwrap())
    }

    #[test]
    fn are_kept_in_copies_and_not_in_recycled_memory() {
        let mut one = request();
        assert!(one.trailers().is_none());
        one.add_trailer("X-Sum", "7").unwrap();
        let copy = one.try_clone().unwrap();
        one.remove_trailers();
        assert!(one.trailers().is_none());
        assert_eq!(copy.trailers().unwrap().get("x-sum"), Some("7"));
        drop((one, copy));
        assert!(request().trailers().is_none() && request().trailers().is_none());
    }

    #[test]
    fn what_must_come_first_is_refused() {
        for name in [
            "Content-Length",
            "host",
            "Authorization",
            "If-Match",
            "a b",
            "",
        ] {
            assert!(request().add_trailer(name, "7").is_err(), "{name}");
        }
        assert!(request().add_trailer("a", "\n").is_err());
    }
}
