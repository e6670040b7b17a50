//! What comes back, read by the thread that asked.
//!
//! ```text
//!   Response ─► status, headers, url …    as of every response (Deref)
//!            ─► bytes, text, json         at once
//!            ─► chunk, io::Read, copy_to  piece by piece; nothing is received meanwhile
//! ```

use std::io;
use std::io::Read;
use std::io::Write;
use std::ops::Deref;
use std::pin::pin;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use bytes::Buf;
use bytes::Bytes;
#[cfg(feature = "json")]
use serde::de::DeserializeOwned;

use crate::client::blocking::drive;
use crate::client::blocking::on_core;
use crate::error::Result;
use crate::http::body::Body;
use crate::http::response;
use crate::http::response::reading::unwritable;
use crate::runtime;
use crate::runtime::Process;

/// A response whose body is read by the calling thread, at once or as [`Read`]. Status, fields, URL
/// and times are those of [`roundtrip::Response`](crate::Response).
///
/// Dropped before its end, it closes its connection, or reads and drops what is there of the rest.
#[derive(Debug)]
pub struct Response {
    /// A child of it has not the core that receives.
    process: Process,
    response: response::Response,
    /// What `read` has not returned yet.
    unread: Bytes,
}

impl Response {
    pub(super) fn new(response: response::Response) -> Response {
        Response {
            process: Process::here(),
            response,
            unread: Bytes::new(),
        }
    }

    /// The response, or an error where the status is 4xx or 5xx.
    ///
    /// # Errors
    ///
    /// The status is one.
    pub fn error_for_status(self) -> Result<Response> {
        match self.response.error_for_status_ref() {
            Ok(_) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    ///
    /// The body cannot be completed.
    pub fn chunk(&mut self) -> Result<Option<Bytes>> {
        if !self.unread.is_empty() {
            return Ok(Some(std::mem::take(&mut self.unread)));
        }
        let is_at_hand = is_at_hand(&self.response);
        read(self.process, is_at_hand, self.response.chunk())
    }

    /// Writes what is left of the body, as it comes; says how many bytes.
    ///
    /// # Errors
    ///
    /// The body cannot be completed, or the writer fails; what came before was written.
    pub fn copy_to(&mut self, writer: &mut (impl Write + ?Sized)) -> Result<u64> {
        let mut bytes = 0;
        while let Some(chunk) = self.chunk()? {
            let written = writer.write_all(&chunk);
            written.map_err(|error| self.response.named(unwritable(error)))?;
            bytes += chunk.len() as u64;
        }
        Ok(bytes)
    }

    /// All of the body, up to 2 MiB, or what its client is set to
    /// ([`collect_bytes_max`](crate::client::ClientBuilder::collect_bytes_max)).
    ///
    /// # Errors
    ///
    /// The body is longer, or cannot be completed.
    pub fn bytes(self) -> Result<Bytes> {
        self.read_all(|response| response.bytes())
    }

    /// As [`Response::bytes`], up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`].
    pub fn bytes_within(self, limit_bytes: usize) -> Result<Bytes> {
        self.read_all(|response| response.bytes_within(limit_bytes))
    }

    /// All of the body as UTF-8 text without its byte order mark, up to the limit of
    /// [`Response::bytes`].
    ///
    /// # Errors
    ///
    /// The body is longer, is no text, or cannot be completed.
    pub fn text(self) -> Result<String> {
        self.read_all(|response| response.text())
    }

    /// As [`Response::text`], up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::text`].
    pub fn text_within(self, limit_bytes: usize) -> Result<String> {
        self.read_all(|response| response.text_within(limit_bytes))
    }

    /// All of the body as text, up to the limit of [`Response::bytes`], in the charset that it or its
    /// type declares, or else in `default`; see [`crate::Response::text_with_charset`].
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`]; the charset is not known, or the bytes are not text in it.
    #[cfg(feature = "charset")]
    pub fn text_with_charset(self, default: &str) -> Result<String> {
        self.read_all(|response| response.text_with_charset(default))
    }

    /// All of the body as JSON, up to the limit of [`Response::bytes`].
    ///
    /// # Errors
    ///
    /// As for [`Response::bytes`]; the bytes are not JSON, or have another shape than `T`.
    #[cfg(feature = "json")]
    pub fn json<T: DeserializeOwned>(self) -> Result<T> {
        self.read_all(|response| response.json())
    }

    /// As [`Response::json`], of up to `limit_bytes`.
    ///
    /// # Errors
    ///
    /// As for [`Response::json`].
    #[cfg(feature = "json")]
    pub fn json_within<T: DeserializeOwned>(self, limit_bytes: usize) -> Result<T> {
        self.read_all(|response| response.json_within(limit_bytes))
    }

    fn read_all<T, F: Future<Output = Result<T>>>(
        self,
        all: impl FnOnce(response::Response) -> F,
    ) -> Result<T> {
        let process = self.process;
        let response = self.into_inner();
        read(process, is_at_hand(&response), all(response))
    }

    /// The response without this thread's part, with what is left of its body: what a handler
    /// returns, or the body of another request of this thread.
    pub fn into_inner(mut self) -> response::Response {
        let mut response = std::mem::take(&mut self.response);
        let unread = std::mem::take(&mut self.unread);
        if !unread.is_empty() {
            let rest = response.take_body();
            response.set_body(behind(unread, rest));
        }
        response
    }
}

/// True when nothing has to be waited for.
fn is_at_hand(response: &response::Response) -> bool {
    response.body_ref().as_bytes().is_some()
}

/// Runs what reads a body, on the core only where it may have to wait.
fn read<T>(
    process: Process,
    is_at_hand: bool,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut future = pin!(future);
    if is_at_hand {
        let context = &mut Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = future.as_mut().poll(context) {
            return outcome;
        }
    }
    match process.is_here() {
        true => drive(future),
        false => Err(runtime::forked()),
    }
}

/// A body that begins with what was taken from it.
fn behind(first: Bytes, mut rest: Body) -> Body {
    let length = rest.length().map(|left| left + first.len() as u64);
    let body = Body::produce(async move |sender| {
        sender.send(first).await?;
        while let Some(chunk) = rest.chunk().await {
            sender.send(chunk?).await?;
        }
        Ok(())
    });
    match length {
        Some(length) => body.with_length(length),
        None => body,
    }
}

impl Deref for Response {
    type Target = response::Response;

    fn deref(&self) -> &response::Response {
        &self.response
    }
}

impl Drop for Response {
    fn drop(&mut self) {
        if self.response.body_ref().is_empty() {
            return;
        }
        // The connection learns of it when its core turns, which may be never again.
        drop(self.response.take_body());
        on_core(|| ());
    }
}

impl From<Response> for Body {
    /// What is left of the body, to be sent by another request of this thread as it comes.
    fn from(response: Response) -> Body {
        response.into_inner().into_body()
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.unread.is_empty() {
            match self.chunk()? {
                Some(chunk) => self.unread = chunk,
                None => return Ok(0),
            }
        }
        let len = self.unread.len().min(buffer.len());
        self.unread.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}
