//! Bodies that are made while they are sent, and checked while they are received.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;
use roundtrip::runtime::Sleep;
use roundtrip::simulation::Random;

use crate::content;
use crate::content::Way;
use crate::ledger;

/// How a body that is made piece by piece ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With its last byte.
    Whole,
    /// With an error, half way.
    Error,
    /// With a panic, half way.
    Panic,
    /// Never: it stops half way.
    Stuck,
}

/// A body made piece by piece, now and then after a pause.
pub struct Pieces {
    id: u32,
    way: Way,
    at: usize,
    len: usize,
    end: End,
    random: Random,
    /// Longest pause; none when zero.
    pause: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pieces {
    /// The first `len` bytes of the body of a request.
    pub fn new(id: u32, way: Way, len: usize, pause: Duration, end: End) -> Pieces {
        Pieces {
            id,
            way,
            at: 0,
            len,
            end,
            random: Random::new(u64::from(id) | 1 << 40),
            pause,
            sleep: None,
        }
    }
}

impl Stream for Pieces {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Some(sleep) = &mut this.sleep {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.sleep = None;
        } else if !this.pause.is_zero() && this.random.chance(0.5) {
            let pause = this.random.duration(Duration::ZERO..this.pause);
            let mut sleep = Box::pin(runtime::sleep(pause));
            if sleep.as_mut().poll(cx).is_pending() {
                this.sleep = Some(sleep);
                return Poll::Pending;
            }
        }
        if this.at >= this.len / 2 {
            match this.end {
                End::Whole => {}
                End::Error => {
                    let error = Error::new(ErrorKind::Io, "this body fails on purpose");
                    return Poll::Ready(Some(Err(error)));
                }
                End::Panic => {
                    ledger::count(|counts| counts.panicked += 1);
                    std::panic::resume_unwind(Box::new("a body that panics on purpose"));
                }
                End::Stuck => return Poll::Pending,
            }
        }
        let left = this.len - this.at;
        if left == 0 {
            return Poll::Ready(None);
        }
        let largest = [1, 100, 5_000, 100_000][this.random.index(4)];
        let len = 1 + this.random.index(left.min(largest));
        let piece = content::part(this.id, this.way, this.at, len);
        this.at += len;
        let copied = this.random.chance(0.5);
        Poll::Ready(Some(Ok(match copied {
            true => Bytes::copy_from_slice(piece),
            false => Bytes::from_static(piece),
        })))
    }
}

/// Compares a body that arrives with what it has to be.
pub struct Check {
    expected: &'static [u8],
    at: usize,
}

impl Check {
    /// Nothing has arrived yet.
    pub fn new(expected: &'static [u8]) -> Check {
        Check { expected, at: 0 }
    }

    /// The next piece.
    ///
    /// # Errors
    ///
    /// It differs, or is too much.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), String> {
        let rest = &self.expected[self.at..];
        if rest.get(..piece.len()) == Some(piece) {
            self.at += piece.len();
            return Ok(());
        }
        let same = rest.iter().zip(piece).take_while(|(a, b)| a == b).count();
        let (at, len) = (self.at + same, self.expected.len());
        Err(match same == rest.len() {
            true => format!("more than the {len} bytes of the body"),
            false => format!("byte {at} of {len} is wrong"),
        })
    }

    /// The end.
    ///
    /// # Errors
    ///
    /// It comes too early.
    pub fn end(&self) -> Result<(), String> {
        let (at, len) = (self.at, self.expected.len());
        if at < len {
            return Err(format!(
                "it ends after {at} of {len} bytes, as if it were whole"
            ));
        }
        Ok(())
    }
}

/// How the reading of a body ended.
pub enum Read {
    /// All of it came, and was right.
    Whole,
    /// An error came first.
    Failed(Error),
    /// The reader has had enough.
    Left,
    /// What came was wrong.
    Wrong(String),
}

/// Reads a body chunk by chunk, with a pause before each, and at most so many.
pub async fn read(
    body: &mut Body,
    expected: &'static [u8],
    pause: Duration,
    chunks_max: usize,
) -> Read {
    let mut check = Check::new(expected);
    for _ in 0..chunks_max {
        if !pause.is_zero() {
            runtime::sleep(pause).await;
        }
        match body.chunk().await {
            None => return check.end().map_or_else(Read::Wrong, |()| Read::Whole),
            Some(Err(error)) => return Read::Failed(error),
            Some(Ok(chunk)) => {
                if let Err(wrong) = check.push(&chunk) {
                    return Read::Wrong(wrong);
                }
            }
        }
    }
    Read::Left
}
