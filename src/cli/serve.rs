//! `roundtrip serve [DIR]`: the files of a directory.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files::Files;
use roundtrip::net::UnixOptions;
use roundtrip::runtime::Runtime;
use roundtrip::server::readiness;

/// Serves a directory.
#[derive(Args)]
pub struct Arguments {
    /// The directory.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to listen: HOST:PORT, of which port 0 takes a free one, or unix:PATH. May be given
    /// several times. Without it 127.0.0.1:8080, or the sockets that were passed (LISTEN_FDS).
    #[arg(long, value_name = "ADDRESS")]
    addr: Vec<String>,
    /// Permissions of Unix sockets, octal; without it what the umask leaves.
    #[arg(long, value_name = "MODE", value_parser = octal)]
    unix_mode: Option<u32>,
    /// Listen beside a process that listens there already, which is to end then: for a restart
    /// without a gap.
    #[arg(long)]
    beside: bool,
    /// A path that answers health checks: 200, and 503 from the moment that we are asked to end.
    #[arg(long, value_name = "PATH")]
    ready: Option<String>,
    /// After SIGTERM, go on accepting for so long: until health checks have been noticed.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    drain_delay: Duration,
    /// Threads, each with a ring of its own; without it one per CPU.
    #[arg(long, value_name = "COUNT")]
    workers: Option<usize>,
    /// `Cache-Control` of all files: "public, max-age=60".
    #[arg(long, value_name = "VALUE")]
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

/// Serves until SIGTERM or SIGINT; what has begun then is finished.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    // A directory that is not there is an error now, not a 404 later.
    let mut files = Files::open(&arguments.dir)?
        .listing(!arguments.no_listing)
        .dot_files(arguments.dot_files)
        .follow_symlinks(arguments.follow_symlinks)
        .precompressed(arguments.precompressed);
    if let Some(value) = &arguments.cache_control {
        files = files.cache_control(value.as_str());
    }
    let mut router = Router::new().get("/", files);
    if let Some(path) = &arguments.ready {
        router = router.try_route(&format!("GET {path}"), readiness)?;
    }
    let mut server = Server::new(router).drain_delay(arguments.drain_delay);
    if let Some(workers) = arguments.workers {
        server = server.workers(workers);
    }
    if !arguments.quiet {
        server = server.access_log(std::io::stdout());
    }
    // Before anything listens: nobody must wait in the queue of a server that cannot start.
    drop(Runtime::new()?);
    let server = bind(server, arguments)?;
    let mut stdout = std::io::stdout();
    for address in server.addresses() {
        writeln!(stdout, "listening on http://{address}")?;
    }
    stdout.flush()?;
    server.run()?;
    Ok(ExitCode::SUCCESS)
}

/// Listens on what was passed and what was asked for.
fn bind(server: Server, arguments: &Arguments) -> Result<Server> {
    let mut server = server.inherit()?;
    for address in &arguments.addr {
        server = bind_one(server, arguments, address)?;
    }
    if server.addresses().is_empty() {
        server = bind_one(server, arguments, "127.0.0.1:8080")?;
    }
    Ok(server)
}

fn bind_one(server: Server, arguments: &Arguments, address: &str) -> Result<Server> {
    if let Some(path) = address.strip_prefix("unix:") {
        let options = UnixOptions {
            mode: arguments.unix_mode,
            replace: arguments.beside,
        };
        return server.bind_unix_with(path, options);
    }
    match arguments.beside {
        true => server.bind_beside(address),
        false => server.bind(address),
    }
}

fn octal(text: &str) -> std::result::Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write it like 660".to_owned()),
    }
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
