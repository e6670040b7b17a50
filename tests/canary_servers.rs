//! Tests of the server a second time, in memory that is watched for foreign writes.

// Each of these files has its helpers with it.
#![allow(clippy::duplicate_mod)]

mod guarding;

#[path = "server_exchange.rs"]
mod server_exchange;
#[path = "server_files.rs"]
mod server_files;
#[path = "server_limits.rs"]
mod server_limits;

/// What was freed so far is as it was left; a last look is at the end of the process.
#[test]
fn freed_memory_is_left_alone() {
    guarding::check();
}
