//! `roundtrip serve [DIR]`: the files of a directory.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files::Files;
use roundtrip::runtime::Runtime;

/// Serves a directory.
#[derive(Args)]
pub struct Arguments {
    /// The directory.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where to listen; port 0 takes a free one. May be given several times.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    addr: Vec<String>,
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
    let mut server = Server::new(Router::new().get("/", files));
    if let Some(workers) = arguments.workers {
        server = server.workers(workers);
    }
    if !arguments.quiet {
        server = server.access_log(std::io::stdout());
    }
    for addr in &arguments.addr {
        server = server.bind(addr)?;
    }
    // Nor is it said that we listen before it is known that we can.
    drop(Runtime::new()?);
    let mut stdout = std::io::stdout();
    for address in server.addresses() {
        writeln!(stdout, "listening on http://{address}")?;
    }
    stdout.flush()?;
    server.run()?;
    Ok(ExitCode::SUCCESS)
}
