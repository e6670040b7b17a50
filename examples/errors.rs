//! Errors of one's own, `?` in handlers, and a log of what clients do not see: `errors [ADDR]`.
//!
//! ```text
//!   GET  /notes/{name}    the note, or 404
//!   PUT  /notes/{name}    keeps a note of up to 1 KiB, or 413; not for pages of other origins: 403
//! ```

use std::path::PathBuf;

use roundtrip::IntoResponse;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::StatusCode;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;
use roundtrip::server::cross_origin::Protection;

/// What can go wrong here.
enum NoteError {
    /// The client's mistake: it is told.
    BadName,
    /// Ours: the client learns that it was.
    Storage(std::io::Error),
    /// The library's own errors know what they are answered.
    Other(roundtrip::Error),
}

/// How the errors look from outside.
impl IntoResponse for NoteError {
    fn into_response(self) -> Response {
        match self {
            NoteError::BadName => {
                (StatusCode::BAD_REQUEST, "a name is letters and digits\n").into_response()
            }
            NoteError::Storage(error) if error.kind() == std::io::ErrorKind::NotFound => {
                StatusCode::NOT_FOUND.into_response()
            }
            NoteError::Storage(error) => {
                // Nothing of the error is sent: it is told below.
                let error = roundtrip::Error::new(ErrorKind::Handler, "notes").because(error);
                StatusCode::SERVICE_UNAVAILABLE
                    .into_response()
                    .with_error(error)
            }
            NoteError::Other(error) => error.into_response(),
        }
    }
}

/// What `?` makes of the errors of others.
impl From<std::io::Error> for NoteError {
    fn from(error: std::io::Error) -> NoteError {
        NoteError::Storage(error)
    }
}

impl From<roundtrip::Error> for NoteError {
    fn from(error: roundtrip::Error) -> NoteError {
        NoteError::Other(error)
    }
}

fn file_of(request: &Request) -> Result<PathBuf, NoteError> {
    let name = request.param("name");
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(NoteError::BadName);
    }
    Ok(std::env::temp_dir().join(format!("roundtrip-note-{name}")))
}

async fn read(request: Request) -> Result<String, NoteError> {
    let file = file_of(&request)?;
    // What blocks runs on a thread of its own.
    Ok(runtime::blocking(|| std::fs::read_to_string(file)).await??)
}

async fn keep(mut request: Request) -> Result<StatusCode, NoteError> {
    let file = file_of(&request)?;
    let note = request.bytes(1_024).await?;
    runtime::blocking(move || std::fs::write(file, note)).await??;
    Ok(StatusCode::NO_CONTENT)
}

fn main() -> roundtrip::Result<()> {
    let address = std::env::args().nth(1);
    let protection = Protection::new();
    let router = Router::new()
        .get("/notes/{name}", read)
        .put("/notes/{name}", keep)
        .before(move |request: &mut Request| protection.check(request));
    let server = Server::new(router).bind(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    server
        // With the error that clients do not see.
        .on_handler_error(|failed| eprintln!("{failed}"))
        .on_listening(|addresses| {
            for address in addresses {
                println!("listening on http://{address}");
            }
        })
        .run()
}
