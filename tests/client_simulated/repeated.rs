//! Which requests are sent again when their connection is lost: net/http's `shouldRetryRequest`,
//! row by row, and what follows from it.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use roundtrip::Body;
use roundtrip::Client;
use roundtrip::runtime;
use roundtrip::simulation::Fault;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Simulation;

use crate::ADDRESS;
use crate::origin;
use crate::origin::Do;
use crate::origin::echo;
use crate::origin::ok;
use crate::origin::serve;
use crate::pause;
use crate::run;
use crate::run_on;
use crate::url;

/// What is sent beside the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upload {
    Nothing,
    Bytes,
    /// Made while it is sent, and gone then.
    Stream,
}

/// A request.
#[derive(Clone, Copy, Debug)]
struct Ask {
    method: &'static str,
    upload: Upload,
    key: Option<&'static str>,
}

impl Ask {
    async fn send(self, client: &Client) -> roundtrip::Result<String> {
        let mut request = client.request(self.method.parse().unwrap(), url("/asked"));
        if let Some(key) = self.key {
            request = request.header(key, "7");
        }
        request = match self.upload {
            Upload::Nothing => request,
            Upload::Bytes => request.body("hello"),
            Upload::Stream => {
                let (mut sender, body) = Body::incoming(None);
                sender.push(Bytes::from_static(b"hello"));
                sender.finish(None);
                request.body(body)
            }
        };
        let answer = request.send().await?;
        answer.text().await
    }
}

/// Requests, and whether each is sent again when it is not known what became of it.
fn asks() -> Vec<(Ask, bool)> {
    let ask = |method, upload, key, repeats| {
        let ask = Ask {
            method,
            upload,
            key,
        };
        (ask, repeats)
    };
    let (plain, key, x_key) = (None, Some("Idempotency-Key"), Some("X-Idempotency-Key"));
    vec![
        ask("GET", Upload::Nothing, plain, true),
        ask("HEAD", Upload::Nothing, plain, true),
        ask("OPTIONS", Upload::Nothing, plain, true),
        ask("TRACE", Upload::Nothing, plain, true),
        ask("GET", Upload::Bytes, plain, true),
        ask("GET", Upload::Stream, plain, false),
        ask("POST", Upload::Nothing, plain, false),
        ask("POST", Upload::Bytes, plain, false),
        ask("PUT", Upload::Bytes, plain, false),
        ask("DELETE", Upload::Nothing, plain, false),
        ask("PATCH", Upload::Bytes, plain, false),
        ask("POST", Upload::Nothing, key, true),
        ask("POST", Upload::Bytes, key, true),
        ask("POST", Upload::Bytes, x_key, true),
        ask("POST", Upload::Stream, key, false),
    ]
}

/// Loses the connection of each request with these steps, the second time that it is used or the
/// first, and counts how often the request came.
#[track_caller]
fn lose(ask: Ask, steps: &[Do], is_reused: bool) -> (bool, usize) {
    let steps = steps.to_vec();
    run(async move {
        let log = origin::listen(ADDRESS, move |connection| {
            if connection > 0 {
                return vec![echo()];
            }
            let warm = [Do::Request, Do::Send(ok("warm"))];
            let warm = if is_reused { &warm[..] } else { &[] };
            [warm, &steps[..]].concat()
        })
        .await;
        let client = Client::new();
        if is_reused {
            client.get(url("/warm")).send().await?.text().await?;
        }
        let answer = ask.send(&client).await;
        let error = answer.as_ref().err();
        assert!(
            error.is_none_or(|error| error.is_closed()),
            "{ask:?}: {error:?}"
        );
        pause(100).await;
        let lines = log.lines();
        let count = lines
            .iter()
            .filter(|(_, line)| line.contains("/asked"))
            .count();
        let stats = client.stats().unwrap();
        assert_eq!(stats.retries_total, u64::from(answer.is_ok()), "{ask:?}");
        assert_eq!(log.connections(), if answer.is_ok() { 2 } else { 1 });
        Ok((answer.is_ok(), count))
    })
}

/// Lost without a byte of an answer: only on a connection that has served before, and only what
/// means the same once and twice and can be sent again.
#[test]
fn without_an_answer() {
    let moments: [&[Do]; 5] = [
        &[Do::Request, Do::Close],
        &[Do::Request, Do::Reset],
        &[Do::Request, Do::Shut],
        &[Do::Request, Do::Wait(Duration::from_secs(5)), Do::Close],
        &[Do::Head, Do::Reset],
    ];
    for (ask, repeats) in asks() {
        for steps in moments {
            assert_eq!(
                lose(ask, steps, true),
                (repeats, 1 + usize::from(repeats)),
                "{ask:?}"
            );
            assert_eq!(lose(ask, steps, false), (false, 1), "fresh: {ask:?}");
        }
    }
}

/// With one byte of an answer the server has seen the request, and may have done it.
#[test]
fn within_an_answer() {
    let beginnings = [
        "H",
        "HTTP/1.1 200 OK\r\nContent-",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ];
    for (ask, _) in asks() {
        for beginning in beginnings {
            for end in [Do::Close, Do::Reset] {
                let steps = [Do::Request, Do::Send(beginning.into()), end];
                assert_eq!(
                    lose(ask, &steps, true),
                    (false, 1),
                    "{ask:?}: {beginning:?}"
                );
            }
        }
    }
}

/// As often as there are connections that are lost: a server that is restarted loses them all.
#[test]
fn again_and_again() {
    run(async {
        let log = origin::listen(ADDRESS, |connection| match connection {
            0..6 => vec![
                Do::Request,
                Do::Wait(Duration::from_millis(10)),
                Do::Send(ok("warm")),
                Do::Request,
                Do::Close,
            ],
            _ => vec![echo()],
        })
        .await;
        let client = Client::new();
        let tasks: Vec<_> = (0..6)
            .map(|_| {
                let request = client.get(url("/warm"));
                runtime::spawn(async { request.send().await?.text().await })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await??, "warm");
        }
        let text = client.get(url("/asked")).send().await?.text().await?;
        assert_eq!(text, "GET /asked HTTP/1.1");
        assert_eq!(client.stats().unwrap().retries_total, 6);
        assert_eq!((log.connections(), log.lines().len()), (7, 13));
        Ok(())
    });
}

/// The body goes along, all of it, each time.
#[test]
fn with_its_body() {
    for bytes in [1, 10_000, 300_000] {
        run(async {
            let log = origin::listen(ADDRESS, |connection| match connection {
                0 => vec![Do::Request, Do::Send(ok("warm")), Do::Request, Do::Reset],
                _ => vec![echo()],
            })
            .await;
            let client = Client::new();
            client.get(url("/")).send().await?.text().await?;
            let body: Vec<u8> = (0..bytes).map(|at| at as u8).collect();
            let request = client.post(url("/")).header("Idempotency-Key", "1");
            request.body(body.clone()).send().await?.text().await?;
            assert!(log.seen(0).requests[1].body == body);
            assert!(log.seen(1).requests[0].body == body);
            Ok(())
        });
    }
}

/// Nothing of the request was sent: then it may be sent, whatever it means. Here sends find their
/// connection gone now and then, before a receive does.
#[test]
fn with_nothing_sent() {
    const COUNT: usize = 400;
    for upload in [Upload::Nothing, Upload::Bytes, Upload::Stream] {
        let faults = Faults::none().with(Fault::BrokenPipe, 0.2);
        let simulation = Simulation::new(3).faults(faults);
        run_on(simulation, async {
            let log = origin::listen(ADDRESS, |_| {
                vec![serve(|asked| vec![Do::Send(ok(&asked.body))])]
            })
            .await;
            let client = Client::new();
            let mut failed = 0;
            for index in 0..COUNT {
                let request = client.post(url(&format!("/{index}")));
                let request = match upload {
                    Upload::Nothing => request,
                    Upload::Bytes => request.body("hello"),
                    Upload::Stream => {
                        let (mut sender, body) = Body::incoming(None);
                        sender.push(Bytes::from_static(b"hello"));
                        sender.finish(None);
                        request.body(body)
                    }
                };
                match request.send().await {
                    Ok(response) => drop(response.bytes().await?),
                    Err(error) => {
                        assert!(error.is_closed(), "{error:?}");
                        failed += 1;
                    }
                }
            }
            let lines = log.lines();
            let once: HashSet<&String> = lines.iter().map(|(_, line)| line).collect();
            assert_eq!(once.len(), lines.len(), "a request came twice");
            let stats = client.stats().unwrap();
            if upload == Upload::Stream {
                assert_eq!(stats.retries_total, 0);
                assert!(failed > COUNT / 10, "{failed} failed");
            } else {
                // What is left are first requests of their connections.
                assert!(stats.retries_total > 30, "{stats:?}");
                assert!(failed < COUNT / 10, "{failed} failed, {stats:?}");
            }
            assert_eq!(once.len() + failed, COUNT);
            Ok(())
        });
    }
}
