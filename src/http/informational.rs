//! Informational responses (1xx) of one request, on their way from its handler to what sends them.
//!
//! ```text
//!   Request::inform ─► Informational: values that wait ──► connection: sent before the response
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;

use ::http::StatusCode;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::headers::Headers;
use crate::limits::INFORMATIONAL_BYTES_MAX;
use crate::limits::INFORMATIONAL_COUNT_MAX;

/// What the request's handler says before its response; shared with what sends it.
#[derive(Clone)]
pub struct Informational {
    state: Rc<RefCell<Waiting>>,
}

/// The responses that wait, and how many there may still be.
struct Waiting {
    /// False for a client that does not know informational responses (HTTP/1.0), and once the head
    /// of the response was written.
    is_open: bool,
    heads: Vec<(StatusCode, Headers)>,
    /// Of all of them, sent or not.
    count: usize,
    bytes: usize,
    /// Wakes what sends them.
    notify: Waker,
}

impl Informational {
    /// Of a request that begins; `notify` is woken when there is something to be sent.
    pub fn new(is_open: bool, notify: Waker) -> Informational {
        let waiting = Waiting {
            is_open,
            heads: Vec::new(),
            count: 0,
            bytes: 0,
            notify,
        };
        Informational {
            state: Rc::new(RefCell::new(waiting)),
        }
    }

    /// For the next request of the same connection: in the same memory, unless the request before
    /// is still held by somebody.
    pub fn renew(&mut self, is_open: bool, notify: &Waker) {
        match Rc::get_mut(&mut self.state).map(RefCell::get_mut) {
            Some(waiting) if waiting.notify.will_wake(notify) => {
                waiting.is_open = is_open;
                waiting.heads.clear();
                (waiting.count, waiting.bytes) = (0, 0);
            }
            _ => *self = Informational::new(is_open, notify.clone()),
        }
    }

    /// The head of the response comes next: nothing may be sent before it any more.
    pub fn close(&self) {
        self.state.borrow_mut().is_open = false;
    }

    /// The responses that are to be sent now, in order.
    pub fn take(&self) -> Vec<(StatusCode, Headers)> {
        std::mem::take(&mut self.state.borrow_mut().heads)
    }

    /// Hands over a response to be sent; see
    /// [`Request::inform`](crate::http::request::Request::inform).
    pub(super) fn inform(&self, status: StatusCode, headers: Headers) -> Result<()> {
        let notify = {
            let mut waiting = self.state.borrow_mut();
            if !waiting.is_open {
                return Ok(());
            }
            let bytes = headers.iter().map(|(name, value)| name.len() + value.len());
            let bytes = waiting.bytes + bytes.sum::<usize>();
            if waiting.count == INFORMATIONAL_COUNT_MAX || bytes > INFORMATIONAL_BYTES_MAX {
                let text = format!(
                    "more than {INFORMATIONAL_COUNT_MAX} informational responses to one request, \
                     or fields of more than {INFORMATIONAL_BYTES_MAX} bytes in them"
                );
                return Err(Error::new(ErrorKind::Limit, text));
            }
            waiting.count += 1;
            waiting.bytes = bytes;
            waiting.heads.push((status, headers));
            waiting.notify.clone()
        };
        notify.wake();
        Ok(())
    }
}
