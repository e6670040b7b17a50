//! The client against scripted servers on the simulated network: what takes a minute there takes
//! no time here, and every moment can be chosen.
//!
//! ```text
//!   test ─► Client ─► simulated network ─► origin::listen(script) ─► Log
//! ```
//! What net/http's Transport does in the same place, and where we differ, is in
//! `src/client/net_http.md`.

mod drained;
mod hostile;
mod origin;
mod pooled;
mod redirected;
mod repeated;
mod timed;
mod uploads;

use std::future::Future;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::Result;
use roundtrip::runtime;
use roundtrip::runtime::Instant;
use roundtrip::simulation;
use roundtrip::simulation::Simulation;

/// The address of the usual origin.
pub const ADDRESS: &str = "127.0.0.1:80";
/// No test takes longer, in virtual time.
const LONG: Duration = Duration::from_secs(100 * 60 * 60);

/// Runs a program on a calm network.
#[track_caller]
pub fn run<T>(program: impl Future<Output = Result<T>>) -> T {
    run_on(Simulation::new(1), program)
}

/// Runs a program on this network.
#[track_caller]
pub fn run_on<T>(simulation: Simulation, program: impl Future<Output = Result<T>>) -> T {
    let bounded = async { runtime::timeout(LONG, program).await? };
    let ended: Result<T, Error> = simulation.run(bounded).unwrap();
    ended.unwrap()
}

/// A URL of the usual origin.
pub fn url(path: &str) -> String {
    format!("http://{ADDRESS}{path}")
}

/// Waits.
pub async fn pause(milliseconds: u64) {
    runtime::sleep(Duration::from_millis(milliseconds)).await;
}

/// The virtual time that a future takes, and what it comes to.
pub async fn timed<F: Future>(future: F) -> (Duration, F::Output) {
    let began = simulation::now();
    let output = future.await;
    (simulation::now().since(began), output)
}

/// True when `time` is `expected`, or a tick of the wheel and some turns later.
#[track_caller]
pub fn assert_about(time: Duration, expected: Duration) {
    let latest = expected + Duration::from_millis(140);
    assert!(
        (expected..latest).contains(&time),
        "{time:?}, not {expected:?}"
    );
}

/// How long after another an instant is.
pub fn after(instant: Instant, before: Instant) -> Duration {
    assert!(instant >= before, "it lies before");
    instant.since(before)
}
