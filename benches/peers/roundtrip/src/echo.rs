//! Our own `examples/echo.rs`, with the allocator of the others.

use shared as _;

include!(concat!(env!("OUT_DIR"), "/echo.rs"));
