//! What a thread stands in for the life of its core: a context of another library, for one.
//!
//! ```text
//!   thread ─► enter ─► core: start, polls, drops ─► leave ─► thread ends
//! ```

use std::fmt;
use std::sync::Arc;

type Enter = dyn Fn(&mut dyn FnMut()) + Send + Sync;

/// What a thread enters before its core is made, and leaves after the last value of the core was
/// dropped: on the thread's own stack, once, so that no request pays for it.
#[derive(Clone)]
pub struct ThreadScope(Arc<Enter>);

impl ThreadScope {
    /// A scope of this function, which enters, calls what it is given, and leaves. It may be called
    /// on several threads at once.
    ///
    /// ```
    /// use roundtrip::runtime::ThreadScope;
    ///
    /// let scope = ThreadScope::new(|body| {
    ///     println!("{:?} begins", std::thread::current().name());
    ///     body();
    ///     println!("{:?} ends", std::thread::current().name());
    /// });
    /// assert_eq!(scope.run(|| 42), 42);
    /// ```
    pub fn new(enter: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) -> ThreadScope {
        ThreadScope(Arc::new(enter))
    }

    /// Calls `body` within the scope.
    ///
    /// # Panics
    ///
    /// The function of the scope did not call what it was given, or called it twice.
    pub fn run<T>(&self, body: impl FnOnce() -> T) -> T {
        let mut body = Some(body);
        let mut output = None;
        (self.0)(&mut || {
            let body = body.take().expect("a scope calls its body once");
            output = Some(body());
        });
        output.expect("a scope calls its body")
    }
}

impl fmt::Debug for ThreadScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadScope")
    }
}
