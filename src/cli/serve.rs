//! `roundtrip serve [DIR]`: the files of a directory.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::Args;
use clap::builder::OsStringValueParser;
use clap::builder::TypedValueParser as _;
use roundtrip::Headers;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files::Files;
use roundtrip::limits::WORKERS_MAX;
use roundtrip::net::UnixOptions;
use roundtrip::runtime::start_thread;
use roundtrip::server::readiness;

use crate::cli::Failure;
use crate::cli::seconds;

/// Bytes that the path of a Unix socket may have (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// How long the start waits for standard output to take where we listen.
const SAY_TIMEOUT: Duration = Duration::from_secs(1);

/// Serves a directory.
#[derive(Args)]
pub struct Arguments {
    /// The directory.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to listen: HOST:PORT, of which port 0 takes a free one, or unix:PATH. May be given
    /// several times. Without it 127.0.0.1:8080, or the sockets that were passed (LISTEN_FDS).
    #[arg(long, value_name = "ADDRESS", value_parser = OsStringValueParser::new().try_map(address))]
    addr: Vec<Address>,
    /// Permissions of Unix sockets, octal; without it what the umask leaves.
    #[arg(long, value_name = "MODE", value_parser = octal)]
    unix_mode: Option<u32>,
    /// Listen beside a process that listens there already, which is to end then: for a restart
    /// without a gap.
    #[arg(long)]
    beside: bool,
    /// A path that answers health checks: 200, and 503 from the moment that we are asked to end.
    #[arg(long, value_name = "PATH", value_parser = ready)]
    ready: Option<String>,
    /// After SIGTERM, go on accepting for so long: until health checks have been noticed.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0", allow_negative_numbers = true)]
    drain_delay: Duration,
    /// Cut a client off that has taken nothing for so long; without it after 180, since a player may be
    /// paused. One that takes little for as long is cut off too.
    #[arg(long, value_name = "SECONDS", value_parser = write_timeout, allow_negative_numbers = true)]
    write_timeout: Option<Duration>,
    /// Threads, each with a ring of its own, 1 to 1024; without it one per CPU.
    #[arg(long, value_name = "COUNT", value_parser = workers, allow_negative_numbers = true)]
    workers: Option<usize>,
    /// `Cache-Control` of all files: "public, max-age=60".
    #[arg(long, value_name = "VALUE", value_parser = field_value)]
    cache_control: Option<String>,
    /// Directories without index.html are not found instead of listed.
    #[arg(long)]
    no_listing: bool,
    /// Serves and lists names that begin with a dot.
    #[arg(long)]
    dot_files: bool,
    /// Follows symbolic links that lead out of the directory.
    #[arg(long)]
    follow_symlinks: bool,
    /// Sends FILE.br, FILE.zst or FILE.gz instead of FILE to clients that take them.
    #[arg(long)]
    precompressed: bool,
    /// No line per request.
    #[arg(long, short)]
    quiet: bool,
}

/// What to listen on.
#[derive(Clone)]
enum Address {
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    fn is_unix(&self) -> bool {
        matches!(self, Address::Unix(_))
    }
}

/// Serves until SIGTERM or SIGINT; what has begun then is finished.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    if arguments.unix_mode.is_some() && !arguments.addr.iter().any(Address::is_unix) {
        return Err(Failure::usage("--unix-mode goes with --addr unix:PATH"));
    }
    // A directory that is not there is an error now, not a 404 later.
    let mut files = Files::open(&arguments.dir)
        .map_err(|error| Failure::usage(format!("DIR: {error:#}")))?
        .listing(!arguments.no_listing)
        .dot_files(arguments.dot_files)
        .follow_symlinks(arguments.follow_symlinks)
        .precompressed(arguments.precompressed);
    if let Some(value) = &arguments.cache_control {
        files = files.cache_control(value.as_str());
    }
    let mut router = Router::new().get("/", files);
    if let Some(path) = &arguments.ready {
        let refused = |error| Failure::usage(format!("--ready: {error:#}"));
        router = router
            .try_route(&format!("GET {path}"), readiness)
            .map_err(refused)?;
    }
    let mut server = Server::new(router).drain_delay(arguments.drain_delay);
    if let Some(workers) = arguments.workers {
        server = server.workers(workers);
    }
    if let Some(timeout) = arguments.write_timeout {
        server = server.write_timeout(timeout);
    }
    if !arguments.quiet {
        // The descriptor itself: what the handle of std keeps back, it would write at exit.
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        server = server.access_log(fs::File::from(stdout));
    }
    bind(server, arguments)?
        .on_listening(|addresses| {
            let lines = addresses
                .iter()
                .map(|address| format!("listening on http://{address}\n"));
            say(lines.collect());
        })
        .run()?;
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output, from a thread of its own: a pipe that nobody reads, a full disk or a
/// reader that is gone keeps no server from serving.
fn say(text: String) {
    let (said, heard) = mpsc::channel::<()>();
    let spoken = start_thread("stdout", move || {
        let mut stdout = io::stdout();
        let written = stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush());
        if let Err(error) = written {
            eprintln!("roundtrip: cannot write to standard output: {error}");
        }
        drop(said);
    });
    drop(spoken);
    // Usually at once, and so before the first line of the log.
    let _ = heard.recv_timeout(SAY_TIMEOUT);
}

/// Listens on what was passed and what was asked for.
fn bind(server: Server, arguments: &Arguments) -> roundtrip::Result<Server> {
    let mut server = server.inherit()?;
    for address in &arguments.addr {
        server = bind_one(server, arguments, address)?;
    }
    if server.addresses().is_empty() {
        let usual = Address::Tcp("127.0.0.1:8080".to_owned());
        server = bind_one(server, arguments, &usual)?;
    }
    Ok(server)
}

fn bind_one(server: Server, arguments: &Arguments, address: &Address) -> roundtrip::Result<Server> {
    match address {
        Address::Unix(path) => {
            let options = UnixOptions {
                mode: arguments.unix_mode,
                replace: arguments.beside,
            };
            server.bind_unix_with(path, options)
        }
        Address::Tcp(text) if arguments.beside => server.bind_beside(text.as_str()),
        Address::Tcp(text) => server.bind(text.as_str()),
    }
}

// ---- values of options, refused before anything begins -----------------------------------------

/// An address that can be listened on, as far as its text tells.
fn address(text: OsString) -> Result<Address, String> {
    let Some(path) = text.as_bytes().strip_prefix(b"unix:") else {
        let (text, port) = text
            .to_str()
            .and_then(|text| Some((text, text.rsplit_once(':')?.1)))
            .ok_or("HOST:PORT or unix:PATH is expected")?;
        return match port.parse::<u16>() {
            Ok(_) => Ok(Address::Tcp(text.to_owned())),
            Err(_) => Err("the port is a number up to 65535".to_owned()),
        };
    };
    if path.is_empty() {
        return Err("a path is expected behind `unix:`".to_owned());
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "the path has more than {UNIX_PATH_BYTES_MAX} bytes"
        ));
    }
    let path = PathBuf::from(OsStr::from_bytes(path));
    // A link to somewhere else is a file that is no socket, too.
    let is_something_else =
        fs::symlink_metadata(&path).is_ok_and(|found| !found.file_type().is_socket());
    match is_something_else {
        true => Err("there is a file that is no socket".to_owned()),
        false => Ok(Address::Unix(path)),
    }
}

/// A path that one page has, as a pattern of the router: it must leave the files visible.
fn ready(text: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"?#{}%".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(is_plain) {
        return Err("a path is expected, like /ready".to_owned());
    }
    if text.bytes().all(|byte| byte == b'/') {
        return Err("it would hide the directory's own page".to_owned());
    }
    Ok(match text.ends_with('/') {
        true => format!("{text}{{$}}"),
        false => text.to_owned(),
    })
}

fn workers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=WORKERS_MAX).contains(&count) => Ok(count),
        _ => Err(format!("1 to {WORKERS_MAX} are possible")),
    }
}

/// A time that is none cuts everybody off.
fn write_timeout(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("more than 0 seconds are expected".to_owned()),
        timeout => Ok(timeout),
    }
}

/// What a header field can hold.
fn field_value(text: &str) -> Result<String, String> {
    match Headers::from_pairs([("Cache-Control", text)]) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a header field holds no control characters".to_owned()),
    }
}

fn octal(text: &str) -> Result<u32, String> {
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode) if is_octal && mode <= 0o777 => Ok(mode),
        _ => Err("write it like 660".to_owned()),
    }
}
