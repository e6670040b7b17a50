//! Which engine a ring runs on.

use std::env;

use crate::ring::diagnosis::SetupError;

/// What drives a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// io_uring, or epoll where that is refused.
    #[default]
    Auto,
    /// io_uring(7).
    IoUring,
    /// epoll(7).
    Epoll,
}

/// The engine for a ring that asks for `asked`.
pub(super) fn decide(asked: Engine) -> Result<Engine, SetupError> {
    match env::var("ROUNDTRIP_ENGINE").as_deref() {
        Ok("epoll") if asked == Engine::Auto => Ok(Engine::Epoll),
        _ => Ok(asked),
    }
}
