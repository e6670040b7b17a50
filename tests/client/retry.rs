//! The retry policy on the virtual clock: what is sent again, when, and when not.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Method;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::RoundTrip;
use roundtrip::StatusCode;
use roundtrip::client::Next;
use roundtrip::client::RequestOptions;
use roundtrip::client::RetryPolicy;
use roundtrip::client::middleware::Retry;
use roundtrip::client::middleware::retry;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::http::date;
use roundtrip::limits::RETRY_DELAY_FIRST;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::Instant;
use roundtrip::simulation::Simulation;
use url::Url;

const SECOND: Duration = Duration::from_secs(1);

/// What a server does with an attempt.
#[derive(Clone)]
enum Answer {
    Status(u16),
    /// With this `Retry-After`.
    After(u16, String),
    Error(ErrorKind, Option<Phase>),
    Late(Duration),
}

use Answer::After;
use Answer::Late;
use Answer::Status;

/// Answers in order, the last for ever; remembers when it was asked, and with which body.
struct Scripted {
    answers: RefCell<VecDeque<Answer>>,
    asked: RefCell<Vec<(Instant, Option<usize>)>>,
}

impl Scripted {
    async fn answer(&self, request: Request) -> Result<Response> {
        let now = Core::try_current()?.now();
        let body = request.body().as_bytes().map(<[u8]>::len);
        self.asked.borrow_mut().push((now, body));
        let answer = {
            let mut answers = self.answers.borrow_mut();
            match answers.len() {
                1 => answers[0].clone(),
                _ => answers.pop_front().unwrap(),
            }
        };
        let status = |status| StatusCode::from_u16(status).unwrap();
        match answer {
            Status(code) => Ok(Response::new().status(status(code))),
            After(code, wait) => Ok(Response::new()
                .status(status(code))
                .header("Retry-After", wait)),
            Answer::Error(kind, phase) => {
                let error = Error::new(kind, "as the test wants it");
                Err(match phase {
                    Some(phase) => error.in_phase(phase),
                    None => error,
                })
            }
            Late(after) => {
                runtime::sleep(after).await;
                Ok(Response::new())
            }
        }
    }
}

/// A policy around a script.
struct Case {
    server: Rc<Scripted>,
    retry: Retry,
    begun: Instant,
}

impl Case {
    fn new(policy: RetryPolicy, answers: &[Answer]) -> Case {
        let server = Rc::new(Scripted {
            answers: RefCell::new(answers.iter().cloned().collect()),
            asked: RefCell::default(),
        });
        let inner = Rc::clone(&server);
        let next = Next::new(async move |request| inner.answer(request).await);
        Case {
            server,
            retry: retry(policy)(next),
            begun: Core::current().unwrap().now(),
        }
    }

    async fn send(&self, request: Request) -> Result<u16> {
        let response = self.retry.round_trip(request).await?;
        Ok(response.status_code().as_u16())
    }

    fn attempts(&self) -> usize {
        self.server.asked.borrow().len()
    }

    /// When it was asked, from the beginning.
    fn times(&self) -> Vec<Duration> {
        let asked = self.server.asked.borrow();
        asked.iter().map(|(at, _)| *at - self.begun).collect()
    }
}

/// These times, and for each the microseconds that the turns took.
#[track_caller]
fn assert_times(found: &[Duration], expected: &[Duration]) {
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        let late = found.checked_sub(*expected).expect("not before its time");
        assert!(late < Duration::from_micros(100), "{found:?} {expected:?}");
    }
}

fn get() -> Request {
    Request::new(Method::GET, Url::parse("http://a.example/").unwrap())
}

fn post() -> Request {
    Request::new(Method::POST, Url::parse("http://a.example/").unwrap()).with_body("four")
}

/// Waits of nothing but what the server asks for.
fn at_once() -> RetryPolicy {
    RetryPolicy::new().delays(Duration::ZERO, Duration::ZERO)
}

fn simulated(program: impl Future<Output = Result<()>>) {
    Simulation::new(1).run(program).unwrap().unwrap();
}

#[test]
fn waits_are_a_random_part_of_twice_as_much_each_time() {
    // When it was asked, if it began so late.
    let times = |late: u64| {
        let program = async move {
            runtime::sleep(Duration::from_millis(late)).await;
            let policy = RetryPolicy::new().attempts_max(6);
            let case = Case::new(policy, &[Status(503)]);
            assert_eq!(case.send(get()).await?, 503);
            Ok::<_, Error>(case.times())
        };
        Simulation::new(1).run(program).unwrap().unwrap()
    };
    let found = times(0);
    assert_eq!(found.len(), 6);
    for (index, pair) in found.windows(2).enumerate() {
        let most = RETRY_DELAY_FIRST * (1 << index);
        let wait = pair[1] - pair[0];
        assert!(
            wait < most + Duration::from_micros(100),
            "{wait:?} of {most:?}"
        );
    }
    // The same in each run of a seed, and different for who begins at another time.
    assert_eq!(found, times(0));
    assert_ne!(found[1], times(1)[1]);
}

#[test]
fn what_is_sent_again() {
    use Answer::Error;
    let (connect, resolve, pool) = (Phase::Connect, Phase::Resolve, Phase::Pool);
    let head = Some(Phase::ResponseHead);
    // With how many attempts a GET and a POST end.
    let table = [
        (Status(200), 1, 1),
        (Status(404), 1, 1),
        (Status(500), 1, 1),
        (Status(501), 1, 1),
        (Status(429), 3, 1),
        (Status(502), 3, 1),
        (Status(503), 3, 1),
        (Status(504), 3, 1),
        (Error(ErrorKind::Connect, Some(connect)), 3, 3),
        (Error(ErrorKind::Resolve, Some(resolve)), 3, 3),
        (Error(ErrorKind::Timeout, Some(connect)), 3, 3),
        (Error(ErrorKind::Timeout, Some(pool)), 3, 3),
        (Error(ErrorKind::Timeout, head), 3, 1),
        (Error(ErrorKind::Closed, head), 3, 1),
        (Error(ErrorKind::Closed, None), 3, 1),
        (Error(ErrorKind::Protocol, head), 1, 1),
        (Error(ErrorKind::Invalid, Some(connect)), 1, 1),
        (Error(ErrorKind::Limit, head), 1, 1),
        (Error(ErrorKind::Shutdown, Some(connect)), 1, 1),
        (Error(ErrorKind::Io, None), 1, 1),
    ];
    simulated(async move {
        for (answer, gets, posts) in table {
            let sent = async |request: Request| {
                let case = Case::new(at_once(), std::slice::from_ref(&answer));
                let outcome = case.send(request).await;
                match (&answer, outcome) {
                    (Status(code), Ok(status)) => assert_eq!(*code, status),
                    (Error(kind, _), Err(error)) => assert_eq!(*kind, error.kind()),
                    (_, outcome) => panic!("{outcome:?}"),
                }
                let bodies: Vec<_> = case
                    .server
                    .asked
                    .borrow()
                    .iter()
                    .map(|asked| asked.1)
                    .collect();
                assert!(bodies.iter().all(|len| *len == bodies[0]), "{bodies:?}");
                case.attempts()
            };
            assert_eq!(sent(get()).await, gets);
            assert_eq!(sent(post()).await, posts);
            // A key makes it the same once and twice.
            let keyed = post().with_header("Idempotency-Key", "1").unwrap();
            assert_eq!(sent(keyed).await, gets);
            let mut put = post();
            put.set_method(Method::PUT);
            assert_eq!(sent(put).await, gets);
        }
        Ok(())
    });
}

#[test]
fn ends_with_the_first_that_is_good() {
    simulated(async {
        let case = Case::new(at_once(), &[Status(503), Status(502), Status(200)]);
        assert_eq!(case.send(get()).await?, 200);
        assert_eq!(case.attempts(), 3);
        let case = Case::new(at_once().attempts_max(1), &[Status(503)]);
        assert_eq!(case.send(get()).await?, 503);
        assert_eq!(case.attempts(), 1);
        Ok(())
    });
}

#[test]
fn a_body_that_is_gone_is_not_sent_again() {
    simulated(async {
        let case = Case::new(at_once(), &[Status(503)]);
        let (sender, body) = Body::incoming(None);
        sender.finish(None);
        let request = get().with_body(body);
        assert_eq!(case.send(request).await?, 503);
        assert_eq!(case.attempts(), 1);
        Ok(())
    });
}

#[test]
fn retry_after_is_waited_for() {
    simulated(async {
        let in_seconds = |seconds: u64| seconds.to_string();
        let answers = [
            After(503, in_seconds(7)),
            After(429, in_seconds(30)),
            Status(200),
        ];
        let case = Case::new(at_once(), &answers);
        assert_eq!(case.send(get()).await?, 200);
        assert_times(&case.times(), &[Duration::ZERO, 7 * SECOND, 37 * SECOND]);

        // A date: virtual seconds since 1970 begin somewhere.
        let wall = Core::try_current()?.wall_seconds();
        let date = |seconds: u64| String::from_utf8(date::format(seconds).to_vec()).unwrap();
        let case = Case::new(at_once(), &[After(503, date(wall + 5)), Status(200)]);
        assert_eq!(case.send(get()).await?, 200);
        assert_times(&case.times(), &[Duration::ZERO, 5 * SECOND]);

        // What has passed, or is none, is no wait.
        for value in [
            date(1),
            "0".into(),
            "soon".into(),
            "-1".into(),
            "1.5".into(),
            "".into(),
        ] {
            let case = Case::new(at_once(), &[After(503, value), Status(200)]);
            assert_eq!(case.send(get()).await?, 200);
            assert_times(&case.times(), &[Duration::ZERO, Duration::ZERO]);
        }

        // Longer than is waited for: the caller has it at once.
        for value in [in_seconds(31), "9".repeat(40), date(wall + 1_000)] {
            let case = Case::new(at_once(), &[After(503, value), Status(200)]);
            assert_eq!(case.send(get()).await?, 503);
            assert_times(&case.times(), &[Duration::ZERO]);
        }
        let patient = at_once().retry_after_max(31 * SECOND);
        let case = Case::new(patient, &[After(503, in_seconds(31)), Status(200)]);
        assert_eq!(case.send(get()).await?, 200);
        Ok(())
    });
}

#[test]
fn the_time_for_everything_bounds_all_attempts() {
    simulated(async {
        let within = |timeout: Duration| {
            let mut request = get();
            let mut options = RequestOptions::default();
            options.timeout = Some(timeout);
            options.put_into(&mut request);
            request
        };
        // A wait that would end behind the deadline is not begun.
        let answers = [After(503, "5".into())];
        for (timeout, attempts) in [(5, 1), (6, 2), (10, 2), (11, 3), (60, 3)] {
            let case = Case::new(at_once(), &answers);
            assert_eq!(case.send(within(timeout * SECOND)).await?, 503);
            assert_eq!(case.attempts(), attempts, "{timeout}");
            let last = (attempts as u32 - 1) * 5 * SECOND;
            assert_times(&[Core::try_current()?.now() - case.begun], &[last]);
        }
        Ok(())
    });
}

#[test]
fn a_client_gives_up_within_an_attempt() {
    simulated(async {
        let begun = Core::try_current()?.now();
        let client = Client::builder()
            .timeout(12 * SECOND)
            .retry(at_once())
            .transport(|| {
                async |_: Request| {
                    runtime::sleep(5 * SECOND).await;
                    Ok(Response::new().status(StatusCode::BAD_GATEWAY))
                }
            })
            .build();
        let error = client.get("http://a.example/").send().await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        assert_times(&[Core::try_current()?.now() - begun], &[12 * SECOND]);
        Ok(())
    });
}

#[test]
fn a_budget_bounds_the_load() {
    simulated(async {
        // Nothing saved, and none per second: of every five requests one is repeated.
        let case = Case::new(at_once().budget(20, 0), &[Status(503)]);
        for _ in 0..100 {
            assert_eq!(case.send(get()).await?, 503);
        }
        assert_eq!(case.attempts(), 120);

        // Ten at once, and then one per second.
        let case = Case::new(at_once().budget(0, 1), &[Status(503)]);
        for _ in 0..50 {
            case.send(get()).await?;
        }
        assert_eq!(case.attempts(), 60);
        runtime::sleep(3 * SECOND).await;
        for _ in 0..50 {
            case.send(get()).await?;
        }
        assert_eq!(case.attempts(), 113);

        // No budget, no retry.
        let case = Case::new(at_once().budget(0, 0), &[Status(503)]);
        case.send(get()).await?;
        assert_eq!(case.attempts(), 1);
        Ok(())
    });
}

#[test]
fn a_hook_decides() {
    simulated(async {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        let policy = at_once().attempts_max(9).decide(move |attempt| {
            let status = attempt
                .outcome
                .map(|response| response.status_code().as_u16());
            let line = (attempt.number, attempt.method.clone(), status.ok());
            told.lock().unwrap().push(line);
            assert_eq!(attempt.url.map(Url::as_str), Some("http://a.example/"));
            assert!(!attempt.is_retryable() && !attempt.is_idempotent);
            attempt.number < 3
        });
        let case = Case::new(policy, &[Status(500)]);
        assert_eq!(case.send(post()).await?, 500);
        assert_eq!(case.attempts(), 3);
        let lines = (1..=3).map(|number| (number, Method::POST, Some(500)));
        assert_eq!(*seen.lock().unwrap(), lines.collect::<Vec<_>>());
        Ok(())
    });
}

#[test]
fn a_dropped_request_is_not_sent_again() {
    simulated(async {
        let case = Case::new(at_once(), &[After(503, "9".into())]);
        let sent = runtime::timeout(SECOND, case.send(get())).await;
        assert!(sent.unwrap_err().is_timeout());
        runtime::sleep(20 * SECOND).await;
        assert_eq!(case.attempts(), 1);
        let case = Case::new(at_once(), &[Late(9 * SECOND)]);
        assert_eq!(case.send(get()).await?, 200);
        assert_eq!(case.attempts(), 1);
        Ok(())
    });
}
