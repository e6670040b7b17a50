//! The part of a server that lives on one core: its listeners, and how they end.
//!
//! ```text
//!   Workers ─ start ─► Site ─► Listener ─ accept ─► Connection
//!                       │         └─ Unix: handed round to the sites of the other cores
//!                       └─ shut_down: stop listening ─► idle close, running finish ─► core stops
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;

use crate::limits::SHUTDOWN_NEW_TIMEOUT;
use crate::limits::SHUTDOWN_POLL_INTERVAL;
use crate::net::Accept;
use crate::net::Io;
use crate::net::ListenSocket;
use crate::net::ListenerKey;
use crate::net::Net;
use crate::net::Protocol;
use crate::net::Socket;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Remote;
use crate::server::connection::Connection;
use crate::server::worker::Worker;

/// The mailboxes of all workers, once all of them have started.
pub(super) type Remotes = Arc<OnceLock<Vec<Arc<Remote>>>>;

/// A server's part on one core.
pub(super) struct Site {
    worker: Rc<Worker>,
    accept: Rc<dyn Accept>,
    listeners: RefCell<Vec<ListenerKey>>,
}

/// Accepts for the site of its own core.
struct Acceptor {
    worker: Rc<Worker>,
}

/// Accepts for all cores in turn: of a socket that only one core can listen on.
struct HandingRound {
    worker: Rc<Worker>,
    remotes: Remotes,
    next: Cell<usize>,
}

impl Site {
    /// Starts to listen. TCP sockets are this core's own; Unix sockets serve all cores.
    pub(super) fn start(
        core: &Rc<Core>,
        worker: Worker,
        sockets: Vec<ListenSocket>,
        remotes: &Remotes,
    ) -> Rc<Site> {
        let worker = Rc::new(worker);
        let site = core.local(|_| {
            let accept = Rc::new(Acceptor {
                worker: Rc::clone(&worker),
            });
            Rc::new(Site {
                worker: Rc::clone(&worker),
                accept,
                listeners: RefCell::new(Vec::new()),
            })
        });
        assert!(Rc::ptr_eq(&site.worker, &worker), "a core has one site");
        let net = Net::of(core);
        for socket in sockets {
            let accept = if matches!(socket.local_addr(), crate::net::Address::Unix(_)) {
                Rc::new(HandingRound {
                    worker: Rc::clone(&worker),
                    remotes: Arc::clone(remotes),
                    next: Cell::new(0),
                })
            } else {
                Rc::clone(&site.accept)
            };
            let key = net.listen(core, socket, accept);
            site.listeners.borrow_mut().push(key);
        }
        site
    }

    /// Ends the site of this core, and then the core: stops listening, closes what is idle, waits
    /// for what runs, within the time that the options give.
    pub(super) fn shut_down(core: &Rc<Core>) {
        let Some(site) = core.find_local::<Site>() else {
            return core.stop();
        };
        if site.worker.is_shutting_down() {
            return;
        }
        site.worker.begin_shutdown();
        let net = Net::of(core);
        for key in site.listeners.take() {
            net.stop_listening(core, key);
        }
        net.wake_all(core);
        let own = Rc::clone(core);
        drop(runtime::spawn(async move { site.drain(&own).await }));
    }

    async fn drain(&self, core: &Rc<Core>) {
        let net = Net::of(core);
        let started = core.now();
        while net.connections() > 0 {
            let passed = core.now().since(started);
            if passed >= self.worker.options.shutdown_timeout {
                net.abort_all(core);
                break;
            }
            if passed >= SHUTDOWN_NEW_TIMEOUT && !self.worker.closes_new() {
                self.worker.close_new();
                net.wake_all(core);
            }
            runtime::sleep(SHUTDOWN_POLL_INTERVAL).await;
        }
        core.stop();
    }
}

fn accept(worker: &Rc<Worker>, io: &mut Io) -> Option<Box<dyn Protocol>> {
    worker.counters.count_accepted();
    Some(Box::new(Connection::accept(Rc::clone(worker), io)))
}

impl Accept for Acceptor {
    fn accept(&self, io: &mut Io) -> Option<Box<dyn Protocol>> {
        accept(&self.worker, io)
    }
}

impl Accept for HandingRound {
    fn accept(&self, io: &mut Io) -> Option<Box<dyn Protocol>> {
        accept(&self.worker, io)
    }

    fn route(&self, core: &Rc<Core>, socket: Socket) -> Option<Socket> {
        let remotes = self.remotes.get().map_or(&[][..], Vec::as_slice);
        let index = self.next.get();
        self.next.set(index.wrapping_add(1));
        let Some(remote) = remotes.get(index % remotes.len().max(1)) else {
            return Some(socket);
        };
        if Arc::ptr_eq(remote, core.remote()) {
            return Some(socket);
        }
        remote.post(move |core| {
            if let Some(site) = core.find_local::<Site>() {
                Net::of(core).accept_routed(core, socket, &site.accept);
            }
        });
        None
    }
}
