//! What a server does about its connections beside serving them. Everything here is absent unless
//! a knob was turned, and then costs nothing.
//!
//! ```text
//!   knobs ─► Lifecycle { limits, who sends PROXY headers, hooks } ─► every worker
//! ```

use std::sync::Arc;

use crate::server::admission::Admission;
use crate::server::hooks::Hooks;
use crate::server::options::Options;
use crate::server::proxy_protocol::Peers;

/// Shared by the workers of a server.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    /// Limits on connections.
    pub admission: Option<Arc<Admission>>,
    /// Who sends PROXY headers.
    pub proxies: Option<Arc<Peers>>,
    /// Who is told.
    pub hooks: Option<Arc<Hooks>>,
}

impl Lifecycle {
    /// With the limits that the options tell of, counted over all who get a clone of this.
    pub fn with_limits(mut self, options: &Options) -> Lifecycle {
        let (all, one) = (options.connections_max, options.connections_per_address_max);
        if all.is_some() || one.is_some() {
            self.admission = Some(Arc::new(Admission::new(all, one)));
        }
        self
    }

    /// True when not everybody may simply begin.
    pub fn guards_entry(&self) -> bool {
        self.admission.is_some() || self.proxies.is_some()
    }

    /// True when something is to be kept about each connection.
    pub fn keeps_lives(&self, options: &Options) -> bool {
        self.admission.is_some()
            || self.hooks.is_some()
            || options.connection_age_max.is_some()
            || options.requests_per_connection_max.is_some()
    }
}
