//! Which connection a request gets, and when connections end: to the millisecond.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ::http::Method;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::client::Transport;
use roundtrip::client::TransportOptions;
use roundtrip::client::pool::PoolOptions;
use roundtrip::client::pool::PoolStats;
use roundtrip::limits::POOL_IDLE_TIMEOUT;
use roundtrip::limits::POOL_OVER_CAP_TIME;
use roundtrip::runtime;
use roundtrip::runtime::JoinHandle;
use roundtrip::simulation;
use roundtrip::simulation::Reach;
use roundtrip::simulation::Simulation;
use url::Url;

use crate::ADDRESS;
use crate::after;
use crate::assert_about;
use crate::origin;
use crate::origin::Asked;
use crate::origin::Do;
use crate::origin::Log;
use crate::origin::echo;
use crate::origin::ok;
use crate::origin::serve;
use crate::pause;
use crate::run;
use crate::run_on;
use crate::timed;
use crate::url;

/// A network on which a connection takes so long to make.
fn dialling(milliseconds: u64) -> Simulation {
    let address: IpAddr = "127.0.0.1".parse().unwrap();
    Simulation::new(1).reach(address, Reach::After(Duration::from_millis(milliseconds)))
}

/// Answers after as many milliseconds as the path says, with the request's line.
fn patient() -> Do {
    serve(|asked: &Asked| {
        let time = asked.path().trim_matches('/').split('/').next_back();
        let time = time.and_then(|digits| digits.parse().ok()).unwrap_or(0);
        vec![
            Do::Wait(Duration::from_millis(time)),
            Do::Send(ok(&asked.line)),
        ]
    })
}

/// Asks, and reads the answer, which has to be its own.
async fn get(client: &Client, path: &str) -> Result<()> {
    let text = client.get(url(path)).send().await?.text().await?;
    assert_eq!(text, format!("GET {path} HTTP/1.1"));
    Ok(())
}

fn spawn_get(client: &Client, path: &'static str) -> JoinHandle<Result<()>> {
    let client = client.clone();
    runtime::spawn(async move { get(&client, path).await })
}

fn pool(client: &Client) -> PoolStats {
    client.stats().expect("it was used").pool
}

fn paths(log: &Log) -> Vec<(usize, String)> {
    let lines = log.lines().into_iter();
    let path = |line: String| line.split(' ').nth(1).unwrap().to_owned();
    lines
        .map(|(connection, line)| (connection, path(line)))
        .collect()
}

/// net/http's "late binding": a request that has begun to dial takes the connection of another that
/// is given back before, and the one it dialled rests.
#[test]
fn a_connection_that_is_given_back_comes_before_the_dial() {
    run_on(dialling(50), async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::new();
        let first = spawn_get(&client, "/30");
        pause(60).await;
        // It is answered at 80, and this one's own connection is there at 110.
        let (time, second) = timed(get(&client, "/")).await;
        second?;
        first.await??;
        assert_about(time, Duration::from_millis(20));
        assert!(time < Duration::from_millis(25), "{time:?}");
        pause(100).await;
        assert_eq!(paths(&log), [(0, "/30".to_owned()), (0, "/".to_owned())]);
        assert_eq!((log.connections(), pool(&client).idle), (2, 2));
        // The connection that was dialled for nobody serves like any other.
        let both = [spawn_get(&client, "/20"), spawn_get(&client, "/20")];
        for task in both {
            task.await??;
        }
        assert_eq!(log.connections(), 2);
        Ok(())
    });
}

#[test]
fn a_dial_that_comes_first_serves() {
    run_on(dialling(50), async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::new();
        let first = spawn_get(&client, "/1000");
        pause(60).await;
        let (time, second) = timed(get(&client, "/")).await;
        second?;
        assert!(time < Duration::from_millis(55), "{time:?}");
        first.await??;
        assert_eq!(paths(&log), [(0, "/1000".to_owned()), (1, "/".to_owned())]);
        Ok(())
    });
}

/// A dial is not of its request: that may go, and the connection rests for the next.
#[test]
fn a_dial_goes_on_without_its_request() {
    run_on(dialling(50), async {
        let log = origin::listen(ADDRESS, |_| vec![echo()]).await;
        let client = Client::new();
        let given_up = runtime::timeout(Duration::from_millis(10), get(&client, "/gone"));
        assert!(given_up.await.is_err());
        assert_eq!((pool(&client).dialing, pool(&client).waiting), (1, 0));
        pause(100).await;
        assert_eq!((pool(&client).dialing, pool(&client).idle), (0, 1));
        let (time, second) = timed(get(&client, "/next")).await;
        second?;
        assert!(time < Duration::from_millis(1), "{time:?}");
        assert_eq!(paths(&log), [(0, "/next".to_owned())]);
        Ok(())
    });
}

/// A request that is given up takes a dial with it into the cap only as long as that lasts.
#[test]
fn dials_of_requests_that_are_gone_serve_those_that_wait() {
    run_on(dialling(50), async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::builder().per_host_max(1).build();
        let given_up = spawn_get(&client, "/gone");
        pause(10).await;
        let waiting = spawn_get(&client, "/waits");
        pause(10).await;
        given_up.abort();
        waiting.await??;
        assert_eq!(paths(&log), [(0, "/waits".to_owned())]);
        assert_eq!(log.connections(), 1);
        Ok(())
    });
}

fn request(path: &str) -> Request {
    Request::new(Method::GET, Url::parse(&url(path)).unwrap())
}

/// A connection that was given to a request that then goes, before it has sent a byte, serves on.
#[test]
fn a_request_that_goes_gives_its_connection_back() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![echo()]).await;
        let transport = Transport::new(TransportOptions::default())?;
        transport.send(request("/first")).await?.text().await?;
        for _ in 0..3 {
            // Nothing is sent before the next turn.
            drop(transport.send(request("/gone")));
            assert_eq!(transport.stats().pool.idle, 1);
        }
        transport.send(request("/second")).await?.text().await?;
        assert_eq!(
            paths(&log),
            [(0, "/first".to_owned()), (0, "/second".to_owned())]
        );
        // With somebody who waits for it, it goes there.
        let options = TransportOptions {
            pool: PoolOptions {
                per_host_max: Some(1),
                ..PoolOptions::default()
            },
            ..TransportOptions::default()
        };
        let narrow = Transport::new(options)?;
        narrow.send(request("/third")).await?.text().await?;
        let gone = narrow.send(request("/gone"));
        let waits = narrow.send(request("/fourth"));
        drop(gone);
        assert_eq!(waits.await?.text().await?, "GET /fourth HTTP/1.1");
        assert_eq!(log.connections(), 2);
        assert!(paths(&log).iter().all(|(_, path)| path != "/gone"));
        Ok(())
    });
}

/// With something sent already there is no way back: the connection closes.
#[test]
fn a_request_that_goes_after_it_was_sent_closes() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::new();
        let gone = runtime::timeout(Duration::from_millis(10), get(&client, "/1000"));
        assert!(gone.await.is_err());
        let left_at = simulation::now();
        get(&client, "/").await?;
        assert_eq!(paths(&log), [(0, "/1000".to_owned()), (1, "/".to_owned())]);
        assert!(after(log.ended(0), left_at) < Duration::from_millis(1));
        Ok(())
    });
}

/// Requests of a full host are served in the order in which they came, without those that went.
#[test]
fn who_waits_is_served_in_order() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::builder().per_host_max(2).build();
        let path = [
            "/a/10", "/b/10", "/c/10", "/d/10", "/e/10", "/f/10", "/g/10",
        ];
        let tasks: Vec<_> = path.iter().map(|path| spawn_get(&client, path)).collect();
        pause(5).await;
        let stats = pool(&client);
        assert_eq!((stats.connections, stats.waiting), (2, 5));
        tasks[3].abort();
        tasks[4].abort();
        for (index, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.is_ok(), !matches!(index, 3 | 4));
        }
        let served: Vec<String> = paths(&log).into_iter().map(|(_, path)| path).collect();
        assert_eq!(served, ["/a/10", "/b/10", "/c/10", "/f/10", "/g/10"]);
        assert_eq!(log.connections(), 2);
        Ok(())
    });
}

/// Connections that are dialled, at work and at rest count alike, and each host by itself.
#[test]
fn a_cap_counts_dials_and_what_rests() {
    run_on(dialling(50), async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let other = origin::listen("127.0.0.2:80", |_| vec![patient()]).await;
        let client = Client::builder().per_host_max(3).build();
        let tasks: Vec<_> = (0..10).map(|_| spawn_get(&client, "/100")).collect();
        pause(10).await;
        assert_eq!((pool(&client).dialing, pool(&client).waiting), (3, 10));
        client.get("http://127.0.0.2/").send().await?.text().await?;
        assert_eq!(other.connections(), 1);
        for task in tasks {
            task.await??;
        }
        assert_eq!((log.connections(), pool(&client).idle), (3, 4));
        Ok(())
    });
}

/// A place of a full host is free again when a connection ends: who waits gets a dial of its own.
#[test]
fn a_place_that_becomes_free_is_dialled_for() {
    run(async {
        let log = origin::listen(ADDRESS, |connection| match connection {
            0 => vec![Do::Request, Do::Wait(Duration::from_millis(20)), Do::Reset],
            _ => vec![echo()],
        })
        .await;
        let client = Client::builder().per_host_max(1).build();
        let first = spawn_get(&client, "/first");
        pause(1).await;
        let second = spawn_get(&client, "/second");
        assert!(first.await?.unwrap_err().is_closed());
        second.await??;
        assert_eq!(
            paths(&log),
            [(0, "/first".to_owned()), (1, "/second".to_owned())]
        );
        // And when one at rest ends (net/http's TransportDecrementConnWhenIdleConnRemoved).
        client.close_idle();
        get(&client, "/third").await?;
        assert_eq!(pool(&client).connections, 1);
        Ok(())
    });
}

/// One that cannot be dialled fails alone, and its place is given on.
#[test]
fn a_dial_that_fails_is_told_to_the_first() {
    let address: IpAddr = "127.0.0.9".parse().unwrap();
    let simulation = Simulation::new(1).reach(address, Reach::Unreachable);
    run_on(simulation, async {
        let client = Client::builder().per_host_max(1).build();
        let tasks: Vec<_> = (0..5)
            .map(|_| {
                let request = client.get("http://127.0.0.9/");
                runtime::spawn(async { request.send().await.map(drop) })
            })
            .collect();
        for task in tasks {
            let error: Error = task.await?.unwrap_err();
            assert!(error.is_connect(), "{error:?}");
        }
        let stats = pool(&client);
        assert_eq!((stats.dialing, stats.waiting, stats.hosts), (0, 0, 0));
        assert_eq!(stats.dial_failures_total, 5);
        Ok(())
    });
}

/// Leaves so many connections at rest, 10 ms apart, the first one longest.
async fn rest(client: &Client, count: u64) -> Result<()> {
    let tasks: Vec<_> = (0..count)
        .map(|index| {
            let request = client.get(url(&format!("/{}", 100 + 10 * index)));
            runtime::spawn(async { request.send().await?.text().await })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

#[test]
fn the_most_recently_used_serves() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::new();
        rest(&client, 4).await?;
        for _ in 0..3 {
            get(&client, "/").await?;
        }
        let served: Vec<usize> = paths(&log)[4..].iter().map(|(at, _)| *at).collect();
        assert_eq!(served, [3, 3, 3]);
        Ok(())
    });
}

/// What is too much for a host goes, oldest first, after 100 ms (net/http: the newest, at once).
#[test]
fn a_cap_of_what_rests_per_host() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::builder().idle_per_host_max(2).build();
        rest(&client, 5).await?;
        let rested_at = simulation::now();
        pause(1_000).await;
        assert_eq!((log.open(), pool(&client).idle), (2, 2));
        for connection in 0..3 {
            // They began to rest 40, 30 and 20 ms before the last.
            let since = Duration::from_millis(40 - 10 * connection as u64);
            let rested = after(log.ended(connection), rested_at) + since;
            assert!(
                rested >= POOL_OVER_CAP_TIME - Duration::from_millis(1),
                "{rested:?}"
            );
            assert!(
                rested < POOL_OVER_CAP_TIME + Duration::from_millis(140),
                "{rested:?}"
            );
        }
        get(&client, "/").await?;
        assert_eq!(paths(&log)[5].0, 4);
        Ok(())
    });
}

/// The bound over all hosts takes the one that has rested longest, wherever (net/http's
/// TransportMaxIdleConns).
#[test]
fn a_cap_of_what_rests_over_all_hosts() {
    run(async {
        let logs = [
            origin::listen("127.0.0.1:80", |_| vec![echo()]).await,
            origin::listen("127.0.0.2:80", |_| vec![echo()]).await,
            origin::listen("127.0.0.3:80", |_| vec![echo()]).await,
        ];
        let client = Client::builder().idle_max(2).build();
        for host in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
            let response = client.get(format!("http://{host}/")).send().await?;
            response.text().await?;
            pause(10).await;
        }
        pause(500).await;
        assert_eq!(logs.each_ref().map(Log::open), [0, 1, 1]);
        assert_eq!((pool(&client).idle, pool(&client).hosts), (2, 2));
        // Used again, the second is younger than the third.
        for host in ["127.0.0.2", "127.0.0.1"] {
            let response = client.get(format!("http://{host}/")).send().await?;
            response.text().await?;
        }
        pause(500).await;
        assert_eq!(logs.each_ref().map(Log::open), [1, 1, 0]);
        Ok(())
    });
}

#[test]
fn rest_has_an_end() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![echo()]).await;
        for (client, expected) in [
            (Client::new(), POOL_IDLE_TIMEOUT),
            (
                Client::builder()
                    .idle_timeout(Duration::from_secs(7))
                    .build(),
                Duration::from_secs(7),
            ),
        ] {
            // The time begins anew with each request.
            for _ in 0..3 {
                get(&client, "/").await?;
                runtime::sleep(expected - Duration::from_secs(1)).await;
            }
            get(&client, "/").await?;
            let rested_at = simulation::now();
            runtime::sleep(expected + Duration::from_secs(1)).await;
            let connection = log.connections() - 1;
            assert_about(after(log.ended(connection), rested_at), expected);
            assert_eq!((pool(&client).connections, pool(&client).hosts), (0, 0));
        }
        assert_eq!(log.connections(), 2);
        Ok(())
    });
}

/// A server's own word counts where it is less than ours, and holds until it says another.
#[test]
fn a_server_says_how_long_it_keeps_a_connection() {
    let answer = |asked: &Asked| {
        let field = asked.path().trim_matches('/').replace("%20", " ");
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
        vec![Do::Send(format!("{head}{field}\r\n\r\n").into())]
    };
    let milliseconds = Duration::from_millis;
    for (field, expected) in [
        ("Keep-Alive:%20timeout=5", milliseconds(4_000)),
        (
            "keep-alive:%20max=100,%20Timeout%20=%2030",
            milliseconds(29_000),
        ),
        ("Keep-Alive:timeout=1", milliseconds(500)),
        ("Keep-Alive:timeout=0", Duration::ZERO),
        ("Keep-Alive:timeout=3600", POOL_IDLE_TIMEOUT),
        ("Keep-Alive:timeout=99999999999999999999", POOL_IDLE_TIMEOUT),
        ("Keep-Alive:timeout=+5", POOL_IDLE_TIMEOUT),
        ("Keep-Alive:timeouts=5,%20max=1", POOL_IDLE_TIMEOUT),
        ("X:%20timeout=5", POOL_IDLE_TIMEOUT),
    ] {
        run(async {
            let log = origin::listen(ADDRESS, move |_| vec![serve(answer)]).await;
            let client = Client::new();
            client
                .get(url(&format!("/{field}")))
                .send()
                .await?
                .bytes()
                .await?;
            let rested_at = simulation::now();
            runtime::sleep(expected + Duration::from_secs(1)).await;
            assert_about(after(log.ended(0), rested_at), expected);
            // Within that time it serves, and what was said holds for responses that say nothing.
            if !expected.is_zero() {
                client
                    .get(url(&format!("/{field}")))
                    .send()
                    .await?
                    .bytes()
                    .await?;
                runtime::sleep(expected - milliseconds(100)).await;
                client.get(url("/X:1")).send().await?.bytes().await?;
                assert_eq!(log.connections(), 2, "{field}");
                runtime::sleep(expected + milliseconds(100)).await;
                client.get(url("/X:1")).send().await?.bytes().await?;
                assert_eq!(log.connections(), 3, "{field}");
            }
            Ok(())
        });
    }
}

/// A thread that was not run while the time passed, as that of a blocking client between two calls:
/// what has rested too long is not handed out, before anybody had the time to close it.
#[test]
fn a_jump_of_the_clock_counts_as_rest() {
    let second = Duration::from_secs(1);
    // Each turn takes so long that the time of every connection is over with the next.
    let simulation = Simulation::new(1).turn(40 * second, 41 * second);
    run_on(simulation, async {
        let log = origin::listen(ADDRESS, |_| vec![echo()]).await;
        let client = Client::builder()
            .idle_timeout(30 * second)
            .response_head_timeout(10_000 * second)
            .connect_timeout(10_000 * second)
            .build();
        for count in 1..5 {
            get(&client, "/").await?;
            assert_eq!(log.connections(), count);
        }
        Ok(())
    });
}

/// A connection ends at its age, or up to an eighth before: those that were made together do not
/// end together. One at work ends with its response.
#[test]
fn age_has_an_end_with_jitter() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let hour = Duration::from_secs(3_600);
        let age = 24 * hour;
        let client = Client::builder()
            .age_max(age)
            .idle_timeout(30 * hour)
            .response_head_timeout(30 * hour)
            .build();
        rest(&client, 32).await?;
        runtime::sleep(20 * hour).await;
        assert_eq!(log.open(), 32);
        runtime::sleep(hour / 2).await;
        // This one is busy when its time comes.
        let busy = spawn_get(&client, "/36000000");
        runtime::sleep(5 * hour).await;
        let mut ages = Vec::new();
        for connection in 0..32 {
            let seen = log.seen(connection);
            if let Some((ended, _)) = seen.ended {
                ages.push(after(ended, seen.opened));
            }
        }
        assert_eq!((ages.len(), log.open()), (31, 1));
        ages.sort();
        assert!(ages[0] >= age - age / 8, "{:?}", ages[0]);
        assert!(
            ages[30] < age + Duration::from_millis(200),
            "{:?}",
            ages[30]
        );
        // Spread over three hours: not two of them in the same minute, and not all in one half.
        assert!(
            ages[30] - ages[0] > 2 * hour,
            "{:?} to {:?}",
            ages[0],
            ages[30]
        );
        ages.dedup_by_key(|age| age.as_secs() / 60);
        assert!(ages.len() > 25, "{}", ages.len());
        busy.await??;
        pause(1).await;
        assert_eq!((log.open(), pool(&client).connections), (0, 0));
        Ok(())
    });
}

/// What rests is closed, what works goes on, and rests behind it (net/http closes that too).
#[test]
fn closing_what_rests() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::new();
        let busy = spawn_get(&client, "/1000");
        pause(10).await;
        get(&client, "/").await?;
        let mut reading = client.get(url("/reading")).send().await?;
        assert_eq!((log.connections(), log.open()), (2, 2));
        client.close_idle();
        pause(10).await;
        // The response of the last one is complete, whether it was read or not.
        assert_eq!((log.open(), pool(&client).idle), (1, 0));
        assert!(reading.body_mut().chunk().await.is_some());
        busy.await??;
        assert_eq!((log.open(), pool(&client).idle), (1, 1));
        client.close_idle();
        client.close_idle();
        pause(10).await;
        assert_eq!((log.open(), pool(&client).hosts), (0, 0));
        get(&client, "/again").await?;
        Ok(())
    });
}

/// Of two clients neither has the connections of the other, and the last clone closes what rests.
#[test]
fn a_client_that_goes_takes_its_connections_with_it() {
    run(async {
        let log = origin::listen(ADDRESS, |_| vec![patient()]).await;
        let client = Client::new();
        let clone = client.clone();
        get(&client, "/a").await?;
        get(&clone, "/b").await?;
        get(&Client::new(), "/c").await?;
        pause(1).await;
        assert_eq!((log.connections(), log.open()), (2, 1));
        drop(client);
        pause(1).await;
        assert_eq!(log.open(), 1);
        // A body outlives its client.
        let response = clone.get(url("/d/5")).send().await?;
        drop(clone);
        assert_eq!(response.text().await?, "GET /d/5 HTTP/1.1");
        pause(1).await;
        assert_eq!(log.open(), 0);
        Ok(())
    });
}

/// Whatever a server says or does while its connection rests: it is not used again, and nobody
/// hears of it (net/http logs all but a 408).
#[test]
fn a_server_that_speaks_or_goes_while_nobody_asks() {
    let moves: [&[Do]; 5] = [
        &[Do::Close],
        &[Do::Reset],
        &[Do::Shut],
        &[Do::Send(Vec::new())],
        &[Do::Send(Vec::new()), Do::Close],
    ];
    let words = [
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "\r\n",
        "\0",
    ];
    for steps in moves {
        for said in words {
            let steps: Rc<[Do]> = steps
                .iter()
                .map(|step| match step {
                    Do::Send(_) => Do::Send(said.into()),
                    other => other.clone(),
                })
                .collect();
            run(async {
                let log = origin::listen(ADDRESS, move |_| {
                    let steps = Rc::clone(&steps);
                    vec![serve(move |asked| {
                        let rests = Do::Wait(Duration::from_millis(50));
                        [&[Do::Send(ok(&asked.line)), rests], &steps[..]].concat()
                    })]
                })
                .await;
                let client = Client::new();
                for count in 1..4 {
                    // Not repeated: it would fail on a connection that is gone.
                    let request = client.post(url("/")).body("x");
                    assert_eq!(request.send().await?.text().await?, "POST / HTTP/1.1");
                    assert_eq!(log.connections(), count);
                    pause(100).await;
                    assert_eq!((log.open(), pool(&client).connections), (0, 0));
                }
                assert_eq!(client.stats().unwrap().retries_total, 0);
                Ok(())
            });
        }
    }
}

/// What ends a connection besides: the word of either side, the version, the last request it may
/// have.
#[test]
fn connections_that_serve_once() {
    let cases: [(&str, &str, usize); 6] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 1),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
            "",
            3,
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n",
            "",
            3,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "", 3),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
            "",
            1,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "close", 3),
    ];
    for (answer, says, expected) in cases {
        run(async {
            let log = origin::listen(ADDRESS, move |_| {
                vec![serve(move |_| vec![Do::Send(answer.into())])]
            })
            .await;
            let client = Client::new();
            for _ in 0..3 {
                let request = client.get(url("/"));
                let request = match says {
                    "" => request,
                    says => request.header("Connection", says),
                };
                request.send().await?.text().await?;
                pause(1).await;
            }
            assert_eq!(log.connections(), expected, "{answer}");
            let asked = &log.seen(0).requests[0];
            assert_eq!(asked.has("Connection: close"), says == "close");
            Ok(())
        });
    }
}

/// A HEAD, a 204, a 304: whatever the head says of a body, there is none, and the connection serves
/// on.
#[test]
fn responses_without_a_body_keep_their_connection() {
    run(async {
        let log = origin::listen(ADDRESS, |_| {
            vec![serve(|asked: &Asked| {
                let status = match asked.path() {
                    "/204" => "204 No Content",
                    "/304" => "304 Not Modified",
                    _ => "200 OK",
                };
                let fields = match asked.path() {
                    "/chunked" => "Transfer-Encoding: chunked",
                    "/304" | "/length" => "Content-Length: 1000",
                    _ => "X-A: b",
                };
                vec![Do::Send(
                    format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n").into(),
                )]
            })]
        })
        .await;
        let client = Client::new();
        for round in 0..3 {
            for path in ["/length", "/chunked", "/none"] {
                let response = client.head(url(path)).send().await?;
                assert_eq!(response.text().await?, "", "{path}");
            }
            for path in ["/204", "/304"] {
                let response = client.get(url(path)).send().await?;
                // Dropped or read, there is nothing to drain.
                if round == 1 {
                    assert_eq!(response.text().await?, "", "{path}");
                }
            }
        }
        assert_eq!((log.connections(), log.seen(0).requests.len()), (1, 15));
        Ok(())
    });
}
