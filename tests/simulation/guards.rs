//! Limits of the server, and what its hook is told of each connection, which has to make sense.
//!
//! ```text
//!   seed ─► Guards ─► server ─► 503, Connection: close
//!                       └─ hook ─► New ─► Active ⇄ Idle ─► Upgraded ─► Closed, each once
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use roundtrip::Server;
use roundtrip::server::Statistics;
use roundtrip::server::hooks::ConnectionEvent;
use roundtrip::server::hooks::ConnectionState;
use roundtrip::simulation;
use roundtrip::simulation::Random;

use crate::panics;

/// Limits of the server in one run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guards {
    /// More than any raw client sends on a connection.
    requests_per_connection: Option<u64>,
    in_flight: Option<usize>,
    connections: Option<usize>,
    age: Option<Duration>,
}

impl Guards {
    /// Those of a seed. Where nothing may cost a request, only what costs none.
    pub fn draw(random: &mut Random, is_harmless: bool) -> Guards {
        let requests_per_connection = random.chance(0.3).then(|| *random.choose(&[12, 60]));
        let mut guards = Guards {
            requests_per_connection,
            ..Guards::default()
        };
        if is_harmless {
            return guards;
        }
        guards.in_flight = random.chance(0.2).then(|| 1 + random.index(6));
        guards.connections = random.chance(0.2).then(|| 2 + random.index(10));
        let ages = Duration::from_millis(200)..Duration::from_secs(20);
        guards.age = random.chance(0.2).then(|| random.duration(ages));
        guards
    }

    /// True when a request may be answered 503 for them.
    pub fn may_shed(self) -> bool {
        self.in_flight.is_some() || self.connections.is_some()
    }

    /// A server with these limits, that is watched.
    pub fn set(self, mut server: Server) -> Server {
        if let Some(count) = self.requests_per_connection {
            server = server.requests_per_connection_max(count);
        }
        if let Some(count) = self.in_flight {
            server = server.requests_in_flight_max(count);
        }
        if let Some(count) = self.connections {
            server = server.connections_max(count);
        }
        if let Some(age) = self.age {
            server = server.connection_age_max(age);
        }
        panics::hook(server).on_connection_state(watch)
    }

    /// What is wrong with what was told and counted, once no connection is left.
    pub fn check(self, stats: &Statistics) -> Option<String> {
        let (told, open) = LIVES.with_borrow(|lives| {
            let is_over = |state: &ConnectionState| matches!(state, ConnectionState::Closed(_));
            let over = lives.values().filter(|state| is_over(state)).count();
            (lives.len() as u64, lives.len() - over)
        });
        if open > 0 {
            return Some(format!("{open} connections ended, and nobody was told"));
        }
        if told + stats.connections_refused != stats.connections_accepted {
            return Some(format!("of {told} connections was told, not of {stats:?}"));
        }
        let is_lone = stats.requests_in_flight > 0;
        let is_unasked = stats.requests_shed > 0 && self.in_flight.is_none()
            || stats.connections_refused > 0 && self.connections.is_none();
        (is_lone || is_unasked).then(|| format!("the server has counted {stats:?}"))
    }
}

thread_local! {
    /// What each connection is.
    static LIVES: RefCell<BTreeMap<u64, ConnectionState>> = RefCell::default();
}

fn watch(event: &ConnectionEvent) {
    use ConnectionState::Active;
    use ConnectionState::Closed;
    use ConnectionState::Idle;
    use ConnectionState::New;
    use ConnectionState::Upgraded;
    let before = LIVES.with_borrow_mut(|lives| lives.insert(event.connection, event.state));
    let is_right = matches!(
        (before, event.state),
        (None, New)
            | (Some(New | Idle), Active)
            | (Some(Active), Idle | Upgraded)
            | (Some(New | Active | Idle | Upgraded), Closed(_))
    );
    if !is_right {
        let (number, state) = (event.connection, event.state);
        simulation::fail(format!(
            "connection {number} became {state:?} after {before:?}"
        ));
    }
    panics::in_hook();
}
