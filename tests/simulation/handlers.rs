//! The server's side: handlers of every sort, which check what they are given.

use std::sync::Arc;
use std::time::Duration;

use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::IntoResponse;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::files;
use roundtrip::runtime;
use roundtrip::server::Handler;
use roundtrip::server::handler::Endpoint;
use roundtrip::server::middleware::Next;
use roundtrip::simulation;
use roundtrip::simulation::Random;

use crate::ask;
use crate::ask::Ask;
use crate::content;
use crate::content::Way;
use crate::ledger;
use crate::panics;
use crate::pieces;
use crate::pieces::End;
use crate::pieces::Pieces;
use crate::pieces::Read;
use crate::upgrades;

/// Where the files are, in the simulated machine.
pub const DIRECTORY: &str = "/srv/files";
/// Their lengths; the name is `f` and the index.
pub const FILES: [usize; 7] = [0, 1, 100, 4_096, 5_000, 70_000, 200_000];

/// What `/take` does with the body it is given.
pub mod manner {
    /// Reads it chunk by chunk.
    pub const READ: u8 = 0;
    /// Reads it with pauses.
    pub const READ_SLOWLY: u8 = 1;
    /// Reads one chunk of it.
    pub const READ_ONE: u8 = 2;
    /// Does not read it.
    pub const IGNORE: u8 = 3;
    /// Collects it.
    pub const COLLECT: u8 = 4;
    /// How many there are.
    pub const COUNT: u64 = 5;
}

/// What is passed on is answered within this, or not at all.
pub const PROXY_TIMEOUT: Duration = Duration::from_secs(20);

/// A handler of `/stuck` is given up after this.
pub const STUCK_TIMEOUT: Duration = Duration::from_millis(700);
/// Bytes of a body that `/small` takes.
pub const SMALL_BYTES_MAX: u64 = 1_000;

/// When `/panic-later` and `/stream` fail.
pub mod failing {
    /// In the first poll.
    pub const AT_ONCE: u8 = 1;
    /// After waiting.
    pub const LATER: u8 = 2;
    /// In the body of the response.
    pub const IN_BODY: u8 = 3;
    /// The body ends with an error.
    pub const BODY_ERROR: u8 = 4;
}

/// All routes. `client` asks the others for those that are passed on. Some stand within middleware
/// that waits, some within such that does not, and some within both or none.
pub fn router(client: Client) -> Router {
    let proxy = async move |request: Request| proxy(&client, request).await;
    let waiting = Router::new()
        .get("/wait", wait)
        .get("/panic-later", panic_later)
        .any("/echo", echo)
        .any("/proxy/{to}", proxy)
        .wrap(pause);
    let both = Router::new().any("/take", take).wrap(pause).around(beside);
    Router::new()
        .get("/now", now)
        .get("/later", later)
        .get("/panic", panic_now)
        .merge(waiting)
        .around(beside)
        .merge(plain())
        .merge(both)
}

fn plain() -> Router {
    Router::new()
        .get("/slow", slow)
        .get("/stream", stream)
        .get("/hinted", hinted)
        .get("/abort", abort)
        .merge(
            Router::new()
                .get("/stuck", stuck)
                .handler_timeout(STUCK_TIMEOUT),
        )
        .merge(
            Router::new()
                .post("/small", take)
                .body_bytes_max(SMALL_BYTES_MAX),
        )
        .get("/upgrade", upgrades::upgrade)
        .connect(upgrades::tunnel)
        .any("/redirect/{status}", redirect)
        .route("GET /files/{path...}", counted(files::serve(DIRECTORY)))
        .any("/{path...}", other)
}

/// Waits now and then, when there is a response. Not before: each request that the server counts is
/// one that a handler has seen.
async fn pause(request: Request, next: Next) -> Response {
    let id = Ask::of(&request).map_or(0, |ask| ask.id);
    let response = panics::waking(next.run(request)).await;
    match id % 4 {
        0 => runtime::yield_now().await,
        1 => runtime::sleep(Duration::from_millis(1)).await,
        _ => {}
    }
    response
}

/// The response that comes back is that of the request that went in.
fn beside(request: &mut Request) -> impl FnOnce(Response) -> Response + use<> {
    let own = Ask::of(request).map(|ask| ask.id_value());
    move |response| {
        let value = response.headers().get_bytes(ask::FIELD);
        // What is passed on has none where nobody answered.
        let value = value.filter(|value| !value.is_empty());
        if let (Some(own), Some(value)) = (own, value) {
            assert_eq!(value, own, "the response to another request");
        }
        response
    }
}

/// The description of a request that arrived; its number is noted.
pub fn arrived(request: &Request) -> Option<Ask> {
    ledger::count(|counts| counts.handled += 1);
    let ask = Ask::of(request)?;
    simulation::note(|| format!("handler {} of request {}", request.path(), ask.id));
    ledger::saw(&ask);
    Some(ask)
}

fn answer(ask: &Ask, body: impl Into<Body>) -> Response {
    Response::new()
        .header(ask::FIELD, ask.id_value())
        .body(body)
}

fn whole(ask: &Ask) -> Response {
    let body = content::of(ask.id, Way::Down, ask.down as usize);
    // Copied behind the head, shared, or owned: each goes its own way through the output.
    match ask.id % 2 {
        0 => answer(ask, body),
        _ => answer(ask, body.to_vec()),
    }
}

pub fn nothing_asked() -> Response {
    Response::new().status(::http::StatusCode::NOT_FOUND)
}

fn now(request: &Request) -> Response {
    arrived(request).map_or_else(nothing_asked, |ask| whole(&ask))
}

async fn later(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    for _ in 0..ask.id % 3 {
        runtime::yield_now().await;
    }
    whole(&ask)
}

async fn slow(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    runtime::sleep(Duration::from_millis(u64::from(ask.delay))).await;
    whole(&ask)
}

/// As `slow`, and says so before: as often as it is asked to.
async fn hinted(request: Request) -> Result<Response, Error> {
    let Some(ask) = arrived(&request) else {
        return Ok(nothing_asked());
    };
    for _ in 0..ask.manner {
        request.inform(
            ::http::StatusCode::EARLY_HINTS,
            [(ask::FIELD, ask.id_value())],
        )?;
        runtime::sleep(Duration::from_millis(u64::from(ask.delay))).await;
    }
    Ok(whole(&ask))
}

fn abort(request: &Request) -> Response {
    arrived(request);
    Response::abort()
}

/// Never answers.
async fn stuck(request: Request) -> Response {
    arrived(&request);
    std::future::pending().await
}

async fn stream(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    let end = match ask.manner {
        failing::IN_BODY => End::Panic,
        failing::BODY_ERROR => End::Error,
        _ => End::Whole,
    };
    let pause = Duration::from_millis(u64::from(ask.delay));
    let is_whole = matches!(end, End::Whole);
    let pieces = Pieces::new(ask.id, Way::Down, ask.down as usize, pause, end);
    let mut body = Body::stream(pieces);
    if ask.id & 1 != 0 {
        body = produced(body);
    }
    // One that fails behind its last byte is whole to whoever knows the length.
    if ask.id & 2 != 0 && is_whole {
        body = body.with_length(u64::from(ask.down));
    }
    let response = answer(&ask, body);
    match ask.id % 4 {
        0 => response.trailer("x-end", ask.id_value()),
        _ => response,
    }
}

/// The same chunks, from a closure that sends them.
fn produced(mut body: Body) -> Body {
    Body::produce(async move |sender| {
        while let Some(chunk) = body.chunk().await {
            sender.send(chunk?).await?;
        }
        Ok(())
    })
}

/// Waits until its client is gone, or for as long as it is asked to.
async fn wait(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    let time = Duration::from_millis(u64::from(ask.delay));
    let gone = runtime::timeout(time, request.disconnected()).await;
    ledger::event(2, u32::from(gone.is_ok()));
    whole(&ask)
}

fn panic_now(request: &Request) -> Response {
    if arrived(request).is_none() {
        return nothing_asked();
    }
    ledger::count(|counts| counts.panicked += 1);
    std::panic::resume_unwind(Box::new("a handler that panics on purpose"));
}

async fn panic_later(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    if ask.manner != failing::AT_ONCE {
        runtime::sleep(Duration::from_millis(u64::from(ask.delay))).await;
    }
    ledger::count(|counts| counts.panicked += 1);
    std::panic::resume_unwind(Box::new("a handler that panics on purpose"));
}

/// Takes a body in, and checks every byte of it.
async fn take(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    let expected = content::of(ask.id, Way::Up, ask.up as usize);
    let mut body = request.into_body();
    let read = match ask.manner {
        manner::READ => pieces::read(&mut body, expected, Duration::ZERO, usize::MAX).await,
        manner::READ_SLOWLY => {
            let pause = Duration::from_millis(u64::from(ask.delay));
            pieces::read(&mut body, expected, pause, usize::MAX).await
        }
        manner::READ_ONE => pieces::read(&mut body, expected, Duration::ZERO, 1).await,
        manner::IGNORE => Read::Left,
        _ => match body.bytes().await {
            Ok(bytes) if bytes == expected => Read::Whole,
            Ok(_) => Read::Wrong("it differs".to_owned()),
            Err(error) => Read::Failed(error),
        },
    };
    match read {
        Read::Whole | Read::Left => whole(&ask),
        Read::Failed(error) if error.is_limit() => error.into_response(),
        Read::Failed(_) => {
            ledger::event(3, ask.id);
            Response::new().status(::http::StatusCode::BAD_REQUEST)
        }
        Read::Wrong(wrong) => {
            simulation::fail(format!(
                "the body of request {} at its handler: {wrong}",
                ask.id
            ));
            nothing_asked()
        }
    }
}

async fn echo(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    answer(&ask, request.into_body())
}

/// To `/now` or `/take` with the same description, by a status of its own.
async fn redirect(request: Request) -> Response {
    let Some(ask) = arrived(&request) else {
        return nothing_asked();
    };
    let status = request.param("status").parse().unwrap_or(302);
    let location = match ask.up {
        0 => "/now",
        _ => "/take",
    };
    answer(&ask, Body::empty())
        .status(::http::StatusCode::from_u16(status).expect("three digits"))
        .header("Location", location)
}

/// Passes a request on to our own server, or to a host, and its answer back.
async fn proxy(client: &Client, mut request: Request) -> Result<Response, Error> {
    let Some(ask) = arrived(&request) else {
        return Ok(nothing_asked());
    };
    let url = match request.param("to") {
        "own" => "http://127.0.0.1/later".to_owned(),
        index => format!("http://127.0.1.{index}/"),
    };
    let method = request.method().clone();
    let mut passed = client.request(method, url).header(ask::FIELD, ask.value());
    if ask.up > 0 {
        passed = passed.body(request.take_body());
    }
    let mut answer = passed.timeout(PROXY_TIMEOUT).send().await?;
    let status = answer.status_code();
    let id = answer
        .headers()
        .get_bytes(ask::FIELD)
        .map(<[u8]>::to_vec)
        .unwrap_or_default();
    let body = answer.take_body();
    Ok(Response::new()
        .status(status)
        .header(ask::FIELD, id)
        .body(body))
}

fn other(request: &Request) -> Response {
    arrived(request);
    nothing_asked()
}

/// Files, with their requests counted.
fn counted<M>(handler: impl Handler<M>) -> Endpoint {
    let Endpoint::Deferred(handler) = handler.into_endpoint() else {
        panic!("files are served asynchronously")
    };
    let counting = async move |request: Request| {
        arrived(&request);
        Arc::clone(&handler).start(request).await
    };
    counting.into_endpoint()
}

/// The content of a file.
pub fn file_content(index: usize) -> &'static [u8] {
    content::of(ledger::FILE_IDS + index as u32, Way::Down, FILES[index])
}

/// One of the files.
pub fn draw_file(random: &mut Random) -> usize {
    random.index(FILES.len())
}
