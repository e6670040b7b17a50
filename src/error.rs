//! The public error: what failed, when, and what to change.
//!
//! ```text
//!   kind ── who is at fault: system, peer, caller, a limit
//!   phase ─ what was being done
//!   url ─── for whom (client), without password
//!   text ── one line: the limit or the rule, and what to change
//!   source ─ the error of the layer below
//! ```
//!
//! | format | what it writes |
//! |---|---|
//! | `{}` | URL and text: for reporters that walk `source()` themselves, as `anyhow` and `eyre` do |
//! | `{:#}` | URL, text and the texts of all sources, in one line: for `eprintln!` and logs |
//! | `{:?}` | the same line: for `fn main() -> roundtrip::Result<()>`, `unwrap` and `tracing`'s `?error` |
//! | `{:#?}` | the fields, kind and phase too |

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use ::http::StatusCode;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn StdError + Send + Sync>;

/// What went wrong, in which phase, for which URL, and why. One pointer wide. `{}` writes its own
/// text, `{:#}` and `{:?}` the whole chain in one line.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    phase: Option<Phase>,
    url: Option<String>,
    text: Cow<'static, str>,
    source: Option<Source>,
    answer: Option<StatusCode>,
}

/// Who is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A ring or another part of the system cannot be had; the text holds the remedy.
    Setup,
    /// A listening address cannot be used.
    Bind,
    /// A name has no address.
    Resolve,
    /// No address of the host took the connection.
    Connect,
    /// A deadline passed; the text names it.
    Timeout,
    /// The peer closed or reset the connection.
    Closed,
    /// The peer broke a rule of the protocol; the text names it.
    Protocol,
    /// A limit was reached; the text names it and how to change it.
    Limit,
    /// What was asked for makes no sense: a bad URL, header, pattern or argument.
    Invalid,
    /// The operation was given up by its own side: a dropped future, an aborted task.
    Canceled,
    /// The runtime is shutting down, or there is none on this thread.
    Shutdown,
    /// A system call failed for another reason; the source says which.
    Io,
    /// A response status was treated as an error (`error_for_status`).
    Status,
    /// A handler returned an error that is not of this crate; the text is that error's.
    Handler,
}

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Setting up the ring, workers, signals.
    Setup,
    /// Binding and listening.
    Bind,
    /// Looking up a name.
    Resolve,
    /// Waiting for a connection slot of the pool.
    Pool,
    /// Connecting.
    Connect,
    /// Choosing a proxy, reaching it, or waiting for its tunnel.
    Proxy,
    /// Sending a request head or body.
    Send,
    /// Waiting for a response head.
    ResponseHead,
    /// Receiving a response body.
    ResponseBody,
    /// Undoing the content coding (gzip, br, zstd) of a response body.
    Decoding,
    /// Receiving a request body.
    RequestBody,
    /// Working on a file.
    File,
}

impl Error {
    /// An error with its one-line text.
    pub fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Error {
        Error(Box::new(Inner {
            kind,
            phase: None,
            url: None,
            text: text.into(),
            source: None,
            answer: None,
        }))
    }

    /// Of code of the user that panicked: `text` is what the panic said.
    pub(crate) fn panicked(who: &str, text: &str) -> Error {
        Error::new(ErrorKind::Canceled, format!("{who} panicked: {text}"))
    }

    /// Says what was being done.
    #[must_use]
    pub fn in_phase(mut self, phase: Phase) -> Error {
        self.0.phase = Some(phase);
        self
    }

    /// Says for which URL; the caller has removed a password.
    #[must_use]
    pub fn for_url(mut self, url: impl Into<String>) -> Error {
        self.0.url = Some(url.into());
        self
    }

    /// Adds the error of the layer below.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Says how a server answers when a handler returns this error: with this status, and with the
    /// error's own text behind its name. That text thus repeats nothing of the request and holds
    /// nothing that is not for the client; what is for the log alone is a [source](Error::because).
    ///
    /// ```
    /// use roundtrip::Error;
    /// use roundtrip::IntoResponse;
    /// use roundtrip::error::ErrorKind;
    ///
    /// let error = Error::new(ErrorKind::Invalid, "an amount is positive")
    ///     .answered(roundtrip::StatusCode::UNPROCESSABLE_ENTITY);
    /// let response = error.into_response();
    /// assert_eq!(response.status_code(), 422);
    /// let body = response.body_ref().as_bytes().unwrap();
    /// assert_eq!(body, b"Unprocessable Entity: an amount is positive\n");
    /// ```
    #[must_use]
    pub fn answered(mut self, status: StatusCode) -> Error {
        self.0.answer = Some(status);
        self
    }

    /// With which status a server answers, where that was [said](Error::answered).
    pub fn answer(&self) -> Option<StatusCode> {
        self.0.answer
    }

    /// Who is at fault.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The line of text alone, without URL and sources.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// What was being done, where known.
    pub fn phase(&self) -> Option<Phase> {
        self.0.phase
    }

    /// For which URL, without its password.
    pub fn url(&self) -> Option<&str> {
        self.0.url.as_deref()
    }

    /// True when a deadline passed.
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// True when no connection could be made: no address, or none that answered.
    pub fn is_connect(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Resolve | ErrorKind::Connect)
            || matches!(self.0.phase, Some(Phase::Connect | Phase::Proxy))
    }

    /// True when the peer closed or reset the connection.
    pub fn is_closed(&self) -> bool {
        self.0.kind == ErrorKind::Closed
    }

    /// True when a limit of ours was reached.
    pub fn is_limit(&self) -> bool {
        self.0.kind == ErrorKind::Limit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return write!(f, "{}", Chain(self));
        }
        if let Some(url) = &self.0.url {
            write!(f, "{url}: ")?;
        }
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return write!(f, "{}", Chain(self));
        }
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("phase", &self.0.phase)
            .field("url", &self.0.url)
            .field("text", &self.0.text)
            .field("source", &self.0.source)
            .finish()
    }
}

/// An error of any type, written with all its sources in one line.
pub(crate) struct Chain<'a>(pub &'a (dyn StdError + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        // One of ours, on its way through somebody's `io::Result`.
        let error = match error.downcast::<Error>() {
            Ok(ours) => return ours,
            Err(error) => error,
        };
        let kind = match error.kind() {
            io::ErrorKind::TimedOut => ErrorKind::Timeout,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => ErrorKind::Closed,
            _ => ErrorKind::Io,
        };
        Error::new(kind, "input/output failed").because(error)
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match error.kind() {
            ErrorKind::Timeout => io::ErrorKind::TimedOut,
            ErrorKind::Closed => io::ErrorKind::ConnectionReset,
            ErrorKind::Invalid => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_written_once() {
        let error = || {
            Error::new(ErrorKind::Connect, "cannot connect")
                .in_phase(Phase::Connect)
                .for_url("http://a/")
                .because(io::Error::from_raw_os_error(111))
        };
        let own = "http://a/: cannot connect";
        let line = "http://a/: cannot connect: Connection refused (os error 111)";
        assert!(error().is_connect());
        assert!(!error().is_timeout());
        assert_eq!(format!("{}", error()), own);
        assert_eq!(format!("{:#}", error()), line);
        assert_eq!(format!("{:?}", error()), line);
        let fields = format!("{:#?}", error());
        assert!(fields.starts_with("Error {\n    kind: Connect,\n    phase: Some("));

        // What reporters do, also with what another type wraps.
        assert_eq!(Chain(&error()).to_string(), line);
        let wrapped = Error::new(ErrorKind::Io, "a file").because(io::Error::from(error()));
        assert_eq!(format!("{wrapped:#}"), format!("a file: {line}"));
    }

    #[test]
    fn one_of_ours_stays_itself() {
        let error = Error::new(ErrorKind::Limit, "too much").in_phase(Phase::File);
        let error = Error::from(io::Error::from(error));
        assert_eq!(
            (error.kind(), error.phase()),
            (ErrorKind::Limit, Some(Phase::File))
        );
    }

    #[test]
    fn is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
