//! Request bodies from what can be read.
//!
//! ```text
//!   io::Read ─► up to 64 KiB ─► a turn of the core, which sends it ─► read again
//!   a file ───► a range of it, which the connection sends
//! ```

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Seek;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;

use bytes::Bytes;
use bytes::BytesMut;
use futures_core::Stream;

use crate::client::blocking::RequestBuilder;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::error::Result;
use crate::http::body::Body;
use crate::limits::READER_CHUNK_BYTES;
use crate::runtime::Core;

/// A body that is read while it is sent, by the thread that sends it. With a length this is
/// announced, and a reader that has more or less fails the request; without, the body is sent in
/// chunks. It can be sent once.
///
/// While the reader blocks, so does the request: no time-out of the client interrupts a read.
pub fn reader(reader: impl Read + 'static, length: Option<u64>) -> Body {
    let body = Body::stream(Reading {
        reader,
        buffer: BytesMut::new(),
        noted: None,
    });
    match length {
        Some(length) => body.with_length(length),
        None => body,
    }
}

impl RequestBuilder {
    /// With a body that is read while it is sent, see [`reader`]. The request may come from
    /// anything: a pipe, a compressor, standard input.
    ///
    /// ```no_run
    /// let client = roundtrip::blocking::Client::new();
    /// let request = client.post("http://127.0.0.1:8080/").body_reader(std::io::stdin(), None);
    /// println!("{}", request.send()?.text()?);
    /// # Ok::<(), roundtrip::Error>(())
    /// ```
    pub fn body_reader(self, from: impl Read + 'static, length: Option<u64>) -> Self {
        self.body(reader(from, length))
    }

    /// With a file as its body, from where it stands to the end that it has now; what is no regular
    /// file is read until its end. An error of the file shows when the request is sent.
    pub fn body_file(self, file: File) -> Self {
        self.change(|request| {
            request.set_body(rest_of(file).map_err(|error| {
                Error::new(ErrorKind::Io, "the file cannot be sent")
                    .in_phase(Phase::File)
                    .because(error)
            })?);
            Ok::<(), Error>(())
        })
    }
}

fn rest_of(mut file: File) -> io::Result<Body> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(reader(file, None));
    }
    let position = file.stream_position()?;
    Ok(Body::file(Arc::new(file), position..metadata.len()))
}

/// Chunks that are read when they are wanted.
struct Reading<R> {
    reader: R,
    /// Room for what is read next.
    buffer: BytesMut,
    /// How often the core had entered the kernel at the last read.
    noted: Option<u64>,
}

// The reader is never pinned.
impl<R> Unpin for Reading<R> {}

impl<R: Read> Stream for Reading<R> {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        // What was read goes out before the next read, which may block for long.
        let enters = Core::try_current()?.counters().enters;
        if *self.noted.get_or_insert(enters) == enters {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.noted = Some(enters);
        Poll::Ready(self.read().transpose())
    }
}

impl<R: Read> Reading<R> {
    fn read(&mut self) -> Result<Option<Bytes>> {
        if self.buffer.len() < READER_CHUNK_BYTES / 4 {
            self.buffer = BytesMut::zeroed(READER_CHUNK_BYTES);
        }
        let bytes = loop {
            match self.reader.read(&mut self.buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        Ok((bytes > 0).then(|| self.buffer.split_to(bytes).freeze()))
    }
}
