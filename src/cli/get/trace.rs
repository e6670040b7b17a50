//! `--trace`: what happens, and when.
//!
//! ```text
//!   [0] 0.000412 connecting to 127.0.0.1:8080
//! ```

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use roundtrip::client::observe::Event;

use crate::cli::Failure;
use crate::cli::console::Console;
use crate::cli::get::unwritable;

/// Where it is written to. Cheap to clone.
#[derive(Clone)]
pub struct Trace {
    name: OsString,
    sink: Arc<Mutex<Sink>>,
}

struct Sink {
    writer: Box<dyn Write + Send>,
    /// Why not all of it was written.
    error: Option<io::Error>,
}

impl Trace {
    /// `-` is standard output, `%` standard error.
    pub fn open(name: &OsStr) -> Result<Trace, Failure> {
        let writer: Box<dyn Write + Send> = match name.as_bytes() {
            b"-" => Box::new(Console::stdout()),
            b"%" => Box::new(Console::stderr()),
            _ => Box::new(
                File::create(name)
                    .map_err(|error| unwritable(format!("--trace {}", name.display()), error))?,
            ),
        };
        let error = None;
        Ok(Trace {
            name: name.to_owned(),
            sink: Arc::new(Mutex::new(Sink { writer, error })),
        })
    }

    /// Writes a line: the number of the URL, seconds since it began, and what happened.
    pub fn write(&self, index: usize, at: Duration, event: &Event<'_>) {
        let line = format!("[{index}] {:.6} {}\n", at.as_secs_f64(), text(event));
        if let Ok(mut sink) = self.sink.lock()
            && let Err(error) = sink.writer.write_all(line.as_bytes())
        {
            // The URLs are fetched all the same.
            sink.error.get_or_insert(error);
        }
    }

    /// Says whether all of it was written.
    pub fn finish(self) -> Result<(), Failure> {
        let error = self.sink.lock().ok().and_then(|mut sink| sink.error.take());
        match error {
            Some(error) => Err(unwritable(
                format!("--trace {}", self.name.display()),
                error,
            )),
            None => Ok(()),
        }
    }
}

fn text(event: &Event<'_>) -> String {
    match event {
        Event::Wanted { origin } => format!("a connection to {} is wanted", origin.to_origin()),
        Event::Queued { origin } => format!("waiting for a connection to {}", origin.to_origin()),
        Event::Resolving { host } => format!("looking up {host}"),
        Event::Resolved {
            host, addresses, ..
        } => {
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{host} has {}", list.join(", "))
        }
        Event::Connecting { address } => format!("connecting to {address}"),
        Event::Connected { address, .. } => format!("connected to {address}"),
        Event::Tunneled { proxy, .. } => format!("{proxy} has made a tunnel"),
        Event::ConnectFailed { address, error } => format!("{address} failed: {error:#}"),
        Event::Got {
            connection,
            is_reused,
            ..
        } => match is_reused {
            true => format!("connection {connection} is used again"),
            false => format!("connection {connection} is new"),
        },
        Event::Sent { .. } => "the request is written".to_owned(),
        Event::ContinueAwaited { .. } => "waiting for 100 Continue".to_owned(),
        Event::Informational { status, headers } => {
            let fields: Vec<String> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
                .collect();
            format!("informational {status} {}", fields.join("; "))
                .trim_end()
                .to_owned()
        }
        Event::Head { status, .. } => format!("head {status}"),
        Event::Retrying => "the connection was lost without an answer: once more".to_owned(),
        Event::Finished { is_sent: true, .. } => "the response is complete".to_owned(),
        Event::Finished { .. } => "the response is complete, and the request was not".to_owned(),
        Event::RequestHead { bytes } => format!("a request head of {} bytes", bytes.len()),
        Event::ResponseHead { bytes } => format!("a response head of {} bytes", bytes.len()),
        Event::Failed { error } => format!("failed: {error:#}"),
        other => format!("{other:?}"),
    }
}
