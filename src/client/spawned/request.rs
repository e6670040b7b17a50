//! A request of a spawned client, as it is put together, and how it goes to the client's thread.
//!
//! ```text
//!   RequestBuilder<spawned::Client> ─► Draft: Parts, Body ── mailbox ──► Request, on the other thread
//!                      ▲                 │
//!                      └─ a Request, for each change
//! ```
//! A [`Draft`] is all of a request that may change threads. For a change it becomes a request of the
//! calling thread and is taken apart again, so that there is one builder for all clients; that moves
//! a few pointers, since the memory of requests is used again.

use std::mem;

use bytes::Bytes;
use futures_core::Stream;
use url::Url;

use crate::client;
use crate::client::RequestOptions;
use crate::client::request::held;
use crate::client::request::held::Builds;
use crate::client::spawned::Body;
use crate::client::spawned::Client;
use crate::client::spawned::InFlight;
use crate::error::Error;
use crate::error::Result;
use crate::http::body;
use crate::http::request::Parts;
use crate::http::request::Request;

/// A request that is put together, for a client of this module; `Send` at every step.
pub type RequestBuilder = client::RequestBuilder<Client>;

/// All of a request that may change threads.
#[derive(Debug)]
pub struct Draft {
    parts: Parts,
    body: Body,
}

impl Builds for Client {
    type Draft = Draft;
    type Body = Body;
}

impl RequestBuilder {
    /// Sends it when it is polled; returns with the head of the response. Works on every executor.
    ///
    /// # Errors
    ///
    /// The URL or a header field is invalid; those of [`client::Client::send`]; of kind `Limit`, when
    /// 32,768 requests of this client are under way ([`SPAWNED_REQUESTS_MAX`]); of kind `Shutdown`, when
    /// the client's thread has ended by a panic.
    ///
    /// [`SPAWNED_REQUESTS_MAX`]: crate::limits::SPAWNED_REQUESTS_MAX
    pub fn send(self) -> InFlight {
        InFlight::new(self.into_parts())
    }
}

impl Draft {
    /// Of a request that was built.
    pub(super) fn try_of(request: Request) -> Result<Draft> {
        let (parts, body) = Parts::take(request);
        let body = body.try_into()?;
        Ok(Draft { parts, body })
    }

    /// Where the request goes.
    pub(super) fn url(&self) -> Option<&Url> {
        self.parts.url()
    }

    /// The options that travelled with the request.
    pub(super) fn take_options(&mut self) -> RequestOptions {
        let options = self.parts.extensions_mut().remove::<RequestOptions>();
        options.unwrap_or_default()
    }
}

impl held::Draft for Draft {
    type Body = Body;

    fn of(request: Request) -> Draft {
        let (parts, _) = Parts::take(request);
        let body = Body::empty();
        Draft { parts, body }
    }

    fn change<E: Into<Error>>(
        &mut self,
        change: impl FnOnce(&mut Request) -> Result<(), E>,
    ) -> Result<()> {
        let (body, kept) = match mem::take(&mut self.body).into_whole() {
            Ok(body) => (body, None),
            Err(kept) => (body::Body::empty(), Some(kept)),
        };
        let mut request = mem::take(&mut self.parts).into_request(body);
        change(&mut request).map_err(E::into)?;
        *self = Draft::try_of(request)?;
        if let Some(kept) = kept
            && self.body.is_empty()
        {
            self.body = kept;
        }
        Ok(())
    }

    fn set_body(&mut self, body: Body) {
        self.body = body;
    }

    fn try_clone(&self) -> Option<Draft> {
        Some(Draft {
            body: self.body.try_clone()?,
            parts: self.parts.clone(),
        })
    }

    fn into_request(self) -> Request {
        self.parts.into_request(self.body.into())
    }
}

/// A body that is made while it is sent, of this length where that is known.
pub(super) fn made(
    length: Option<u64>,
    stream: impl Stream<Item = Result<Bytes>> + 'static,
) -> body::Body {
    let body = body::Body::stream(stream);
    match length {
        Some(length) => body.with_length(length),
        None => body,
    }
}
