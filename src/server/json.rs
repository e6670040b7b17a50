//! Responses as JSON (RFC 8259), with the feature `json`.
//!
//! ```text
//!   Json(value) ─► 200, application/json
//!               └► 500 where the value cannot be written
//! ```

use serde::Serialize;

use crate::http::json::to_bytes;
use crate::http::response::Response;
use crate::server::into_response::IntoResponse;

/// A value that is sent as JSON.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::server::Json;
///
/// #[derive(serde::Serialize)]
/// struct User {
///     name: String,
/// }
///
/// fn user(request: &Request) -> Json<User> {
///     let name = request.param("name").to_owned();
///     Json(User { name })
/// }
///
/// let router = Router::new().get("/users/{name}", user);
/// # let _ = router;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Json<T>(pub T);

/// 500 where the value cannot be written, which is a mistake in its type.
impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match to_bytes(&self.0) {
            Ok(bytes) => Response::new().content_type("application/json").body(bytes),
            Err(error) => error.into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn values() {
        let response = Json([1, 2]).into_response();
        assert_eq!(response.status_code(), 200);
        assert_eq!(
            response.headers().get("content-type"),
            Some("application/json")
        );
        assert_eq!(response.body_ref().as_bytes(), Some(&b"[1,2]"[..]));
        let bad = BTreeMap::from([((1, 2), 3)]);
        let response = Json(bad).into_response();
        assert_eq!(response.status_code(), 500);
        let body = response.body_ref().as_bytes();
        assert_eq!(body, Some(&b"Internal Server Error"[..]));
    }
}
