//! `roundtrip get URL…`: bodies to standard output and nothing else. The letters are curl's.
//!
//! ```text
//!   arguments ─┬─► client ──────────────┐
//!              └─► plan: what is sent ──┴─► transfer, one URL after the other or side by side (-Z)
//!                                             └─► head? ─► body ─► Output ─► -w
//! ```

mod connect;
mod form;
mod output;
mod plan;
mod trace;
mod transfer;
mod write_out;

use std::cell::Cell;
use std::fs::File;
use std::io::ErrorKind::NotFound;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use std::time::SystemTime;

use clap::Args;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Result;
use roundtrip::client::jar::Jar;
use roundtrip::client::middleware::RetryPolicy;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;

use crate::cli::complain;
use crate::cli::get::output::Progress;
use crate::cli::get::plan::Plan;
use crate::cli::get::trace::Trace;
use crate::cli::get::transfer::Transfer;
use crate::cli::get::write_out::Format;
use crate::cli::seconds;

/// How long to wait before the second try; then twice as long each time, up to the most.
const RETRY_DELAY_FIRST: Duration = Duration::from_secs(1);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(600);
/// Who types the command says how often: no budget beyond that is kept.
const RETRIES_PER_SECOND: u32 = 1_000;

/// Fetches URLs.
#[derive(Args)]
pub struct Arguments {
    /// What to fetch; `http://` may be left out.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
    /// Ask for the head only (HEAD), and print it.
    #[arg(short = 'I', long = "head")]
    head: bool,
    /// The method; without it GET, or what the data asks for: POST, PUT for `-T`.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header field, `Name: value`; `Name:` removes one that would be sent.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    fields: Vec<String>,
    #[command(flatten)]
    content: plan::Content,
    #[command(flatten)]
    way: connect::Way,
    /// A name and password, `NAME:PASSWORD`, for the server (Basic).
    #[arg(short = 'u', long = "user", value_name = "USER")]
    user: Option<String>,
    /// Ask for compressed bodies (gzip, deflate, br; zstd where it was built in), and write them decompressed.
    #[arg(long = "compressed")]
    compressed: bool,
    /// Write the body to a file; the first is for the first URL, and so on. `-`: standard output.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    outputs: Vec<String>,
    /// Print the response's head before its body.
    #[arg(short = 'i', long = "include")]
    include: bool,
    /// Tell on standard error what is sent and received.
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Write what happens, and when, to a file; `-`: standard output, `%`: standard error.
    #[arg(long = "trace", value_name = "FILE")]
    trace: Option<String>,
    /// Print this behind each URL, with curl's variables (`%{http_code}`, `%{time_total}` …);
    /// `@FILE` reads it.
    #[arg(short = 'w', long = "write-out", value_name = "FORMAT")]
    write_out: Option<String>,
    /// Follow redirects.
    #[arg(short = 'L', long = "location")]
    follow: bool,
    /// Fetch all URLs at once.
    #[arg(short = 'Z', long = "parallel")]
    parallel: bool,
    /// With -Z, so many at a time.
    #[arg(
        long = "parallel-max",
        value_name = "COUNT",
        default_value_t = 50,
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    parallel_max: u16,
    /// Try again so many times where that may help and does no harm: no connection, one that was lost,
    /// 429, 502, 503, 504. Waits up to 1 s, then up to 2 s, 4 s …, or as long as the server says.
    #[arg(long = "retry", value_name = "COUNT")]
    retries: Option<u32>,
    /// Give up on a URL after so many seconds.
    #[arg(short = 'm', long = "max-time", value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Send these cookies, `NAME=VALUE; …`, or those of a file in Netscape's format; `-b ''` keeps what
    /// servers set for the URLs that follow.
    #[arg(short = 'b', long = "cookie", value_name = "DATA|FILE")]
    cookie: Option<String>,
    /// Keep cookies, and write them to a file at the end; `-`: standard output.
    #[arg(short = 'c', long = "cookie-jar", value_name = "FILE")]
    cookie_jar: Option<String>,
    /// No progress bar, and no error text.
    #[arg(short = 's', long = "silent")]
    silent: bool,
}

/// Fetches the URLs. The exit code is 0 only if every one was answered with a status below 400, and
/// its body arrived whole.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let jar = jar(arguments)?;
    let job = Rc::new(Job {
        plan: Plan::new(arguments)?,
        client: client(arguments, jar.clone())?,
        outputs: arguments.outputs.clone(),
        format: arguments
            .write_out
            .as_deref()
            .map(Format::new)
            .transpose()?,
        trace: arguments.trace.as_deref().map(Trace::open).transpose()?,
        progress: Progress::new(arguments.silent),
        prints_head: arguments.include || arguments.head,
        is_verbose: arguments.verbose,
        is_silent: arguments.silent,
        urls: arguments.urls.clone(),
        next: Cell::new(0),
        has_failed: Cell::new(false),
    });
    let side_by_side = match arguments.parallel {
        true => usize::from(arguments.parallel_max).min(arguments.urls.len()),
        false => 1,
    };
    roundtrip::block_on(async {
        let workers: Vec<_> = (0..side_by_side)
            .map(|_| runtime::spawn(Rc::clone(&job).work()))
            .collect();
        for worker in workers {
            worker.await?;
        }
        if let (Some(jar), Some(name)) = (&jar, &arguments.cookie_jar) {
            save(jar, name)?;
        }
        Ok(match job.has_failed.get() {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    })
}

/// All URLs, and what they have in common.
struct Job {
    plan: Plan,
    client: Client,
    outputs: Vec<String>,
    format: Option<Format>,
    trace: Option<Trace>,
    progress: Progress,
    prints_head: bool,
    is_verbose: bool,
    is_silent: bool,
    urls: Vec<String>,
    /// The URL that nobody fetches yet.
    next: Cell<usize>,
    has_failed: Cell<bool>,
}

impl Job {
    /// Fetches one URL after the other, until there is none.
    async fn work(self: Rc<Job>) {
        loop {
            let index = self.next.get();
            let Some(url) = self.urls.get(index) else {
                return;
            };
            self.next.set(index + 1);
            if let Err(error) = Transfer::new(&self, index, url).run().await {
                self.has_failed.set(true);
                if !self.is_silent {
                    self.progress.suspend(|| complain(&format!("{error:#}")));
                }
            }
        }
    }
}

/// The jar, where cookies are read or kept. `-b ''` reads none, and keeps what servers set from one URL
/// to the next; a file that `-c` is to write need not be there yet.
fn jar(arguments: &Arguments) -> Result<Option<Jar>> {
    let file = arguments
        .cookie
        .as_deref()
        .filter(|text| !text.contains('='));
    if file.is_none() && arguments.cookie_jar.is_none() {
        return Ok(None);
    }
    let jar = Jar::new();
    let Some(name) = file.filter(|name| !name.is_empty()) else {
        return Ok(Some(jar));
    };
    let file = match File::open(name) {
        Err(error) if error.kind() == NotFound && arguments.cookie_jar.is_some() => {
            return Ok(Some(jar));
        }
        opened => opened.map_err(|error| unreadable(name, error))?,
    };
    let loaded = jar.load(file, wall_seconds())?;
    if !arguments.silent {
        for line in &loaded.skipped {
            complain(&format!("{name}: {line}"));
        }
        let untold = loaded.skipped_count - loaded.skipped.len();
        if untold > 0 {
            complain(&format!("{name}: {untold} more lines are skipped"));
        }
    }
    Ok(Some(jar))
}

fn save(jar: &Jar, name: &str) -> Result<()> {
    if name == "-" {
        return jar.save_all(std::io::stdout(), wall_seconds());
    }
    let file = File::create(name).map_err(|error| unwritable(name, error))?;
    jar.save_all(file, wall_seconds())
}

fn wall_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn client(arguments: &Arguments, jar: Option<Jar>) -> Result<Client> {
    let redirects_max = match arguments.follow {
        true => roundtrip::limits::REDIRECTS_MAX,
        false => 0,
    };
    let mut builder = Client::builder()
        .redirects_max(redirects_max)
        .decompress(arguments.compressed);
    builder = arguments.way.apply(builder)?;
    if let Some(count) = arguments.retries {
        let policy = RetryPolicy::new()
            .attempts_max(count.saturating_add(1))
            .delays(RETRY_DELAY_FIRST, RETRY_DELAY_MAX)
            .retry_after_max(RETRY_DELAY_MAX)
            .budget(100, RETRIES_PER_SECOND);
        builder = builder.retry(policy);
    }
    if let Some(jar) = jar {
        builder = builder.cookies(jar);
    }
    // Ours is among the fields of the plan, where it can be removed.
    Ok(builder.user_agent("")?.build())
}

fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

fn unreadable(name: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read {name}")).because(error)
}

fn unwritable(name: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write {name}")).because(error)
}
