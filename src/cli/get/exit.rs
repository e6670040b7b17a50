//! Exit codes: curl's, for scripts that know them.
//!
//! ```text
//!   Error (kind, phase) and how far the exchange had come ──► code
//! ```

use std::error::Error as _;

use roundtrip::Error;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;

/// A protocol that is not spoken here.
pub const UNSUPPORTED: u8 = 1;
/// A URL that is none.
pub const MALFORMED_URL: u8 = 3;
/// With `-f`, a status of 400 or above.
pub const STATUS: u8 = 22;
/// Output that could not be written.
pub const WRITE: u8 = 23;
/// Input that could not be read.
pub const READ: u8 = 26;
/// A request that was not sent whole.
pub const SEND: u8 = 55;
/// A request that a redirect asks for once more, and that cannot be read again.
pub const REWIND: u8 = 65;

const SETUP: u8 = 2;
const PROXY_NAME: u8 = 5;
const NAME: u8 = 6;
const CONNECT: u8 = 7;
const ODD_HEAD: u8 = 8;
const PARTIAL: u8 = 18;
const TIMEOUT: u8 = 28;
const REDIRECTS: u8 = 47;
const EMPTY: u8 = 52;
const RECEIVE: u8 = 56;
const CODING: u8 = 61;
const TOO_LARGE: u8 = 63;

/// What `--help` says of them.
pub const HELP: &str = "\
Exit codes are curl's; where several URLs fail, that of the last one of them:
   0  all that was asked for was received and written, and all that was to be sent was
      sent; a status of 400 and above is no failure without -f
   1  not http             2  bad options, or no ring         3  malformed URL
   5  unknown proxy        6  unknown host                    7  no connection
   8  malformed head      18  body cut short                 22  status, with -f
  23  cannot write        26  cannot read what is to be sent 28  time-out
  47  too many redirects  52  no answer                      55  request not sent whole
  56  cannot receive      61  corrupt content coding         63  body too large
  65  redirected, and what was sent cannot be read again";

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// No final head had come.
    NoHead,
    /// The head of a redirect.
    Redirect,
    /// Another head.
    Head,
}

/// The code for what the client says went wrong.
pub fn code(error: &Error, progress: Progress) -> u8 {
    let phase = error.phase();
    match error.kind() {
        ErrorKind::Resolve if phase == Some(Phase::Proxy) => PROXY_NAME,
        ErrorKind::Resolve => NAME,
        // A proxy that was reached, and made no tunnel.
        ErrorKind::Connect if phase == Some(Phase::Proxy) && !is_unreached(error) => RECEIVE,
        ErrorKind::Connect => CONNECT,
        ErrorKind::Timeout => TIMEOUT,
        ErrorKind::Status => STATUS,
        ErrorKind::Setup => SETUP,
        ErrorKind::Invalid => match phase {
            None => UNSUPPORTED,
            // What the environment says of proxies.
            Some(Phase::Proxy) => PROXY_NAME,
            Some(_) => MALFORMED_URL,
        },
        ErrorKind::Limit if progress == Progress::Redirect => REDIRECTS,
        ErrorKind::Limit if phase == Some(Phase::ResponseBody) => TOO_LARGE,
        ErrorKind::Protocol => match (phase, progress) {
            (Some(Phase::Decoding), _) => CODING,
            (_, Progress::NoHead) => ODD_HEAD,
            // A Location that cannot be read, or leads elsewhere.
            (_, Progress::Redirect) if error.source().is_some() => MALFORMED_URL,
            (_, Progress::Redirect) => UNSUPPORTED,
            (_, Progress::Head) => RECEIVE,
        },
        ErrorKind::Closed if phase == Some(Phase::Send) => SEND,
        ErrorKind::Closed if error.source().is_some() => RECEIVE,
        ErrorKind::Closed if progress == Progress::NoHead => EMPTY,
        ErrorKind::Closed => PARTIAL,
        _ if matches!(phase, Some(Phase::RequestBody | Phase::File)) => READ,
        _ => RECEIVE,
    }
}

/// True when the proxy itself could not be connected to.
fn is_unreached(error: &Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<Error>());
    cause.is_some_and(|cause| cause.kind() == ErrorKind::Connect)
}
