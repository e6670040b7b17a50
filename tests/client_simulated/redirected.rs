//! How long a redirect is read before the next request, and how long cookies last.

use std::time::Duration;

use roundtrip::Client;
use roundtrip::error::Phase;
use roundtrip::limits::REDIRECT_BODY_BYTES_MAX;
use roundtrip::limits::RESPONSE_DRAIN_TIMEOUT;

use crate::ADDRESS;
use crate::assert_about;
use crate::origin;
use crate::origin::Do;
use crate::origin::Log;
use crate::origin::serve;
use crate::run;
use crate::timed;
use crate::url;

/// A redirect whose body of so many bytes comes so much later than its head; what follows is
/// answered at once.
async fn moving(location: &'static str, bytes: u64, later: Duration) -> Log {
    origin::listen(ADDRESS, move |_| {
        vec![serve(move |asked| {
            if asked.path() != "/moved" {
                return vec![Do::Send(origin::ok("here"))];
            }
            let head = format!(
                "HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: {bytes}\r\n\r\n"
            );
            vec![
                Do::Send(head.into()),
                Do::Wait(later),
                Do::Send(vec![b'x'; bytes as usize]),
            ]
        })]
    })
    .await
}

/// How long a chain of one redirect takes, and how many connections.
fn chain(location: &'static str, bytes: u64, later: Duration) -> (Duration, usize) {
    run(async {
        let log = moving(location, bytes, later).await;
        let _other = origin::listen("127.0.0.1:81", |_| {
            vec![serve(|_| vec![Do::Send(origin::ok("here"))])]
        })
        .await;
        let client = Client::new();
        let (time, response) = timed(client.get(url("/moved")).send()).await;
        assert_eq!(response?.text().await?, "here");
        Ok((time, log.connections()))
    })
}

#[test]
fn a_small_body_of_the_same_origin_is_waited_for() {
    let (early, late) = (Duration::from_millis(40), Duration::from_millis(400));
    let (time, connections) = chain("/x", REDIRECT_BODY_BYTES_MAX, early);
    assert_about(time, early);
    assert_eq!(connections, 1);
    // For 50 ms.
    let (time, connections) = chain("/x", 4, late);
    assert_about(time, RESPONSE_DRAIN_TIMEOUT);
    assert_eq!(connections, 2);
    // A large one is not, nor one whose connection serves nothing that follows.
    let (time, connections) = chain("/x", REDIRECT_BODY_BYTES_MAX + 1, early);
    assert!(time < early, "{time:?}");
    assert_eq!(connections, 2);
    let (time, _) = chain("http://127.0.0.1:81/x", 4, early);
    assert!(time < early, "{time:?}");
}

#[test]
fn the_time_for_everything_ends_that_wait_too() {
    run(async {
        let _log = moving("/x", 4, Duration::from_secs(10)).await;
        let limit = Duration::from_millis(20);
        let request = Client::new().get(url("/moved")).timeout(limit);
        let (time, outcome) = timed(request.send()).await;
        let error = outcome.unwrap_err();
        assert!(error.is_timeout() && error.phase() != Some(Phase::ResponseBody));
        assert!(time >= limit && time < RESPONSE_DRAIN_TIMEOUT, "{time:?}");
        Ok(())
    });
}

/// By the core's clock, which the simulation drives.
#[cfg(feature = "cookies")]
#[test]
fn cookies_last_as_long_as_they_say() {
    use roundtrip::Result;
    use roundtrip::client::jar::Jar;

    use crate::pause;

    run(async {
        let _log = origin::listen(ADDRESS, |_| {
            vec![serve(|asked| {
                let shown = match (asked.has("cookie: a=1; b=2"), asked.has("cookie: b=2")) {
                    (true, _) => "both",
                    (_, true) => "one",
                    _ => "none",
                };
                let set = match asked.path() {
                    "/set" => "Set-Cookie: a=1; Max-Age=60\r\nSet-Cookie: b=2\r\n",
                    _ => "",
                };
                let length = shown.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\n{set}Content-Length: {length}\r\n\r\n{shown}");
                vec![Do::Send(answer.into())]
            })]
        })
        .await;
        let client = Client::builder().cookies(Jar::new()).build();
        let get = async |path: &str| -> Result<String> {
            client.get(url(path)).send().await?.text().await
        };
        assert_eq!(get("/set").await?, "none");
        assert_eq!(get("/").await?, "both");
        pause(58_000).await;
        assert_eq!(get("/").await?, "both");
        pause(2_000).await;
        assert_eq!(get("/").await?, "one");
        Ok(())
    });
}
