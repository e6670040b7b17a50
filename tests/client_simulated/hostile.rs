//! Origins that break rules, stop, dawdle and lie: a right response, or an error that says what was
//! wrong, within its time.

use std::time::Duration;

use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Result;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::http::headers::Headers;
use roundtrip::http::response::Response;
use roundtrip::limits::BODY_TIMEOUT;
use roundtrip::limits::CHUNK_LINE_BYTES_MAX;
use roundtrip::limits::INFORMATIONAL_COUNT_MAX;
use roundtrip::limits::RESPONSE_HEAD_BYTES_MAX;
use roundtrip::limits::RESPONSE_HEAD_TIMEOUT;
use roundtrip::limits::RESPONSE_HEADER_COUNT_MAX;
use roundtrip::limits::TRAILER_BYTES_MAX;
use roundtrip::runtime;

use crate::ADDRESS;
use crate::assert_about;
use crate::origin;
use crate::origin::Do;
use crate::origin::Log;
use crate::origin::ok;
use crate::origin::serve;
use crate::pause;
use crate::run;
use crate::timed;
use crate::url;

/// What came of a request: the body as far as it came, and its end.
#[derive(Debug)]
struct Got {
    status: Option<u16>,
    body: Vec<u8>,
    trailers: Option<Headers>,
    end: Result<(), Error>,
}

impl Got {
    async fn of(sent: impl Future<Output = Result<Response>>) -> Got {
        let mut got = Got {
            status: None,
            body: Vec::new(),
            trailers: None,
            end: Ok(()),
        };
        let response = match sent.await {
            Ok(response) => response,
            Err(error) => {
                got.end = Err(error);
                return got;
            }
        };
        got.status = Some(response.status_code().as_u16());
        let mut body = response.into_body();
        while let Some(chunk) = body.chunk().await {
            match chunk {
                Ok(chunk) => got.body.extend_from_slice(&chunk),
                Err(error) => {
                    got.end = Err(error);
                    break;
                }
            }
        }
        got.trailers = body.take_trailers();
        got
    }

    #[track_caller]
    fn error(&self) -> &Error {
        self.end.as_ref().expect_err("it must not look whole")
    }

    #[track_caller]
    fn check(&self, kind: ErrorKind, phase: Phase, words: &str) {
        let error = self.error();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.phase(), Some(phase), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.url().is_some(), "{error:?}");
    }
}

/// A way in which a response says where it ends.
struct Framed {
    method: &'static str,
    /// Without the request's own part.
    response: &'static [u8],
    body: &'static [u8],
    /// Bytes of all heads.
    head: usize,
    /// The end of the connection is the end of the body.
    is_until_close: bool,
}

/// Every framing of RFC 9112 §6.3 that a response can have.
fn framings() -> Vec<Framed> {
    let framed = |method, response: &'static [u8], body, is_until_close| {
        let text = std::str::from_utf8(response).unwrap();
        // The last head is the one that is not informational.
        let mut head = 0;
        loop {
            let is_informational = text[head..].starts_with("HTTP/1.1 1");
            head += text[head..].find("\r\n\r\n").unwrap() + 4;
            if !is_informational {
                break;
            }
        }
        Framed {
            method,
            response,
            body,
            head,
            is_until_close,
        }
    };
    vec![
        framed("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", false),
        framed("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", false),
        framed(
            "GET",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\"\r\nhel\r\n2\r\nlo\r\n0\r\nX-Sum: 7\r\n\r\n",
            b"hello",
            false,
        ),
        framed(
            "GET",
            b"HTTP/1.1 200 OK\r\nX-A: b\r\n\tc\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n0 \r\nX-Sum: 7\r\n 8\r\n\r\n",
            b"hello",
            false,
        ),
        framed("GET", b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\nhello", b"hello", true),
        framed("GET", b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello", true),
        framed("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"", false),
        framed("GET", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", b"", false),
        framed("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"", false),
        framed(
            "POST",
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            b"ok",
            false,
        ),
    ]
}

/// Bytes at a time; 0 for all at once.
const PIECES: [usize; 4] = [0, 1, 2, 7];

#[test]
fn every_framing_in_pieces_of_every_size() {
    let cases = framings();
    run(async {
        for (number, case) in cases.iter().enumerate() {
            let response = case.response;
            let is_until_close = case.is_until_close;
            let address = format!("127.0.1.{number}:80");
            let log = origin::listen(&address, move |_| {
                let answer = move |asked: &origin::Asked| {
                    let piece: usize = asked.path()[1..].parse().unwrap();
                    let bytes = response.to_vec();
                    let mut steps = match piece {
                        0 => vec![Do::Send(bytes)],
                        piece => vec![Do::Drip(bytes, piece, Duration::from_micros(50))],
                    };
                    steps.extend(is_until_close.then_some(Do::Close));
                    steps
                };
                vec![serve(answer)]
            })
            .await;
            let client = Client::new();
            for piece in PIECES {
                let method = case.method.parse().unwrap();
                let request = client.request(method, format!("http://{address}/{piece}"));
                let got = Got::of(request.send()).await;
                let shown = case.response.escape_ascii();
                assert!(got.end.is_ok(), "{shown} by {piece}: {got:?}");
                assert_eq!(got.body, case.body, "{shown} by {piece}");
                let has_trailers = shown.to_string().contains("X-Sum");
                assert_eq!(got.trailers.is_some(), has_trailers, "{shown} by {piece}");
            }
            let connections = if is_until_close { PIECES.len() } else { 1 };
            assert_eq!(
                log.connections(),
                connections,
                "{}",
                case.response.escape_ascii()
            );
        }
        Ok(())
    });
}

/// An end at every byte of every framing, in order and by a reset, in one piece and byte by byte.
#[test]
fn an_early_end_at_every_byte() {
    for resets in [false, true] {
        for piece in [0, 1] {
            run(async move {
                for (number, case) in framings().iter().enumerate() {
                    let address = format!("127.0.1.{number}:80");
                    cut(&address, case, resets, piece).await;
                }
                Ok(())
            });
        }
    }
}

async fn cut(address: &str, case: &Framed, resets: bool, piece: usize) {
    let response = case.response;
    let log = origin::listen(address, move |connection| {
        let bytes = response[..connection].to_vec();
        let end = if resets { Do::Reset } else { Do::Close };
        let sends = match piece {
            0 => Do::Send(bytes),
            piece => Do::Drip(bytes, piece, Duration::from_micros(50)),
        };
        vec![Do::Request, sends, end]
    })
    .await;
    // A connection for each length, in order.
    let client = Client::new();
    for len in 0..=response.len() {
        let method = case.method.parse().unwrap();
        let request = client.request(method, format!("http://{address}/"));
        let (time, got) = timed(Got::of(request.send())).await;
        let shown = format!("{} of {}: {got:?}", len, response.escape_ascii());
        assert!(time < Duration::from_secs(1), "{shown}");
        assert!(case.body.starts_with(&got.body), "{shown}");
        let is_whole = len == response.len();
        match &got.end {
            // A reset may overtake what came before it, so that the whole is not certain.
            Ok(()) if case.is_until_close => {
                assert!(!resets && len >= case.head, "{shown}");
                assert_eq!(got.body, response[case.head..len], "{shown}");
            }
            Ok(()) => {
                assert!(is_whole, "{shown}");
                assert_eq!(got.body, case.body, "{shown}");
            }
            Err(_) => {
                assert!(!is_whole || resets, "{shown}");
                let phase = match len < case.head || got.status.is_none() {
                    true => Phase::ResponseHead,
                    false => Phase::ResponseBody,
                };
                got.check(ErrorKind::Closed, phase, "connection");
            }
        }
    }
    assert_eq!(log.connections(), response.len() + 1);
    pause(1_000).await;
    assert_eq!(client.stats().unwrap().pool.connections, 0);
}

/// An origin whose every connection answers its first request with this, and then hears nothing
/// more of the script.
async fn saying(bytes: impl Into<Vec<u8>>) -> Log {
    let bytes = bytes.into();
    origin::listen(ADDRESS, move |_| vec![Do::Request, Do::Send(bytes.clone())]).await
}

#[track_caller]
fn failing(bytes: impl Into<Vec<u8>>, kind: ErrorKind, phase: Phase, words: &str) -> Duration {
    run(async {
        let log = saying(bytes).await;
        let client = Client::new();
        let (time, got) = timed(Got::of(client.get(url("/")).send())).await;
        got.check(kind, phase, words);
        pause(1_000).await;
        assert_eq!(client.stats().unwrap().pool.connections, 0);
        assert_eq!(log.open(), 0, "it is still open");
        Ok(time)
    })
}

#[test]
fn bytes_before_the_status_line() {
    let cases: [&[u8]; 8] = [
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\0HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\xef\xbb\xbfHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"220 mail.example ESMTP\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x50\r\n\r\n",
    ];
    for case in cases {
        let time = failing(case, ErrorKind::Protocol, Phase::ResponseHead, "malformed");
        assert!(time < Duration::from_secs(1), "{}", case.escape_ascii());
    }
}

#[test]
fn lengths_that_are_none() {
    for length in [
        "+5",
        "-1",
        "0x5",
        "5 5",
        "5, 6",
        "",
        "18446744073709551616",
        "5;6",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello");
        failing(
            response,
            ErrorKind::Protocol,
            Phase::ResponseHead,
            "Content-Length",
        );
    }
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello";
    failing(
        twice,
        ErrorKind::Protocol,
        Phase::ResponseHead,
        "Content-Length",
    );
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n";
    failing(
        both,
        ErrorKind::Protocol,
        Phase::ResponseHead,
        "Transfer-Encoding",
    );
    let unknown = "HTTP/1.1 200 OK\r\nTransfer-Encoding: zip, chunked\r\n\r\n";
    failing(
        unknown,
        ErrorKind::Protocol,
        Phase::ResponseHead,
        "transfer coding",
    );
}

#[test]
fn a_body_that_is_shorter_than_it_said() {
    run(async {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel";
        let log = origin::listen(ADDRESS, move |connection| {
            let end = if connection == 0 {
                vec![Do::Close]
            } else {
                vec![]
            };
            [vec![Do::Request, Do::Send(head.into())], end].concat()
        })
        .await;
        let client = Client::new();
        let got = Got::of(client.get(url("/")).send()).await;
        assert_eq!(got.body, b"hel");
        got.check(ErrorKind::Closed, Phase::ResponseBody, "7 bytes");
        // Without an end it is a matter of time.
        let (time, got) = timed(Got::of(client.get(url("/")).send())).await;
        got.check(ErrorKind::Timeout, Phase::ResponseBody, "body_timeout");
        assert_about(time, BODY_TIMEOUT);
        pause(100).await;
        assert_eq!(log.open(), 0);
        Ok(())
    });
}

#[test]
fn a_body_that_is_longer_than_it_said() {
    const LENGTH: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    const CHUNKED: &str =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let responses = [
        (
            LENGTH,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad",
            "ok",
        ),
        (LENGTH, "\r\n", "ok"),
        (CHUNKED, "bad", "ok"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "bad", ""),
        ("HTTP/1.1 304 Not Modified\r\n\r\n", "0\r\n\r\n", ""),
    ];
    for (response, excess, body) in responses {
        // What is too much comes at once, a moment later, or long after the connection rests.
        for at in [0, 1, 1_000] {
            run(async {
                let log = origin::listen(ADDRESS, move |_| {
                    let steps = match at {
                        0 => vec![Do::Send([response, excess].concat().into())],
                        _ => vec![
                            Do::Send(response.into()),
                            Do::Wait(Duration::from_millis(at)),
                            Do::Send(excess.into()),
                        ],
                    };
                    vec![serve(move |_| steps.clone())]
                })
                .await;
                let client = Client::new();
                for count in 1..4 {
                    let text = client.get(url("/")).send().await?.text().await?;
                    assert_eq!(text, body);
                    pause(at + 100).await;
                    assert_eq!((log.connections(), log.open()), (count, 0), "{response}");
                }
                Ok(())
            });
        }
    }
}

/// Two responses are there for one request, and the client does not wait a moment: the second may
/// not become the answer of the next request.
#[test]
fn two_responses_for_one_request() {
    run(async {
        let log = origin::listen(ADDRESS, |_| {
            vec![serve(|asked| {
                vec![Do::Send([ok(&asked.line), ok("another's")].concat())]
            })]
        })
        .await;
        let client = Client::new();
        for number in 0..10 {
            let text = client
                .get(url(&format!("/{number}")))
                .send()
                .await?
                .text()
                .await?;
            assert_eq!(text, format!("GET /{number} HTTP/1.1"));
        }
        assert_eq!(log.connections(), 10);
        Ok(())
    });
}

/// A server that speaks first is taken at its word, since nothing tells; what it then says to the
/// request belongs to nobody.
#[test]
fn a_response_before_the_request() {
    run(async {
        let log = origin::listen(ADDRESS, |_| {
            vec![
                Do::Send(ok("early")),
                serve(|asked| vec![Do::Send(ok(&asked.line))]),
            ]
        })
        .await;
        let client = Client::new();
        for number in 1..4 {
            let got = Got::of(client.get(url("/")).send()).await;
            match &got.end {
                Ok(()) => assert_eq!(got.body, b"early"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Protocol),
            }
            pause(1).await;
            assert_eq!((log.connections(), log.open()), (number, 0));
        }
        Ok(())
    });
}

#[test]
fn a_head_without_end() {
    let field = "X-More: and more\r\n".repeat(RESPONSE_HEADER_COUNT_MAX + 1);
    let many = format!("HTTP/1.1 200 OK\r\n{field}\r\n");
    failing(
        many,
        ErrorKind::Limit,
        Phase::ResponseHead,
        "response_header_count_max",
    );
    let long = "a".repeat(RESPONSE_HEAD_BYTES_MAX);
    let value = format!("HTTP/1.1 200 OK\r\nX-Long: {long}");
    failing(
        value,
        ErrorKind::Limit,
        Phase::ResponseHead,
        "response_head_bytes_max",
    );
    let name = format!("HTTP/1.1 200 OK\r\n{long}");
    failing(
        name,
        ErrorKind::Limit,
        Phase::ResponseHead,
        "response_head_bytes_max",
    );
    let reason = format!("HTTP/1.1 200 {long}");
    failing(
        reason,
        ErrorKind::Limit,
        Phase::ResponseHead,
        "response_head_bytes_max",
    );
    // Each limit is a setting.
    run(async {
        let field = "X-More: more\r\n".repeat(RESPONSE_HEADER_COUNT_MAX);
        let log = saying(format!(
            "HTTP/1.1 204 No Content\r\n{field}X-Last: 1\r\n\r\n"
        ));
        log.await;
        let count = RESPONSE_HEADER_COUNT_MAX + 1;
        let client = Client::builder().response_header_count_max(count).build();
        let response = client.get(url("/")).send().await?;
        assert_eq!(response.headers().len(), count);
        assert_eq!(response.headers().get("x-last"), Some("1"));
        let client = Client::builder()
            .response_header_count_max(count - 1)
            .build();
        let error = client.get(url("/")).send().await.unwrap_err();
        assert!(
            error.text().contains("response_header_count_max"),
            "{error}"
        );
        Ok(())
    });
    // Just below the limit it is a head.
    run(async {
        let value = "a".repeat(RESPONSE_HEAD_BYTES_MAX - 100);
        let log = saying(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: {value}\r\n\r\nok"
        ));
        log.await;
        let response = Client::new().get(url("/")).send().await?;
        assert_eq!(response.headers().get("x-long"), Some(value.as_str()));
        assert_eq!(response.text().await?, "ok");
        Ok(())
    });
}

#[test]
fn informational_responses_without_end() {
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    run(async {
        saying(hint.repeat(INFORMATIONAL_COUNT_MAX) + last).await;
        let response = Client::new().get(url("/")).send().await?;
        assert_eq!(response.text().await?, "ok");
        Ok(())
    });
    let flood = hint.repeat(INFORMATIONAL_COUNT_MAX + 1) + last;
    failing(flood, ErrorKind::Limit, Phase::ResponseHead, "16");
    failing(
        hint.repeat(5_000),
        ErrorKind::Limit,
        Phase::ResponseHead,
        "16",
    );
}

#[test]
fn chunks_that_lie() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let malformed = [
        "xyz\r\n",
        "-5\r\nhello\r\n",
        "+5\r\nhello\r\n",
        "0x5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhellooo\r\n0\r\n\r\n",
        "3\r\nhello\r\n0\r\n\r\n",
        "\r\nhello",
        "5\r\nhello0\r\n\r\n",
        "10000000000000000\r\n",
        "0\r\nX-Bad Name: 1\r\n\r\n",
        "0\r\n X-Folded: 1\r\n\r\n",
    ];
    for body in malformed {
        let bytes = format!("{head}{body}");
        failing(bytes, ErrorKind::Protocol, Phase::ResponseBody, "");
    }
    let extension = format!("{head}5;{}", "a".repeat(CHUNK_LINE_BYTES_MAX));
    failing(extension, ErrorKind::Limit, Phase::ResponseBody, "limit");
    // Many chunks of one byte, each with a long extension: more framing than body.
    let chunk = format!("1;{}\r\na\r\n", "b".repeat(1_000));
    let wasteful = format!("{head}{}", chunk.repeat(100));
    failing(wasteful, ErrorKind::Limit, Phase::ResponseBody, "framing");
    let trailers = format!(
        "{head}0\r\n{}",
        "X-More: and more\r\n".repeat(TRAILER_BYTES_MAX / 16)
    );
    failing(trailers, ErrorKind::Limit, Phase::ResponseBody, "");
}

/// One byte now and then is progress of a body, and none of a head.
#[test]
fn drips_against_each_time_out() {
    let drips = [
        // Bytes of the head: its time runs from the end of the request.
        (
            "HTTP/1.1 200 OK\r\nX-Slow: ",
            "a",
            1_000,
            RESPONSE_HEAD_TIMEOUT,
            Phase::ResponseHead,
        ),
        // Informational responses: the same time.
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 102 Processing\r\n\r\n",
            7_000,
            RESPONSE_HEAD_TIMEOUT,
            Phase::ResponseHead,
        ),
        // Framing of chunks: no byte of the body among it.
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;",
            "a",
            1_000,
            BODY_TIMEOUT,
            Phase::ResponseBody,
        ),
        // Trailers, behind the body.
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: ",
            "a",
            1_000,
            BODY_TIMEOUT,
            Phase::ResponseBody,
        ),
    ];
    for (first, then, every, expected, phase) in drips {
        run(async {
            let log = origin::listen(ADDRESS, move |_| {
                let drip = then.repeat(1_000).into_bytes();
                vec![
                    Do::Request,
                    Do::Send(first.into()),
                    Do::Drip(drip, then.len(), Duration::from_millis(every)),
                ]
            })
            .await;
            let client = Client::new();
            let (time, got) = timed(Got::of(client.get(url("/")).send())).await;
            let knob = match phase {
                Phase::ResponseHead => "response_head_timeout",
                _ => "body_timeout",
            };
            got.check(ErrorKind::Timeout, phase, knob);
            assert_about(time, expected);
            pause(10_000).await;
            assert_eq!(log.open(), 0);
            Ok(())
        });
    }
}

/// A body of which a byte comes in time goes on: only the time for everything ends it.
#[test]
fn a_body_that_drips_is_ended_by_the_total_time() {
    run(async {
        let log = origin::listen(ADDRESS, |_| {
            let every = Duration::from_secs(29);
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
            let drip = Do::Drip(vec![b'a'; 1_000], 1, every);
            vec![Do::Request, Do::Send(head.into()), drip]
        })
        .await;
        let client = Client::new();
        let hour = Duration::from_secs(3_600);
        let request = client.get(url("/")).timeout(hour);
        let (time, got) = timed(Got::of(request.send())).await;
        got.check(ErrorKind::Timeout, Phase::ResponseBody, "3600s");
        assert_about(time, hour);
        assert_eq!(got.body.len(), 124);
        pause(60_000).await;
        assert_eq!(log.open(), 0);
        Ok(())
    });
}

/// Many at once, each with an origin that misbehaves in its own way, beside one that does not.
#[test]
fn the_bad_do_not_disturb_the_good() {
    run(async {
        let bad = origin::listen("127.0.0.2:80", |connection| {
            let last = match connection % 6 {
                0 => Do::Send(b"nonsense\r\n\r\n".to_vec()),
                1 => Do::Close,
                2 => Do::Reset,
                3 => Do::Drip(b"HTTP/1.1 200 OK\r\n".repeat(10), 1, Duration::from_secs(1)),
                4 => Do::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome".to_vec()),
                _ => Do::Send(b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
            };
            vec![Do::Request, last]
        })
        .await;
        let good = origin::listen(ADDRESS, |_| vec![origin::echo()]).await;
        let client = Client::builder()
            .response_head_timeout(Duration::from_secs(20))
            .build();
        let bad_ones: Vec<_> = (0..120)
            .map(|_| {
                let request = client.get("http://127.0.0.2/");
                runtime::spawn(async { Got::of(request.send()).await })
            })
            .collect();
        for number in 0..100 {
            let sent = client.get(url(&format!("/{number}"))).send();
            let (time, response) = timed(sent).await;
            assert_eq!(response?.text().await?, format!("GET /{number} HTTP/1.1"));
            assert!(time < Duration::from_millis(1), "{time:?}");
            pause(500).await;
        }
        for task in bad_ones {
            task.await?.error();
        }
        pause(1_000).await;
        assert_eq!((bad.connections(), bad.open()), (120, 0));
        assert_eq!(good.connections(), 1);
        Ok(())
    });
}
