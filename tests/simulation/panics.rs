//! Code of users that panics beside what was asked of it: observers, hooks, wakers. Nothing else may
//! come of it: every answer is judged as ever.
//!
//! ```text
//!   seed ─► how often ─► observer, hook: panics ─┐
//!                        waker: wakes, panics ───┴─► caught, and counted by a server's statistics
//! ```

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Wake;
use std::task::Waker;

use roundtrip::Server;
use roundtrip::client::observe::Event;
use roundtrip::simulation::Random;

use crate::ledger;

/// The part of seeds in which something panics.
const CHANCE: f64 = 0.25;

thread_local! {
    /// One call of so many panics; `None` where none does.
    static EVERY: Cell<Option<u64>> = const { Cell::new(None) };
    static CALLS: Cell<u64> = const { Cell::new(0) };
}

/// Draws how often it happens in this run.
pub fn begin(random: &mut Random) {
    let every = random
        .chance(CHANCE)
        .then(|| *random.choose(&[1, 2, 7, 50]));
    EVERY.set(every);
}

/// True when something panics in this run.
pub fn are_on() -> bool {
    EVERY.get().is_some()
}

/// True when this call panics.
fn is_next() -> bool {
    CALLS.set(CALLS.get() + 1);
    EVERY.get().is_some_and(|every| CALLS.get() % every == 0)
}

fn now() -> ! {
    std::panic::resume_unwind(Box::new("a panic on purpose"))
}

/// Observes a client.
pub fn observe(_: &Event<'_>) {
    if is_next() {
        now();
    }
}

/// At the end of a hook of the server.
pub fn in_hook() {
    if is_next() {
        ledger::count(|counts| counts.panicked += 1);
        now();
    }
}

/// A server whose other hooks panic too.
pub fn hook(server: Server) -> Server {
    if !are_on() {
        return server;
    }
    server
        .on_protocol_error(|_| in_hook())
        .on_handler_error(|_| in_hook())
}

/// Polls with wakers that panic.
pub async fn waking<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        if !are_on() {
            return future.as_mut().poll(cx);
        }
        let bell = Waker::from(Arc::new(Bell(cx.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&bell))
    })
    .await
}

/// Wakes, and panics then.
struct Bell(Waker);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
        if is_next() {
            now();
        }
    }

    /// Called by who is polled: a panic would be its own.
    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_by_ref();
    }
}
