//! The clients of one core: what of a client each core has for itself, so that cores share nothing on
//! a request's way.
//!
//! ```text
//!   Client ═ Arc ═► Shared: configuration, id, which cores know it
//!      │ first use on a core: a copy                  │ dropped with the last clone:
//!      ▼                                              ▼ every core is told
//!   Local ═ Rc: configuration, chain (middleware, transport) ◄── table of the core, by id
//! ```
//! Not even a reference count is shared: a request that is put together on a core holds that core's
//! `Local`.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;

use crate::client::Client;
use crate::client::RequestOptions;
use crate::client::builder::Config;
use crate::client::chain::Chain;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Process;
use crate::runtime::Remote;

/// What all clones of a client share.
pub(super) struct Shared {
    pub(super) config: Config,
    process: Process,
    /// Where it was used. Locked when a core uses it for the first time, and at the end.
    cores: Mutex<Vec<Weak<Remote>>>,
}

impl Shared {
    pub(super) fn new(config: Config) -> Shared {
        Shared {
            config,
            process: Process::here(),
            cores: Mutex::default(),
        }
    }

    /// False in a child of the process that made the client.
    pub(super) fn is_here(&self) -> bool {
        self.process.is_here()
    }

    /// Remembers a core, and forgets those that have ended.
    fn note(&self, core: &Core) {
        let mut cores = self.cores.lock().unwrap_or_else(PoisonError::into_inner);
        cores.retain(|core| core.strong_count() > 0);
        cores.push(Arc::downgrade(core.remote()));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let id = self.config.id;
        let here = Core::current();
        let cores = self.cores.get_mut().unwrap_or_else(PoisonError::into_inner);
        for remote in cores.drain(..).filter_map(|core| core.upgrade()) {
            match &here {
                Some(core) if Arc::ptr_eq(core.remote(), &remote) => forget(core, id),
                // One that has ended has forgotten it.
                _ => drop(remote.post(move |core| forget(core, id))),
            }
        }
    }
}

/// A client on one core.
pub(super) struct Local {
    pub(super) config: Config,
    pub(super) chain: Chain,
    core: std::rc::Weak<Core>,
    client: Weak<Shared>,
}

/// The clients of a core. Few, so a list.
#[derive(Default)]
pub(super) struct Locals {
    all: RefCell<Vec<Rc<Local>>>,
}

impl Locals {
    /// All of them, for checks.
    #[cfg(feature = "simulation")]
    pub(super) fn for_each(&self, look: impl Fn(&Local)) {
        self.all.borrow().iter().for_each(|local| look(local));
    }

    fn find(&self, id: u64) -> Option<Rc<Local>> {
        let all = self.all.borrow();
        let found = all.iter().find(|local| local.config.id == id)?;
        Some(Rc::clone(found))
    }
}

/// The core's part of a client, made on first use.
///
/// # Errors
///
/// This is a child of the process that made the client: what cores share of it may be locked for ever.
pub(super) fn of(core: &Rc<Core>, client: &Client) -> Result<Rc<Local>> {
    let locals = core.local(|_| Rc::new(Locals::default()));
    let shared = &client.shared;
    if let Some(local) = locals.find(shared.config.id) {
        return Ok(local);
    }
    if !shared.is_here() {
        return Err(runtime::forked());
    }
    // What users gave is called and copied here: nothing is borrowed.
    let config = shared.config.clone();
    let local = Rc::new(Local {
        chain: Chain::on(core, &config.transport, &config.around),
        config,
        core: Rc::downgrade(core),
        client: Arc::downgrade(shared),
    });
    if let Some(local) = locals.find(shared.config.id) {
        // What users gave has used the client itself.
        return Ok(local);
    }
    shared.note(core);
    locals.all.borrow_mut().push(Rc::clone(&local));
    Ok(local)
}

/// The core's part of a client, if there is one.
pub(super) fn find(core: &Core, client: &Client) -> Option<Rc<Local>> {
    core.find_local::<Locals>()?.find(client.shared.config.id)
}

/// The client is gone: requests under way finish, and what rests closes.
pub(super) fn forget(core: &Rc<Core>, id: u64) {
    let Some(locals) = core.find_local::<Locals>() else {
        return;
    };
    let found = {
        let mut all = locals.all.borrow_mut();
        let at = all.iter().position(|local| local.config.id == id);
        at.map(|at| all.swap_remove(at))
    };
    drop(found);
}

/// Who sends a request that is put together: the client, or its part of the core on which that is
/// done.
#[derive(Clone)]
pub struct Caller(Kind);

#[derive(Clone)]
enum Kind {
    Here(Rc<Local>),
    Anywhere(Client),
}

impl Caller {
    pub(super) fn of(client: &Client) -> Caller {
        // An error shows when it is sent.
        let local = Core::current().and_then(|core| of(&core, client).ok());
        Caller(match local {
            Some(local) => Kind::Here(local),
            None => Kind::Anywhere(client.clone()),
        })
    }

    pub(super) async fn execute(
        &self,
        request: Request,
        options: RequestOptions,
    ) -> Result<Response> {
        let core = Core::try_current()?;
        match &self.0 {
            Kind::Here(local) if local.core.as_ptr() == Rc::as_ptr(&core) => {
                local.execute(request, options).await
            }
            // It was put together on another core of this thread, which may be gone.
            Kind::Here(local) => match local.client.upgrade() {
                Some(shared) => Client { shared }.execute(request, options).await,
                None => Err(Error::new(
                    ErrorKind::Shutdown,
                    "the client and the core of this request are gone",
                )),
            },
            Kind::Anywhere(client) => client.execute(request, options).await,
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caller")
    }
}
