//! What health checks are answered.
//!
//! ```text
//!   starting ─► ready ─► draining          200 for ready, 503 for the rest
//!                 ▲│
//!                 │▼  ServerHandle::set_ready
//!              not ready
//! ```

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ::http::StatusCode;

use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::Core;
use crate::server::handle::Health;
use crate::server::handle::State;
use crate::server::into_response::IntoResponse;

/// A handler for health checks: 200 `ready` while the server is, and otherwise 503 with the reason,
/// above all `draining` from the moment that a shutdown begins.
///
/// It speaks for the server that it is a route of; on a core with several
/// ([`Server::run_here`](crate::Server::run_here)), for all of them together. In a router that no
/// server runs, it says `ready`.
///
/// ```
/// use roundtrip::Request;
/// use roundtrip::Router;
/// use roundtrip::server::readiness;
///
/// let router = Router::new()
///     .get("/{$}", |_: &Request| "hello")
///     .get("/ready", readiness)
///     // Alive is who answers at all.
///     .get("/alive", |_: &Request| "alive");
/// # drop(router);
/// ```
pub fn readiness(_: &Request) -> Response {
    let here = Core::try_current()
        .ok()
        .and_then(|core| core.find_local::<ServersHere>());
    answer(here.map_or(Health::Ready, |here| here.health()))
}

/// The answer to a health check. Nobody may keep it.
pub(super) fn answer(health: Health) -> Response {
    let (status, text) = match health {
        Health::Ready => (StatusCode::OK, "ready"),
        Health::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Health::Held => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
        Health::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    (status, text)
        .into_response()
        .header("Cache-Control", "no-store")
}

/// The servers of a core.
#[derive(Default)]
pub(super) struct ServersHere {
    states: RefCell<Vec<Arc<State>>>,
}

impl ServersHere {
    /// A server begins to serve on a core.
    pub(super) fn add(core: &Rc<Core>, state: &Arc<State>) {
        let here = core.local(|_| Rc::<ServersHere>::default());
        here.states.borrow_mut().push(Arc::clone(state));
    }

    /// A server has ended on a core.
    pub(super) fn remove(core: &Rc<Core>, state: &Arc<State>) {
        if let Some(here) = core.find_local::<ServersHere>() {
            let mut states = here.states.borrow_mut();
            states.retain(|one| !Arc::ptr_eq(one, state));
        }
    }

    /// The first reason why one of them is not ready.
    fn health(&self) -> Health {
        let states = self.states.borrow();
        let mut all = states.iter().map(|state| state.health());
        all.find(|health| *health != Health::Ready)
            .unwrap_or(Health::Ready)
    }
}
