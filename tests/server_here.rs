//! A server on the core of the calling thread, beside clients and other servers.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;
use roundtrip::runtime::JoinHandle;
use roundtrip::server::ServerHandle;

/// Far above what anything here takes, and far below the shutdown time-out.
const SOON: Duration = Duration::from_secs(5);

fn hello() -> Router {
    Router::new().get("/", |_: &Request| "hello")
}

fn serve(router: Router) -> Result<(SocketAddr, ServerHandle, JoinHandle<Result<()>>)> {
    let server = Server::new(router).bind("127.0.0.1:0")?;
    let (address, handle) = (server.local_addr().unwrap(), server.handle());
    Ok((address, handle, runtime::spawn(server.run_here())))
}

async fn get(client: &Client, url: String) -> Result<String> {
    client.get(url).timeout(SOON).send().await?.text().await
}

#[test]
fn one_server_behind_another_and_both_end() {
    let started = Instant::now();
    runtime::block_on(async {
        let (behind, behind_handle, behind_serving) = serve(hello())?;
        let client = Client::new();
        let own = client.clone();
        let url = format!("http://{behind}/");
        let router = Router::new().get("/", async move |_: Request| get(&own, url.clone()).await);
        let (front, front_handle, front_serving) = serve(router)?;
        assert_eq!(get(&client, format!("http://{front}/")).await?, "hello");
        assert!(front_handle.is_ready() && behind_handle.is_ready());
        assert_eq!(front_handle.statistics().requests, 1);
        // The pool's connection to the other server rests, and holds nobody up.
        front_handle.shutdown();
        front_serving.await??;
        assert!(!front_handle.is_ready() && behind_handle.is_ready());
        assert_eq!(front_handle.statistics().connections_open, 0);
        behind_handle.shutdown();
        behind_serving.await??;
        Ok::<_, roundtrip::Error>(())
    })
    .unwrap();
    assert!(started.elapsed() < SOON);
}

#[test]
fn what_runs_is_finished() {
    runtime::block_on(async {
        let router = Router::new().get("/", async |_: Request| {
            runtime::sleep(Duration::from_millis(100)).await;
            "late"
        });
        let (address, handle, serving) = serve(router)?;
        let client = Client::new();
        let asked = runtime::spawn(async move { get(&client, format!("http://{address}/")).await });
        while handle.statistics().requests == 0 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        handle.shutdown();
        serving.await??;
        assert_eq!(asked.await??, "late");
        assert!(TcpStream::connect(address).is_err(), "it still listens");
        Ok::<_, roundtrip::Error>(())
    })
    .unwrap();
}

#[test]
fn who_waits_to_be_accepted_is_served() {
    runtime::block_on(async {
        let (address, handle, serving) = serve(hello())?;
        while !handle.is_ready() {
            runtime::yield_now().await;
        }
        // Nothing turns between these lines: the connection is in the accept queue.
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        handle.shutdown();
        serving.await??;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Ok::<_, roundtrip::Error>(())
    })
    .unwrap();
}

#[test]
fn a_dropped_server_is_gone() {
    runtime::block_on(async {
        let router = Router::new().get("/", async |_: Request| {
            runtime::sleep(Duration::from_secs(60)).await;
            Response::new()
        });
        let (address, handle, serving) = serve(router)?;
        let client = Client::new();
        let asked = runtime::spawn(async move { get(&client, format!("http://{address}/")).await });
        while handle.statistics().requests == 0 {
            runtime::sleep(Duration::from_millis(1)).await;
        }
        serving.abort();
        assert!(serving.await.is_err());
        assert!(asked.await?.unwrap_err().is_closed());
        assert_eq!(handle.statistics().connections_open, 0);
        runtime::sleep(Duration::from_millis(10)).await;
        assert!(TcpStream::connect(address).is_err(), "it still listens");
        Ok::<_, roundtrip::Error>(())
    })
    .unwrap();
}

#[test]
fn without_an_address_or_a_core_it_is_an_error() {
    let error = runtime::block_on(Server::new(hello()).run_here()).unwrap_err();
    assert!(error.to_string().contains("Server::bind"), "{error}");
    let bound = Server::new(hello()).bind("127.0.0.1:0").unwrap();
    let mut future = std::pin::pin!(bound.run_here());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = future.as_mut().poll(&mut context);
    assert!(matches!(polled, std::task::Poll::Ready(Err(_))));
}

#[test]
fn where_a_core_runs_the_others_are_an_error() {
    let asked = runtime::block_on(async {
        let router = Router::new().get("/", async |_: Request| {
            let server = Server::new(hello()).bind("127.0.0.1:0")?;
            let until = Server::new(hello()).bind("127.0.0.1:0")?;
            let error = server.run().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            let until = until.run_until(async {}).unwrap_err();
            Ok::<_, roundtrip::Error>(format!("{error}\n{until}"))
        });
        let (address, handle, serving) = serve(router)?;
        let text = get(&Client::new(), format!("http://{address}/")).await?;
        handle.shutdown();
        serving.await??;
        Ok::<_, roundtrip::Error>(text)
    });
    let expected =
        "blocks its thread, which runs a core: use Server::run_here in a handler or a task";
    assert_eq!(
        asked.unwrap(),
        format!("Server::run {expected}\nServer::run_until {expected}")
    );
}

#[test]
fn workers_do_not_wait_for_connections_of_clients() {
    let behind = Server::new(hello()).bind("127.0.0.1:0").unwrap();
    let (address, behind_handle) = (behind.local_addr().unwrap(), behind.handle());
    let behind = std::thread::spawn(move || behind.workers(1).run_until(std::future::pending()));
    let client = Client::new();
    let router = Router::new().get("/", async move |_: Request| {
        get(&client, format!("http://{address}/")).await
    });
    let front = Server::new(router).bind("127.0.0.1:0").unwrap().workers(1);
    let (address, handle) = (front.local_addr().unwrap(), front.handle());
    let front = std::thread::spawn(move || front.run_until(std::future::pending()));
    let text = roundtrip::blocking::get(format!("http://{address}/"))
        .unwrap()
        .text()
        .unwrap();
    assert_eq!(text, "hello");
    let started = Instant::now();
    handle.shutdown();
    front.join().unwrap().unwrap();
    assert!(started.elapsed() < SOON, "took {:?}", started.elapsed());
    behind_handle.shutdown();
    behind.join().unwrap().unwrap();
}
