//! One URL: request, response, body, and what is told of them.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Response;
use roundtrip::Result;
use roundtrip::client::observe::Event;

use crate::cli::get::Job;
use crate::cli::get::output::Output;
use crate::cli::get::write_out::Facts;

/// One URL on its way.
pub struct Transfer<'a> {
    job: &'a Job,
    index: usize,
    url: &'a str,
    begun: Instant,
    facts: RefCell<Facts>,
    /// What the client tells, which may come from any thread.
    told: Arc<Mutex<Told>>,
}

/// Counts of the whole chain, and when its last request began.
#[derive(Default)]
struct Told {
    connections: u32,
    heads: usize,
    last_begun: Option<Instant>,
}

impl<'a> Transfer<'a> {
    pub fn new(job: &'a Job, index: usize, url: &'a str) -> Transfer<'a> {
        Transfer {
            job,
            index,
            url,
            begun: Instant::now(),
            facts: RefCell::new(Facts {
                index,
                url: url.to_owned(),
                ..Facts::default()
            }),
            told: Arc::default(),
        }
    }

    /// Fetches, writes, and tells.
    pub async fn run(self) -> Result<()> {
        let done = self.fetch().await;
        let mut facts = self.facts.take();
        facts.total = self.begun.elapsed();
        if let Ok(told) = self.told.lock() {
            facts.connections = told.connections;
            facts.redirects = told.heads.saturating_sub(1);
            let last = told.last_begun.unwrap_or(self.begun);
            facts.redirect = last.duration_since(self.begun);
        }
        facts.error = done.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(format) = &self.job.format {
            format.write(&facts)?;
        }
        done
    }

    async fn fetch(&self) -> Result<()> {
        let job = self.job;
        let mut request = job.plan.request(&job.client, self.url);
        request = request.observer(self.observer());
        let request = request.build()?;
        if job.is_verbose {
            let line = format!("{} {}", request.method(), shown_url(&request));
            let fields = request.headers().iter();
            let fields = fields.map(|(name, value)| {
                format!("{name}: {}", String::from_utf8_lossy(&shown(name, value)))
            });
            self.say(
                std::iter::once(line).chain(fields).chain([String::new()]),
                '>',
            );
        }
        {
            let mut facts = self.facts.borrow_mut();
            facts.method = request.method().to_string();
            facts.upload_bytes = request.body().length();
        }
        let response = job.client.send(request).await?;
        self.note(&response);
        if job.is_verbose {
            self.say(head(&response).lines().map(str::to_owned), '<');
        }
        self.receive(response).await
    }

    async fn receive(&self, mut response: Response) -> Result<()> {
        let job = self.job;
        let name = job.outputs.get(self.index).map(String::as_str);
        let length = response.body_ref().length();
        let mut output = Output::open(name, length, &job.progress)?;
        if job.prints_head {
            output.write(head(&response).as_bytes())?;
        }
        while let Some(chunk) = response.body_mut().chunk().await {
            let chunk = chunk?;
            self.facts.borrow_mut().download_bytes += chunk.len() as u64;
            output.write(&chunk)?;
        }
        output.finish()?;
        response.error_for_status().map(drop)
    }

    /// Counts connections, and writes the trace.
    fn observer(&self) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
        let told = Arc::clone(&self.told);
        let trace = self.job.trace.clone();
        let (begun, index) = (self.begun, self.index);
        move |event| {
            if let Some(trace) = &trace {
                trace.write(index, begun.elapsed(), event);
            }
            let Ok(mut told) = told.lock() else { return };
            match event {
                Event::Head { .. } => told.heads += 1,
                Event::Wanted { .. } => told.last_begun = Some(Instant::now()),
                Event::Got {
                    is_reused: false, ..
                } => told.connections += 1,
                _ => {}
            }
        }
    }

    fn note(&self, response: &Response) {
        let timings = response.timings();
        let header = |name: &str| response.headers().get(name).map(str::to_owned);
        let mut facts = self.facts.borrow_mut();
        facts.status = response.status_code().as_u16();
        facts.version = format!("{:?}", response.version());
        facts.content_type = header("content-type");
        facts.redirect_url = header("location").filter(|_| response.status_code().is_redirection());
        facts.peer = response.peer_addr();
        facts.head_bytes = head(response).len();
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

    fn say(&self, lines: impl Iterator<Item = String>, mark: char) {
        self.job.progress.suspend(|| {
            for line in lines {
                eprintln!("{mark} {line}");
            }
        });
    }
}

/// The URL of a request as it may be shown.
fn shown_url(request: &roundtrip::Request) -> String {
    let Some(url) = request.url() else {
        return request.target().to_owned();
    };
    let mut url = url.clone();
    if url.password().is_some() {
        // Fails only for URLs that cannot have a password.
        let _ = url.set_password(Some("***"));
    }
    url.into()
}

/// A value as it may be shown: no credentials.
fn shown<'a>(name: &str, value: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
    let is_secret = ["authorization", "proxy-authorization"]
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret));
    match is_secret {
        true => b"***".as_slice().into(),
        false => value.into(),
    }
}

/// The head of a response as it would stand on the wire.
fn head(response: &Response) -> String {
    let status = response.status_code();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut text = format!("{:?} {} {reason}\r\n", response.version(), status.as_u16());
    for (name, value) in response.headers().iter() {
        text += &format!("{name}: {}\r\n", String::from_utf8_lossy(value));
    }
    text + "\r\n"
}
