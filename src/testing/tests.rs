//! The kit, used as its users do.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::time::Duration;

use ::http::Method;

use crate::client::Client;
use crate::client::blocking;
use crate::http::body::Body;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::runtime::blocking as on_a_thread;
use crate::runtime::sleep;
use crate::runtime::spawn;
use crate::server::Router;
use crate::server::Server;
use crate::server::files;
use crate::testing::App;
use crate::testing::serve;

const HELLO: &str = "HTTP/1.1 200 OK\r\n";

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn router() -> Router {
    Router::new()
        .get("/{$}", |_: &Request| "hello")
        .get("/host", |r: &Request| {
            r.host().unwrap_or_default().to_owned()
        })
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .get("/away", |_: &Request| {
            Response::new()
                .status(::http::StatusCode::FOUND)
                .header("Location", "/")
        })
        .get("/slow", async |_: Request| {
            let part = spawn(sleep(seconds(50)));
            let done = part.await.is_ok();
            format!("{done}")
        })
        .get("/thread", async |_: Request| {
            on_a_thread(|| "done").await.unwrap_or("lost")
        })
        .get("/never", async |_: Request| {
            std::future::pending::<()>().await;
        })
        .get("/panic", |_: &Request| -> &'static str {
            panic!("on purpose")
        })
        .get("/big", |_: &Request| vec![b'x'; 3_000_000])
}

#[test]
fn a_handle_outlives_its_app() {
    let app = App::new(router());
    let handle = app.handle();
    assert_eq!(app.get("/").send().text(), "hello");
    drop(app);
    assert_eq!(handle.statistics().requests, 1);
}

#[test]
fn requests_and_answers() {
    let app = App::new(router());
    let answer = app.get("/").send();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text(), "hello");
    assert_eq!(answer.header("content-length"), Some("5"));
    assert_eq!(app.head("/").send().text(), "");
    assert_eq!(app.get("/nowhere").send().status(), 404);
    assert_eq!(app.put("/").send().status(), 405);
    assert_eq!(app.get("/away").send().header("Location"), Some("/"));
    assert_eq!(
        app.get("http://example.com/host").send().text(),
        "example.com"
    );
    let echo = |body: Body| {
        let ask = app.request(Method::POST, "/echo").header("A", "b");
        ask.body(body).send().bytes().len()
    };
    assert_eq!(echo("abc".into()), 3);
    assert_eq!(echo(vec![7; 1_000_000].into()), 1_000_000);
    assert_eq!(app.get("/big").send().bytes().len(), 3_000_000);
    let form = app.post("/echo").form([("a", "b c"), ("d", "&")]).send();
    assert_eq!(form.text(), "a=b+c&d=%26");
    assert_eq!(app.handle().statistics().requests, 10);
}

#[test]
fn time_passes_for_the_app_alone() {
    let app = App::new(router());
    assert_eq!(app.get("/slow").send().text(), "true");
    assert_eq!(app.elapsed().as_secs(), 50);
    app.advance(seconds(100));
    assert_eq!(app.elapsed().as_secs(), 150);
    assert_eq!(app.get("/thread").send().text(), "done");
    let impatient = app.get("/never").timeout(seconds(5)).try_send();
    assert!(impatient.unwrap_err().is_timeout());
    assert_eq!(app.elapsed().as_secs(), 155);
}

#[test]
fn bytes_on_a_wire() {
    let app = App::new(router());
    let mut wire = app.connect();
    assert_eq!(wire.receive(), "");
    for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r" {
        wire.send([*byte]);
        assert_eq!(wire.receive(), "");
    }
    let text = wire
        .send("\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        .receive();
    assert!(
        text.starts_with(HELLO) && text.ends_with("\r\n\r\nhello"),
        "{text}"
    );
    app.advance(seconds(49));
    assert_eq!(wire.receive(), "");
    app.advance(seconds(1));
    assert!(wire.receive().ends_with("true"));
    assert!(!wire.is_closed());
    app.advance(seconds(91));
    assert!(wire.is_closed() && !wire.is_reset());

    let mut half = app.connect();
    half.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").finish();
    assert!(half.receive().ends_with("hello"));
    assert!(half.is_closed());
    app.connect().reset();
    assert_eq!(app.handle().statistics().connections_open, 0);
}

#[test]
fn who_does_not_read_is_cut() {
    let app = App::new(Server::new(router()).write_timeout(seconds(7)));
    let mut wire = app.connect();
    wire.pause(true)
        .send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    app.advance(seconds(6));
    assert_eq!(app.handle().statistics().connections_open, 1);
    app.advance(seconds(2));
    assert_eq!(app.handle().statistics().connections_open, 0);
    wire.pause(false);
    assert!(wire.is_closed());
}

#[test]
fn handlers_are_clients_of_other_hosts() {
    let client = Client::new();
    let front = Router::new().get("/", async move |_: Request| {
        let response = client.get("http://behind.example/").send().await?;
        response.text().await
    });
    let app = App::new(front).host("behind.example", router());
    assert_eq!(app.get("/").send().text(), "hello");
    assert_eq!(app.get("http://behind.example/").send().text(), "hello");
}

#[test]
fn files_of_the_machine_are_served() {
    let app = App::new(Router::new().get("/{path...}", files::serve("src/testing")));
    let text = app.get("/tests.rs").send();
    assert!(text.text().starts_with("//! The kit"));
    // Opened while the kernel is the one in memory.
    let late = Router::new().get("/{path...}", files::serve("src/testing"));
    let app = app.host("late", late);
    assert_eq!(app.get("http://late/tests.rs").send().text(), text.text());
    assert_eq!(app.get("/../mod.rs").send().status(), 200);
}

#[test]
fn a_panic_of_a_handler_fails_the_test() {
    let app = App::new(router());
    let sent = catch_unwind(AssertUnwindSafe(|| app.get("/panic").send()));
    assert!(sent.is_err());
    drop(app);
    let app = App::new(router()).expect_panics();
    assert_eq!(app.get("/panic").send().status(), 500);
    drop(app);

    let server = serve(router()).unwrap();
    let get = |url: String| blocking::Client::new().get(url).send();
    assert_eq!(get(server.url("/panic")).unwrap().status_code(), 500);
    assert!(catch_unwind(AssertUnwindSafe(|| drop(server))).is_err());
    let server = serve(router()).unwrap().expect_panics();
    assert_eq!(get(server.url("/panic")).unwrap().status_code(), 500);
}

#[test]
fn a_real_port() {
    let server = serve(Server::new(router()).workers(1)).unwrap();
    let client = blocking::Client::new();
    let text = client.get(server.url("/")).send().unwrap().text().unwrap();
    assert_eq!(text, "hello");
    assert_eq!(server.handle().statistics().requests, 1);
    assert!(server.address().ip().is_loopback());
}

#[test]
fn one_app_per_thread() {
    let app = App::new(router());
    assert!(catch_unwind(|| App::new(router())).is_err());
    let nested = app.run(async { catch_unwind(AssertUnwindSafe(|| app.get("/").send())).is_err() });
    assert!(nested);
    assert_eq!(app.get("/").send().text(), "hello");
}
