//! Which engine the rings of this process run on: decided once, with the first of them.
//!
//! ```text
//!   the first ring:  code ─ or ─► ROUNDTRIP_ENGINE ─ or ─► io_uring, and epoll where that is refused
//!   every other:     the same; one that asks for the other engine is refused
//! ```

use std::env;
use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;

use crate::ring::diagnosis::SetupError;
use crate::ring::epoll;
use crate::ring::queue::Ring;
use crate::ring::setup::RingOptions;
use crate::ring::sys::PerProcess;
use crate::ring::uring;

/// The environment variable that chooses where code does not.
const VARIABLE: &str = "ROUNDTRIP_ENGINE";

/// What drives the rings of a process: all workers, runtimes and clients share one engine, which is
/// decided when the first ring is made. A later choice of the other one is an error, which says where
/// the first came from; a child of fork(2) decides anew.
///
/// As text, and so in the environment variable `ROUNDTRIP_ENGINE`: `auto`, `io_uring`, `epoll`.
///
/// # Which is faster where
///
/// One worker, "Hello, World!", kernel 6.18, 2 processors; CPU per request as a part of hyper's in the same
/// round, median of 5 to 7 rounds (`make bench-peers`), and what a core counted per request
/// ([`Counters`](crate::runtime::Counters)):
///
/// | workload | CPU, io_uring | CPU, epoll | enters, io_uring | enters, epoll | system calls, epoll |
/// |---|---|---|---|---|---|
/// | 1 connection | 1.01 [0.88–1.09] | 0.96 [0.86–1.14] | 1.00 | 1.00 | 2.00 |
/// | 64 connections | 0.92 [0.88–1.19] | 0.98 [0.74–1.14] | 0.44 | 0.22 | 1.22 |
/// | 512 connections | 0.84 [0.73–0.99] | 0.91 [0.75–1.07] | 0.18 | 0.13 | 1.14 |
/// | 64, a connection per request | 0.78 [0.75–0.82] | 1.00 [0.92–1.05] | 0.98 | 0.82 | 6.55 |
///
/// With one connection both make the same turns, and nothing tells them apart. With many, io_uring
/// receives and sends within its one enter, where epoll pays a receive for each request, and a send that
/// is counted on neither. A connection per request is where io_uring wins most: it is accepted, armed and
/// ended without the calls that epoll makes for each. An idle connection takes 1,169 bytes on io_uring and
/// 1,401 on epoll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// What was decided already; else what `ROUNDTRIP_ENGINE` says; else io_uring, and epoll where
    /// that is refused: by a container's or sandbox's filter, by the sysctl
    /// `kernel.io_uring_disabled`, or since the kernel is too old or built without it (EPERM, EACCES,
    /// ENOSYS, EINVAL, operations that are missing). Where a limit forbids it (RLIMIT_MEMLOCK,
    /// RLIMIT_NOFILE) that stays an error.
    #[default]
    Auto,
    /// io_uring(7); an error where that cannot be had.
    IoUring,
    /// epoll(7), and system calls that do not block. None of the calls of io_uring is made: some
    /// filters end the process that makes one.
    Epoll,
}

impl Engine {
    /// `auto`, `io_uring` or `epoll`.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Auto => "auto",
            Engine::IoUring => "io_uring",
            Engine::Epoll => "epoll",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Engine {
    type Err = SetupError;

    /// Reads a name.
    ///
    /// # Errors
    ///
    /// It is none of the three, which the text lists.
    fn from_str(text: &str) -> Result<Engine, SetupError> {
        [Engine::Auto, Engine::IoUring, Engine::Epoll]
            .into_iter()
            .find(|engine| engine.name() == text)
            .ok_or_else(|| {
                SetupError::new(format!(
                    "{text:?} is no engine: auto, io_uring and epoll are"
                ))
            })
    }
}

/// The engine of a process, and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineChoice {
    /// [`Engine::IoUring`] or [`Engine::Epoll`].
    pub engine: Engine,
    /// Why.
    pub reason: EngineReason,
}

/// Why an engine was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineReason {
    /// Code asked for it.
    Code,
    /// The environment variable `ROUNDTRIP_ENGINE` names it.
    Variable,
    /// Nobody asked for one, and io_uring can be had.
    Works,
    /// Nobody asked for one, and io_uring is refused: by what, and what to change.
    Refused(SetupError),
}

/// `epoll: set by ROUNDTRIP_ENGINE`; with `{:#}` a refusal is told whole, in one line: by what, and what
/// to change.
impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.engine)?;
        match &self.reason {
            EngineReason::Code => f.write_str("set in code"),
            EngineReason::Variable => write!(f, "set by {VARIABLE}"),
            EngineReason::Works => f.write_str("it works here"),
            EngineReason::Refused(error) if f.alternate() => error.fmt(f),
            EngineReason::Refused(_) => f.write_str("io_uring is refused"),
        }
    }
}

/// What a process knows of its engine.
#[derive(Default)]
struct Decision {
    choice: Mutex<Option<EngineChoice>>,
    was_told: AtomicBool,
}

static DECISION: PerProcess<Decision> = PerProcess::new(Decision::default);

/// Held while the first ring is made, so that others wait for what becomes of it.
fn decided() -> MutexGuard<'static, Option<EngineChoice>> {
    // No panic leaves half a choice.
    let choice = &DECISION.get().choice;
    choice.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine of this process and the reason; `None` before the first ring was made or
/// [`set_engine`] was called.
pub fn engine() -> Option<EngineChoice> {
    decided().clone()
}

/// Decides on the engine of this process before there is a ring: for programs whose clients make
/// their own. [`Engine::Auto`] decides nothing.
///
/// # Errors
///
/// The other engine was decided on before; the text says by whom.
pub fn set_engine(engine: Engine) -> Result<(), SetupError> {
    let mut decided = decided();
    match &*decided {
        Some(choice) => agreed(choice, engine).map(drop),
        None => {
            *decided = (engine != Engine::Auto).then_some(EngineChoice {
                engine,
                reason: EngineReason::Code,
            });
            Ok(())
        }
    }
}

/// The choice, if epoll serves since io_uring is refused and this process has not been told so: once.
pub fn untold_fallback() -> Option<EngineChoice> {
    let choice = engine()?;
    let is_fallback = matches!(choice.reason, EngineReason::Refused(_));
    let tells = is_fallback && !DECISION.get().was_told.swap(true, Ordering::Relaxed);
    tells.then_some(choice)
}

/// Makes a ring on the engine of this process, which is decided with the first one that stands.
pub(super) fn new_ring(options: RingOptions) -> Result<Ring, SetupError> {
    let mut decided = decided();
    if let Some(choice) = &*decided {
        let engine = agreed(choice, options.engine)?;
        drop(decided);
        return match engine {
            Engine::Epoll => epoll::new_ring(options),
            Engine::IoUring | Engine::Auto => uring::new_ring(options),
        };
    }
    let (ring, choice) = decide(
        asked(options.engine)?,
        || uring::new_ring(options),
        || epoll::new_ring(options),
    )?;
    *decided = Some(choice);
    Ok(ring)
}

/// The engine that was decided on, for who asks for one.
fn agreed(choice: &EngineChoice, asked: Engine) -> Result<Engine, SetupError> {
    if asked == Engine::Auto || asked == choice.engine {
        return Ok(choice.engine);
    }
    Err(SetupError::new(format!(
        "{asked} is asked for, and this process runs on {choice}; it has one engine: choose it \
         before the first ring is made, or by {VARIABLE}"
    )))
}

/// What code asks for, or else the environment. An empty variable is as good as none.
pub(super) fn asked(engine: Engine) -> Result<(Engine, EngineReason), SetupError> {
    if engine != Engine::Auto {
        return Ok((engine, EngineReason::Code));
    }
    let text = env::var_os(VARIABLE).unwrap_or_default();
    if text.is_empty() {
        return Ok((Engine::Auto, EngineReason::Works));
    }
    match text.to_string_lossy().parse() {
        Ok(engine) => Ok((engine, EngineReason::Variable)),
        Err(error) => Err(SetupError::new(format!("{VARIABLE}: {error}"))),
    }
}

/// Makes what is asked for by one of two ways.
pub(super) fn decide<T>(
    (asked, reason): (Engine, EngineReason),
    io_uring: impl FnOnce() -> Result<T, SetupError>,
    epoll: impl FnOnce() -> Result<T, SetupError>,
) -> Result<(T, EngineChoice), SetupError> {
    let (made, engine, reason) = match asked {
        Engine::IoUring => (io_uring()?, Engine::IoUring, reason),
        Engine::Epoll => (epoll()?, Engine::Epoll, reason),
        Engine::Auto => match io_uring() {
            Ok(made) => (made, Engine::IoUring, EngineReason::Works),
            Err(error) if error.is_refused() => {
                (epoll()?, Engine::Epoll, EngineReason::Refused(error))
            }
            Err(error) => return Err(error),
        },
    };
    Ok((made, EngineChoice { engine, reason }))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn failed(errno: i32) -> Result<(), SetupError> {
        Err(SetupError::io_uring(io::Error::from_raw_os_error(errno)))
    }

    #[test]
    fn only_what_is_refused_falls_back() {
        let missing = || Err(SetupError::missing_operations(&["RECV"]));
        let nobody = || (Engine::Auto, EngineReason::Works);
        for refused in [
            failed(libc::EPERM),
            failed(libc::EACCES),
            failed(libc::ENOSYS),
            failed(libc::EINVAL),
            missing(),
        ] {
            let (_, choice) = decide(nobody(), || refused.clone(), || Ok(())).unwrap();
            assert_eq!(choice.engine, Engine::Epoll);
            let error = refused.unwrap_err();
            assert_eq!(choice.reason, EngineReason::Refused(error.clone()));
            let said = decide(
                (Engine::IoUring, EngineReason::Code),
                || Err::<(), _>(error.clone()),
                || Ok(()),
            );
            assert_eq!(said.unwrap_err(), error);
        }
        for errno in [libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::ETIME] {
            let said = decide(nobody(), || failed(errno), || Ok(()));
            assert_eq!(Err(said.unwrap_err()), failed(errno));
        }
        let (_, choice) = decide(nobody(), || Ok(()), || panic!("not needed")).unwrap();
        assert_eq!(choice.to_string(), "io_uring: it works here");
        let (_, choice) = decide(nobody(), missing, || Ok(())).unwrap();
        assert_eq!(choice.to_string(), "epoll: io_uring is refused");
        assert!(format!("{choice:#}").starts_with("epoll: this kernel's io_uring lacks RECV; "));
        let epoll = (Engine::Epoll, EngineReason::Variable);
        let (_, choice) = decide(epoll, || panic!("some filters kill"), || Ok(())).unwrap();
        assert_eq!(choice.to_string(), "epoll: set by ROUNDTRIP_ENGINE");
    }

    #[test]
    fn a_contradiction_names_both_and_the_source() {
        let choice = EngineChoice {
            engine: Engine::Epoll,
            reason: EngineReason::Variable,
        };
        for asked in [Engine::Auto, Engine::Epoll] {
            assert_eq!(agreed(&choice, asked), Ok(Engine::Epoll));
        }
        let error = agreed(&choice, Engine::IoUring).unwrap_err().to_string();
        assert!(error.starts_with("io_uring is asked for"), "{error}");
        assert!(error.contains("epoll: set by ROUNDTRIP_ENGINE"), "{error}");
    }

    #[test]
    fn names_are_read_and_written() {
        for engine in [Engine::Auto, Engine::IoUring, Engine::Epoll] {
            assert_eq!(engine.to_string().parse(), Ok(engine));
        }
        let error = "uring".parse::<Engine>().unwrap_err().to_string();
        for word in ["\"uring\"", "auto", "io_uring", "epoll"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
