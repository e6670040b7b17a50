//! What a connection becomes: handlers that answer with another protocol, which checks every byte.
//!
//! ```text
//!   101, or 200 to CONNECT ─► reads the bytes that were asked up ─┐
//!                             writes those that were asked down ──┴─► ends the connection
//! ```

use std::time::Duration;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::runtime;
use roundtrip::server::upgrade::Duplex;
use roundtrip::server::upgrade::ReadHalf;
use roundtrip::server::upgrade::WriteHalf;
use roundtrip::simulation;

use crate::ask;
use crate::ask::Ask;
use crate::content;
use crate::content::Way;
use crate::handlers::arrived;
use crate::handlers::nothing_asked;
use crate::ledger;

/// The protocol's name.
pub const PROTOCOL: &str = "bytes";

/// How the bytes of a request are read and written.
pub mod how {
    /// One direction after the other.
    pub const IN_TURN: u8 = 0;
    /// Both at once, by two tasks.
    pub const AT_ONCE: u8 = 1;
    /// Nothing is read before all is written.
    pub const WRITE_FIRST: u8 = 2;
    /// As at once, with pauses.
    pub const SLOWLY: u8 = 3;
    /// How many there are.
    pub const COUNT: u64 = 4;
}

/// Answers 101.
pub async fn upgrade(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    let response = Response::upgrade(PROTOCOL, async move |duplex| speak(ask, duplex).await);
    response.header(ask::FIELD, ask.id_value())
}

/// Answers CONNECT.
pub fn tunnel(request: &Request) -> Response {
    let Some(ask) = arrived(request) else {
        return nothing_asked();
    };
    let response = Response::tunnel(async move |duplex| speak(ask, duplex).await);
    response.header(ask::FIELD, ask.id_value())
}

async fn speak(ask: Ask, duplex: Duplex) {
    let (mut reader, mut writer) = duplex.split();
    let pause = match ask.manner {
        how::SLOWLY => Duration::from_millis(u64::from(ask.delay % 4)),
        _ => Duration::ZERO,
    };
    let whole = match ask.manner {
        how::IN_TURN => take(ask, &mut reader, pause).await && give(ask, &mut writer, pause).await,
        how::WRITE_FIRST => {
            give(ask, &mut writer, pause).await && take(ask, &mut reader, pause).await
        }
        how::AT_ONCE | how::SLOWLY => {
            let giving = runtime::spawn(async move { give(ask, &mut writer, pause).await });
            let taken = take(ask, &mut reader, pause).await;
            giving.await.unwrap_or(false) && taken
        }
        other => panic!("{other} is no way to speak"),
    };
    ledger::event(4, u32::from(whole));
}

/// True when all of it came.
async fn take(ask: Ask, reader: &mut ReadHalf, pause: Duration) -> bool {
    let expected = content::of(ask.id, Way::Up, ask.up as usize);
    let mut at = 0;
    while at < expected.len() {
        let Ok(Some(bytes)) = reader.read().await else {
            return false;
        };
        if !expected[at..].starts_with(&bytes) {
            let (id, len) = (ask.id, bytes.len());
            simulation::fail(format!(
                "the upgraded connection of request {id}: {len} wrong bytes at {at}"
            ));
            return false;
        }
        at += bytes.len();
        if !pause.is_zero() {
            runtime::sleep(pause).await;
        }
    }
    true
}

/// True when all of it went.
async fn give(ask: Ask, writer: &mut WriteHalf, pause: Duration) -> bool {
    let all = content::of(ask.id, Way::Down, ask.down as usize);
    let piece = [1_000, 9_000, 70_000][ask.id as usize % 3];
    for bytes in all.chunks(piece) {
        if writer.write(bytes).await.is_err() {
            return false;
        }
        if !pause.is_zero() {
            runtime::sleep(pause).await;
        }
    }
    true
}
