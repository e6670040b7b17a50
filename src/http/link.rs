//! What a request and its exchange say to each other beside the request and its body: that the
//! client is gone, and informational responses.
//!
//! ```text
//!   exchange ─► Link::fire ─────────────────────► every Disconnected future resolves
//!   Request::inform ─► RequestLink: what waits ──► Link::informational ─► sent before the response
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;

use ::http::StatusCode;

use crate::error::Result;
use crate::http::disconnect::Disconnect;
use crate::http::disconnect::Disconnected;
use crate::http::headers::Headers;
use crate::http::informational::Informational;

/// The exchange's end: serves its requests, one after the other.
pub struct Link {
    ends: Rc<Ends>,
}

/// A request's end.
#[derive(Clone)]
pub struct RequestLink {
    ends: Rc<Ends>,
    /// Which request of the exchange it belongs to.
    request: u32,
}

/// What both ends share.
struct Ends {
    disconnect: Disconnect,
    /// The last request that began.
    request: Cell<u32>,
    informational: RefCell<Informational>,
    /// Wakes the exchange, which has informational responses to send.
    notify: Waker,
}

impl Link {
    /// Of an exchange that `notify` wakes.
    pub fn new(notify: Waker) -> Link {
        Link {
            ends: Rc::new(Ends {
                disconnect: Disconnect::new(),
                request: Cell::new(0),
                informational: RefCell::default(),
                notify,
            }),
        }
    }

    /// For the next request. Whether its client may be informed before the response is a matter of
    /// its version (RFC 9110 §15.2).
    pub fn begin(&self, may_inform: bool) -> RequestLink {
        let request = self.ends.request.get().wrapping_add(1);
        self.ends.request.set(request);
        self.ends.informational.borrow_mut().begin(may_inform);
        RequestLink {
            ends: Rc::clone(&self.ends),
            request,
        }
    }

    /// The head of the response comes next: nothing may be sent before it any more.
    pub fn close(&self) {
        self.ends.informational.borrow_mut().is_open = false;
    }

    /// The informational response that is to be sent next.
    pub fn informational(&self) -> Option<(StatusCode, Headers)> {
        self.ends.informational.borrow_mut().next()
    }

    /// The client is gone: wakes all that wait for it.
    pub fn fire(&self) {
        self.ends.disconnect.fire();
    }
}

impl RequestLink {
    /// A future that resolves when the client is gone.
    pub(super) fn disconnected(&self) -> Disconnected {
        self.ends.disconnect.wait()
    }

    /// Hands over a response to be sent; see
    /// [`Request::inform`](crate::http::request::Request::inform).
    pub(super) fn inform(&self, status: StatusCode, headers: Headers) -> Result<()> {
        {
            let mut informational = self.ends.informational.borrow_mut();
            if self.request != self.ends.request.get() || !informational.is_open {
                return Ok(());
            }
            informational.push(status, headers)?;
        }
        self.ends.notify.wake_by_ref();
        Ok(())
    }
}

impl fmt::Debug for RequestLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLink").finish_non_exhaustive()
    }
}
