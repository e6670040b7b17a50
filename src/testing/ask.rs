//! A request of a test, as it is put together.
//!
//! ```text
//!   app.post(path).header(name, value).body(body).send() ──► Answer
//! ```

use std::fmt;
use std::time::Duration;

use crate::client::RequestBuilder;
use crate::error::Error;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::response::Response;
use crate::testing::answer::Answer;
use crate::testing::app::App;

/// Bytes of a response body that an answer holds.
const BODY_BYTES_MAX: usize = 1 << 30;

/// A request that is put together.
#[must_use = "a request is sent with send()"]
pub struct Ask<'app> {
    pub(super) app: &'app App,
    pub(super) builder: RequestBuilder,
    /// For people: method and target.
    pub(super) what: String,
}

impl fmt::Debug for Ask<'_> {
    /// The method and the target.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ask").field(&self.what).finish()
    }
}

impl Ask<'_> {
    /// With one more header field.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.builder = self.builder.header(name, value);
        self
    }

    /// With this body: bytes, text, a stream. A length that is known is announced, anything else is
    /// sent in chunks.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.builder = self.builder.body(body);
        self
    }

    /// With these fields as a form (`application/x-www-form-urlencoded`).
    pub fn form<N: AsRef<str>, V: AsRef<str>>(
        self,
        fields: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        self.header("Content-Type", "application/x-www-form-urlencoded")
            .body(form.finish())
    }

    /// With a name and password (RFC 7617).
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.builder = self.builder.basic_auth(user, password);
        self
    }

    /// With a token (RFC 6750).
    pub fn bearer_auth(mut self, token: &str) -> Self {
        self.builder = self.builder.bearer_auth(token);
        self
    }

    /// How long the client waits, on the clock of the app; then it goes away. A day by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.builder = self.builder.timeout(timeout);
        self
    }

    /// Sends it, and lets time pass until the whole response is there. A redirect is returned and
    /// not followed.
    ///
    /// # Panics
    ///
    /// There is none: the request is invalid, the connection ended, the time-out passed. A handler
    /// panicked.
    #[track_caller]
    pub fn send(self) -> Answer {
        let what = self.what.clone();
        match self.try_send() {
            Ok(answer) => answer,
            Err(error) => panic!("{what}: {error:#}"),
        }
    }

    /// As [`Ask::send`], for where no response is what is expected.
    ///
    /// # Errors
    ///
    /// Those of [`RequestBuilder::send`] and of the response's body.
    ///
    /// # Panics
    ///
    /// A handler panicked.
    #[track_caller]
    pub fn try_send(self) -> Result<Answer, Error> {
        let builder = self.builder;
        let ended = self.app.try_run(async {
            let response = builder.send().await?;
            whole(response).await
        });
        self.app.check_panics();
        ended
    }
}

/// A response with all of its body.
async fn whole(mut response: Response) -> Result<Answer> {
    let (status, headers) = (response.status_code(), response.headers().clone());
    let mut collected = Vec::new();
    while let Some(chunk) = response.body_mut().chunk().await {
        collected.extend_from_slice(&chunk?);
        assert!(collected.len() <= BODY_BYTES_MAX, "a body without an end");
    }
    let trailers = response.body_mut().take_trailers();
    Ok(Answer {
        status,
        headers,
        body: collected.into(),
        trailers,
    })
}
