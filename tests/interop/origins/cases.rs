//! What is asked of the servers, each by its name in the table.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use roundtrip::Body;
use roundtrip::Error;
use roundtrip::Result;
use roundtrip::client::jar::Jar;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;

use crate::interop::files::numbers;
use crate::interop::origins::caller::Answer;
use crate::interop::origins::caller::Caller;
use crate::interop::origins::start::Origin;

/// A case: its name in the table, who offers what it needs, and what is done.
pub struct Case {
    pub name: &'static str,
    pub origins: &'static [&'static str],
    pub is_async_only: bool,
    pub run: fn(&Caller, &Origin),
}

const ALL: &[&str] = &["go", "node", "python", "httpbin", "nginx"];
const OWN: &[&str] = &["go", "node", "python"];
const OWN_AND_NGINX: &[&str] = &["go", "node", "python", "nginx"];
const OWN_AND_HTTPBIN: &[&str] = &["go", "node", "python", "httpbin"];

const fn case(
    name: &'static str,
    origins: &'static [&'static str],
    run: fn(&Caller, &Origin),
) -> Case {
    Case {
        name,
        origins,
        is_async_only: false,
        run,
    }
}

/// All of them.
pub const CASES: &[Case] = &[
    case("GET, with a length", ALL, get),
    case("GET, in chunks", ALL, chunked),
    case("GET, up to the end of the connection", OWN, until_close),
    case("HEAD", ALL, head),
    case("204 and 304", OWN_AND_HTTPBIN, without_body),
    case("range, and not modified", &["go", "nginx"], part),
    case("trailers", OWN, trailers),
    case("POST, with a length", ALL, post),
    case("POST, in chunks", ALL, post_chunked),
    case("POST, 5 MB", OWN_AND_NGINX, post_large),
    Case {
        is_async_only: true,
        ..case("both directions at once", &["go", "node"], both)
    },
    case("redirects, methods and bodies", OWN, redirects),
    case(
        "redirects, in a row",
        &["httpbin", "nginx"],
        redirects_in_a_row,
    ),
    case("cookies", OWN_AND_HTTPBIN, cookies),
    case("basic authentication", ALL, authentication),
    case("gzip, decoded", ALL, gzip),
    case("gzip, as it came", ALL, gzip_raw),
    case("br, decoded", &["httpbin"], brotli),
    case("102 and 103", OWN, informational),
    case("Expect, continued", ALL, expect),
    case("Expect, refused with 417, and without", OWN, expect_refused),
    case("413 while 20 MB are sent", OWN_AND_NGINX, refused_early),
    case("50 requests, one connection", ALL, keep_alive),
    case("a connection that was closed at rest", ALL, closed_at_rest),
    case(
        "the server's last request of a connection",
        &["nginx"],
        last_request,
    ),
    case("time-out before the head", ALL, late_head),
    case("time-out within the body", OWN, late_body),
    case("slow, and in time", OWN_AND_NGINX, in_time),
    case("400 and 500", &["httpbin"], statuses),
    Case {
        is_async_only: true,
        ..case("64 side by side", ALL, side_by_side)
    },
];

fn url(origin: &Origin, path: &str) -> String {
    format!("{}{path}", origin.base)
}

/// Where a little text is, on every server.
fn little(origin: &Origin) -> String {
    url(
        origin,
        if origin.name == "httpbin" {
            "/robots.txt"
        } else {
            "/hello"
        },
    )
}

fn check(answer: &Answer, status: u16, body: &[u8]) {
    assert_eq!(
        answer.status,
        status,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    assert!(
        answer.body == body,
        "{} bytes, not {}",
        answer.body.len(),
        body.len()
    );
}

fn get(caller: &Caller, origin: &Origin) {
    if origin.name == "httpbin" {
        let answer = caller.get(url(origin, "/bytes/100000"));
        assert_eq!((answer.status, answer.body.len()), (200, 100_000));
        return;
    }
    let answer = caller.get(url(origin, "/bytes/100000"));
    check(&answer, 200, &numbers());
    check(&caller.get(url(origin, "/hello")), 200, b"hello");
}

fn chunked(caller: &Caller, origin: &Origin) {
    if origin.name == "httpbin" {
        let answer = caller.get(url(origin, "/stream-bytes/100000?seed=1&chunk_size=7777"));
        assert_eq!(answer.headers.get("transfer-encoding"), Some("chunked"));
        assert_eq!((answer.status, answer.body.len()), (200, 100_000));
        return;
    }
    let answer = caller.get(url(origin, "/chunked/100000"));
    assert_eq!(answer.headers.get("content-length"), None);
    check(&answer, 200, &numbers());
}

fn until_close(caller: &Caller, origin: &Origin) {
    for _ in 0..3 {
        let answer = caller.get(url(origin, "/close/100000"));
        check(&answer, 200, &numbers());
        assert!(!answer.is_reused);
    }
}

fn head(caller: &Caller, origin: &Origin) {
    let path = match origin.name {
        "httpbin" => "/bytes/100000",
        "nginx" => "/plain/bytes/100000",
        _ => "/bytes/100000",
    };
    for index in 0..3 {
        let answer = caller.send(caller.client.head(url(origin, path)));
        check(&answer, 200, b"");
        assert_eq!(answer.headers.get("content-length"), Some("100000"));
        assert_eq!(answer.is_reused, index > 0);
    }
}

fn without_body(caller: &Caller, origin: &Origin) {
    for status in [204, 304, 204, 304] {
        let answer = caller.get(url(origin, &format!("/status/{status}")));
        check(&answer, status, b"");
    }
    assert!(caller.get(little(origin)).is_reused);
}

fn part(caller: &Caller, origin: &Origin) {
    let path = if origin.name == "nginx" {
        "/plain/file"
    } else {
        "/file"
    };
    let request = caller.client.get(url(origin, path));
    let answer = caller.send(request.header("Range", "bytes=5-104"));
    check(&answer, 206, &numbers()[5..105]);
    let since = answer
        .headers
        .get("last-modified")
        .expect("a date")
        .to_owned();
    let request = caller.client.get(url(origin, path));
    let answer = caller.send(request.header("If-Modified-Since", since));
    check(&answer, 304, b"");
}

fn trailers(caller: &Caller, origin: &Origin) {
    for _ in 0..2 {
        let answer = caller.get(url(origin, "/trailers"));
        check(&answer, 200, b"with a sum");
        let trailers = answer.trailers.expect("they came");
        assert_eq!(trailers.get("x-sum"), Some("7"));
    }
}

/// Sends a body, and checks that the same came there.
fn echo(caller: &Caller, origin: &Origin, body: Body, expected: &[u8], framing: &str) {
    if origin.name == "httpbin" {
        let answer = caller.send(caller.client.post(url(origin, "/post")).body(body));
        let sent = std::str::from_utf8(expected).expect("text");
        assert_eq!(answer.status, 200);
        assert!(
            answer.text().contains(&format!("\"data\": \"{sent}\"")),
            "{}",
            answer.text()
        );
        return;
    }
    let answer = caller.send(caller.client.post(url(origin, "/echo")).body(body));
    check(&answer, 200, expected);
    // nginx collects what comes, and passes it on with its length.
    let framing = if origin.name == "nginx" {
        "length"
    } else {
        framing
    };
    assert_eq!(answer.headers.get("x-framing"), Some(framing));
}

/// What can be echoed by all: httpbin shows text as JSON.
fn upload(origin: &Origin) -> Vec<u8> {
    match origin.name {
        "httpbin" => b"all of this ".repeat(2_000),
        _ => numbers(),
    }
}

fn post(caller: &Caller, origin: &Origin) {
    let bytes = upload(origin);
    echo(caller, origin, Body::from(bytes.clone()), &bytes, "length");
    echo(caller, origin, Body::from("x"), b"x", "length");
}

/// Bytes in pieces, whose number is not known before the end.
struct Pieces(VecDeque<Bytes>);

impl Stream for Pieces {
    type Item = Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

fn streamed(bytes: &[u8]) -> Body {
    let pieces = bytes.chunks(7_777).map(Bytes::copy_from_slice);
    Body::stream(Pieces(pieces.collect()))
}

fn post_chunked(caller: &Caller, origin: &Origin) {
    let bytes = upload(origin);
    echo(caller, origin, streamed(&bytes), &bytes, "chunked");
    echo(caller, origin, streamed(b"x"), b"x", "chunked");
    assert_eq!(caller.get(little(origin)).status, 200);
}

fn post_large(caller: &Caller, origin: &Origin) {
    let bytes = numbers().repeat(50);
    echo(caller, origin, Body::from(bytes.clone()), &bytes, "length");
    echo(caller, origin, streamed(&bytes), &bytes, "chunked");
}

/// Each piece comes back before the next one goes.
fn both(caller: &Caller, origin: &Origin) {
    let client = caller.client.clone();
    let url = url(origin, "/both");
    let exchanged: Result<usize> = caller
        .runtime
        .block_on(async move {
            let (mut sender, body) = Body::incoming(None);
            sender.push(Bytes::from_static(b"piece"));
            let mut response = client.post(url).body(body).send().await?;
            let mut sender = Some(sender);
            let mut received = 0;
            while let Some(chunk) = response.body_mut().chunk().await {
                received += chunk?.len();
                match (&mut sender, received) {
                    (Some(sender), 0..500) => sender.push(Bytes::from_static(b"piece")),
                    _ => {
                        if let Some(sender) = sender.take() {
                            sender.finish(None);
                        }
                    }
                }
            }
            Ok(received)
        })
        .expect("a core");
    assert_eq!(exchanged.expect("an answer"), 500);
}

fn redirects(caller: &Caller, origin: &Origin) {
    for (status, expected) in [
        (301, "GET 0"),
        (302, "GET 0"),
        (303, "GET 0"),
        (307, "POST 5"),
        (308, "POST 5"),
    ] {
        let request = caller
            .client
            .post(url(origin, &format!("/redirect/{status}")));
        let answer = caller.send(request.body("hello"));
        check(&answer, 200, expected.as_bytes());
        assert_eq!(answer.url, url(origin, "/seen"));
    }
}

fn redirects_in_a_row(caller: &Caller, origin: &Origin) {
    if origin.name == "nginx" {
        check(&caller.get(url(origin, "/redirect/301")), 200, b"hello");
        check(&caller.get(url(origin, "/redirect/302")), 200, b"hello");
        let request = caller.client.post(url(origin, "/redirect/307"));
        check(&caller.send(request.body("kept")), 200, b"kept");
        return;
    }
    let answer = caller.get(url(origin, "/relative-redirect/5"));
    assert_eq!(
        (answer.status, answer.url.as_str()),
        (200, url(origin, "/get").as_str())
    );
    assert_eq!(caller.get(url(origin, "/absolute-redirect/3")).status, 200);
    let error = caller.try_send(caller.client.get(url(origin, "/redirect/11")));
    assert_eq!(error.expect_err("too many").kind(), ErrorKind::Limit);
}

fn cookies(caller: &Caller, origin: &Origin) {
    let caller = caller.again(|builder| builder.cookies(Jar::new()));
    if origin.name == "httpbin" {
        let answer = caller.get(url(origin, "/cookies/set?flavour=oat&size=big"));
        assert!(
            answer.text().contains("\"flavour\": \"oat\""),
            "{}",
            answer.text()
        );
        let answer = caller.get(url(origin, "/cookies/delete?size"));
        assert!(!answer.text().contains("size"), "{}", answer.text());
        return;
    }
    check(&caller.get(url(origin, "/cookie/set")), 200, b"flavour=oat");
    check(
        &caller.get(url(origin, "/cookie/show")),
        200,
        b"flavour=oat",
    );
}

fn authentication(caller: &Caller, origin: &Origin) {
    let path = match origin.name {
        "httpbin" => "/basic-auth/me/se%20cret",
        _ => "/auth",
    };
    assert_eq!(caller.get(url(origin, path)).status, 401);
    let request = caller.client.get(url(origin, path));
    let right = caller.send(request.basic_auth("me", "se cret"));
    // nginx has no file of that name: it has let us in.
    let expected = if origin.name == "nginx" { 404 } else { 200 };
    assert_eq!(right.status, expected);
    let in_url = url(origin, path).replace("http://", "http://me:se%20cret@");
    assert_eq!(caller.get(in_url).status, expected);
}

fn gzip_path(origin: &Origin) -> &'static str {
    match origin.name {
        "httpbin" => "/gzip",
        "nginx" => "/bytes/100000",
        _ => "/gzip/100000",
    }
}

fn gzip(caller: &Caller, origin: &Origin) {
    let answer = caller.get(url(origin, gzip_path(origin)));
    assert_eq!(
        (answer.status, answer.headers.get("content-encoding")),
        (200, None)
    );
    match origin.name {
        "httpbin" => assert!(
            answer.text().contains("\"gzipped\": true"),
            "{}",
            answer.text()
        ),
        _ => check(&answer, 200, &numbers()),
    }
    assert!(caller.get(little(origin)).is_reused);
}

fn gzip_raw(caller: &Caller, origin: &Origin) {
    let request = caller.client.get(url(origin, gzip_path(origin)));
    let answer = caller.send(request.header("Accept-Encoding", "gzip"));
    assert_eq!(answer.headers.get("content-encoding"), Some("gzip"));
    assert_eq!(answer.body[..2], [0x1f, 0x8b]);
}

fn brotli(caller: &Caller, origin: &Origin) {
    let answer = caller.get(url(origin, "/brotli"));
    assert!(
        answer.text().contains("\"brotli\": true"),
        "{}",
        answer.text()
    );
}

fn informational(caller: &Caller, origin: &Origin) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    let request = caller.client.get(url(origin, "/hints"));
    let request = request.on_informational(move |status, headers| {
        let link = headers.get("link").map(str::to_owned);
        told.lock()
            .expect("no panic while it is held")
            .push((status.as_u16(), link));
        Ok(())
    });
    check(&caller.send(request), 200, b"hinted");
    let told = kept.lock().expect("as above");
    let hints: Vec<_> = told.iter().filter(|(status, _)| *status == 103).collect();
    assert!(told.len() == 2 && !hints.is_empty(), "{told:?}");
    let link = "</style.css>; rel=preload".to_owned();
    assert!(
        hints.iter().all(|(_, found)| *found == Some(link.clone())),
        "{told:?}"
    );
    drop(told);
    assert!(caller.get(url(origin, "/hello")).is_reused);
}

/// With more patience than the time for everything: only the server's word can bring the body.
fn expect(caller: &Caller, origin: &Origin) {
    let caller = caller.again(|builder| builder.continue_timeout(Duration::from_secs(3_600)));
    let path = if origin.name == "httpbin" {
        "/post"
    } else {
        "/echo"
    };
    for _ in 0..2 {
        let request = caller.client.post(url(origin, path)).expect_continue();
        let answer = caller.send(request.body("told to"));
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("told to"), "{}", answer.text());
    }
}

fn expect_refused(caller: &Caller, origin: &Origin) {
    let caller = caller.again(|builder| builder.continue_timeout(Duration::from_secs(3_600)));
    for _ in 0..2 {
        let request = caller
            .client
            .post(url(origin, "/expect-refuse"))
            .expect_continue();
        // The client says it again without the field.
        let answer = caller.send(request.body("wanted then"));
        assert_eq!((answer.status, answer.text().trim()), (200, "wanted then"));
    }
    check(&caller.get(url(origin, "/hello")), 200, b"hello");
}

fn refused_early(caller: &Caller, origin: &Origin) {
    let bytes = numbers().repeat(200);
    for body in [Body::from(bytes.clone()), streamed(&bytes)] {
        let answer = caller.send(caller.client.post(url(origin, "/refuse")).body(body));
        assert_eq!(answer.status, 413);
    }
    check(&caller.get(url(origin, "/hello")), 200, b"hello");
}

fn keep_alive(caller: &Caller, origin: &Origin) {
    let mut connections = Vec::new();
    for index in 0..50 {
        let answer = caller.get(little(origin));
        assert_eq!(
            (answer.status, answer.is_reused),
            (200, index > 0),
            "{index}"
        );
        connections.extend(answer.connection().map(str::to_owned));
    }
    // httpbin does not tell.
    assert_eq!(
        connections.len(),
        if origin.name == "httpbin" { 0 } else { 50 }
    );
    connections.dedup();
    assert!(connections.len() <= 1, "{connections:?}");
}

/// A POST is not repeated: it fails on a connection that the server has closed.
fn closed_at_rest(caller: &Caller, origin: &Origin) {
    let path = if origin.name == "httpbin" {
        "/post"
    } else {
        "/echo"
    };
    for index in 0..2 {
        if index > 0 {
            // Each of the servers gives a connection two seconds.
            caller.pause(Duration::from_secs(5));
        }
        let answer = caller.send(caller.client.post(url(origin, path)).body("x"));
        assert_eq!((answer.status, answer.is_reused), (200, false));
    }
}

fn last_request(caller: &Caller, origin: &Origin) {
    for index in 0..6 {
        let answer = caller.send(caller.client.get(url(origin, "/last")));
        check(&answer, 200, b"hello");
        assert_eq!(answer.is_reused, index % 2 == 1, "{index}");
    }
}

fn late_head(caller: &Caller, origin: &Origin) {
    let path = if origin.name == "httpbin" {
        "/delay/2"
    } else {
        "/slow/2000"
    };
    let request = caller.client.get(url(origin, path));
    let error = caller.try_send(request.timeout(Duration::from_millis(150)));
    let error = error.expect_err("it is late");
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.phase(), Some(Phase::ResponseHead), "{error:?}");
    let request = caller.client.get(url(origin, path));
    let error = caller.try_send(request.response_head_timeout(Duration::from_millis(150)));
    let error = error.expect_err("it is late");
    assert!(
        error.to_string().contains("response_head_timeout"),
        "{error}"
    );
    assert_eq!(caller.get(little(origin)).status, 200);
}

fn late_body(caller: &Caller, origin: &Origin) {
    let request = caller.client.get(url(origin, "/drip/1500"));
    let error: Error = caller
        .try_send(request.body_timeout(Duration::from_millis(300)))
        .expect_err("it is late");
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.phase(), Some(Phase::ResponseBody), "{error:?}");
}

fn in_time(caller: &Caller, origin: &Origin) {
    let request = caller.client.get(url(origin, "/slow/400"));
    check(
        &caller.send(request.timeout(Duration::from_secs(15))),
        200,
        b"late",
    );
    let request = caller.client.get(url(origin, "/drip/150"));
    let answer = caller.send(request.body_timeout(Duration::from_secs(10)));
    check(&answer, 200, b"dripdripdripdripdrip");
}

fn statuses(caller: &Caller, origin: &Origin) {
    for status in [400, 404, 418, 500, 503] {
        let answer = caller.get(url(origin, &format!("/status/{status}")));
        assert_eq!(answer.status, status);
    }
}

fn side_by_side(caller: &Caller, origin: &Origin) {
    let (client, url) = (caller.client.clone(), little(origin));
    let done: Result<()> = caller
        .runtime
        .block_on(async move {
            for _ in 0..3 {
                let tasks: Vec<_> = (0..64)
                    .map(|_| {
                        let request = client.get(&url);
                        roundtrip::runtime::spawn(async { request.send().await?.text().await })
                    })
                    .collect();
                for task in tasks {
                    assert!(!task.await??.is_empty());
                }
            }
            Ok(())
        })
        .expect("a core");
    done.expect("64 answers");
}
