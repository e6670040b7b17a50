//! What becomes of a connection that was just accepted, before its first request.
//!
//! ```text
//!   accept ─► limits ─► PROXY header, where one is due ─► limit per address ─► H1Connection
//!               │                  │                              │
//!               └─► Refused (503)  └─► closed                     └─► Refused (503)
//! ```

use std::rc::Rc;

use ::http::StatusCode;

use crate::net::Io;
use crate::net::Protocol;
use crate::runtime::Instant;
use crate::server::admission::LimitReached;
use crate::server::admission::Refused;
use crate::server::admission::Ticket;
use crate::server::h1::H1Connection;
use crate::server::hooks::ProtocolErrorKind;
use crate::server::proxy_protocol::Prefix;
use crate::server::worker::Worker;

/// What a connection that was just accepted speaks; `None` closes it.
pub(super) fn accept(worker: &Rc<Worker>, io: &mut Io) -> Option<Box<dyn Protocol>> {
    if worker.is_over() {
        return None;
    }
    worker.counters.count_accepted();
    if !worker.lifecycle.guards_entry() {
        return Some(Box::new(H1Connection::accept(Rc::clone(worker), io)));
    }
    let protocol = pass(worker, io);
    if protocol.is_none() {
        worker.counters.count_closed(false);
    }
    protocol
}

fn pass(worker: &Rc<Worker>, io: &mut Io) -> Option<Box<dyn Protocol>> {
    let lifecycle = &worker.lifecycle;
    let ticket = match lifecycle.admission.as_ref().map(|a| a.enter()) {
        None => None,
        Some(Ok(ticket)) => Some(ticket),
        Some(Err(limit)) => return refuse(worker, io, limit),
    };
    if let Some(peers) = &lifecycle.proxies {
        if io.peer_addr().is_none() && io.local_addr().is_some() {
            // A peer that is gone already, and no Unix socket, which has neither: what it sent may
            // still be read, and must not pass for what comes from there.
            return None;
        }
        if peers.contains(io.peer_addr()) {
            return Some(Box::new(Prefix::accept(worker, io, ticket)));
        }
        if !peers.others_are_plain {
            worker.counters.count_connection_refused();
            let rule = "a peer that may not send PROXY headers";
            worker.tell_error(
                || io.addresses(),
                ProtocolErrorKind::ProxyHeader,
                rule,
                None,
                &[],
            );
            return None;
        }
    }
    admit(worker, io, ticket, true)
}

/// The connection proper, once it is known whose it is; `None` closes it.
pub(super) fn admit(
    worker: &Rc<Worker>,
    io: &mut Io,
    mut ticket: Option<Ticket>,
    counts_address: bool,
) -> Option<Box<dyn Protocol>> {
    if counts_address
        && let Some(ticket) = &mut ticket
        && ticket.counts_addresses()
        && let Err(limit) = ticket.enter_address(io.peer_addr())
    {
        return refuse(worker, io, limit);
    }
    // The time of a PROXY header is that of the first head.
    let until = io.deadline().unwrap_or(Instant::NEVER);
    let mut connection = H1Connection::accept_until(until, Rc::clone(worker), io);
    connection.hold_ticket(ticket);
    Some(Box::new(connection))
}

fn refuse(worker: &Rc<Worker>, io: &mut Io, limit: LimitReached) -> Option<Box<dyn Protocol>> {
    worker.counters.count_connection_refused();
    let refused = Refused::accept(worker, io, limit);
    let status = refused.is_some().then_some(StatusCode::SERVICE_UNAVAILABLE);
    worker.tell_error(
        || io.addresses(),
        ProtocolErrorKind::Limit,
        limit.rule(),
        status,
        &[],
    );
    refused.map(|refused| Box::new(refused) as Box<dyn Protocol>)
}
