//! Handlers that fail: what clients see of it, and what the hook is told.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::IntoResponse;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::StatusCode;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;

use crate::server_support::Serving;
use crate::server_support::get;
use crate::server_support::request;

fn error() -> Error {
    Error::new(ErrorKind::Closed, "the other server left").because(std::io::Error::other("secret"))
}

/// An error whose drop panics.
#[derive(Debug)]
struct Bomb;

impl std::fmt::Display for Bomb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bomb")
    }
}

impl std::error::Error for Bomb {}

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::resume_unwind(Box::new(()));
    }
}

fn router() -> Router {
    Router::new()
        .get("/fine", |_: &Request| "fine")
        .get("/mistake", |_: &Request| {
            Err::<(), _>(error().answered(StatusCode::CONFLICT))
        })
        .get("/inline", |_: &Request| Err::<(), _>(error()))
        .get("/later", async |_: Request| Err::<(), _>(error()))
        .get("/bomb", |_: &Request| {
            Err::<(), _>(Error::new(ErrorKind::Handler, "armed").because(Bomb))
        })
        .get("/own", |_: &Request| {
            Response::new()
                .status(StatusCode::SERVICE_UNAVAILABLE)
                .with_error(error())
        })
        .get("/panic", |_: &Request| -> &'static str {
            panic!("on purpose")
        })
        .get("/panic/later", async |_: Request| -> &'static str {
            runtime::yield_now().await;
            panic!("on {}", "purpose")
        })
        .get("/never", async |_: Request| {
            std::future::pending::<()>().await
        })
        .get("/field", |_: &Request| {
            Response::new().header("X-Field", "a\nb")
        })
        .get("/early", |_: &Request| {
            Response::new().status(StatusCode::EARLY_HINTS)
        })
        .get("/cut", async |_: Request| {
            Body::produce(async |sender| {
                sender.send(Bytes::from_static(b"part")).await?;
                Err(error())
            })
        })
        .get("/cut/panic", async |_: Request| {
            Body::produce(async |_| -> Result<()> { panic!("on purpose") })
        })
        .post("/echo", async |request: Request| request.into_body())
        .get("/upgrade", |_: &Request| {
            Response::upgrade("echo", async |mut duplex| {
                let _ = duplex.read().await;
                panic!("on purpose")
            })
        })
}

#[test]
fn failures_of_handlers_are_told() {
    let (tell, told) = mpsc::channel();
    let serving = Serving::with(Server::new(router()), |server| {
        server
            .handler_timeout(Duration::from_millis(100))
            .on_handler_error(move |failed| {
                assert!(failed.peer.is_some() && failed.local.is_some());
                tell.send(failed.to_string()).unwrap();
            })
    });
    let left = "the other server left: secret";
    let upgrade = ["Connection: upgrade", "Upgrade: echo"];
    let table: [(String, u16, Option<String>); 15] = [
        (get("/fine"), 200, None),
        (get("/mistake"), 409, None),
        (
            get("/inline?page=2"),
            502,
            Some(format!("GET /inline?page=2: 502 Bad Gateway: {left}")),
        ),
        (
            get("/later"),
            502,
            Some(format!("GET /later: 502 Bad Gateway: {left}")),
        ),
        (
            get("/bomb"),
            500,
            Some("GET /bomb: 500 Internal Server Error: armed: a bomb".to_owned()),
        ),
        (
            get("/own"),
            503,
            Some(format!("GET /own: 503 Service Unavailable: {left}")),
        ),
        (
            get("/panic"),
            500,
            Some("GET /panic: 500 Internal Server Error: the handler panicked: on purpose".into()),
        ),
        (
            get("/panic/later"),
            500,
            Some(
                "GET /panic/later: 500 Internal Server Error: the handler panicked: on purpose"
                    .into(),
            ),
        ),
        (
            get("/never"),
            503,
            Some(
                "GET /never: 503 Service Unavailable: the handler did not answer within 100ms; \
                 Server::handler_timeout"
                    .into(),
            ),
        ),
        (
            get("/field"),
            500,
            Some(
                "GET /field: 500 Internal Server Error: the response has a field that cannot be \
                 sent: a header value holds a control character (RFC 9110 §5.5)"
                    .into(),
            ),
        ),
        (
            get("/early"),
            500,
            Some(
                "GET /early: 500 Internal Server Error: 103 Early Hints is no answer to this \
                 request"
                    .into(),
            ),
        ),
        (
            get("/cut"),
            200,
            Some(format!("GET /cut: the response was cut: {left}")),
        ),
        (
            get("/cut/panic"),
            200,
            Some(
                "GET /cut/panic: the response was cut: the body of the response panicked: on \
                 purpose"
                    .into(),
            ),
        ),
        // That a body of a client does not come is no fault of the handler.
        (
            request("POST /echo", &["Content-Length: 9"], "part"),
            200,
            None,
        ),
        (
            request("GET /upgrade", &upgrade, ""),
            101,
            Some(
                "GET /upgrade: the response was cut: who has the connection panicked: on purpose"
                    .into(),
            ),
        ),
    ];
    for (bytes, status, line) in table {
        let mut peer = serving.peer();
        let answer = peer.send(&bytes).answer_to_head();
        assert_eq!(answer.status, status, "{bytes}");
        drop(peer);
        serving.wait_until(|s| s.connections_open == 0);
        assert_eq!(told.try_recv().ok(), line, "{bytes}");
    }
    assert!(told.try_recv().is_err());
}

#[test]
fn a_hook_for_failures_that_panics_harms_nobody() {
    let serving = Serving::with(Server::new(router()), |server| {
        server.on_handler_error(|_| std::panic::resume_unwind(Box::new(())))
    });
    let mut peer = serving.peer();
    for _ in 0..2 {
        assert_eq!(peer.send(get("/inline")).answer().status, 502);
    }
    assert_eq!(serving.handle.statistics().panics, 2);
}

/// What is told comes from the response that goes out: middleware may say otherwise.
#[test]
fn middleware_may_take_the_place_of_a_failure() {
    let (tell, told) = mpsc::channel();
    let router = router().after(|response: Response| match response.error() {
        Some(error) if error.kind() == ErrorKind::Closed => "as if nothing".into_response(),
        _ => response,
    });
    let serving = Serving::with(Server::new(router), |server| {
        server.on_handler_error(move |failed| tell.send(failed.to_string()).unwrap())
    });
    assert_eq!(serving.ask(&get("/inline")).text(), "as if nothing");
    assert!(told.try_recv().is_err());
}
