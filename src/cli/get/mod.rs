//! `roundtrip get URL…`: bodies to standard output and nothing else. The letters are curl's.
//!
//! ```text
//!   arguments ─┬─► client ──────────────┐
//!              └─► plan: what is sent ──┴─► transfer, one URL after the other or side by side (-Z)
//!                                             └─► turn ─► head? ─► body ─► Output ─► -w
//! ```
//! Success means that every byte that was asked for went where it was to go, and that all that was to
//! be sent was sent.

mod connect;
pub mod exit;
mod form;
mod output;
mod plan;
mod trace;
mod transfer;
mod turns;
mod write_out;

use std::cell::Cell;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::io::ErrorKind::NotFound;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use std::time::SystemTime;

use clap::Args;
use roundtrip::Client;
use roundtrip::client::jar::Jar;
use roundtrip::client::middleware::RetryPolicy;
use roundtrip::runtime;

use crate::cli::Failure;
use crate::cli::complain;
use crate::cli::console;
use crate::cli::console::Console;
use crate::cli::get::output::Progress;
use crate::cli::get::plan::Plan;
use crate::cli::get::trace::Trace;
use crate::cli::get::transfer::Transfer;
use crate::cli::get::turns::Turns;
use crate::cli::get::write_out::Format;
use crate::cli::seconds;

/// How long to wait before the second try; then twice as long each time, up to the most.
const RETRY_DELAY_FIRST: Duration = Duration::from_secs(1);
const RETRY_DELAY_MAX: Duration = Duration::from_secs(600);
/// Who types the command says how often: no budget beyond that is kept.
const RETRIES_PER_SECOND: u32 = 1_000;
/// With -L, redirects of one URL that are followed: as many as curl follows.
const REDIRECTS_MAX: usize = 50;

/// Fetches URLs.
#[derive(Args)]
pub struct Arguments {
    /// What to fetch; `http://` may be left out.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<OsString>,
    /// Ask for the head only (HEAD), and print it.
    #[arg(short = 'I', long = "head")]
    head: bool,
    /// The method; without it GET, or what the data asks for: POST, PUT for `-T`.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A header field, `Name: value`; `Name:` removes one that would be sent.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    fields: Vec<OsString>,
    #[command(flatten)]
    content: plan::Content,
    #[command(flatten)]
    way: connect::Way,
    /// A name and password, `NAME:PASSWORD`, for the server (Basic).
    #[arg(short = 'u', long = "user", value_name = "USER")]
    user: Option<OsString>,
    /// Ask for compressed bodies (gzip, deflate, br; zstd where it was built in), and write them decompressed.
    #[arg(long = "compressed")]
    compressed: bool,
    /// Write the body to a file; the first is for the first URL, and so on. `-`: standard output, as it
    /// is even on a terminal.
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    outputs: Vec<OsString>,
    /// Print the heads of responses before the body.
    #[arg(short = 'i', long = "include")]
    include: bool,
    /// Tell on standard error what is sent and received.
    #[arg(short = 'v', long = "verbose")]
    verbose: bool,
    /// Write what happens, and when, to a file; `-`: standard output, `%`: standard error.
    #[arg(long = "trace", value_name = "FILE")]
    trace: Option<OsString>,
    /// Print this behind each URL, with curl's variables (`%{http_code}`, `%{time_total}` …);
    /// `@FILE` reads it.
    #[arg(short = 'w', long = "write-out", value_name = "FORMAT")]
    write_out: Option<OsString>,
    /// Follow redirects.
    #[arg(short = 'L', long = "location")]
    follow: bool,
    /// Fetch all URLs at once. What goes to one output comes in the order of the URLs.
    #[arg(short = 'Z', long = "parallel")]
    parallel: bool,
    /// With -Z, so many at a time.
    #[arg(
        long = "parallel-max",
        value_name = "COUNT",
        default_value_t = 50,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u16).range(1..=1_000)
    )]
    parallel_max: u16,
    /// Try again so many times where that may help and does no harm: no connection, one that was lost,
    /// 429, 502, 503, 504. Waits up to 1 s, then up to 2 s, 4 s …, or as long as the server says.
    #[arg(long = "retry", value_name = "COUNT", allow_negative_numbers = true)]
    retries: Option<u32>,
    /// Give up on a URL after so many seconds; 0: never.
    #[arg(
        short = 'm',
        long = "max-time",
        value_name = "SECONDS",
        allow_negative_numbers = true,
        value_parser = seconds
    )]
    timeout: Option<Duration>,
    /// Send these cookies, `NAME=VALUE; …`, or those of a file in Netscape's format; `-b ''` keeps what
    /// servers set for the URLs that follow.
    #[arg(short = 'b', long = "cookie", value_name = "DATA|FILE")]
    cookie: Option<OsString>,
    /// Keep cookies, and write them to a file at the end; `-`: standard output.
    #[arg(short = 'c', long = "cookie-jar", value_name = "FILE")]
    cookie_jar: Option<OsString>,
    /// A status of 400 or above is a failure, and its body is not written.
    #[arg(short = 'f', long = "fail")]
    fail: bool,
    /// No progress bar, and no error text.
    #[arg(short = 's', long = "silent")]
    silent: bool,
    /// With -s, error texts all the same.
    #[arg(short = 'S', long = "show-error")]
    show_error: bool,
}

/// Fetches the URLs: all of them, also when one fails. The exit code is that of the last URL that
/// failed, or else of what is written at the end.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    check_outputs(arguments)?;
    let jar = jar(arguments)?;
    let job = Rc::new(Job::new(arguments, jar.clone())?);
    let side_by_side = match arguments.parallel {
        true => usize::from(arguments.parallel_max).min(arguments.urls.len()),
        false => 1,
    };
    let done: roundtrip::Result<()> = roundtrip::block_on(async {
        if let Some(choice) = runtime::engine().filter(|_| arguments.verbose) {
            let _ = writeln!(io::stderr(), "* on {choice:#}");
        }
        let workers: Vec<_> = (0..side_by_side)
            .map(|_| runtime::spawn(Rc::clone(&job).work()))
            .collect();
        for worker in workers {
            worker.await?;
        }
        Ok(())
    });
    done.map_err(|error| Failure::new(exit::code(&error, exit::Progress::NoHead), error))?;
    let job = Rc::into_inner(job).expect("the workers have ended");
    let mut code = job.failed.get().map(|(_, code)| code);
    for finished in job.finish(jar.as_ref(), arguments) {
        if let Err(failure) = finished {
            code.get_or_insert(failure.code());
            if tells_errors(arguments) {
                complain(failure.text());
            }
        }
    }
    Ok(code.map_or(ExitCode::SUCCESS, ExitCode::from))
}

fn tells_errors(arguments: &Arguments) -> bool {
    !arguments.silent || arguments.show_error
}

/// Nothing is asked for whose answer has no place.
fn check_outputs(arguments: &Arguments) -> Result<(), Failure> {
    let (files, urls) = (arguments.outputs.len(), arguments.urls.len());
    if files > urls {
        return Err(invalid(format!(
            "-o: {files} files for the bodies of {urls} URLs"
        )));
    }
    for name in &arguments.outputs {
        check_place("-o", name)?;
    }
    arguments
        .cookie_jar
        .as_deref()
        .map_or(Ok(()), |name| check_place("-c", name))
}

/// A file of this name can be made, as far as its directory tells.
fn check_place(option: &str, name: &OsStr) -> Result<(), Failure> {
    if name == "-" {
        return Ok(());
    }
    if name.is_empty() {
        return Err(invalid(format!("{option}: the name of a file is expected")));
    }
    let path = Path::new(name);
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => path,
    };
    let found = parent.metadata();
    let place = format!("{option} {}", name.display());
    match found.map_err(|error| unwritable(&place, error))? {
        found if !found.is_dir() => Err(unwritable(&place, io::ErrorKind::NotADirectory.into())),
        _ if path.is_dir() => Err(unwritable(&place, io::ErrorKind::IsADirectory.into())),
        _ => Ok(()),
    }
}

/// All URLs, and what they have in common.
struct Job {
    plan: Plan,
    client: Client,
    outputs: Vec<OsString>,
    turns: Turns,
    stdout: Console,
    format: Option<Format>,
    trace: Option<Trace>,
    progress: Progress,
    prints_heads: bool,
    is_verbose: bool,
    tells_errors: bool,
    /// True exactly when a status of 400 or above is a failure.
    fails: bool,
    /// True exactly when redirects are followed.
    follows: bool,
    urls: Vec<OsString>,
    /// The URL that nobody fetches yet.
    next: Cell<usize>,
    /// The last URL that failed, and its exit code.
    failed: Cell<Option<(usize, u8)>>,
}

impl Job {
    fn new(arguments: &Arguments, jar: Option<Jar>) -> Result<Job, Failure> {
        let format = arguments.write_out.as_deref();
        let outputs = &arguments.outputs;
        let names = (0..arguments.urls.len()).map(|index| file_of(outputs, index));
        Ok(Job {
            plan: Plan::new(arguments)?,
            client: client(arguments, jar)?,
            outputs: outputs.clone(),
            turns: Turns::new(names, format.is_some()),
            stdout: Console::stdout(),
            format: format.map(Format::new).transpose()?,
            trace: arguments.trace.as_deref().map(Trace::open).transpose()?,
            progress: Progress::new(arguments.silent),
            prints_heads: arguments.include || arguments.head,
            is_verbose: arguments.verbose,
            tells_errors: tells_errors(arguments),
            fails: arguments.fail,
            follows: arguments.follow,
            urls: arguments.urls.clone(),
            next: Cell::new(0),
            failed: Cell::new(None),
        })
    }

    /// Fetches one URL after the other, until there is none.
    async fn work(self: Rc<Job>) {
        loop {
            let index = self.next.get();
            let Some(url) = self.urls.get(index) else {
                return;
            };
            self.next.set(index + 1);
            if let Err(failure) = Transfer::new(&self, index, url).run().await {
                self.failed
                    .set(self.failed.get().max(Some((index, failure.code()))));
                if self.tells_errors {
                    self.progress.suspend(|| complain(failure.text()));
                }
            }
            self.turns.end(index);
        }
    }

    /// What is written when all URLs are done.
    fn finish(self, jar: Option<&Jar>, arguments: &Arguments) -> [Result<(), Failure>; 3] {
        let saved = match (jar, &arguments.cookie_jar) {
            (Some(jar), Some(name)) => save(jar, name),
            _ => Ok(()),
        };
        let traced = self.trace.map_or(Ok(()), |trace| trace.finish());
        let closed = self.stdout.close();
        let closed = closed.map_err(|error| unwritable("standard output", error));
        [saved, traced, closed]
    }
}

/// The file for the body of a URL; `None` for standard output.
fn file_of(outputs: &[OsString], index: usize) -> Option<&OsStr> {
    let name = outputs.get(index).map(OsString::as_os_str);
    name.filter(|name| *name != "-")
}

/// The jar, where cookies are read or kept. `-b ''` reads none, and keeps what servers set from one URL
/// to the next; a file that `-c` is to write need not be there yet.
fn jar(arguments: &Arguments) -> Result<Option<Jar>, Failure> {
    let file = arguments
        .cookie
        .as_deref()
        .filter(|text| !text.as_bytes().contains(&b'='));
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
    let loaded = jar.load(file, wall_seconds());
    let loaded = loaded
        .map_err(|error| Failure::new(exit::READ, format!("-b: {}: {error:#}", name.display())))?;
    if !arguments.silent {
        let name = name.display();
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

fn save(jar: &Jar, name: &OsStr) -> Result<(), Failure> {
    let saved = match name == "-" {
        true => jar.save_all(Console::stdout(), wall_seconds()),
        false => File::create(name)
            .map_err(roundtrip::Error::from)
            .and_then(|file| {
                jar.save_all(&file, wall_seconds())?;
                Ok(console::close(file)?)
            }),
    };
    saved.map_err(|error| Failure::new(exit::WRITE, format!("-c: {}: {error:#}", name.display())))
}

fn wall_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn client(arguments: &Arguments, jar: Option<Jar>) -> Result<Client, Failure> {
    let redirects_max = match arguments.follow {
        true => REDIRECTS_MAX,
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

/// What the command line asks for cannot be done.
fn invalid(text: impl Display) -> Failure {
    Failure::usage(text)
}

/// The part before a byte, and the part behind it.
fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let index = text.iter().position(|byte| *byte == at)?;
    Some((&text[..index], &text[index + 1..]))
}

fn unreadable(name: &OsStr, error: io::Error) -> Failure {
    let name = name.display();
    Failure::new(exit::READ, format!("cannot read {name}: {error}"))
}

fn unwritable(name: impl Display, error: io::Error) -> Failure {
    Failure::new(exit::WRITE, format!("cannot write {name}: {error}"))
}
