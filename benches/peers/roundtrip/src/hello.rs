//! Our own `examples/hello.rs`, with the allocator of the others.

use shared as _;

include!(concat!(env!("OUT_DIR"), "/hello.rs"));
