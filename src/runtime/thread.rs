//! Our threads, and a core on a thread of its own, for callers on threads that run none.
//!
//! ```text
//!   any thread ── Remote::post ──► "name": one core, until the CoreThread is dropped
//! ```

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Phase;
use crate::ring::setup::RingOptions;
use crate::ring::sys;
use crate::runtime::Runtime;
use crate::runtime::remote::Remote;

/// Starts a thread of this name, as all threads of this crate are started: a write beyond
/// RLIMIT_FSIZE is an error there (EFBIG), and not the end of the process by SIGXFSZ.
///
/// # Errors
///
/// There is no thread to be had.
pub fn start_thread<T: Send + 'static>(
    name: impl Into<String>,
    run: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name.into()).spawn(|| {
        sys::block_file_size_signal();
        run()
    })
}

/// A thread that runs one core. Dropped, the core ends after its turn, as [`Core::stop`] says, and
/// the thread with it; nobody waits for that, so that the last owner may live on any thread, the
/// core's own too.
///
/// A panic of ours ends the core in the same order (those of users are caught): its tasks are
/// dropped, and with them what others wait for. From then on [`Remote::post`] refuses.
///
/// [`Core::stop`]: crate::runtime::Core::stop
pub struct CoreThread {
    remote: Arc<Remote>,
}

impl CoreThread {
    /// Starts a thread of this name, and returns when its core is set up.
    ///
    /// # Errors
    ///
    /// There is no thread to be had, or no ring; the text holds the remedy.
    pub fn start(name: &str, options: RingOptions) -> Result<CoreThread, Error> {
        let (report, reports) = mpsc::sync_channel(1);
        let failed = |text| Error::new(ErrorKind::Setup, text).in_phase(Phase::Setup);
        start_thread(name, move || run(options, &report))
            .map_err(|error| failed("cannot start a thread").because(error))?;
        let remote = reports
            .recv()
            .map_err(|_| failed("the thread ended before its core was set up"))??;
        Ok(CoreThread { remote })
    }

    /// The mailbox of the core.
    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }
}

/// The thread. Its starter hears once: of the mailbox, or why there is none.
fn run(options: RingOptions, report: &mpsc::SyncSender<Result<Arc<Remote>, Error>>) {
    let heard = match Runtime::silent(options) {
        Err(error) => report.send(Err(error)),
        Ok(runtime) => {
            let remote = Arc::clone(runtime.core().remote());
            let ran = runtime.enter(|| {
                let heard = report.send(Ok(remote));
                runtime.run();
                heard
            });
            ran.expect("a new thread runs no other core")
        }
    };
    heard.expect("the starter waits for the report");
}

impl Drop for CoreThread {
    fn drop(&mut self) {
        // False where it has ended already.
        self.remote.post_own(|core| core.stop());
    }
}

impl fmt::Debug for CoreThread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoreThread")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime;

    const LONG: Duration = Duration::from_secs(20);

    fn started() -> CoreThread {
        CoreThread::start("core-thread", RingOptions::SMALL).unwrap()
    }

    /// Sends when it is dropped.
    struct Told(mpsc::Sender<()>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }

    #[test]
    fn runs_what_is_posted_and_ends_with_its_owner() {
        let thread = started();
        let (told, heard) = mpsc::channel();
        let name = thread.remote().post(move |_| {
            let told = Told(told);
            // A task that has no end of its own.
            runtime::spawn(async move {
                let _told = told;
                std::future::pending::<()>().await;
            });
        });
        assert!(name);
        assert!(heard.try_recv().is_err());
        let remote = Arc::clone(thread.remote());
        drop(thread);
        heard.recv_timeout(LONG).unwrap();
        while remote.post(|_| ()) {
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_drops_what_waits() {
        let thread = started();
        let (told, heard) = mpsc::channel();
        thread.remote().post_own(|_| panic!("on purpose"));
        let told = Told(told);
        thread.remote().post(move |_| drop(told));
        heard.recv_timeout(LONG).unwrap();
        while thread.remote().post(|_| ()) {
            thread::yield_now();
        }
    }
}
