//! A server in memory.
//!
//! ```text
//!   App ── Session: kernel and clock in memory ──┬─ Server::run_here of the app, of each host
//!    │                                           └─ Client of the test
//!    └─ each call runs the core as far as it has to, on the test's own thread
//! ```

use std::cell::Cell;
use std::cell::OnceCell;
use std::cell::RefCell;
use std::cell::RefMut;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use ::http::Method;
use url::Url;

use crate::client::Client;
use crate::error::Error;
use crate::runtime;
use crate::runtime::Instant;
use crate::runtime::JoinHandle;
use crate::runtime::Remote;
use crate::runtime::ThreadScope;
use crate::server::Server;
use crate::server::ServerHandle;
use crate::server::Statistics;
use crate::simulation;
use crate::simulation::Simulation;
use crate::simulation::session;
use crate::simulation::session::Session;
use crate::testing::IntoServer;
use crate::testing::ask::Ask;
use crate::testing::wire::Wire;

/// How long the test's client waits: for ever, as far as a test is concerned.
const PATIENCE: Duration = Duration::from_secs(24 * 60 * 60);
/// Where the app listens.
const PORT: u16 = 80;

/// A server in memory, with a clock of its own. One at a time per thread.
///
/// Names of hosts lead to it, unless [`App::host`] puts another server there: a request for
/// `http://example.com/x` arrives with `Host: example.com`.
pub struct App {
    /// `None` only while it is dropped.
    session: RefCell<Option<Session>>,
    client: Client,
    servers: RefCell<Vec<Running>>,
    names: RefCell<Vec<String>>,
    /// What this thread stands in while the app runs: the runtime of a server's `Server::tokio`.
    scope: OnceCell<ThreadScope>,
    started: Instant,
    /// True when nothing is to be done before time passes.
    is_settled: Cell<bool>,
    /// Panics that were reported, or are expected.
    panics_seen: Cell<u64>,
    expects_panics: bool,
}

struct Running {
    handle: ServerHandle,
    serving: JoinHandle<Result<(), Error>>,
}

impl App {
    /// Serves a router, or a [`Server`] whose knobs were turned and that is bound nowhere.
    ///
    /// # Panics
    ///
    /// This thread has an app, a simulation or a core already.
    #[track_caller]
    pub fn new(served: impl IntoServer) -> App {
        assert!(
            !simulation::is_running(),
            "this thread has an app, or a simulation, already: one at a time"
        );
        let session = match Session::begin(Simulation::new(0)) {
            Ok(session) => session,
            Err(error) => panic!("{error:#}"),
        };
        let client = Client::builder()
            .redirects_max(0)
            .response_head_timeout(PATIENCE)
            .body_timeout(PATIENCE)
            .user_agent("")
            .expect("no agent at all is none that is wrong")
            .build();
        let app = App {
            started: session.now(),
            session: RefCell::new(Some(session)),
            client,
            servers: RefCell::new(Vec::new()),
            names: RefCell::new(vec!["localhost".to_owned()]),
            scope: OnceCell::new(),
            is_settled: Cell::new(false),
            panics_seen: Cell::new(0),
            expects_panics: false,
        };
        app.add(served.into_server());
        app
    }

    /// With another server that is reached by `name`: for handlers that are clients of it.
    ///
    /// ```
    /// use roundtrip::Client;
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::testing::App;
    ///
    /// let client = Client::new();
    /// let front = Router::new().get("/{$}", async move |_: Request| {
    ///     client.get("http://prices.internal/tea").send().await?.text().await
    /// });
    /// let prices = Router::new().get("/tea", |_: &Request| "3.20");
    /// let app = App::new(front).host("prices.internal", prices);
    /// assert_eq!(app.get("/").send().text(), "3.20");
    /// ```
    ///
    /// # Panics
    ///
    /// The name has a server already.
    #[must_use]
    #[track_caller]
    pub fn host(self, name: &str, served: impl IntoServer) -> App {
        let is_taken = self.names.borrow().iter().any(|known| known == name);
        assert!(!is_taken, "{name} has a server already");
        let address = self.add(served.into_server());
        self.session().add_host(name, address);
        self.names.borrow_mut().push(name.to_owned());
        self
    }

    /// Handlers may panic: the answer, or the end of the connection, is what is looked at.
    #[must_use]
    pub fn expect_panics(mut self) -> App {
        self.expects_panics = true;
        self
    }

    // ---- requests ------------------------------------------------------------------------------

    /// A GET of a path of the app, or of an absolute URL.
    pub fn get(&self, path: impl AsRef<str>) -> Ask<'_> {
        self.request(Method::GET, path)
    }

    /// A HEAD.
    pub fn head(&self, path: impl AsRef<str>) -> Ask<'_> {
        self.request(Method::HEAD, path)
    }

    /// A POST.
    pub fn post(&self, path: impl AsRef<str>) -> Ask<'_> {
        self.request(Method::POST, path)
    }

    /// A PUT.
    pub fn put(&self, path: impl AsRef<str>) -> Ask<'_> {
        self.request(Method::PUT, path)
    }

    /// A PATCH.
    pub fn patch(&self, path: impl AsRef<str>) -> Ask<'_> {
        self.request(Method::PATCH, path)
    }

    /// A DELETE.
    pub fn delete(&self, path: impl AsRef<str>) -> Ask<'_> {
        self.request(Method::DELETE, path)
    }

    /// Any method. What a URL cannot say (`*`, a fragment, dots in a path) is for
    /// [`App::connect`].
    pub fn request(&self, method: Method, path: impl AsRef<str>) -> Ask<'_> {
        let path = path.as_ref();
        let what = format!("{method} {path}");
        let url = self.url(path);
        self.know(&url);
        Ask {
            app: self,
            builder: self.client.request(method, url),
            what,
        }
    }

    /// A connection of one's own, for bytes.
    pub fn connect(&self) -> Wire<'_> {
        Wire::open(self, (self.address(0), PORT).into())
    }

    /// The URL of a path of the app, for clients within [`App::run`].
    pub fn url(&self, path: impl AsRef<str>) -> String {
        let path = path.as_ref();
        if path.starts_with("http://") {
            return path.to_owned();
        }
        format!("http://localhost{path}")
    }

    // ---- time ----------------------------------------------------------------------------------

    /// Lets time pass: what is due until then happens, in order.
    ///
    /// # Panics
    ///
    /// A handler panicked.
    #[track_caller]
    pub fn advance(&self, time: Duration) {
        self.run(runtime::sleep(time));
        self.settle();
    }

    /// How much time has passed for the app since it began.
    pub fn elapsed(&self) -> Duration {
        self.session().now() - self.started
    }

    // ---- more ----------------------------------------------------------------------------------

    /// Runs a future beside the server: for what takes more than one answer, such as several
    /// requests at a time, or a body that is read as it comes.
    ///
    /// ```
    /// use roundtrip::Request;
    /// use roundtrip::Router;
    /// use roundtrip::runtime::spawn;
    /// use roundtrip::testing::App;
    ///
    /// let app = App::new(Router::new().get("/{$}", |_: &Request| "hello"));
    /// let texts = app.run(async {
    ///     let client = app.client();
    ///     let other = spawn(client.get(app.url("/")).send());
    ///     let one = client.get(app.url("/")).send().await?.text().await?;
    ///     Ok::<_, roundtrip::Error>([one, other.await??.text().await?])
    /// });
    /// assert_eq!(texts.unwrap(), ["hello", "hello"]);
    /// ```
    ///
    /// # Panics
    ///
    /// The future or a handler panicked; the future waits for what never comes.
    #[track_caller]
    pub fn run<F: Future>(&self, program: F) -> F::Output {
        let output = self.try_run(program);
        self.check_panics();
        output
    }

    /// The client that sends what [`Ask`] asks: patient, follows no redirects.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The handle of the app's server: statistics, and its shutdown.
    pub fn handle(&self) -> ServerHandle {
        self.servers.borrow()[0].handle.clone()
    }

    // ---- inside --------------------------------------------------------------------------------

    #[track_caller]
    pub(super) fn session(&self) -> RefMut<'_, Session> {
        assert!(
            !runtime::is_inside(),
            "within App::run, use a client and await: the app runs already"
        );
        RefMut::map(self.session.borrow_mut(), |session| {
            session.as_mut().expect("it has not ended")
        })
    }

    /// Wakes the far ends of all wires: there is something for them to do.
    #[track_caller]
    pub(super) fn wake_wires(&self) {
        self.is_settled.set(false);
        self.session().wake_peers();
    }

    /// Runs the core until there is nothing to do before time passes.
    #[track_caller]
    pub(super) fn settle(&self) {
        if self.is_settled.get() {
            return;
        }
        let settled = self.within(|| self.session().settle());
        self.is_settled.set(true);
        if let Err(failure) = settled {
            panic!("{failure}");
        }
        self.check_panics();
    }

    #[track_caller]
    pub(super) fn try_run<F: Future>(&self, program: F) -> F::Output {
        self.is_settled.set(false);
        let ended = self.within(|| self.session().run(program));
        match ended {
            Ok(output) => output,
            Err(failure) => panic!("{failure}"),
        }
    }

    fn within<T>(&self, body: impl FnOnce() -> T) -> T {
        match self.scope.get() {
            Some(scope) => scope.run(body),
            None => body(),
        }
    }

    #[track_caller]
    pub(super) fn check_panics(&self) {
        let count = |running: &Running| running.handle.statistics().panics;
        let panics = self.servers.borrow().iter().map(count).sum();
        let seen = self.panics_seen.replace(panics);
        assert!(
            self.expects_panics || panics == seen,
            "a handler panicked; its own words stand above"
        );
    }

    /// The app itself is `localhost`.
    fn address(&self, index: usize) -> IpAddr {
        IpAddr::V4(match u8::try_from(index).expect("a handful of hosts") {
            0 => Ipv4Addr::LOCALHOST,
            last => Ipv4Addr::new(10, 0, 0, last),
        })
    }

    /// Starts a server at the next address.
    #[track_caller]
    fn add(&self, mut server: Server) -> IpAddr {
        assert!(
            server.addresses().is_empty(),
            "a server for tests is bound by them"
        );
        match server.take_scope() {
            Ok(Some(scope)) => drop(self.scope.set(scope)),
            Ok(None) => {}
            Err(error) => panic!("{error:#}"),
        }
        let address = self.address(self.servers.borrow().len());
        let server = match server.bind(format!("{address}:{PORT}")) {
            Ok(server) => server,
            Err(error) => panic!("{error:#}"),
        };
        let handle = server.handle();
        let mut spawned = None;
        self.try_run(async { spawned = Some(runtime::spawn(server.run_here())) });
        let serving = spawned.expect("it was spawned within the run");
        let running = Running { handle, serving };
        self.servers.borrow_mut().push(running);
        if self.scope.get().is_some() {
            let servers = self.servers.borrow();
            let handles = servers.iter().map(|running| running.handle.clone());
            self.session().set_others(others(handles.collect()));
        }
        address
    }

    /// A name that has no server of its own leads to the app.
    fn know(&self, url: &str) {
        let Ok(url) = Url::parse(url) else { return };
        let Some(url::Host::Domain(name)) = url.host() else {
            return;
        };
        let mut names = self.names.borrow_mut();
        if !names.iter().any(|known| known == name) {
            self.session().add_host(name, self.address(0));
            names.push(name.to_owned());
        }
    }

    /// Lets the servers end, as a shutdown does.
    fn end(&self) {
        let servers = self.servers.take();
        servers.iter().for_each(|running| running.handle.shutdown());
        let handles: Vec<ServerHandle> = servers.iter().map(|one| one.handle.clone()).collect();
        let ended = self.try_run(async {
            for running in servers {
                running.serving.await??;
            }
            Ok::<_, Error>(())
        });
        if let Err(error) = ended {
            panic!("{error:#}");
        }
        let panics: u64 = handles.iter().map(|one| one.statistics().panics).sum();
        assert!(
            self.expects_panics || panics == self.panics_seen.get(),
            "a handler panicked at the end; its own words stand above"
        );
    }
}

/// Waits while handlers of these servers run. Once in vain, it does so again when a thread has woken the
/// core, or another request has come: time passes then, and with it the time-outs.
fn others(handles: Vec<ServerHandle>) -> impl Fn(&Remote) -> bool {
    let in_vain = Cell::new(None);
    move |remote| {
        let all = || handles.iter().map(ServerHandle::statistics);
        let is_idle = all().all(|statistics| statistics.requests_in_flight == 0);
        let requests = all().map(|statistics| statistics.requests).sum::<u64>();
        if is_idle || in_vain.get() == Some(requests) {
            return remote.is_pending();
        }
        let is_woken = session::wait_until(|| remote.is_pending());
        in_vain.set((!is_woken).then_some(requests));
        is_woken
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let is_panicking = thread::panicking();
        if !is_panicking {
            self.end();
        }
        let session = self.session.get_mut().take();
        let left = self.within(|| session.filter(|_| !is_panicking).and_then(Session::end));
        if let Some(left) = left {
            panic!("{left}");
        }
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let statistics: Vec<Statistics> = self
            .servers
            .borrow()
            .iter()
            .map(|running| running.handle.statistics())
            .collect();
        f.debug_struct("App")
            .field("statistics", &statistics)
            .finish_non_exhaustive()
    }
}
