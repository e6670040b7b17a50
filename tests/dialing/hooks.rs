//! What is asked before a connection is made, and what makes it instead.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Redirect;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::client::dial::ConnectTarget;
use roundtrip::client::dial::DialTarget;
use roundtrip::client::dial::public_addresses_only;
use roundtrip::client::proxy::Proxy;
use roundtrip::error::ErrorKind;
use roundtrip::error::Phase;
use roundtrip::net::TcpStream;
use roundtrip::runtime::sleep;
use roundtrip::runtime::spawn;
use roundtrip::simulation;
use roundtrip::simulation::Reach;

use crate::OURS;
use crate::Site;
use crate::address;
use crate::exact;
use crate::ip;
use crate::with;

async fn get(client: &Client, url: &str) -> Result<String> {
    client.get(url).send().await?.text().await
}

/// Refuses one address, with an error of its own.
fn refuses(refused: SocketAddr) -> impl Fn(&ConnectTarget<'_>) -> Result<()> {
    move |target| {
        let is_refused = target.address().to_string() == refused.to_string();
        match is_refused {
            true => Err(Error::new(ErrorKind::Limit, format!("not {refused}"))),
            false => Ok(()),
        }
    }
}

#[test]
fn every_address_is_shown_before_it_is_connected_to() {
    let simulation = with(exact(), &[(OURS[0], Reach::Unreachable)]);
    let simulation = simulation
        .host("a.example", ip(OURS[0]))
        .host("a.example", ip(OURS[1]));
    let report = simulation.run(async {
        let site = Site::at(OURS[1]);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&seen);
        let client = Client::builder()
            .on_connect(move |target: &ConnectTarget<'_>| {
                let (scheme, host, port) = (target.scheme(), target.host(), target.port());
                let line = format!("{scheme}://{host}:{port} at {}", target.address());
                theirs.lock().unwrap().push(line);
                Ok(())
            })
            .build();
        for _ in 0..2 {
            // The second uses the connection of the first.
            assert_eq!(get(&client, "http://a.example/").await.unwrap(), OURS[1]);
        }
        let expected = [
            "http://a.example:80 at 10.0.0.1:80",
            "http://a.example:80 at 10.0.0.2:80",
        ];
        assert_eq!(*seen.lock().unwrap(), expected);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn a_refused_address_is_not_connected_to() {
    let simulation = exact()
        .host("a.example", ip(OURS[0]))
        .host("a.example", ip(OURS[1]));
    let report = simulation.run(async {
        let sites = [Site::at(OURS[0]), Site::at(OURS[1])];
        let builder = Client::builder()
            .idle_per_host_max(0)
            .on_connect(refuses(address(OURS[0])));
        let client = builder.clone().build();
        for _ in 0..4 {
            assert_eq!(get(&client, "http://a.example/").await.unwrap(), OURS[1]);
        }
        // Both guards count, the first who refuses speaks.
        let client = builder.on_connect(refuses(address(OURS[1]))).build();
        let error = get(&client, "http://a.example/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(error.phase(), Some(Phase::Connect));
        assert_eq!(error.url(), Some("http://a.example/"));
        assert_eq!(error.text(), "not 10.0.0.1:80");
        assert_eq!(sites[0].accepted(), 0);
        for site in sites {
            site.end().await;
        }
    });
    report.unwrap();
}

#[test]
fn a_guard_that_panics_ends_the_request() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let client = Client::builder()
            .on_connect(|_: &ConnectTarget<'_>| panic!("on purpose"))
            .build();
        let error = get(&client, "http://10.0.0.1/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Canceled);
        assert_eq!(site.accepted(), 0);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn the_guard_of_the_internet_knows_redirects_and_rebinding() {
    const PUBLIC: &str = "198.17.0.1";
    // There is no public address that a simulated machine may listen at: one of ours is played by it.
    let report = exact().run(async {
        let router = Router::new()
            .get("/", |_: &Request| "inside")
            .get("/out", |_: &Request| Redirect::to("http://inside.example/"));
        let server = Server::new(router).bind(address(OURS[0])).unwrap();
        let handle = server.handle();
        let serving = spawn(server.run_here());
        let look_ups = Arc::new(Mutex::new(0));
        let client = Client::builder()
            .dns_cache_age(Duration::ZERO)
            .idle_per_host_max(0)
            .resolver(async move |host: &str, port: u16| {
                let mut look_ups = look_ups.lock().unwrap();
                *look_ups += usize::from(host == "rebinding.example");
                let text = match (host, *look_ups) {
                    ("rebinding.example", 1) => PUBLIC,
                    _ => OURS[0],
                };
                Ok(vec![SocketAddr::new(ip(text), port)])
            })
            .on_connect(|target: &ConnectTarget<'_>| match target.host() {
                "outside.example" => Ok(()),
                _ => public_addresses_only(target),
            })
            .build();
        // It leads in by a redirect, by an address, by a name.
        for (url, words) in [
            ("http://outside.example/out", "private"),
            ("http://10.0.0.1/", "private"),
            ("http://0x7f.1/", "loopback"),
            ("http://2130706433/", "loopback"),
            ("http://[::ffff:7f00:1]/", "loopback"),
            ("http://inside.example/", "private"),
        ] {
            let error = get(&client, url).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}: {error}");
            assert!(error.to_string().contains(words), "{url}: {error}");
        }
        // A name that was public a moment ago, where nobody answered.
        let error = get(&client, "http://rebinding.example/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        let error = get(&client, "http://rebinding.example/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(handle.statistics().connections_accepted, 1);
        handle.shutdown();
        serving.await.unwrap().unwrap();
    });
    report.unwrap();
}

#[test]
fn connections_come_from_the_local_address() {
    let report = exact().run(async {
        let router = Router::new().get("/", |request: &Request| {
            request
                .peer_addr()
                .map_or(String::new(), |peer| peer.ip().to_string())
        });
        let server = Server::new(router).bind(address(OURS[0])).unwrap();
        let handle = server.handle();
        let serving = spawn(server.run_here());
        let client = Client::builder().local_address(ip(OURS[2])).build();
        assert_eq!(get(&client, "http://10.0.0.1/").await.unwrap(), OURS[2]);
        let error = get(&client, "http://[::1]/").await.unwrap_err();
        assert!(error.to_string().contains("local_address"), "{error}");
        handle.shutdown();
        serving.await.unwrap().unwrap();
    });
    report.unwrap();
}

#[test]
fn a_connector_replaces_all_of_it() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let client = Client::builder()
            .connector(async |target: &DialTarget<'_>| {
                assert_eq!(target.scheme(), "http");
                match (target.host(), target.port()) {
                    ("hangs.example", 80) => sleep(Duration::from_secs(1_000)).await,
                    ("panics.example", 80) => panic!("on purpose"),
                    ("fails.example", 80) => {
                        return Err(Error::new(ErrorKind::Connect, "no such network"));
                    }
                    other => assert_eq!(other, ("works.example", 81)),
                }
                let stream = TcpStream::connect(OURS[0], 80).await?;
                stream.into_socket()
            })
            .build();
        assert_eq!(
            get(&client, "http://works.example:81/").await.unwrap(),
            OURS[0]
        );
        let before = simulation::descriptors();
        let expected = [
            (
                "http://fails.example/",
                ErrorKind::Connect,
                "no such network",
            ),
            ("http://panics.example/", ErrorKind::Canceled, "panicked"),
            (
                "http://hangs.example/",
                ErrorKind::Timeout,
                "the connector did not connect to hangs.example:80 within 10s (connect_timeout)",
            ),
        ];
        for (url, kind, words) in expected {
            let error = get(&client, url).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(error.phase(), Some(Phase::Connect));
            assert!(error.to_string().contains(words), "{error}");
        }
        assert_eq!(simulation::descriptors(), before);
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn unix_sockets() {
    let report = exact().run(async {
        let router = Router::new().get("/", |request: &Request| {
            request.header("host").unwrap_or_default().to_owned()
        });
        let server = Server::new(router).bind_unix("/run/site").unwrap();
        let handle = server.handle();
        let serving = spawn(server.run_here());
        let site = Site::at(OURS[0]);

        let client = Client::builder().unix_socket("/run/site").build();
        for _ in 0..2 {
            assert_eq!(
                get(&client, "http://a.example/").await.unwrap(),
                "a.example"
            );
        }
        assert_eq!(handle.statistics().connections_accepted, 1);

        // One request of a client: its connection serves no other.
        let client = Client::new();
        let request = client.get("http://10.0.0.1/").unix_socket("/run/site");
        let text = request.send().await.unwrap().text().await.unwrap();
        assert_eq!(text, "10.0.0.1");
        assert_eq!(get(&client, "http://10.0.0.1/").await.unwrap(), OURS[0]);
        let stats = client.stats().unwrap();
        assert_eq!((site.accepted(), stats.pool.idle), (1, 2));

        let client = Client::builder()
            .on_connect(public_addresses_only)
            .unix_socket("/run/site")
            .build();
        let error = get(&client, "http://a.example/").await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("unix:/run/site is a Unix socket"),
            "{error}"
        );

        let client = Client::builder().unix_socket("/run/nobody").build();
        let error = get(&client, "http://a.example/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert!(error.to_string().contains("unix:/run/nobody"), "{error}");
        handle.shutdown();
        serving.await.unwrap().unwrap();
        site.end().await;
    });
    report.unwrap();
}

#[test]
fn guards_see_proxies_and_what_they_are_asked_for() {
    let report = exact().run(async {
        let site = Site::at(OURS[0]);
        let client = |proxy: &str, guard: fn(&ConnectTarget<'_>) -> Result<()>| {
            let proxy = Proxy::all(proxy).unwrap();
            Client::builder().proxy(proxy).on_connect(guard).build()
        };
        let strict = client("http://10.0.0.1:80", public_addresses_only);
        let error = get(&strict, "http://a.example/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = format!("{error:#}");
        assert!(
            text.contains("proxy http://10.0.0.1") && text.contains("private"),
            "{text}"
        );

        let but_for_proxies = |target: &ConnectTarget<'_>| match target.is_proxy() {
            true => Ok(()),
            false => public_addresses_only(target),
        };
        let lenient = client("http://10.0.0.1:80", but_for_proxies);
        assert_eq!(get(&lenient, "http://a.example/").await.unwrap(), OURS[0]);
        // It gets addresses from us, and may do with them what we may.
        let socks = client("socks5://10.0.0.1:80", but_for_proxies);
        let error = get(&socks, "http://10.0.0.2/").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("10.0.0.2:80 is"), "{error}");
        assert_eq!(site.accepted(), 1);
        site.end().await;
    });
    report.unwrap();
}
