//! The part of a server that lives on one core: its listeners, and how they end.
//!
//! ```text
//!   Workers ─ start ─► Site ─► Listener ─ accept ─► Connection
//!                       │         └─ Unix: and inherited: handed round to the sites of the other cores
//!                       └─ shut_down: drain delay ─► stop listening ─► idle close, running finish
//!                                     ─► core stops
//! ```

use std::cell::Cell;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use crate::limits::DRAIN_TIMEOUT;
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
use crate::server::entry;
use crate::server::handle::State;
use crate::server::readiness::ServersHere;
use crate::server::worker::Worker;

/// What the sites of one server share.
pub(super) struct Sites {
    state: Arc<State>,
    /// The mailboxes of all workers, once all of them have started.
    remotes: OnceLock<Vec<Arc<Remote>>>,
    /// Listeners that hand round and have begun.
    rounds_begun: AtomicUsize,
    /// Listeners that hand round and have ended: what they had queued is handed round.
    rounds_ended: AtomicUsize,
}

impl Sites {
    pub(super) fn new(state: &Arc<State>) -> Arc<Sites> {
        Arc::new(Sites {
            state: Arc::clone(state),
            remotes: OnceLock::new(),
            rounds_begun: AtomicUsize::new(0),
            rounds_ended: AtomicUsize::new(0),
        })
    }

    /// All workers have started.
    pub(super) fn set_remotes(&self, remotes: Vec<Arc<Remote>>) {
        assert!(self.remotes.set(remotes).is_ok(), "the workers start once");
    }

    /// True when connections were ever handed round.
    fn hands_round(&self) -> bool {
        self.rounds_begun.load(Ordering::SeqCst) > 0
    }

    /// True while connections may be handed round still.
    fn is_handing_round(&self) -> bool {
        self.rounds_ended.load(Ordering::SeqCst) < self.rounds_begun.load(Ordering::SeqCst)
    }
}

/// A server's part on one core.
pub(super) struct Site {
    worker: Rc<Worker>,
    sites: Arc<Sites>,
    accept: Rc<dyn Accept>,
    listeners: RefCell<Vec<ListenerKey>>,
    is_ending: Cell<bool>,
}

/// Accepts for the site of its own core.
struct Acceptor {
    worker: Rc<Worker>,
}

/// Accepts for all cores in turn: of a socket that only one core can listen on.
struct HandingRound {
    worker: Rc<Worker>,
    round: Round,
    next: Cell<usize>,
}

/// A listener that hands round, until it has ended, with its core if need be.
struct Round(Arc<Sites>);

impl Round {
    fn begin(sites: &Arc<Sites>) -> Round {
        sites.rounds_begun.fetch_add(1, Ordering::SeqCst);
        Round(Arc::clone(sites))
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        self.0.rounds_ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Site {
    /// Starts to listen, and puts the site where [`Site::shut_down`] finds it.
    pub(super) fn start(
        core: &Rc<Core>,
        worker: Worker,
        sockets: Vec<ListenSocket>,
        sites: &Arc<Sites>,
    ) {
        assert!(core.find_local::<Site>().is_none(), "a worker has one site");
        let site = Rc::new(Site::listen(core, worker, sockets, sites));
        core.local(|_| site);
    }

    /// Starts to listen. TCP sockets are this core's own; those that only one core can listen on
    /// serve all cores.
    pub(super) fn listen(
        core: &Rc<Core>,
        worker: Worker,
        sockets: Vec<ListenSocket>,
        sites: &Arc<Sites>,
    ) -> Site {
        let worker = Rc::new(worker);
        let own: Rc<dyn Accept> = Rc::new(Acceptor {
            worker: Rc::clone(&worker),
        });
        ServersHere::add(core, &sites.state);
        let net = Net::of(core);
        let mut listeners = Vec::with_capacity(sockets.len());
        for socket in sockets {
            let accept = if socket.is_single() {
                Rc::new(HandingRound {
                    worker: Rc::clone(&worker),
                    round: Round::begin(sites),
                    next: Cell::new(0),
                })
            } else {
                Rc::clone(&own)
            };
            worker.listener_began();
            listeners.push(net.listen(core, socket, accept));
        }
        Site {
            worker,
            sites: Arc::clone(sites),
            accept: own,
            listeners: RefCell::new(listeners),
            is_ending: Cell::new(false),
        }
    }

    /// Ends the site of this core, and then the core.
    pub(super) fn shut_down(core: &Rc<Core>) {
        let Some(site) = core.find_local::<Site>() else {
            return core.stop();
        };
        if site.is_ending.replace(true) {
            return;
        }
        let own = Rc::clone(core);
        drop(runtime::spawn(async move {
            site.end(&own).await;
            own.stop();
        }));
    }

    /// Drains: accepts and answers for the drain delay, stops listening, closes what is idle, and
    /// waits for what runs, within the time that the options give.
    pub(super) async fn end(&self, core: &Rc<Core>) {
        self.worker.begin_drain();
        self.wait_for_balancers(core).await;
        self.worker.begin_shutdown();
        let net = Net::of(core);
        self.stop_listening(core);
        net.wake_all(core);
        let started = core.now();
        let timeout = self.worker.options.shutdown_timeout;
        // A connection may be on its way from another core even when the last listener has ended.
        let mut may_come = self.sites.hands_round();
        while may_come || self.worker.is_serving() {
            let passed = core.now().since(started);
            if passed >= timeout || self.sites.state.is_aborted() {
                self.worker.end();
                net.abort_group(core, self.worker.group());
            }
            if passed >= timeout + DRAIN_TIMEOUT {
                break;
            }
            if passed >= SHUTDOWN_NEW_TIMEOUT && !self.worker.closes_new() {
                self.worker.close_new();
                net.wake_all(core);
            }
            may_come = self.sites.is_handing_round();
            runtime::sleep(SHUTDOWN_POLL_INTERVAL).await;
        }
        ServersHere::remove(core, &self.sites.state);
    }

    /// The drain delay: whoever sends us connections has time to notice that we are not ready.
    async fn wait_for_balancers(&self, core: &Rc<Core>) {
        let started = core.now();
        loop {
            let left = self
                .worker
                .options
                .drain_delay
                .saturating_sub(core.now().since(started));
            if left.is_zero() || self.sites.state.is_aborted() {
                return;
            }
            runtime::sleep(left.min(SHUTDOWN_POLL_INTERVAL)).await;
        }
    }

    /// Ends without waiting for anything; nothing is left to do after [`Site::end`].
    pub(super) fn abandon(&self, core: &Rc<Core>) {
        self.worker.end();
        self.stop_listening(core);
        Net::of(core).abort_group(core, self.worker.group());
        ServersHere::remove(core, &self.sites.state);
    }

    fn stop_listening(&self, core: &Rc<Core>) {
        let net = Net::of(core);
        for key in self.listeners.take() {
            net.stop_listening(core, key);
        }
    }
}

impl Accept for Acceptor {
    fn accept(&self, io: &mut Io) -> Option<Box<dyn Protocol>> {
        entry::accept(&self.worker, io)
    }

    fn ended(&self, error: Option<io::Error>) {
        drop(error);
        self.worker.listener_ended();
    }
}

impl Accept for HandingRound {
    fn accept(&self, io: &mut Io) -> Option<Box<dyn Protocol>> {
        entry::accept(&self.worker, io)
    }

    fn route(&self, core: &Rc<Core>, socket: Socket) -> Option<Socket> {
        let remotes = self.round.0.remotes.get().map_or(&[][..], Vec::as_slice);
        let index = self.next.get();
        self.next.set(index.wrapping_add(1));
        let Some(remote) = remotes.get(index % remotes.len().max(1)) else {
            return Some(socket);
        };
        // Those of a core that has ended are ours.
        if Arc::ptr_eq(remote, core.remote()) || remote.has_ended() {
            return Some(socket);
        }
        remote.post_own(move |core| {
            if let Some(site) = core.find_local::<Site>() {
                Net::of(core).accept_routed(core, socket, &site.accept);
            }
        });
        None
    }

    fn ended(&self, error: Option<io::Error>) {
        drop(error);
        self.worker.listener_ended();
    }
}
