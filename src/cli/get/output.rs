//! Where the body of a response goes: standard output, or a file with a progress bar.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::IsTerminal as _;
use std::io::Write as _;

use indicatif::MultiProgress;
use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;

use crate::cli::Failure;
use crate::cli::console;
use crate::cli::console::Console;
use crate::cli::get::exit;
use crate::cli::get::unwritable;

const BAR: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const COUNT: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";

/// One of the two.
pub enum Output<'a> {
    /// Standard output, where several URLs write in turn.
    Stdout {
        /// All that is written there.
        console: &'a Console,
        /// True exactly when a terminal gets the body as it is.
        is_raw: bool,
    },
    /// A file; the bar is hidden unless standard error is a terminal.
    File {
        /// Its name.
        name: &'a OsStr,
        /// Open for writing.
        file: File,
        /// How far it is.
        bar: ProgressBar,
    },
}

/// One line for each file that is written, hidden unless standard error is a terminal. Cheap to clone.
#[derive(Clone)]
pub struct Progress {
    lines: MultiProgress,
}

impl Progress {
    /// None at all where it is to be silent.
    pub fn new(silent: bool) -> Progress {
        let target = match silent || !io::stderr().is_terminal() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        Progress {
            lines: MultiProgress::with_draw_target(target),
        }
    }

    /// Takes the lines away while something else is written to the terminal.
    pub fn suspend(&self, write: impl FnOnce()) {
        self.lines.suspend(write);
    }
}

impl<'a> Output<'a> {
    /// A new file. `length` is that of the body, if it is known.
    pub fn file(
        name: &'a OsStr,
        length: Option<u64>,
        progress: &Progress,
    ) -> Result<Output<'a>, Failure> {
        let file = File::create(name).map_err(|error| unwritable(name.display(), error))?;
        let bar = progress.lines.add(bar(length));
        let shown = name.to_string_lossy().replace(char::is_control, " ");
        let bar = bar.with_message(shown);
        Ok(Output::File { name, file, bar })
    }

    /// Writes heads as they came.
    pub fn write_heads(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Output::Stdout { console, .. } => {
                console.show(bytes).map_err(|error| failed(self, error))
            }
            Output::File { file, .. } => file.write_all(bytes).map_err(|error| failed(self, error)),
        }
    }

    /// Writes a piece of the body.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match self {
            Output::Stdout {
                console,
                is_raw: true,
            } => console.write_as_is(bytes),
            Output::Stdout { console, .. } if console.is_terminal() && bytes.contains(&0) => {
                let text = "the body is no text, and standard output a terminal: -o FILE, or -o -";
                return Err(Failure::new(exit::WRITE, text));
            }
            Output::Stdout { console, .. } => console.show(bytes),
            Output::File { file, bar, .. } => {
                bar.inc(bytes.len() as u64);
                file.write_all(bytes)
            }
        };
        written.map_err(|error| failed(self, error))
    }

    /// The body is complete.
    pub fn finish(self) -> Result<(), Failure> {
        match self {
            Output::Stdout { console, .. } => {
                let ended = console.end();
                ended.map_err(|error| unwritable("standard output", error))
            }
            Output::File { name, file, bar } => {
                bar.finish();
                console::close(file).map_err(|error| unwritable(name.display(), error))
            }
        }
    }
}

fn failed(output: &Output<'_>, error: io::Error) -> Failure {
    match output {
        Output::Stdout { .. } => unwritable("standard output", error),
        Output::File { name, .. } => unwritable(name.display(), error),
    }
}

fn bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), BAR),
        None => (ProgressBar::new_spinner(), COUNT),
    };
    let style = ProgressStyle::with_template(template).expect("the template is ours");
    bar.with_style(style)
}
