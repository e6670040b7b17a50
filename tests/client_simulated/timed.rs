//! Every time-out: which phase, after how long, and which knob the error names.

use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Result;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::http::response::Response;
use roundtrip::limits::BODY_TIMEOUT;
use roundtrip::limits::CONNECT_TIMEOUT;
use roundtrip::limits::CONTINUE_TIMEOUT;
use roundtrip::limits::RESPONSE_HEAD_TIMEOUT;
use roundtrip::limits::WRITE_TIMEOUT;
use roundtrip::runtime;
use roundtrip::runtime::Sleep;
use roundtrip::simulation::Reach;
use roundtrip::simulation::Simulation;

use crate::ADDRESS;
use crate::assert_about;
use crate::origin;
use crate::origin::Do;
use crate::origin::ok;
use crate::pause;
use crate::run;
use crate::run_on;
use crate::timed;
use crate::url;

const SECOND: Duration = Duration::from_secs(1);

/// A request that must fail with a time-out: how long it took, and the error.
async fn late<T>(
    sent: impl Future<Output = Result<T>>,
    phase: Phase,
    words: &str,
) -> (Duration, Error) {
    let (time, outcome) = timed(sent).await;
    let Err(error) = outcome else {
        panic!("it came after {time:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert!(error.is_timeout() && !error.is_closed(), "{error:?}");
    assert_eq!(error.phase(), Some(phase), "{error:?}");
    assert_eq!(error.is_connect(), phase == Phase::Connect, "{error:?}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(
        error.url().is_some_and(|url| url.starts_with("http://")),
        "{error:?}"
    );
    (time, error)
}

/// A body of pieces, with this much time before each.
struct Slow {
    left: usize,
    bytes: usize,
    every: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

fn slow(count: usize, bytes: usize, every: Duration) -> Body {
    Body::stream(Slow {
        left: count,
        bytes,
        every,
        sleep: None,
    })
}

impl Stream for Slow {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let every = self.every;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(runtime::sleep(every)));
        if sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.sleep = None;
        self.left -= 1;
        Poll::Ready(Some(Ok(Bytes::from(vec![b'x'; self.bytes]))))
    }
}

fn silent() -> Simulation {
    Simulation::new(1).reach("127.0.0.7".parse().unwrap(), Reach::Silent)
}

#[test]
fn to_connect() {
    run_on(silent(), async {
        let client = Client::new();
        let sent = client.get("http://127.0.0.7/").send();
        let (time, _) = late(sent, Phase::Connect, "connect").await;
        assert_about(time, CONNECT_TIMEOUT);
        let quick = Client::builder().connect_timeout(2 * SECOND).build();
        let sent = quick.get("http://127.0.0.7/").send();
        let (time, _) = late(sent, Phase::Connect, "2s").await;
        assert_about(time, 2 * SECOND);
        // What one request wants ends its waiting, not the dial.
        let request = client.get("http://127.0.0.7/").connect_timeout(3 * SECOND);
        let (time, _) = late(request.send(), Phase::Connect, "connect_timeout").await;
        assert_about(time, 3 * SECOND);
        assert_eq!(client.stats().unwrap().pool.dialing, 1);
        Ok(())
    });
}

/// Nobody reads: neither a large body, of which much waits here, nor one of which a little does.
#[test]
fn to_write() {
    for extra in [8 * 1024, 40 * 1024, 100 * 1024, 4 * 1024 * 1024] {
        for is_streamed in [false, true] {
            let room = 64 * 1024;
            let simulation = Simulation::new(1).socket_buffer_bytes(room);
            run_on(simulation, async {
                let log = origin::listen(ADDRESS, |_| vec![Do::Deaf]).await;
                let client = Client::new();
                let request = client.post(url("/"));
                let request = match is_streamed {
                    true => request.body(slow((room + extra) / 1024, 1024, Duration::ZERO)),
                    false => request.body(vec![b'x'; room + extra]),
                };
                let (time, _) = late(request.send(), Phase::Send, "write_timeout").await;
                assert_about(time, WRITE_TIMEOUT);
                pause(100).await;
                assert_eq!(client.stats().unwrap().pool.connections, 0);
                drop(log);
                Ok(())
            });
        }
    }
}

/// A peer that takes a little in time is waited for.
#[test]
fn what_is_read_slowly_is_written() {
    let simulation = Simulation::new(1).socket_buffer_bytes(4 * 1024);
    run_on(simulation, async {
        origin::listen(ADDRESS, |_| {
            let mut steps = Vec::new();
            // Each time it hears, all that is there.
            for _ in 0..50 {
                steps.extend([Do::Deaf, Do::Wait(20 * SECOND), Do::Hear]);
            }
            steps.extend([Do::Request, Do::Send(ok("read"))]);
            steps
        })
        .await;
        let request = Client::new().post(url("/")).body(vec![b'x'; 200_000]);
        let (time, response) = timed(request.send()).await;
        assert_eq!(response?.text().await?, "read");
        assert!(time > 900 * SECOND, "{time:?}");
        Ok(())
    });
}

/// From the end of the request on, however long that took (net/http's ResponseHeaderTimeout).
#[test]
fn for_the_response_head() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![Do::Request]).await;
        let client = Client::new();
        let sent = client.get(url("/")).send();
        let (time, _) = late(sent, Phase::ResponseHead, "response_head_timeout").await;
        assert_about(time, RESPONSE_HEAD_TIMEOUT);
        let request = client.post(url("/")).body(slow(10, 100, 50 * SECOND));
        let (time, _) = late(request.send(), Phase::ResponseHead, "response_head_timeout").await;
        assert_about(time, 500 * SECOND + RESPONSE_HEAD_TIMEOUT);
        let own = client.get(url("/")).response_head_timeout(5 * SECOND);
        let (time, _) = late(own.send(), Phase::ResponseHead, "5s").await;
        assert_about(time, 5 * SECOND);
        pause(100).await;
        assert_eq!((log.connections(), log.open()), (3, 0));
        Ok(())
    });
}

#[test]
fn for_the_response_body() {
    run(async {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
        origin::listen(ADDRESS, move |_| {
            let drip = Do::Drip(vec![b'x'; 10], 1, 20 * SECOND);
            vec![Do::Request, Do::Send(head.into()), drip]
        })
        .await;
        let client = Client::new();
        // Between two bytes 20 s are all right; behind the last of them the time is over.
        let body = async { client.get(url("/")).send().await?.bytes().await };
        let (time, _) = late(body, Phase::ResponseBody, "body_timeout").await;
        assert_about(time, 200 * SECOND + BODY_TIMEOUT);
        let own = client.get(url("/")).body_timeout(7 * SECOND);
        let body = async { own.send().await?.bytes().await };
        let (time, _) = late(body, Phase::ResponseBody, "7s").await;
        assert_about(time, 7 * SECOND);
        Ok(())
    });
}

/// A reader may take its time: what it has not taken is not received, and no time runs.
#[test]
fn a_slow_reader_has_all_the_time() {
    const BYTES: usize = 2_000_000;
    run(async {
        origin::listen(ADDRESS, |_| {
            vec![Do::Request, Do::Send(ok(vec![b'x'; BYTES]))]
        })
        .await;
        let mut response = Client::new().get(url("/")).send().await?;
        let mut received = 0;
        while let Some(chunk) = response.body_mut().chunk().await {
            received += chunk?.len();
            runtime::sleep(100 * SECOND).await;
        }
        assert_eq!(received, BYTES);
        Ok(())
    });
}

/// Who does not know `Expect` waits for the body, and gets it after a second.
#[test]
fn to_be_told_to_continue() {
    run(async {
        let log = origin::listen(ADDRESS, |_| {
            vec![Do::Request, Do::Send(ok("x")), Do::Request]
        })
        .await;
        let client = Client::new();
        let request = client.post(url("/")).body("hello").expect_continue();
        let (time, response) = timed(request.send()).await;
        response?.text().await?;
        assert_about(time, CONTINUE_TIMEOUT);
        assert_eq!(log.seen(0).requests[0].body, b"hello");
        // The time for the head runs behind it.
        let request = client.post(url("/")).body("hello").expect_continue();
        let (time, _) = late(request.send(), Phase::ResponseHead, "response_head_timeout").await;
        assert_about(time, CONTINUE_TIMEOUT + RESPONSE_HEAD_TIMEOUT);
        Ok(())
    });
}

/// A phase, the words of its error, and a request that ends in it, with these seconds for all.
type Total = (Phase, &'static str);

/// The time for everything, wherever it runs out.
#[test]
fn for_everything() {
    let total = 3 * SECOND;
    let check =
        |(phase, words): Total, simulation: Simulation, steps: Vec<Do>, body: Option<Body>| {
            run_on(simulation, async {
                let log = origin::listen(ADDRESS, move |_| steps.clone()).await;
                let client = Client::builder().per_host_max(1).build();
                let host = if phase == Phase::Connect {
                    "127.0.0.7"
                } else {
                    ADDRESS
                };
                let url = format!("http://{host}/");
                let first = client.get(&url).send();
                let first = (phase == Phase::Pool).then(|| runtime::spawn(first));
                runtime::yield_now().await;
                let mut request = client.post(&url).timeout(total);
                if let Some(body) = body {
                    request = request.body(body);
                }
                let all = async { request.send().await?.bytes().await };
                let (time, error) = late(all, phase, words).await;
                assert_about(time, total);
                assert!(error.to_string().contains("3s"), "{error}");
                if let Some(first) = first {
                    first.abort();
                }
                pause(1_000).await;
                assert_eq!((log.open(), client.stats().unwrap().pool.idle), (0, 0));
                Ok(())
            });
        };
    let calm = || Simulation::new(1);
    check(
        (Phase::Pool, "waiting for a connection"),
        calm(),
        vec![Do::Request],
        None,
    );
    check((Phase::Connect, "connecting"), silent(), vec![], None);
    let large = Some(Body::from(vec![b'x'; 1_000_000]));
    check(
        (Phase::Send, "sending the request"),
        calm(),
        vec![Do::Deaf, Do::Wait(4 * SECOND), Do::Hear],
        large,
    );
    let stuck = Some(slow(10, 10, SECOND));
    check(
        (Phase::RequestBody, "waiting for the request body"),
        calm(),
        vec![],
        stuck,
    );
    check(
        (Phase::ResponseHead, "response head"),
        calm(),
        vec![Do::Request],
        None,
    );
    let head = Do::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".to_vec());
    check(
        (Phase::ResponseBody, "response body"),
        calm(),
        vec![Do::Request, head],
        None,
    );
}

/// The client's own, for its requests; a request's goes before it.
#[test]
fn for_everything_by_default() {
    run(async {
        origin::listen(ADDRESS, |_| vec![Do::Request]).await;
        let client = Client::builder().timeout(4 * SECOND).build();
        let (time, _) = late(client.get(url("/")).send(), Phase::ResponseHead, "4s").await;
        assert_about(time, 4 * SECOND);
        let request = client.get(url("/")).timeout(6 * SECOND);
        let (time, _) = late(request.send(), Phase::ResponseHead, "6s").await;
        assert_about(time, 6 * SECOND);
        Ok(())
    });
}

/// All redirects share it (net/http's Client.Timeout).
#[test]
fn for_everything_over_redirects() {
    run(async {
        let moved = "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n";
        let log = origin::listen(ADDRESS, move |_| {
            vec![origin::serve(move |_| {
                vec![Do::Wait(2 * SECOND), Do::Send(moved.into())]
            })]
        })
        .await;
        let request = Client::new().get(url("/")).timeout(7 * SECOND);
        let (time, error) = late(request.send(), Phase::ResponseHead, "7s").await;
        assert_about(time, 7 * SECOND);
        assert!(error.url().unwrap().ends_with("/again"), "{error:?}");
        assert_eq!(log.seen(0).requests.len(), 4);
        Ok(())
    });
}

/// A future that was dropped is no time-out: the connection is closed, and nobody hears of it.
#[test]
fn a_callers_own_time_out() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![Do::Request]).await;
        let client = Client::new();
        let sent = client.get(url("/")).send();
        let sent: Result<Result<Response>> = runtime::timeout(SECOND, sent).await;
        assert!(sent.is_err());
        pause(10).await;
        assert_eq!(log.open(), 0);
        assert_eq!(client.stats().unwrap().pool.connections, 0);
        Ok(())
    });
}
