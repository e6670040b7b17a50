//! In place of `companion`, without the feature `tokio`: workers stand in nothing.

use crate::error::Result;
use crate::runtime::ThreadScope;

/// No other runtime was given.
#[derive(Default)]
pub(in crate::server) struct Setting(());

/// No other runtime runs.
pub(super) struct Companion;

impl Setting {
    pub(super) fn begin(self, _workers_count: usize) -> Result<Companion> {
        Ok(Companion)
    }

    #[cfg(feature = "testing")]
    pub(super) fn into_scope(self) -> Result<Option<ThreadScope>> {
        Ok(None)
    }

    pub(super) fn check_here(&self) -> Result<()> {
        Ok(())
    }
}

impl Companion {
    pub(super) fn end(self) {}

    pub(super) fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        body()
    }

    pub(super) fn scope(&self) -> Option<ThreadScope> {
        None
    }
}

pub(super) fn check_blocking(_call: &str) -> Result<()> {
    Ok(())
}
