//! What simulations have found once, each made as small as it gets.

use std::time::Duration;

use bytes::BytesMut;
use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files;
use roundtrip::net::Net;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::JoinHandle;
use roundtrip::server::ServerHandle;
use roundtrip::simulation;
use roundtrip::simulation::Fault;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Simulation;

const URL: &str = "http://127.0.0.1/";

fn serve(router: Router) -> Result<(ServerHandle, JoinHandle<Result<(), Error>>), Error> {
    let server = Server::new(router).bind("127.0.0.1:80")?;
    Ok((server.handle(), runtime::spawn(server.run_here())))
}

/// A dial belongs to its host and not to the request that began it. When it was made after the
/// client had gone, its connection rested until its idle time-out.
#[test]
fn a_dial_that_outlives_its_client_leaves_nothing() {
    let latency = Duration::from_millis(50);
    let simulation = Simulation::new(1).latency(latency, latency);
    let left = simulation.run(async {
        let (handle, serving) = serve(Router::new())?;
        let client = Client::new();
        let impatient = client.get(URL).timeout(Duration::from_millis(1));
        assert!(impatient.send().await.unwrap_err().is_timeout());
        drop(client);
        runtime::sleep(Duration::from_secs(1)).await;
        assert_eq!(handle.statistics().connections_accepted, 1);
        let left = Net::of(&Core::try_current()?).connections();
        handle.shutdown();
        serving.await??;
        Ok::<_, Error>(left)
    });
    assert_eq!(left.unwrap().unwrap(), 0);
}

/// A read of a file that the kernel gave up cost the connection; receives and sends are repeated.
#[test]
fn a_file_is_read_again_when_a_read_was_given_up() {
    let faults = Faults::none()
        .with(Fault::Canceled, 0.2)
        .with(Fault::WouldBlock, 0.5);
    let content = vec![7; 1_000_000];
    let simulation = Simulation::new(2)
        .faults(faults)
        .file("/srv/f", content.clone());
    let report = simulation.run(async move {
        let router = Router::new().route("GET /{path...}", files::serve("/srv"));
        let (handle, serving) = serve(router)?;
        let client = Client::new();
        for _ in 0..20 {
            let response = client.get(format!("{URL}f")).send().await?;
            assert!(response.bytes().await? == content);
        }
        handle.shutdown();
        serving.await?
    });
    assert!(report.fired().of(Fault::Canceled) > 0);
    report.unwrap().unwrap();
}

/// When in milliseconds, what happens before, the status, and the first byte.
type Asked = (u64, fn(), u16, u8);

/// Files of one directory, small and large, asked for at times.
fn asked_at(times: &'static [Asked]) {
    for length in [100, 1_000_000] {
        let simulation = Simulation::new(3).file("/srv/f", vec![b'a'; length]);
        let report = simulation.run(async move {
            let router = Router::new().route("GET /{path...}", files::serve("/srv"));
            let (handle, serving) = serve(router)?;
            let client = Client::new();
            let mut before = 0;
            for (milliseconds, change, status, byte) in times {
                runtime::sleep(Duration::from_millis(milliseconds - before)).await;
                before = *milliseconds;
                change();
                let response = client.get(format!("{URL}f")).send().await?;
                assert_eq!(response.status_code(), *status, "{length} at {before}");
                let body = response.bytes().await?;
                if *status == 200 {
                    assert_eq!(body.first(), Some(byte), "{length} at {before}");
                }
            }
            assert!(simulation::files_open() <= 1, "what was replaced is closed");
            runtime::sleep(Duration::from_secs(2)).await;
            assert_eq!(
                simulation::files_open(),
                0,
                "what nobody asks for is closed"
            );
            handle.shutdown();
            serving.await?
        });
        report.unwrap().unwrap();
    }
}

fn nothing() {}

#[test]
fn a_file_that_was_replaced_is_seen_at_once() {
    asked_at(&[
        (0, nothing, 200, b'a'),
        (
            100,
            || simulation::write_file("/srv/f", [b'b'; 300_000]),
            200,
            b'b',
        ),
        (900, nothing, 200, b'b'),
        (900, || simulation::write_file("/srv/f", b"c"), 200, b'c'),
        (2_050, nothing, 200, b'c'),
        (
            2_050,
            || simulation::write_file("/srv/f", [b'd'; 300_000]),
            200,
            b'd',
        ),
        (9_000, nothing, 200, b'd'),
    ]);
}

#[test]
fn a_file_that_was_deleted_is_seen_at_once() {
    asked_at(&[
        (0, nothing, 200, b'a'),
        (100, || simulation::remove_file("/srv/f"), 404, 0),
        // That nothing is there is not remembered.
        (101, || simulation::write_file("/srv/f", b"d"), 200, b'd'),
        (101, || simulation::remove_file("/srv/f"), 404, 0),
        (2_500, nothing, 404, 0),
    ]);
}

/// Opens that fail again and again get an answer: "come again" where it may be another time.
#[test]
fn a_file_that_cannot_be_opened_is_an_answer() {
    let simulation = Simulation::new(4)
        .faults(Faults::none().with(Fault::FileFailed, 0.9))
        .file("/srv/f", vec![7; 100_000]);
    let report = simulation.run(async move {
        let router = Router::new().route("GET /{path...}", files::serve("/srv"));
        let (handle, serving) = serve(router)?;
        let client = Client::new();
        let (mut served, mut refused) = (0, 0);
        for _ in 0..200 {
            let response = client.get(format!("{URL}f")).send().await?;
            let again = response.headers().get("retry-after");
            match response.status_code().as_u16() {
                200 => served += 1,
                500 => assert_eq!(again, None),
                503 => {
                    assert_eq!(again, Some("1"));
                    refused += 1;
                }
                other => panic!("{other}"),
            }
            drop(response);
            // Nothing is remembered.
            runtime::sleep(Duration::from_secs(2)).await;
        }
        assert!(served > 0 && refused > 0, "{served} {refused}");
        handle.shutdown();
        serving.await?
    });
    report.unwrap().unwrap();
}

/// The idle time-out counted from when a response was handed to the connection: a client that took
/// longer than that to read it lost its connection right behind the last byte.
#[test]
fn a_connection_is_idle_from_the_last_byte_that_was_sent() {
    const BYTES: usize = 400_000;
    let idle = Duration::from_secs(90);
    let simulation = Simulation::new(3).socket_buffer_bytes(8 * 1024);
    let ended = simulation.run(async move {
        let router = Router::new()
            .get("/large", |_: &Request| vec![b'x'; BYTES])
            .get("/small", |_: &Request| "small");
        let server = Server::new(router).bind("127.0.0.1:80")?.idle_timeout(idle);
        let (handle, serving) = (server.handle(), runtime::spawn(server.run_here()));
        let stream = TcpStream::connect("127.0.0.1", 80).await?;
        let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(get("/large")).await?;
        // Two and a half minutes, with a piece every other second.
        let started = Core::try_current()?.now();
        let mut received = 0;
        while received < BYTES {
            let (read, _) = stream.read(BytesMut::with_capacity(6_000)).await;
            let bytes = read?;
            assert!(bytes > 0, "closed in the middle of a response");
            received += bytes;
            runtime::sleep(Duration::from_secs(2)).await;
        }
        assert!(Core::try_current()?.now() - started > idle + Duration::from_secs(40));
        // And a long, but not too long, pause.
        runtime::sleep(idle - Duration::from_secs(20)).await;
        stream.write_all(get("/small")).await?;
        let mut text = Vec::new();
        while !text.ends_with(b"small") {
            let (read, bytes) = stream.read(BytesMut::with_capacity(6_000)).await;
            assert!(read? > 0, "closed before its time");
            text.extend_from_slice(&bytes);
        }
        let idle_since = Core::try_current()?.now();
        while stream.read(BytesMut::with_capacity(10)).await.0? > 0 {}
        let rested = Core::try_current()?.now() - idle_since;
        handle.shutdown();
        serving.await??;
        Ok::<_, Error>(rested)
    });
    let rested = ended.unwrap().unwrap();
    assert!(
        rested >= idle && rested < idle + Duration::from_secs(5),
        "{rested:?}"
    );
}

/// Each request made a page of its own, also for those who had left.
#[test]
fn a_listing_is_made_once_for_all_who_ask() {
    // What is old by the time when it is done is for those alone who waited for it.
    for (takes, second_size) in [
        (Duration::from_millis(300), "1 B"),
        (Duration::from_secs(5), "4 B"),
    ] {
        let simulation = Simulation::new(5)
            .file_time(takes, takes)
            .file("/srv/f", b"a");
        let report = simulation.run(async move {
            let router = Router::new().route("GET /{path...}", files::serve("/srv"));
            let (handle, serving) = serve(router)?;
            let client = Client::new();
            let ask = || {
                let request = client.get(URL);
                runtime::spawn(async move { request.send().await?.text().await })
            };
            // Where the directory is known, all that takes time is to list it.
            client.head(URL).send().await?;
            let began = simulation::now();
            assert_eq!(client.head(URL).send().await?.status_code(), 200);
            assert!(simulation::now() - began < takes, "HEAD lists");
            // The first, whose listing it is, leaves, and so do half of the others.
            let mut asking: Vec<_> = (0..200).map(|_| ask()).collect();
            runtime::sleep(takes / 4).await;
            asking.drain(..100).for_each(|task| task.abort());
            for (wait, size) in [(0, "1 B"), (0, second_size), (1, "4 B"), (0, "4 B")] {
                runtime::sleep(Duration::from_secs(wait)).await;
                client.head(URL).send().await?;
                let began = simulation::now();
                for _ in 0..10 {
                    asking.extend((0..10).map(|_| ask()));
                    runtime::sleep(takes / 20).await;
                }
                for task in asking.drain(..) {
                    let text = task.await??;
                    assert!(text.contains(size), "{size}: {text}");
                }
                assert!(simulation::now() - began < takes * 3, "{size}");
                simulation::write_file("/srv/f", b"four");
            }
            handle.shutdown();
            serving.await?
        });
        report.unwrap().unwrap();
    }
}

/// Connections that rest are held in case they are needed again; others need their descriptors now.
#[test]
fn a_pool_yields_to_connects_and_accepts() {
    const RESTING: usize = 20;
    let simulation = Simulation::new(6).descriptors_max(2 * RESTING + 10);
    let report = simulation.run(async {
        let router = Router::new().get("/{$}", async |_: Request| {
            runtime::sleep(Duration::from_secs(1)).await;
        });
        let (handle, serving) = serve(router)?;
        let client = Client::new();
        let ask = || {
            let request = client.get(URL);
            runtime::spawn(async move { request.send().await?.bytes().await })
        };
        let asking: Vec<_> = (0..RESTING).map(|_| ask()).collect();
        for task in asking {
            task.await??;
        }
        let mut streams = Vec::new();
        for _ in 0..RESTING {
            let stream = TcpStream::connect("127.0.0.1", 80).await?;
            stream
                .write_all("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                .await?;
            let (read, bytes) = stream.read(BytesMut::with_capacity(6_000)).await;
            assert!(read? > 0 && bytes.starts_with(b"HTTP/1.1 200"));
            streams.push(stream);
        }
        drop(streams);
        handle.shutdown();
        serving.await?
    });
    report.unwrap().unwrap();
}
