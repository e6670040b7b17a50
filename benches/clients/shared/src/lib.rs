//! What every client shares: the allocator, the command line, the check of each answer, the line that
//! says what it took.
//!
//! ```text
//!   Load::from_arguments ──► measure ──► warm-up phase ──► measured phase ──► one line
//!                                          └ Turns: one per request in flight ┘
//! ```

mod allocator;
mod usage;

use std::time::Duration;
use std::time::Instant;

pub use crate::allocator::count;
use crate::usage::Usage;

/// Bytes of the body that every answer has to have.
pub const BODY_BYTES: usize = 13;
/// Requests between two looks at the clock.
const CLOCK_EVERY: u64 = 16;

const USAGE: &str = "\
URL [OPTIONS]
  --seconds N     how long is measured (default 2)
  --warm-up N     seconds before that (default 0.3)
  --requests N    how many are measured, instead of how long; a tenth of them before that
  --in-flight N   requests at the same time (default 1)
  --mode MODE     reuse, new (the client asks for a connection per request), close (the server does)
";

/// Whose connections are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Both sides keep them.
    Reuse,
    /// The client keeps none, and says so to the server.
    New,
    /// The client would; the server answers `Connection: close`.
    Close,
}

/// What is asked for on the command line.
pub struct Load {
    /// Where to, with the path that belongs to the mode.
    pub url: String,
    pub in_flight: usize,
    pub mode: Mode,
    amount: Amount,
}

enum Amount {
    Time {
        warm_up: Duration,
        measured: Duration,
    },
    Requests(u64),
}

/// The warm-up, or what is measured.
#[derive(Clone, Copy)]
pub struct Phase {
    until: Option<Instant>,
    /// Requests of each that is in flight.
    each: u64,
}

/// One request after the other, of one phase.
pub struct Turns {
    phase: Phase,
    done: u64,
}

impl Load {
    /// Ends the program when they cannot be read.
    pub fn from_arguments() -> Load {
        let mut arguments = std::env::args().skip(1);
        let base = arguments.next().unwrap_or_else(|| refuse(USAGE));
        let (mut seconds, mut warm_up, mut requests) = (2.0, 0.3, None);
        let (mut in_flight, mut mode) = (1, Mode::Reuse);
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_else(|| refuse(USAGE));
            match name.as_str() {
                "--seconds" => seconds = number(&value),
                "--warm-up" => warm_up = number(&value),
                "--requests" => requests = Some(number(&value) as u64),
                "--in-flight" => in_flight = (number(&value) as usize).max(1),
                "--mode" => mode = Mode::named(&value),
                _ => refuse(USAGE),
            }
        }
        let path = if mode == Mode::Close { "close" } else { "" };
        let amount = match requests {
            Some(requests) => Amount::Requests(requests),
            None => Amount::Time {
                warm_up: Duration::from_secs_f64(warm_up),
                measured: Duration::from_secs_f64(seconds),
            },
        };
        Load {
            url: format!("{}/{path}", base.trim_end_matches('/')),
            in_flight,
            mode,
            amount,
        }
    }

    /// For a client that blocks: one request at a time.
    pub fn serial_from_arguments() -> Load {
        let load = Load::from_arguments();
        if load.in_flight != 1 {
            refuse("a client that blocks has one request in flight");
        }
        load
    }

    fn phase(&self, is_warm_up: bool) -> Phase {
        match self.amount {
            Amount::Time { warm_up, measured } => Phase {
                until: Some(Instant::now() + if is_warm_up { warm_up } else { measured }),
                each: u64::MAX,
            },
            Amount::Requests(all) => {
                let part = if is_warm_up { 10 } else { 1 };
                Phase {
                    until: None,
                    each: (all / part).div_ceil(self.in_flight as u64),
                }
            }
        }
    }
}

impl Mode {
    fn named(name: &str) -> Mode {
        match name {
            "reuse" => Mode::Reuse,
            "new" => Mode::New,
            "close" => Mode::Close,
            _ => refuse(USAGE),
        }
    }
}

impl Phase {
    pub fn turns(self) -> Turns {
        Turns {
            phase: self,
            done: 0,
        }
    }
}

impl Turns {
    /// True when another request is to be sent.
    pub fn go_on(&self) -> bool {
        if self.done == self.phase.each {
            return false;
        }
        match self.phase.until {
            Some(until) if self.done.is_multiple_of(CLOCK_EVERY) => Instant::now() < until,
            _ => true,
        }
    }

    /// Counts an answer; a wrong one ends the program.
    pub fn answered(&mut self, status: u16, body_bytes: usize) {
        if (status, body_bytes) != (200, BODY_BYTES) {
            fail(&format!("status {status}, {body_bytes} bytes of body"));
        }
        self.done += 1;
    }

    /// How many were answered.
    pub fn done(&self) -> u64 {
        self.done
    }
}

/// Calls `run` for the warm-up and for what is measured, and prints what the latter took. `run` sends
/// requests, `in_flight` at the same time, each with turns of its own, and returns how many it sent.
pub fn measure(load: &Load, mut run: impl FnMut(Phase) -> u64) {
    let warm_up_requests = run(load.phase(true));
    let phase = load.phase(false);
    let (before, start) = (Usage::now(), Instant::now());
    let requests = run(phase);
    let (after, wall) = (Usage::now(), start.elapsed());
    let mut line = format!(
        "requests={requests} warm_up_requests={warm_up_requests} wall_seconds={:.6} \
         user_seconds={:.6} system_seconds={:.6}",
        wall.as_secs_f64(),
        after.user_seconds - before.user_seconds,
        after.system_seconds - before.system_seconds,
    );
    if cfg!(feature = "count") {
        line += &format!(
            " allocations={} allocated_bytes={}",
            after.allocations - before.allocations,
            after.allocated_bytes - before.allocated_bytes
        );
    }
    println!("{line}");
}

/// Ends the program: a request failed, or its answer is wrong.
pub fn fail(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(1);
}

fn refuse(text: &str) -> ! {
    eprintln!("{text}");
    std::process::exit(2);
}

fn number(text: &str) -> f64 {
    match text.parse() {
        Ok(number) if (0.0..1e12).contains(&number) => number,
        _ => refuse(USAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(in_flight: usize, amount: Amount) -> Load {
        Load {
            url: String::new(),
            in_flight,
            mode: Mode::Reuse,
            amount,
        }
    }

    fn all(phase: Phase) -> u64 {
        let mut turns = phase.turns();
        while turns.go_on() {
            turns.answered(200, BODY_BYTES);
        }
        turns.done()
    }

    #[test]
    fn requests_are_shared_out() {
        let load = load(4, Amount::Requests(100));
        assert_eq!(all(load.phase(false)), 25);
        assert_eq!(all(load.phase(true)), 3);
    }

    #[test]
    fn time_ends() {
        let load = load(
            1,
            Amount::Time {
                warm_up: Duration::ZERO,
                measured: Duration::from_millis(5),
            },
        );
        assert_eq!(all(load.phase(true)), 0);
        assert!(all(load.phase(false)) > 0);
    }
}
