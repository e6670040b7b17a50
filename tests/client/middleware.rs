//! What stands around the transport, and what stands in its place.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;

use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::StatusCode;
use roundtrip::client::Client;
use roundtrip::client::Next;
use roundtrip::client::RetryPolicy;
use roundtrip::client::RoundTrip;
use roundtrip::client::Transport;
use roundtrip::client::TransportOptions;
use roundtrip::client::middleware;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::runtime;

use crate::peer::Peer;
use crate::peer::ok;
use crate::peer::run;

const URL: &str = "http://me:secret@a.example/path?query=secret";

/// Lines, from closures that may run on any core.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A middleware of the user's own type, that says when it begins and ends.
struct Told<R> {
    name: &'static str,
    lines: Lines,
    next: R,
}

impl<R: RoundTrip> RoundTrip for Told<R> {
    async fn round_trip(&self, request: Request) -> Result<Response> {
        self.lines.push(format!("{} >", self.name));
        let result = self.next.round_trip(request).await;
        self.lines.push(format!("{} <", self.name));
        result
    }
}

fn told(name: &'static str, lines: &Lines) -> impl Fn(Next) -> Told<Next> + use<> {
    let lines = lines.clone();
    move |next| Told {
        name,
        lines: lines.clone(),
        next,
    }
}

/// A whole function is a round trip too.
async fn hello(_: Request) -> Result<Response> {
    Ok(Response::new().body("hello"))
}

#[test]
fn the_first_is_outermost() {
    let lines = Lines::default();
    let inner = lines.clone();
    let client = Client::builder()
        .middleware(told("a", &lines))
        .wrap(async move |request: Request, next: Next| {
            inner.push("b >");
            let response = next.run(request).await;
            inner.push("b <");
            response
        })
        .middleware(told("c", &lines))
        .transport(|| hello)
        .build();
    run(async {
        let text = client.get(URL).send().await?.text().await?;
        assert_eq!(text, "hello");
        Ok(())
    });
    assert_eq!(lines.take(), ["a >", "b >", "c >", "c <", "b <", "a <"]);
}

#[test]
fn everything_is_a_round_trip() {
    async fn status(way: impl RoundTrip) -> Result<u16> {
        let request = Request::for_target("GET", "/")?;
        Ok(way.round_trip(request).await?.status_code().as_u16())
    }
    run(async {
        assert_eq!(status(hello).await?, 200);
        assert_eq!(status(&hello).await?, 200);
        assert_eq!(status(Next::new(hello)).await?, 200);
        let told = told("a", &Lines::default());
        assert_eq!(status(told(Next::new(hello))).await?, 200);
        // State that belongs to one core.
        let count = Rc::new(Cell::new(0));
        let counter = Rc::clone(&count);
        let counting = async move |_: Request| {
            counter.set(counter.get() + 1);
            Ok(Response::new().status(StatusCode::ACCEPTED))
        };
        let next = Next::new(counting);
        assert_eq!(status(next.clone()).await?, 202);
        assert_eq!(status(next).await?, 202);
        assert_eq!(count.get(), 2);
        // Without a URL there is nowhere to go.
        let transport = Transport::new(TransportOptions::default())?;
        let error = status(Next::from(transport)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        Ok(())
    });
}

#[test]
fn a_fake_needs_no_network() {
    let client = Client::fake(async |request: Request| match request.path() {
        "/path" => Ok(Response::new()
            .header("X-Agent", request.header("user-agent").unwrap_or(""))
            .body(request.header("authorization").unwrap_or("").to_owned())),
        _ => Err(Error::new(ErrorKind::Closed, "the line is dead")),
    });
    run(async {
        let response = client.get(URL).send().await?;
        assert_eq!(response.url().map(|url| url.path()), Some("/path"));
        let agent = response.headers().get("x-agent").unwrap();
        assert!(agent.starts_with("roundtrip/"));
        assert_eq!(response.text().await?, "Basic bWU6c2VjcmV0");
        let error = client
            .get("http://me:secret@a.example/other")
            .send()
            .await
            .unwrap_err();
        assert!(error.is_closed());
        assert_eq!(error.url(), Some("http://me:***@a.example/other"));
        assert!(client.stats().is_none(), "it has no connections");
        client.close_idle();
        Ok(())
    });
    let blocking = roundtrip::blocking::Client::from(client);
    let response = blocking.get(URL).send().unwrap();
    assert_eq!(response.status_code(), 200);
}

#[test]
fn is_made_once_per_core_and_goes_with_the_client() {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counted(Next);
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    impl RoundTrip for Counted {
        async fn round_trip(&self, request: Request) -> Result<Response> {
            self.0.run(request).await
        }
    }
    let client = Client::builder()
        .middleware(|next| {
            MADE.fetch_add(1, Ordering::SeqCst);
            Counted(next)
        })
        .transport(|| hello)
        .build();
    assert_eq!(MADE.load(Ordering::SeqCst), 0);
    let threads: [_; 2] = std::array::from_fn(|_| {
        let client = client.clone();
        std::thread::spawn(move || {
            run(async {
                for _ in 0..3 {
                    client.get(URL).send().await?;
                }
                Ok(())
            });
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(MADE.load(Ordering::SeqCst), 2);
    assert_eq!(DROPPED.load(Ordering::SeqCst), 2, "with their cores");
    run(async {
        client.get(URL).send().await?;
        assert_eq!(DROPPED.load(Ordering::SeqCst), 2);
        drop(client);
        assert_eq!(DROPPED.load(Ordering::SeqCst), 3, "with the last clone");
        Ok(())
    });
}

#[test]
fn connections_are_pooled_behind_middleware() {
    let peer = Peer::answering(|seen| ok(&seen.fields["x-tag"]));
    let client = Client::builder()
        .wrap(async |mut request: Request, next: Next| {
            request.headers_mut().insert("X-Tag", "7")?;
            next.run(request).await
        })
        .build();
    run(async {
        for _ in 0..10 {
            let text = client.get(peer.url("/")).send().await?.text().await?;
            assert_eq!(text, "7");
        }
        let pool = client.stats().unwrap().pool;
        assert_eq!((pool.connected_total, pool.reused_total), (1, 9));
        client.close_idle();
        assert_eq!(client.stats().unwrap().pool.idle, 0);
        Ok(())
    });
}

#[test]
fn sees_each_hop_with_what_the_caller_attached() {
    #[derive(Clone)]
    struct Tag(u8);
    let lines = Lines::default();
    let seen = lines.clone();
    let client = Client::builder()
        .wrap(async move |request: Request, next: Next| {
            let tag = request.extensions().get::<Tag>().map(|tag| tag.0);
            let body = request.body().as_bytes().map(<[u8]>::len);
            seen.push(format!(
                "{} {} {tag:?} {body:?}",
                request.method(),
                request.path()
            ));
            next.run(request).await
        })
        .transport(|| {
            async |request: Request| {
                let (status, to) = match request.path() {
                    "/a" => (307, "/b"),
                    "/b" => (303, "/c"),
                    _ => (200, ""),
                };
                Ok(Response::new()
                    .status(StatusCode::from_u16(status).unwrap())
                    .header("Location", to))
            }
        })
        .build();
    run(async {
        let mut request = client.post("http://a.example/a").body("four").build()?;
        request.extensions_mut().insert(Tag(7));
        let response = client.send(request).await?;
        assert_eq!(response.url().map(|url| url.path()), Some("/c"));
        Ok(())
    });
    assert_eq!(
        lines.take(),
        [
            "POST /a Some(7) Some(4)",
            "POST /b Some(7) Some(4)",
            "GET /c Some(7) Some(0)"
        ]
    );
}

#[test]
fn a_time_out_ends_what_runs_inside() {
    struct Ends(Lines);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.push("ended");
        }
    }
    let lines = Lines::default();
    let inner = lines.clone();
    let client = Client::builder()
        .timeout(Duration::from_millis(20))
        .wrap(async move |_, _| {
            let _ends = Ends(inner.clone());
            std::future::pending().await
        })
        .build();
    run(async {
        let error = client.get(URL).send().await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(
            error.url(),
            Some("http://me:***@a.example/path?query=secret")
        );
        Ok(())
    });
    assert_eq!(lines.take(), ["ended"]);
}

/// The options of a request reach the transport through any middleware.
#[test]
fn time_outs_hold_behind_middleware() {
    let peer = Peer::answering(|seen| match seen.line.contains("/head") {
        true => {
            std::thread::sleep(Duration::from_millis(300));
            ok("late")
        }
        false => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart".to_vec(),
    });
    let client = Client::builder()
        .wrap(async |request, next: Next| next.run(request).await)
        .build();
    run(async {
        let short = Duration::from_millis(50);
        let late = client.get(peer.url("/head")).timeout(short).send().await;
        assert!(late.unwrap_err().is_timeout());
        let response = client.get(peer.url("/body")).timeout(short).send().await?;
        assert!(response.bytes().await.unwrap_err().is_timeout());
        Ok(())
    });
    let client = Client::builder()
        .per_host_max(1)
        .wrap(async |request, next: Next| next.run(request).await)
        .build();
    run(async {
        let busy = runtime::spawn(client.get(peer.url("/head")).send());
        runtime::yield_now().await;
        let waiting = client
            .get(peer.url("/"))
            .connect_timeout(Duration::from_millis(20));
        let error = waiting.send().await.unwrap_err();
        assert!(
            error.text().contains("the request's connect_timeout"),
            "{error}"
        );
        assert_eq!(error.phase(), Some(Phase::Pool));
        busy.await??;
        Ok(())
    });
}

#[test]
fn a_client_is_a_way_for_another() {
    let inner = Client::fake(async |request: Request| {
        Ok(Response::new().body(request.header("x-outer").unwrap_or("").to_owned()))
    });
    let outer = Client::builder()
        .transport(move || inner.clone())
        .wrap(async |mut request: Request, next: Next| {
            request.headers_mut().append("X-Outer", "1")?;
            next.run(request).await
        })
        .build();
    run(async {
        assert_eq!(outer.get(URL).send().await?.text().await?, "1");
        Ok(())
    });
}

#[test]
fn a_panic_of_middleware_costs_its_caller_alone() {
    let client = Client::builder()
        .wrap(async |request: Request, next: Next| {
            assert!(request.path() != "/panic", "as the test wants it");
            next.run(request).await
        })
        .transport(|| hello)
        .build();
    run(async {
        let panicking = client.clone();
        let send = async move { panicking.get("http://a.example/panic").send().await };
        assert!(runtime::spawn(send).await.is_err());
        assert_eq!(client.get(URL).send().await?.status_code(), 200);
        Ok(())
    });
}

// ---- retry ----------------------------------------------------------------------------------

/// The response that is not taken leaves its connection usable, and the body is sent again.
#[test]
fn what_is_sent_again_goes_by_the_same_connection() {
    let peer = Peer::answering(|seen| {
        assert_eq!(seen.body, b"four");
        match seen.index {
            0 => b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 5\r\n\r\nlater".to_vec(),
            _ => ok("now"),
        }
    });
    let policy = RetryPolicy::new().delays(Duration::from_millis(5), Duration::from_millis(5));
    let client = Client::builder().retry(policy).build();
    run(async {
        let request = client.put(peer.url("/")).body("four");
        assert_eq!(request.send().await?.text().await?, "now");
        let pool = client.stats().unwrap().pool;
        assert_eq!((pool.connected_total, pool.reused_total), (1, 1));
        Ok(())
    });
}

// ---- logging --------------------------------------------------------------------------------

#[test]
fn logs_a_line_without_secrets() {
    let lines = Lines::default();
    let sink = lines.clone();
    let client = Client::builder()
        .middleware(middleware::logging(move |entry| {
            sink.push(entry.to_string())
        }))
        .transport(|| {
            async |request: Request| match request.method().as_str() {
                "GET" => Ok(Response::new().status(StatusCode::NOT_FOUND)),
                "PUT" => Err(Error::new(ErrorKind::Closed, "lost").for_url(URL)),
                _ => std::future::pending().await,
            }
        })
        .build();
    run(async {
        client.get(URL).send().await?;
        client.put(URL).send().await.unwrap_err();
        let given_up = client.post(URL).timeout(Duration::from_millis(1)).send();
        given_up.await.unwrap_err();
        Ok(())
    });
    let lines = lines.take();
    let begins = [
        "GET http://a.example/path?… 404 in ",
        "PUT http://a.example/path?… failed after ",
        "POST http://a.example/path?… given up after ",
    ];
    assert_eq!(lines.len(), begins.len());
    for (line, begin) in lines.iter().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
        assert!(!line.contains("secret") && !line.contains('\n'), "{line}");
    }
    assert!(lines[1].ends_with(": lost"), "{}", lines[1]);
}

// ---- authorization --------------------------------------------------------------------------

/// A server that takes one token, which changes when it was used `uses` times.
fn guarded(lines: &Lines, current: &Arc<AtomicUsize>) -> Client {
    let (current, lines) = (Arc::clone(current), lines.clone());
    Client::fake(async move |request: Request| {
        let given = request.header("authorization").unwrap_or("none").to_owned();
        let host = request.url().unwrap().host_str().unwrap().to_owned();
        lines.push(format!("{host}: {given}"));
        let is_current = given == format!("Bearer {}", current.load(Ordering::SeqCst));
        Ok(Response::new().status(match is_current {
            true => StatusCode::OK,
            false => StatusCode::UNAUTHORIZED,
        }))
    })
}

#[test]
fn a_value_is_asked_for_once_and_again_on_401() {
    let (lines, asked) = (Lines::default(), Arc::new(AtomicUsize::new(0)));
    let current = Arc::new(AtomicUsize::new(1));
    let server = guarded(&lines, &current);
    let tokens = Arc::clone(&asked);
    let source = async move || {
        runtime::sleep(Duration::from_millis(5)).await;
        Ok(format!(
            "Bearer {}",
            tokens.fetch_add(1, Ordering::SeqCst) + 1
        ))
    };
    let client = Client::builder()
        .middleware(middleware::authorization("http://a.example", source).unwrap())
        .transport(move || server.clone())
        .build();
    run(async {
        // Many at once: one asks, the others wait.
        let get = || client.get("http://a.example/").send();
        let tasks: Vec<_> = (0..5).map(|_| runtime::spawn(get())).collect();
        for task in tasks {
            assert_eq!(task.await??.status_code(), 200);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(lines.take(), ["a.example: Bearer 1"; 5]);
        // The token has run out.
        current.store(2, Ordering::SeqCst);
        assert_eq!(get().await?.status_code(), 200);
        assert_eq!(lines.take(), ["a.example: Bearer 1", "a.example: Bearer 2"]);
        // Once, and not for ever.
        current.store(9, Ordering::SeqCst);
        assert_eq!(get().await?.status_code(), 401);
        assert_eq!(lines.take(), ["a.example: Bearer 2", "a.example: Bearer 3"]);
        // A body that is gone is not sent again.
        let (mut sender, body) = roundtrip::Body::incoming(None);
        sender.push("x".into());
        sender.finish(None);
        let response = client.post("http://a.example/").body(body).send().await?;
        assert_eq!(response.status_code(), 401);
        assert_eq!(lines.take(), ["a.example: Bearer 3"]);
        Ok(())
    });
}

#[test]
fn a_value_goes_to_its_origin_alone() {
    let (lines, current) = (Lines::default(), Arc::new(AtomicUsize::new(0)));
    let server = guarded(&lines, &current);
    let client = Client::builder()
        .middleware(middleware::bearer("http://a.example/any/path", "0").unwrap())
        .middleware(middleware::basic("http://b.example:81", "me", "x").unwrap())
        .transport(move || server.clone())
        .build();
    run(async {
        for url in [
            "http://a.example/",
            "http://a.example:80/x",
            "http://a.example:81/",
            "https://a.example/",
            "http://sub.a.example/",
            "http://b.example/",
            "http://b.example:81/",
        ] {
            client.get(url).send().await?;
        }
        let own = client.get("http://a.example/").bearer_auth("own");
        own.send().await?;
        Ok(())
    });
    let expected = [
        "a.example: Bearer 0",
        "a.example: Bearer 0",
        "a.example: none",
        "a.example: none",
        "sub.a.example: none",
        "b.example: none",
        "b.example: Basic bWU6eA==",
        "a.example: Bearer own",
    ];
    assert_eq!(lines.take(), expected);
    assert!(middleware::bearer("data:text/plain,x", "0").is_err());
    assert!(middleware::bearer("http://a.example", "two\nlines").is_err());
}

#[test]
fn a_source_that_fails_fails_its_request_and_the_next_one_asks() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let source = async move || {
        runtime::yield_now().await;
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => Err(Error::new(ErrorKind::Connect, "no login")),
            1 => Ok(String::from("bad\nvalue")),
            _ => Ok(String::from("Bearer 1")),
        }
    };
    let client = Client::builder()
        .middleware(middleware::authorization("http://a.example", source).unwrap())
        .transport(|| hello)
        .build();
    run(async {
        let get = || client.get("http://a.example/").send();
        let tasks: Vec<_> = (0..4).map(|_| runtime::spawn(get())).collect();
        let mut kinds = Vec::new();
        for task in tasks {
            kinds.push(task.await?.err().map(|error| error.kind()));
        }
        let (connect, invalid) = (Some(ErrorKind::Connect), Some(ErrorKind::Invalid));
        assert_eq!(kinds, [connect, invalid, None, None]);
        assert_eq!(asked.load(Ordering::SeqCst), 3);
        Ok(())
    });
}

#[test]
fn who_gives_up_while_asking_lets_others_ask() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let source = async move || match count.fetch_add(1, Ordering::SeqCst) {
        0 => std::future::pending().await,
        _ => Ok(String::from("Bearer 1")),
    };
    let client = Client::builder()
        .middleware(middleware::authorization("http://a.example", source).unwrap())
        .transport(|| hello)
        .build();
    run(async {
        let get = || client.get("http://a.example/");
        let impatient = runtime::spawn(get().timeout(Duration::from_millis(20)).send());
        runtime::yield_now().await;
        let patient = runtime::spawn(get().send());
        assert!(impatient.await?.unwrap_err().is_timeout());
        assert_eq!(patient.await??.status_code(), 200);
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        Ok(())
    });
}
