//! libcurl: one easy handle that is used again, or many on its socket interface over epoll.

mod many;
#[cfg(feature = "count")]
mod memory;

use client_shared::Load;
use client_shared::Mode;
use client_shared::Turns;
use client_shared::fail;
use curl::Error;
use curl::easy::Easy2;
use curl::easy::Handler;
use curl::easy::List;
use curl::easy::WriteError;

fn main() {
    #[cfg(feature = "count")]
    memory::count();
    let load = Load::from_arguments();
    if load.in_flight > 1 {
        many::measure(&load);
        return;
    }
    let mut easy = easy(&load).unwrap_or_else(|error| fail(&error.to_string()));
    client_shared::measure(&load, |phase| {
        let all = requests(&mut easy, phase.turns());
        all.unwrap_or_else(|error| fail(&error.to_string()))
    });
}

/// Counts the bytes of a body.
#[derive(Default)]
struct Body {
    bytes: usize,
}

impl Handler for Body {
    fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.bytes += data.len();
        Ok(data.len())
    }
}

/// A handle that GETs the URL whenever it is performed.
fn easy(load: &Load) -> Result<Easy2<Body>, Error> {
    let mut easy = Easy2::new(Body::default());
    easy.url(&load.url)?;
    easy.proxy("")?;
    if load.mode == Mode::New {
        easy.fresh_connect(true)?;
        easy.forbid_reuse(true)?;
        let mut headers = List::new();
        headers.append("Connection: close")?;
        easy.http_headers(headers)?;
    }
    Ok(easy)
}

fn requests(easy: &mut Easy2<Body>, mut turns: Turns) -> Result<u64, Error> {
    while turns.go_on() {
        easy.perform()?;
        answered(easy, &mut turns)?;
    }
    Ok(turns.done())
}

/// Counts what a handle got, and makes it ready for the next.
fn answered(easy: &mut Easy2<Body>, turns: &mut Turns) -> Result<(), Error> {
    let status = easy.response_code()?;
    let body = std::mem::take(easy.get_mut());
    turns.answered(status as u16, body.bytes);
    Ok(())
}
