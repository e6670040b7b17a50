//! JSON in tests, with the feature `json`.
//!
//! ```text
//!   app.post(path).json(&value).send().json::<T>()
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::http::json::to_bytes;
use crate::testing::answer::Answer;
use crate::testing::ask::Ask;

impl Ask<'_> {
    /// With this value as JSON, and its `Content-Type`.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::server::Json;
    /// use roundtrip::testing::App;
    ///
    /// let app = App::new(Router::new().post("/count", async |mut request: Request| {
    ///     let words: Vec<String> = request.json().await?;
    ///     Ok::<_, roundtrip::Error>(Json(BTreeMap::from([("count", words.len())])))
    /// }));
    /// let answer = app.post("/count").json(&["a", "b"]).send();
    /// assert_eq!(answer.json::<BTreeMap<String, usize>>()["count"], 2);
    /// ```
    ///
    /// # Panics
    ///
    /// The value cannot be written as JSON.
    #[track_caller]
    pub fn json<T: Serialize + ?Sized>(self, value: &T) -> Self {
        match to_bytes(value) {
            Ok(bytes) => self.header("Content-Type", "application/json").body(bytes),
            Err(error) => panic!("{error:#}"),
        }
    }
}

impl Answer {
    /// The body, read as JSON.
    ///
    /// # Panics
    ///
    /// It is no JSON, or not of this shape; the text shows the body.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(self.bytes()) {
            Ok(value) => value,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(self.bytes())),
        }
    }
}
