//! Where the body of a response goes: standard output, or a file with a progress bar.

use std::fs::File;
use std::io;
use std::io::IsTerminal as _;
use std::io::Stdout;
use std::io::Write as _;

use indicatif::MultiProgress;
use indicatif::ProgressBar;
use indicatif::ProgressDrawTarget;
use indicatif::ProgressStyle;
use roundtrip::Result;

use crate::cli::get::unwritable;

const BAR: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const COUNT: &str = "{msg} {spinner} {bytes} {bytes_per_sec}";

/// One of the two.
pub enum Output {
    /// Standard output, where several URLs may write in turn.
    Stdout(Stdout),
    /// A file; the bar is hidden unless standard error is a terminal.
    File {
        /// Its name.
        name: String,
        /// Open for writing.
        file: File,
        /// How far it is.
        bar: ProgressBar,
    },
}

/// One line for each file that is written, hidden unless standard error is a terminal.
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

impl Output {
    /// `-` and no name are standard output. `length` is that of the body, if it is known.
    pub fn open(name: Option<&str>, length: Option<u64>, progress: &Progress) -> Result<Output> {
        let Some(name) = name.filter(|name| *name != "-") else {
            return Ok(Output::Stdout(io::stdout()));
        };
        let file = File::create(name).map_err(|error| unwritable(name, error))?;
        let bar = progress.lines.add(bar(length));
        Ok(Output::File {
            bar: bar.with_message(name.to_owned()),
            name: name.to_owned(),
            file,
        })
    }

    /// Writes a piece.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Output::Stdout(stdout) => stdout
                .write_all(bytes)
                .map_err(|error| unwritable("standard output", error)),
            Output::File { name, file, bar } => {
                file.write_all(bytes)
                    .map_err(|error| unwritable(name, error))?;
                bar.inc(bytes.len() as u64);
                Ok(())
            }
        }
    }

    /// The body is complete.
    pub fn finish(mut self) -> Result<()> {
        match &mut self {
            Output::Stdout(stdout) => stdout
                .flush()
                .map_err(|error| unwritable("standard output", error)),
            Output::File { bar, .. } => {
                bar.finish();
                Ok(())
            }
        }
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
