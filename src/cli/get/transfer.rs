//! One URL: request, response, body, and what is told of them.
//!
//! ```text
//!   request ─► head ─► our turn ─► heads (-i) ─► body ─► was all of the request sent? ─► -w
//!      └─► observer: Told (counts, heads), -v, --trace
//! ```

use std::cell::RefCell;
use std::ffi::OsStr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Error;
use roundtrip::Response;
use roundtrip::StatusCode;
use roundtrip::client::observe::Event;

use crate::cli::Failure;
use crate::cli::console::Console;
use crate::cli::get::Job;
use crate::cli::get::exit;
use crate::cli::get::file_of;
use crate::cli::get::output::Output;
use crate::cli::get::write_out::Facts;

/// Fields whose values are not shown.
const SECRETS: [&str; 2] = ["authorization", "proxy-authorization"];

/// One URL on its way.
pub struct Transfer<'a> {
    job: &'a Job,
    index: usize,
    url: &'a OsStr,
    begun: Instant,
    facts: RefCell<Facts>,
    /// What the client tells, which may come from any thread.
    told: Arc<Mutex<Told>>,
}

/// What the client told of the whole chain, and of its last request.
#[derive(Default)]
struct Told {
    connections: u32,
    /// Final heads.
    heads: usize,
    head_bytes: usize,
    /// All heads, where they are printed.
    text: Vec<u8>,
    last_begun: Option<Instant>,
    last_status: Option<StatusCode>,
    /// True exactly when the last response was complete before its request.
    is_unsent: bool,
}

impl<'a> Transfer<'a> {
    pub fn new(job: &'a Job, index: usize, url: &'a OsStr) -> Transfer<'a> {
        Transfer {
            job,
            index,
            url,
            begun: Instant::now(),
            facts: RefCell::new(Facts {
                index,
                url: url.to_string_lossy().into_owned(),
                ..Facts::default()
            }),
            told: Arc::default(),
        }
    }

    /// Fetches, writes, and tells.
    pub async fn run(self) -> Result<(), Failure> {
        let done = self.fetch().await;
        let mut facts = self.facts.take();
        facts.total = self.begun.elapsed();
        {
            let told = self.told();
            facts.connections = told.connections;
            facts.redirects = told.heads.saturating_sub(1);
            facts.head_bytes = told.head_bytes;
            let last = told.last_begun.unwrap_or(self.begun);
            facts.redirect = last.duration_since(self.begun);
        }
        if let Some(bytes) = self.job.plan.stdin_bytes() {
            facts.upload_bytes = Some(bytes);
        }
        let failure = done.as_ref().err();
        facts.failure = failure.map(|failure| (failure.code(), failure.text().to_owned()));
        let Some(format) = &self.job.format else {
            return done;
        };
        self.job.turns.report(self.index).await;
        let written = format.write(&facts, &self.job.stdout);
        done.and(written)
    }

    async fn fetch(&self) -> Result<(), Failure> {
        let job = self.job;
        let request = job.plan.request(&job.client, self.url);
        let request = request.observer(self.observer()).build();
        let request = request.map_err(|error| {
            let text = format!("`{}`: {error:#}", self.url.display());
            Failure::new(exit::MALFORMED_URL, text)
        })?;
        {
            let mut facts = self.facts.borrow_mut();
            facts.method = request.method().to_string();
            facts.upload_bytes = request.body().length();
        }
        let sent = job.client.send(request).await;
        job.turns.body(self.index).await;
        let response = match sent {
            Ok(response) => response,
            Err(error) => {
                let failure = self.failure(&error);
                // Those of redirects, of which one too many came, for example.
                if !self.told().text.is_empty() {
                    let mut output = self.output(None)?;
                    self.write_heads(&mut output)?;
                    output.finish()?;
                }
                return Err(failure);
            }
        };
        self.note(&response);
        self.receive(response).await
    }

    async fn receive(&self, mut response: Response) -> Result<(), Failure> {
        let status = response.status_code();
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let text = format!(
                "{}: the server speaks something else than HTTP now",
                self.url.display()
            );
            return Err(Failure::new(exit::UNSUPPORTED, text));
        }
        let is_refused = self.job.fails && (status.is_client_error() || status.is_server_error());
        let mut output = match is_refused && !self.job.prints_heads {
            true => None,
            false => Some(self.output(response.body_ref().length())?),
        };
        if let Some(output) = &mut output {
            self.write_heads(output)?;
        }
        while !is_refused && let Some(chunk) = response.body_mut().chunk().await {
            let chunk = chunk.map_err(|error| self.failure(&error))?;
            self.facts.borrow_mut().download_bytes += chunk.len() as u64;
            if let Some(output) = &mut output {
                output.write(&chunk)?;
            }
        }
        output.map_or(Ok(()), Output::finish)?;
        if is_refused {
            let refused = response.error_for_status();
            return refused.map_err(|error| self.failure(&error)).map(drop);
        }
        if self.told().is_unsent {
            if let Some(error) = self.job.plan.stdin_error() {
                return Err(Failure::new(exit::READ, error));
            }
            let text = format!(
                "{}: the server answered {status} before it had read the whole request",
                self.url.display()
            );
            return Err(Failure::new(exit::SEND, text));
        }
        // What the client follows is not seen here, but where the body is gone.
        if self.job.follows && is_moved(&response) {
            let text = format!(
                "{}: redirected ({status}), and what was sent cannot be read again",
                self.url.display()
            );
            return Err(Failure::new(exit::REWIND, text));
        }
        Ok(())
    }

    fn output(&self, length: Option<u64>) -> Result<Output<'_>, Failure> {
        let job = self.job;
        match file_of(&job.outputs, self.index) {
            Some(name) => Output::file(name, length, &job.progress),
            None => Ok(Output::Stdout {
                console: &job.stdout,
                is_raw: job.outputs.get(self.index).is_some(),
            }),
        }
    }

    fn write_heads(&self, output: &mut Output<'_>) -> Result<(), Failure> {
        let heads = std::mem::take(&mut self.told().text);
        output.write_heads(&heads)
    }

    fn failure(&self, error: &Error) -> Failure {
        let progress = match self.told().last_status {
            None => exit::Progress::NoHead,
            Some(status) if status.is_redirection() => exit::Progress::Redirect,
            Some(_) => exit::Progress::Head,
        };
        Failure::new(exit::code(error, progress), error)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts, keeps heads, and writes what -v and --trace tell.
    fn observer(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let job = self.job;
        let (told, trace) = (Arc::clone(&self.told), job.trace.clone());
        let (begun, index, keeps_heads) = (self.begun, self.index, job.prints_heads);
        let verbose = job.is_verbose.then(|| job.progress.clone());
        move |event| {
            if let Some(trace) = &trace {
                trace.write(index, begun.elapsed(), event);
            }
            if let Some(progress) = &verbose {
                match event {
                    Event::RequestHead { bytes } => progress.suspend(|| say(bytes, "> ")),
                    Event::ResponseHead { bytes } => progress.suspend(|| say(bytes, "< ")),
                    _ => {}
                }
            }
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.take(event, keeps_heads);
        }
    }

    fn note(&self, response: &Response) {
        let timings = response.timings();
        let header = |name: &str| response.headers().get_bytes(name).map(<[u8]>::to_vec);
        let mut facts = self.facts.borrow_mut();
        facts.status = response.status_code().as_u16();
        facts.version = format!("{:?}", response.version());
        facts.content_type = header("content-type");
        facts.redirect_url = header("location").filter(|_| response.status_code().is_redirection());
        facts.peer = response.peer_addr();
        if let Some(url) = response.url() {
            facts.url = url.to_string();
        }
        facts.name_lookup = timings.resolve;
        facts.connect = match timings.is_reused {
            true => Duration::ZERO,
            false => timings.resolve + timings.connect,
        };
        facts.pretransfer = timings.waited;
        facts.start_transfer = timings.waited + timings.head;
    }
}

impl Told {
    fn take(&mut self, event: &Event<'_>, keeps_heads: bool) {
        match event {
            Event::Wanted { .. } => {
                self.last_begun = Some(Instant::now());
                self.last_status = None;
                self.is_unsent = false;
            }
            Event::Got {
                is_reused: false, ..
            } => self.connections += 1,
            Event::ResponseHead { bytes } => {
                self.head_bytes += bytes.len();
                if keeps_heads {
                    self.text.extend_from_slice(bytes);
                }
            }
            Event::Head { status, .. } => {
                self.heads += 1;
                self.last_status = Some(*status);
            }
            Event::Finished { is_sent, .. } => self.is_unsent = !is_sent,
            _ => {}
        }
    }
}

/// Writes a head to standard error, without credentials.
fn say(head: &[u8], mark: &str) {
    let mut text = Vec::with_capacity(2 * head.len());
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(mark.as_bytes());
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let is_secret = |secret: &&str| name.eq_ignore_ascii_case(secret.as_bytes());
        if SECRETS.iter().any(is_secret) {
            text.extend_from_slice(name);
            text.extend_from_slice(b": ***\r\n");
        } else {
            text.extend_from_slice(line);
        }
    }
    // Who closed it wants to hear nothing.
    let stderr = Console::stderr();
    let _ = stderr.show(&text).and_then(|()| stderr.end());
}

/// True for a redirect that asks for the same request somewhere else.
fn is_moved(response: &Response) -> bool {
    matches!(response.status_code().as_u16(), 301 | 302 | 307 | 308)
        && response.headers().contains("location")
}
