//! What handlers return, as it goes over the wire.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;
use std::time::Instant;

use futures_core::Stream;
use http::StatusCode;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::IntoResponse;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::error::ErrorKind;
use roundtrip::server::Event;
use roundtrip::server::EventStream;
#[cfg(feature = "json")]
use roundtrip::server::Json;
#[cfg(feature = "json")]
use roundtrip::server::Problem;
use roundtrip::server::Redirect;
use roundtrip::server::cross_origin::Protection;

mod server_support;

use server_support::Serving;
use server_support::get;
use server_support::request;

/// A stream of what is there already.
struct Ready<T>(RefCell<VecDeque<T>>);

impl<T> Ready<T> {
    fn new(items: impl IntoIterator<Item = T>) -> Ready<T> {
        Ready(RefCell::new(items.into_iter().collect()))
    }
}

impl<T> Stream for Ready<T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<T>> {
        Poll::Ready(self.0.borrow_mut().pop_front())
    }
}

// ---- framing and fields --------------------------------------------------------------------

fn chunks(words: &[&'static str]) -> Body {
    Body::stream(Ready::new(words.iter().map(|word| Ok::<_, Error>(*word))))
}

/// Handlers by what they answer, beside a plain one.
fn router() -> Router {
    let status = |request: &Request| {
        let status = request.param("status").parse().unwrap();
        StatusCode::from_u16(status).unwrap()
    };
    Router::new()
        .get("/plain", |_: &Request| "plain")
        .get("/bytes/{count}", |r: &Request| {
            vec![b'x'; r.param("count").parse().unwrap()]
        })
        .get("/chunks", |_: &Request| chunks(&["one", "two"]))
        .get("/sized", |_: &Request| {
            chunks(&["one", "two"]).with_length(6)
        })
        .get("/long", |_: &Request| chunks(&["123", "x"]).with_length(3))
        .get("/short", |_: &Request| chunks(&["12"]).with_length(3))
        .get("/nothing", |_: &Request| ())
        .get("/status/{status}", move |request: &Request| {
            (status(request), "a text")
        })
        .get("/sniffed/{word}", |r: &Request| {
            let body = r.param("word").to_owned();
            Response::new().body(body).sniff()
        })
        .get("/coded", |_: &Request| {
            let coded = Response::new().header("Content-Encoding", "x-own");
            coded.body("<html>").sniff()
        })
        .get("/lying", |_: &Request| {
            "true"
                .into_response()
                .header("Content-Length", "7")
                .header("Transfer-Encoding", "identity")
                .header("Keep-Alive", "timeout=5")
        })
        .get("/closing", |_: &Request| {
            ([("Connection", "close")], "closing")
        })
        .get("/split", |_: &Request| {
            ([("A", "b\r\nSet-Cookie: c=1\r\n\r\n<script>")], "split")
        })
        .get("/name", |_: &Request| ([("A b", "c")], "name"))
        .get("/cookies", |_: &Request| {
            ([("Set-Cookie", "a=1"), ("Set-Cookie", "b=2, c")], "cookies")
        })
        .get("/dated", |_: &Request| {
            ([("Date", "Sun, 06 Nov 1994 08:49:37 GMT")], "dated")
        })
        .get("/undated", |_: &Request| {
            "undated".into_response().without_date()
        })
}

#[test]
fn what_is_in_memory_has_a_length() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    for length in [0, 1, 2_048, 2_049, 100_000] {
        let answer = peer.send(get(&format!("/bytes/{length}"))).answer();
        assert_eq!(answer.field("content-length"), Some(&*length.to_string()));
        assert_eq!(answer.field("transfer-encoding"), None);
        assert_eq!(answer.body.len(), length);
    }
    let answer = peer.send(get("/nothing")).answer();
    assert_eq!(answer.field("content-length"), Some("0"));
    assert_eq!(answer.field("content-type"), None);
}

#[test]
fn a_stream_is_chunked_unless_it_says_its_length() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let answer = peer.send(get("/chunks")).answer();
    assert_eq!(answer.field("transfer-encoding"), Some("chunked"));
    assert_eq!(answer.text(), "onetwo");
    let answer = peer.send(get("/sized")).answer();
    assert_eq!(answer.field("content-length"), Some("6"));
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.text(), "onetwo");
    let head = peer.send(request("HEAD /sized", &[], "")).answer_to_head();
    assert_eq!(head.field("content-length"), Some("6"));

    // What a client of HTTP/1.0 gets ends with its connection, unless the length is known.
    let old = |path: &str| format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let answer = peer.send(old("/sized")).answer();
    assert_eq!(answer.field("connection"), Some("keep-alive"));
    let answer = peer.send(old("/chunks")).answer();
    assert_eq!(answer.field("content-length"), None);
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(answer.text(), "onetwo");
}

#[test]
fn a_stream_that_breaks_its_word_is_cut() {
    let serving = Serving::start(router());
    for (path, body) in [("/long", "123"), ("/short", "12")] {
        let received = serving.peer().send(get(path).repeat(2)).rest();
        let received = String::from_utf8(received).unwrap();
        let (head, rest) = received.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Length: 3"), "{head}");
        // Nothing follows: a second response could be taken for the rest.
        assert!(body.starts_with(rest), "{path}: {rest:?}");
    }
}

#[test]
fn head_is_a_get_without_its_body() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let fields = |head: &str| {
        let lines = head.lines().filter(|line| !line.starts_with("Date:"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    for path in ["/bytes/10", "/sized", "/sniffed/<html>", "/status/404"] {
        let get = peer.send(get(path)).answer();
        let head = request(&format!("HEAD {path}"), &[], "");
        let head = peer.send(head).answer_to_head();
        assert_eq!(fields(&head.head), fields(&get.head), "{path}");
    }
    // A handler that left the body away does not say that there is none.
    let head = peer.send(request("HEAD /nothing", &[], ""));
    assert_eq!(head.answer_to_head().field("content-length"), None);
}

#[test]
fn statuses_decide_about_bodies() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    for (status, has_body) in [
        (200, true),
        (201, true),
        (204, false),
        (206, true),
        (304, false),
        (404, true),
        (418, true),
        (599, true),
        (999, true),
    ] {
        let answer = peer.send(get(&format!("/status/{status}"))).answer();
        assert_eq!(answer.status, status);
        let has_length = answer.field("content-length").is_some();
        assert_eq!(has_length, has_body, "{status}");
        assert_eq!(answer.field("transfer-encoding"), None);
        assert_eq!(answer.text(), if has_body { "a text" } else { "" });
        assert_eq!(answer.field("content-type").is_some(), status != 304);
    }
    // An informational status answers nothing, and 101 needs somebody who speaks on.
    for status in [100, 103] {
        let answer = peer.send(get(&format!("/status/{status}"))).answer();
        assert_eq!(answer.status, 500);
    }
    assert_eq!(peer.send(get("/plain")).answer().text(), "plain");
}

#[test]
fn types_are_sniffed_when_asked() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    for (path, content_type) in [
        ("/sniffed/<html>", Some("text/html; charset=utf-8")),
        ("/sniffed/GIF89a", Some("image/gif")),
        ("/sniffed/text", Some("text/plain; charset=utf-8")),
        ("/sniffed/%01%02%03", Some("application/octet-stream")),
        ("/coded", None),
        ("/bytes/3", Some("application/octet-stream")),
    ] {
        let answer = peer.send(get(path)).answer();
        assert_eq!(answer.field("content-type"), content_type, "{path}");
    }
}

#[test]
fn framing_is_not_taken_from_fields() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let answer = peer.send(get("/lying")).answer();
    assert_eq!(answer.field("content-length"), Some("4"));
    assert_eq!(answer.all("content-length").count(), 1);
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.field("keep-alive"), None);
    assert_eq!(answer.text(), "true");
    let answer = peer.send(get("/closing")).answer();
    assert_eq!(answer.field("connection"), Some("close"));
    assert!(peer.is_closed());
}

#[test]
fn a_field_that_would_split_the_response_is_an_error() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    for (path, refused) in [("/split", 1), ("/name", 2)] {
        let answer = peer.send(get(path)).answer();
        assert_eq!(answer.status, 500);
        assert!(!answer.head.contains("Set-Cookie"), "{}", answer.head);
        assert_eq!(serving.handle.statistics().invalid_responses, refused);
    }
    assert_eq!(peer.send(get("/plain")).answer().text(), "plain");
}

#[test]
fn cookies_are_lines_and_a_date_is_one() {
    let serving = Serving::start(router());
    let mut peer = serving.peer();
    let answer = peer.send(get("/cookies")).answer();
    let cookies: Vec<_> = answer.all("set-cookie").collect();
    assert_eq!(cookies, ["a=1", "b=2, c"]);
    assert_eq!(answer.all("date").count(), 1);
    let answer = peer.send(get("/dated")).answer();
    let dates: Vec<_> = answer.all("date").collect();
    assert_eq!(dates, ["Sun, 06 Nov 1994 08:49:37 GMT"]);
    let answer = peer.send(get("/undated")).answer();
    assert_eq!(answer.all("date").count(), 0);
}

// ---- redirects, errors, JSON ---------------------------------------------------------------

#[test]
fn redirects_lead_where_they_say() {
    let router = Router::new()
        .any("/to", |r: &Request| Redirect::to("/ä?b").relative_to(r))
        .any("/a/up", |r: &Request| {
            Redirect::permanent("../x").relative_to(r)
        })
        .get("/next", |r: &Request| {
            let next = r.query().unwrap_or_default().to_owned();
            Redirect::to(next).local()
        });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let answer = peer.send(get("/to")).answer();
    assert_eq!(answer.status, 303);
    assert_eq!(answer.field("location"), Some("/%C3%A4?b"));
    assert_eq!(answer.text(), "<a href=\"/%C3%A4?b\">See Other</a>.\n");
    let posted = request("POST /a/up", &["Content-Length: 0"], "");
    let answer = peer.send(posted).answer();
    assert_eq!((answer.status, answer.text()), (308, ""));
    assert_eq!(answer.field("location"), Some("/x"));
    assert_eq!(peer.send(get("/next?/a")).answer().status, 303);
    let answer = peer.send(get("/next?//evil.example")).answer();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("a path on this host"));
    assert!(!answer.text().contains("evil"));
    assert_eq!(answer.field("x-content-type-options"), Some("nosniff"));
}

#[test]
fn pages_of_other_origins_are_refused() {
    let protection = Protection::new()
        .trust("https://trusted.example")
        .bypass("/hooks/");
    let router = Router::new()
        .post("/", |_: &Request| "done")
        .post("/hooks/{name}", |_: &Request| "done")
        .before(move |request: &mut Request| protection.check(request));
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let own = format!("Origin: http://{}", serving.address);
    let evil = "Origin: https://attacker.example";
    let site = "Sec-Fetch-Site: cross-site";
    for (path, fields, status) in [
        ("/", &[evil, site][..], 403),
        ("/", &["Sec-Fetch-Site: same-origin"], 200),
        ("/", &[&own], 200),
        ("/", &["Origin: https://trusted.example"], 200),
        ("/", &["Origin: https://trusted.example", site], 200),
        ("/", &[evil], 403),
        ("/hooks/x", &[evil], 200),
        ("/hooks/../", &[evil], 403),
        ("/", &[], 200),
    ] {
        let host = format!("Host: {}", serving.address);
        let mut lines = vec![host.as_str(), "Content-Length: 0"];
        lines.extend(fields);
        let text = format!("POST {path} HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
        assert_eq!(peer.send(text).answer().status, status, "{path} {fields:?}");
    }
}

#[test]
fn middleware_sees_the_error_and_the_client_does_not() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let router = Router::new()
        .get(
            "/io",
            async |_: Request| -> Result<(), Box<dyn std::error::Error>> {
                Err(std::io::Error::other("secret"))?
            },
        )
        .get("/told", |_: &Request| {
            let error = Error::new(ErrorKind::Invalid, "too small");
            Err::<(), _>(error.answered(StatusCode::UNPROCESSABLE_ENTITY))
        })
        .get("/fine", |_: &Request| "fine")
        .after(move |response: Response| {
            let error = response.error().map(Error::to_string);
            log.lock().unwrap().push(error);
            response
        });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let answer = peer.send(get("/io")).answer();
    assert_eq!(
        (answer.status, answer.text()),
        (500, "Internal Server Error")
    );
    let answer = peer.send(get("/told")).answer();
    let told = "Unprocessable Entity: too small\n";
    assert_eq!((answer.status, answer.text()), (422, told));
    assert_eq!(peer.send(get("/fine")).answer().status, 200);
    let seen = seen.lock().unwrap();
    let seen: Vec<_> = seen.iter().map(Option::as_deref).collect();
    assert_eq!(seen, [Some("secret"), Some("too small"), None]);
}

#[cfg(feature = "json")]
#[test]
fn json_both_ways_and_problems() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Order {
        item: String,
        count: u32,
    }

    let router = Router::new()
        .post("/orders", async |mut request: Request| {
            let mut order: Order = request.json_within(64).await?;
            order.count += 1;
            Ok::<_, Error>((StatusCode::CREATED, Json(order)))
        })
        .post("/problems", async |mut request: Request| {
            let order = request.json::<Order>().await.map_err(Problem::from)?;
            Ok::<_, Problem>(order.item)
        });
    let serving = Serving::start(router);
    let mut peer = serving.peer();
    let mut post = |path: &str, content_type: &str, body: &str| {
        let fields = [
            format!("Content-Type: {content_type}"),
            format!("Content-Length: {}", body.len()),
        ];
        let fields: Vec<_> = fields.iter().map(String::as_str).collect();
        peer.send(request(&format!("POST {path}"), &fields, body));
        peer.answer()
    };
    let json = "application/json";
    let answer = post("/orders", json, "{\"item\": \"tea\", \"count\": 1}");
    assert_eq!(answer.status, 201);
    assert_eq!(answer.field("content-type"), Some(json));
    assert_eq!(answer.text(), "{\"item\":\"tea\",\"count\":2}");
    for (content_type, body, status, rule) in [
        ("text/plain", "{}", 415, "application/json"),
        (json, "{", 400, "the JSON ends early: line 1, column 1"),
        (json, "{\"item\": 7}", 400, "another shape"),
        (json, &*"[".repeat(65), 413, "64 bytes"),
    ] {
        let answer = post("/orders", content_type, body);
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(rule), "{}", answer.text());
    }
    let answer = post("/problems", json, "[");
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.field("content-type"),
        Some("application/problem+json")
    );
    assert!(answer.text().contains("the JSON ends early"));
}

// ---- events --------------------------------------------------------------------------------

/// Says when it is dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn event_router(gone: Arc<AtomicBool>) -> Router {
    Router::new()
        .get("/stream", |_: &Request| {
            let events = ["one", "two"].map(|word| Event::new().data(word));
            EventStream::new(Ready::new(events))
        })
        .get("/failing", |_: &Request| {
            let failed = Error::new(ErrorKind::Protocol, "broken");
            EventStream::new(Ready::new([Ok(Event::new().data("one")), Err(failed)]))
        })
        .get("/forged", |_: &Request| {
            EventStream::produce(async |events| {
                let forged = Event::new().id("7\ndata: forged").data("one");
                let error = events.send(forged).await.unwrap_err();
                events.send(Event::new().data(format!("{error:#}"))).await
            })
        })
        .get("/endless", async move |request: Request| {
            let gone = Gone(Arc::clone(&gone));
            let last = request.last_event_id().unwrap_or("none").to_owned();
            EventStream::produce(async move |events| {
                let _gone = gone;
                events.send(Event::new().data(last)).await?;
                std::future::pending().await
            })
            .keep_alive(Some(Duration::from_millis(5)))
        })
}

#[test]
fn events_are_chunks_and_are_not_kept() {
    let serving = Serving::start(event_router(Arc::default()));
    let mut peer = serving.peer();
    let answer = peer.send(get("/stream")).answer();
    assert_eq!(answer.text(), "data: one\n\ndata: two\n\n");
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    assert_eq!(answer.field("x-accel-buffering"), Some("no"));
    // The connection goes on.
    let head = peer.send(request("HEAD /stream", &[], "")).answer_to_head();
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    let answer = peer.send(get("/forged")).answer();
    assert!(answer.text().contains("CR, LF or NUL"), "{}", answer.text());
    assert!(!answer.text().contains("forged"));

    let old = serving.ask("GET /stream HTTP/1.0\r\n\r\n");
    assert_eq!(old.field("transfer-encoding"), None);
    assert_eq!(old.text(), "data: one\n\ndata: two\n\n");
}

#[test]
fn a_stream_that_fails_is_cut() {
    let serving = Serving::start(event_router(Arc::default()));
    let mut peer = serving.peer();
    peer.send(get("/failing"));
    let received = String::from_utf8(peer.rest()).unwrap();
    assert!(received.contains("data: one\n\n"), "{received}");
    assert!(!received.ends_with("0\r\n\r\n"), "{received}");
}

#[test]
fn an_event_leaves_at_once_and_a_client_that_goes_takes_its_producer_along() {
    let gone = Arc::new(AtomicBool::new(false));
    let serving = Serving::start(event_router(Arc::clone(&gone)));
    let mut peer = serving.peer();
    let asked = request("GET /endless", &["Last-Event-ID: 41"], "");
    peer.send(asked);
    // The head and the first event are here, though the response has no end.
    let head_end = b"\r\n\r\n";
    let mut received = Vec::new();
    let event = b"data: 41\n\n\r\n";
    while !received.windows(event.len()).any(|window| window == event) {
        received.extend(peer.some());
    }
    assert!(received.windows(4).any(|window| window == head_end));
    assert!(!gone.load(Ordering::SeqCst));
    drop(peer);
    // A comment into the void is answered by a reset.
    let begin = Instant::now();
    while !gone.load(Ordering::SeqCst) {
        assert!(begin.elapsed() < Duration::from_secs(10));
        std::thread::yield_now();
    }
}

#[test]
fn a_shutdown_ends_a_stream_of_events_in_good_order() {
    let gone = Arc::new(AtomicBool::new(false));
    let mut serving = Serving::start(event_router(Arc::clone(&gone)));
    let mut peer = serving.peer();
    peer.send(get("/endless"));
    let mut received = Vec::new();
    while !received.ends_with(b":\n\n\r\n") {
        received.extend(peer.some());
    }
    let begin = Instant::now();
    serving.stop().unwrap();
    // Not by the time-out, which is 3 s.
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert!(gone.load(Ordering::SeqCst));
    assert!(peer.rest().ends_with(b"0\r\n\r\n"));
}

#[cfg(feature = "simulation")]
mod simulated {
    use std::cell::Cell;

    use roundtrip::Client;
    use roundtrip::Server;
    use roundtrip::runtime;
    use roundtrip::simulation::Simulation;

    use super::*;

    const URL: &str = "http://127.0.0.1/";

    /// Runs a server with these routes and what a client does with it.
    fn simulate(
        router: impl FnOnce() -> Router,
        client: impl AsyncFnOnce(Client) -> Result<(), Error>,
    ) {
        let report = Simulation::new(1).run(async {
            let server = Server::new(router()).bind("127.0.0.1:80")?;
            // It is about the answer, and a stream of events is one.
            let server = server.handler_timeout(Duration::from_secs(1));
            let handle = server.handle();
            let serving = runtime::spawn(server.run_here());
            client(Client::new()).await?;
            handle.shutdown();
            serving.await?
        });
        report.unwrap().unwrap();
    }

    #[test]
    fn silence_is_commented() {
        let router = || {
            Router::new().get("/", |_: &Request| {
                EventStream::produce(async |events| {
                    for seconds in [10, 10, 40] {
                        events.send(Event::new().data("event")).await?;
                        runtime::sleep(Duration::from_secs(seconds)).await;
                    }
                    Ok(())
                })
            })
        };
        simulate(router, async |client| {
            let mut body = client.get(URL).send().await?.into_body();
            let begin = runtime::Core::try_current()?.now();
            let mut seen = Vec::new();
            while let Some(chunk) = body.chunk().await {
                let now = runtime::Core::try_current()?.now();
                let after = (now - begin).as_secs();
                seen.push((after, String::from_utf8(chunk?.to_vec()).unwrap()));
            }
            let seen: Vec<_> = seen.iter().map(|(at, text)| (*at, text.as_str())).collect();
            let event = "data: event\n\n";
            assert_eq!(
                seen,
                [
                    (0, event),
                    (10, event),
                    (20, event),
                    (35, ":\n\n"),
                    (50, ":\n\n")
                ]
            );
            Ok(())
        });
    }

    #[test]
    fn silence_is_no_stall() {
        let router = || {
            Router::new().get("/", |_: &Request| {
                let events = EventStream::produce(async |events| {
                    for _ in 0..3 {
                        runtime::sleep(Duration::from_secs(600)).await;
                        events.send(Event::new().data("event")).await?;
                    }
                    Ok(())
                });
                events.keep_alive(None)
            })
        };
        simulate(router, async |client| {
            drop(client);
            let patient = Client::builder()
                .body_timeout(Duration::from_secs(3_600))
                .build();
            let text = patient.get(URL).send().await?.text().await?;
            assert_eq!(text, "data: event\n\n".repeat(3));
            Ok(())
        });
    }

    #[test]
    fn a_client_that_does_not_read_stops_the_producer() {
        // What is simulated stays on one thread; handlers could be elsewhere.
        thread_local! {
            static SENT: Cell<usize> = const { Cell::new(0) };
        }
        let router = || {
            Router::new().get("/", |_: &Request| {
                EventStream::produce(async |events| {
                    let kilobyte = "x".repeat(1_000);
                    loop {
                        events.send(Event::new().data(&kilobyte)).await?;
                        SENT.set(SENT.get() + 1);
                    }
                })
            })
        };
        simulate(router, async |client| {
            let mut body = client.get(URL).send().await?.into_body();
            runtime::sleep(Duration::from_secs(5)).await;
            let sent = SENT.get();
            runtime::sleep(Duration::from_secs(5)).await;
            // What fits into both sides' buffers, and no event more.
            assert_eq!(SENT.get(), sent);
            assert!((1..4_000).contains(&sent), "{sent}");
            body.chunk().await.unwrap()?;
            Ok(())
        });
    }
}
