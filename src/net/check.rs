//! What holds of every connection between two turns, for simulations.
//!
//! ```text
//!   table ─► each connection: endpoint, receive, send, deadline, lists ─► what is wrong, in words
//! ```

use std::collections::HashMap;

use crate::net::network::Net;
use crate::net::protocol::Receive;
use crate::net::table::Closing;
use crate::net::table::Connection;
use crate::net::table::ConnectionKey;
use crate::net::table::Receiving;
use crate::net::table::Sending;
use crate::runtime::Instant;

impl Net {
    /// Looks at every connection, when a turn is over.
    ///
    /// # Errors
    ///
    /// What is wrong with the first one that is not as it has to be.
    pub fn check(&self, now: Instant) -> Result<(), String> {
        let mut queued: HashMap<ConnectionKey, usize> = HashMap::new();
        for key in self.dirty.borrow().iter() {
            *queued.entry(*key).or_default() += 1;
        }
        let starved = self.starved.borrow();
        let mut table = self.table.borrow_mut();
        let keys = table.keys();
        if keys.len() != table.len() {
            return Err(format!(
                "{} connections, counted {}",
                keys.len(),
                table.len()
            ));
        }
        for key in keys {
            let connection = table.get_mut(key).expect("it was listed just now");
            let in_dirty = queued.remove(&key).unwrap_or(0);
            let wrong = check_connection(connection, now)
                .or_else(|| {
                    let expected = usize::from(connection.dirty);
                    (in_dirty != expected).then_some("listed for a flush other than it says")
                })
                .or_else(|| {
                    let is_starved = connection.recv == Receiving::Starved;
                    (is_starved && !starved.contains(&key)).then_some("starved and forgotten")
                });
            if let Some(wrong) = wrong {
                return Err(format!(
                    "connection {key:?}: {wrong}: {}",
                    describe(connection)
                ));
            }
        }
        Ok(())
    }
}

fn check_connection(connection: &Connection, now: Instant) -> Option<&'static str> {
    let Some(endpoint) = &connection.endpoint else {
        return Some("without a protocol between two turns");
    };
    let io = &endpoint.io;
    let deadline = connection.deadline().expect("its protocol is here");
    if connection.armed > deadline {
        return Some("its timer fires after its deadline");
    }
    if connection.close == Closing::Waiting {
        return (!connection.is_in_flight()).then_some("waits for nothing");
    }
    let is_sending = matches!(connection.send, Sending::InFlight(_));
    if is_sending != (io.in_flight_bytes > 0) {
        return Some("a send and the bytes in flight disagree");
    }
    let has_output = !io.output.is_empty() && !matches!(connection.send, Sending::Broken { .. });
    if has_output && !is_sending && !connection.reading && !connection.dirty {
        return Some("has output that nobody sends");
    }
    let receives = match connection.close {
        Closing::Open => io.receive != Receive::Paused,
        Closing::Lingering { .. } => true,
        Closing::Flushing | Closing::Waiting => false,
    };
    if receives && connection.recv == Receiving::Idle {
        return Some("wants to receive, and does not");
    }
    if matches!(connection.close, Closing::Flushing) && !is_sending && !connection.dirty {
        return (!connection.reading).then_some("flushes nothing");
    }
    // A connection that waits for the peer and for nothing else has to have an end.
    let waits_for_peer = connection.recv != Receiving::Idle || is_sending;
    let has_ended = matches!(connection.close, Closing::Lingering { .. });
    if has_ended && waits_for_peer && deadline > now + crate::limits::LINGER_TIMEOUT {
        return Some("lingers without an end");
    }
    None
}

fn describe(connection: &Connection) -> String {
    let output = connection
        .endpoint
        .as_ref()
        .map_or(0, |endpoint| endpoint.io.pending_bytes());
    format!(
        "fd {}, receive {:?}, send {:?}, close {:?}, reading {}, dirty {}, armed {:?}, deadline \
         {:?}, {output} bytes pending",
        connection.socket.raw(),
        connection.recv,
        connection.send,
        connection.close,
        connection.reading,
        connection.dirty,
        connection.armed,
        connection.deadline(),
    )
}
