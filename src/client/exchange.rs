//! One request on its way: what the caller's future and the connection share.
//!
//! ```text
//!   New ──► Dialing | Queued (a place in the pool) ──► Given(connection) ──► Started ──► Done
//!            ▲                                            │                     │
//!            └───────────── retry ────────────────────────┴─────────────────────┘
//!   the future is dropped: Canceled, from everywhere
//! ```
//! The shared part is recycled: in steady state a request allocates nothing here.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;

use crate::client::connection::Slot;
use crate::client::observe::Event;
use crate::client::observe::Observers;
use crate::client::options::RequestOptions;
use crate::client::pool::WaiterKey;
use crate::client::transport::Shared;
use crate::error::Error;
use crate::error::Phase;
use crate::error::Result;
use crate::guard;
use crate::guard::guarded_drop;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::limits::FREE_EXCHANGES_MAX;
use crate::runtime::Instant;

/// What the caller's future and the connection share.
pub(super) struct Exchange {
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    place: Place,
    request: Option<Request>,
    options: RequestOptions,
    began: Instant,
    /// What the connection that sends it is doing, where that is not to wait for the head.
    phase: Option<Phase>,
    /// True exactly when the caller waits for a connection, and no further yet.
    wants_connection: bool,
    /// True exactly when the caller may follow a redirect and wants its request back then.
    keeps_request: bool,
    outcome: Option<Result<Response>>,
    waker: Option<Waker>,
}

/// How far a request has come.
#[derive(Default)]
pub(super) enum Place {
    /// Nobody has it.
    #[default]
    New,
    /// It stands in the queue of its host, and a dial is under way.
    Dialing(WaiterKey),
    /// It stands in the queue of its host, which has all the connections it may have.
    Queued(WaiterKey),
    /// A connection was chosen, and has not taken it yet.
    Given(Rc<Slot>),
    /// The connection sends it.
    Started(Rc<Slot>),
    /// There is an outcome.
    Done,
    /// The caller has gone.
    Canceled,
}

thread_local! {
    /// Exchanges of this core that nobody uses.
    static FREE: RefCell<Vec<Rc<Exchange>>> = const { RefCell::new(Vec::new()) };
}

impl Exchange {
    /// A request to be sent.
    pub(super) fn new(request: Request, options: RequestOptions, now: Instant) -> Rc<Exchange> {
        let recycled = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten();
        let exchange = recycled.unwrap_or_else(|| {
            Rc::new(Exchange {
                state: RefCell::default(),
            })
        });
        assert!(
            Rc::strong_count(&exchange) == 1,
            "an exchange in use was recycled"
        );
        {
            let mut state = exchange.state.borrow_mut();
            state.request = Some(request);
            state.options = options;
            state.began = now;
        }
        exchange
    }

    /// Runs `look` on the request, while it is here.
    pub(super) fn with_request<R>(
        &self,
        look: impl FnOnce(&Request, &RequestOptions) -> R,
    ) -> Option<R> {
        let state = self.state.borrow();
        let request = state.request.as_ref()?;
        Some(look(request, &state.options))
    }

    /// Notes where the request is.
    pub(super) fn set_place(&self, place: Place) {
        let before = {
            let mut state = self.state.borrow_mut();
            if matches!(state.place, Place::Canceled | Place::Done) {
                return;
            }
            std::mem::replace(&mut state.place, place)
        };
        drop(before);
    }

    /// Takes the request, for the connection that sends it; `None` when the caller has gone.
    pub(super) fn start(&self, slot: &Rc<Slot>) -> Option<(Request, RequestOptions)> {
        let mut state = self.state.borrow_mut();
        if matches!(state.place, Place::Canceled) {
            return None;
        }
        let before = std::mem::replace(&mut state.place, Place::Started(Rc::clone(slot)));
        let request = state.request.take();
        let options = std::mem::take(&mut state.options);
        let waker = match std::mem::take(&mut state.wants_connection) {
            true => state.waker.take(),
            false => None,
        };
        drop(state);
        drop(before);
        guard::wake(waker);
        Some((request.expect("a request is started once"), options))
    }

    /// Puts the request back, to be sent again by another connection.
    pub(super) fn restart(&self, request: Request, options: RequestOptions) {
        let mut state = self.state.borrow_mut();
        assert!(state.request.is_none(), "two requests for one exchange");
        state.request = Some(request);
        state.options = options;
        drop(state);
        self.set_place(Place::New);
    }

    /// True when the caller has gone.
    pub(super) fn is_canceled(&self) -> bool {
        matches!(self.state.borrow().place, Place::Canceled)
    }

    /// When the caller sent it.
    pub(super) fn began(&self) -> Instant {
        self.state.borrow().began
    }

    /// Says whether the caller wants the request back if the response is a redirect.
    pub(super) fn set_keeps_request(&self, keeps: bool) {
        self.state.borrow_mut().keeps_request = keeps;
    }

    /// True when the caller wants the request back if the response is a redirect.
    pub(super) fn keeps_request(&self) -> bool {
        self.state.borrow().keeps_request
    }

    /// Gives a copy of the request back, beside the outcome that comes next.
    pub(super) fn give_back(&self, request: Option<Request>) {
        let replaced = std::mem::replace(&mut self.state.borrow_mut().request, request);
        guarded_drop(replaced);
    }

    /// Ends the exchange for the caller.
    pub(super) fn complete(&self, outcome: Result<Response>) {
        let mut state = self.state.borrow_mut();
        if matches!(state.place, Place::Canceled) {
            // Nobody wants it. It may hold values of the user: dropped outside the borrow.
            drop(state);
            guarded_drop(outcome);
            return;
        }
        assert!(state.outcome.is_none(), "an exchange ends twice");
        state.outcome = Some(outcome);
        let before = std::mem::replace(&mut state.place, Place::Done);
        let waker = state.waker.take();
        drop(state);
        drop(before);
        guard::wake(waker);
    }

    /// Notes what the connection that sends it is doing.
    pub(super) fn set_phase(&self, phase: Phase) {
        self.state.borrow_mut().phase = Some(phase);
    }

    /// Ends the exchange with an error, behind those who observe it.
    pub(super) fn fail(&self, error: Error, observers: Option<&Observers>) {
        if let Some(observers) = observers {
            observers.tell(&Event::Failed { error: &error });
        }
        self.complete(Err(error));
    }

    fn phase(&self) -> Phase {
        let state = self.state.borrow();
        match &state.place {
            Place::Queued(_) => Phase::Pool,
            Place::New | Place::Dialing(_) => Phase::Connect,
            _ => state.phase.unwrap_or(Phase::ResponseHead),
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        if let Some(outcome) = self.state.borrow_mut().outcome.take() {
            return Poll::Ready(outcome);
        }
        self.set_waker(cx);
        Poll::Pending
    }

    fn set_waker(&self, cx: &Context<'_>) {
        let is_same = |waker: &Waker| waker.will_wake(cx.waker());
        if self.state.borrow().waker.as_ref().is_some_and(is_same) {
            return;
        }
        // A waker may run anything, when it is cloned or dropped too.
        let waker = cx.waker().clone();
        let replaced = self.state.borrow_mut().waker.replace(waker);
        drop(replaced);
    }

    /// The caller goes; says where the request was.
    fn cancel(&self) -> Place {
        let mut state = self.state.borrow_mut();
        let place = std::mem::replace(&mut state.place, Place::Canceled);
        let dropped = (
            state.request.take(),
            state.outcome.take(),
            state.waker.take(),
        );
        drop(state);
        guarded_drop(dropped);
        place
    }
}

/// Gives an exchange to the free list, if this was the last one who had it.
pub(super) fn recycle(exchange: Rc<Exchange>) {
    if Rc::strong_count(&exchange) != 1 {
        return;
    }
    let state = exchange.state.take();
    // Values of the user go before the list is touched.
    guarded_drop(state);
    let _ = FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.len() < FREE_EXCHANGES_MAX {
            free.push(exchange);
        }
    });
}

/// A request on its way; resolves with the head of the response. Dropping it gives the request up:
/// a connection that has begun to send it is closed, one that has not serves another.
#[must_use = "a request is waited for"]
pub struct InFlight {
    /// `None` only while this is dropped.
    exchange: Option<Rc<Exchange>>,
    transport: Rc<Shared>,
}

impl InFlight {
    pub(super) fn new(exchange: Rc<Exchange>, transport: Rc<Shared>) -> InFlight {
        InFlight {
            exchange: Some(exchange),
            transport,
        }
    }

    /// What is being done now, for the error of a time-out.
    pub fn phase(&self) -> Phase {
        self.exchange().phase()
    }

    /// The request that was redirected, after the outcome; without its body where that cannot be
    /// sent a second time.
    pub(super) fn take_request(&self) -> Option<Request> {
        self.exchange().state.borrow_mut().request.take()
    }

    /// How long it may wait for a connection of others; `None` where it does not.
    pub(super) fn pool_timeout(&self) -> Option<Duration> {
        let is_queued = matches!(self.exchange().state.borrow().place, Place::Queued(_));
        is_queued.then(|| self.transport.options().pool_timeout)
    }

    /// Ready when the request has a connection, or an outcome.
    pub(super) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<()> {
        let exchange = self.exchange();
        exchange.set_waker(cx);
        let mut state = exchange.state.borrow_mut();
        let is_waiting = matches!(
            state.place,
            Place::New | Place::Dialing(_) | Place::Queued(_)
        );
        state.wants_connection = is_waiting;
        match is_waiting {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }

    fn exchange(&self) -> &Rc<Exchange> {
        self.exchange.as_ref().expect("present until the drop")
    }
}

impl Future for InFlight {
    type Output = Result<Response>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Response>> {
        self.exchange().poll(cx)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let Some(exchange) = self.exchange.take() else {
            return;
        };
        match exchange.cancel() {
            Place::Dialing(waiter) | Place::Queued(waiter) => self.transport.cancel_waiter(waiter),
            Place::Given(slot) => self.transport.take_back(&slot, &exchange),
            Place::Started(slot) => slot.wake(&self.transport),
            Place::New | Place::Done | Place::Canceled => {}
        }
        recycle(exchange);
    }
}
