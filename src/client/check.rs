//! What holds of all transports of a core between two turns, for simulations.
//!
//! ```text
//!   core ─► clients used there ─► transport ─► pool ─► lists, counts, caps
//! ```

use std::rc::Rc;

use crate::client::Transports;
use crate::runtime::Core;

/// Looks at the pools of a core.
///
/// # Panics
///
/// Something is not as it has to be.
pub(crate) fn check(core: &Rc<Core>) {
    if let Some(transports) = core.find_local::<Transports>() {
        for entry in transports.all.borrow().iter() {
            if let Some(transport) = entry.chain.transport() {
                transport.check();
            }
        }
    }
}
