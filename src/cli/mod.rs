//! The commands, and what they share: one clear line for an error, an exit code other than 0.

mod console;
mod doctor;
mod get;
mod serve;
mod standard;

use std::fmt::Display;
use std::io;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::Subcommand;
use clap::error::ErrorKind as Misuse;
use roundtrip::Error;
use roundtrip::runtime;
use roundtrip::runtime::Engine;

/// The exit code where the command line cannot be what was meant: curl's, and that of most programs.
const USAGE: u8 = 2;
/// The longest time that an option takes: far beyond every use, and far below what a clock can count.
const SECONDS_MAX: f64 = 10.0 * 366.0 * 24.0 * 60.0 * 60.0;

/// HTTP server and client on io_uring, and on epoll where that is refused.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    /// What to run on: io_uring, epoll, or auto, which is what ROUNDTRIP_ENGINE says, or else io_uring,
    /// and epoll where that is refused.
    #[arg(long, global = true, value_name = "ENGINE", default_value_t = Engine::Auto)]
    engine: Engine,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the files of a directory.
    Serve(serve::Arguments),
    /// Fetch URLs through one client.
    #[command(after_help = get::exit::HELP, args_override_self = true)]
    Get(Box<get::Arguments>),
    /// Say what io_uring and epoll offer here, which is chosen, and what to do for the other.
    Doctor(doctor::Arguments),
}

/// Why a command did not succeed: its exit code, and one line for who called it.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// A failure of this exit code, which is not 0. Of an error the text has all causes.
    pub fn new(code: u8, text: impl Display) -> Failure {
        assert!(code != 0, "0 is success");
        let text = format!("{text:#}");
        Failure { code, text }
    }

    /// The exit code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// The line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A value of the command line that cannot work; the text begins with the option's name.
    pub fn usage(text: impl Display) -> Failure {
        Failure::new(USAGE, text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::new(1, error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::from(Error::from(error))
    }
}

/// Runs the command of the command line.
pub fn main() -> ExitCode {
    let done = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => misuse(&error),
    };
    match done {
        Ok(code) => code,
        Err(failure) => {
            complain(&failure.text);
            ExitCode::from(failure.code)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    // Before any ring is made: it holds for all of them.
    runtime::set_engine(cli.engine)?;
    match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Get(arguments) => get::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments, cli.engine),
    }
}

/// The help or version that was asked for, or what is wrong with the command line, in one line.
fn misuse(error: &clap::Error) -> Result<ExitCode, Failure> {
    match error.kind() {
        Misuse::DisplayHelp | Misuse::DisplayVersion => {
            let printed = match standard::output_was_closed() {
                true => Err(console::not_open()),
                false => error.print().and_then(|()| io::stdout().flush()),
            };
            match printed {
                Ok(()) => Ok(ExitCode::SUCCESS),
                Err(error) => Err(Failure::new(1, format!("cannot write the help: {error}"))),
            }
        }
        Misuse::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            Ok(ExitCode::from(USAGE))
        }
        _ => {
            let text = error.to_string();
            // What follows is the same for every mistake.
            let text = text.split("\nUsage:").next().unwrap_or_default();
            let text = text.split("\nFor more information").next().unwrap_or(text);
            let words: Vec<&str> = text.split_whitespace().collect();
            let text = words.join(" ");
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            Err(Failure::usage(text))
        }
    }
}

/// Writes an error to standard error, in one line and without control characters: it may repeat what
/// a server sent. Where it cannot be written nobody can be told.
fn complain(text: &str) {
    let text = text.replace(char::is_control, " ");
    let _ = writeln!(io::stderr(), "roundtrip: {text}");
}

/// A number of seconds on the command line.
fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match (0.0..=SECONDS_MAX).contains(&number) {
        true => Ok(Duration::from_secs_f64(number)),
        false => Err(format!("0 to {SECONDS_MAX} seconds are expected")),
    }
}
