//! What other threads do for the program of a simulated kernel takes real time, and none of its own.

use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long they are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked for what they did.
const NAP: Duration = Duration::from_micros(100);

/// Waits for other threads, in real time. False when they took too long.
pub fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while !is_so() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(NAP);
    }
    true
}
