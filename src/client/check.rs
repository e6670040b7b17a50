//! What holds of all transports of a core between two turns, for simulations.
//!
//! ```text
//!   core ─► clients used there ─► transport ─► pool ─► lists, counts, caps
//! ```

use std::rc::Rc;

use crate::client::local::Locals;
use crate::runtime::Core;

/// Looks at the pools of a core.
///
/// # Panics
///
/// Something is not as it has to be.
pub(crate) fn check(core: &Rc<Core>) {
    if let Some(locals) = core.find_local::<Locals>() {
        locals.for_each(|local| {
            if let Some(transport) = local.chain.transport() {
                transport.check();
            }
        });
    }
}
