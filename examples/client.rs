//! What the client sends and reads, against a server of its own: `client`.
//!
//! Queries, forms, JSON, files, streams up and down; settings for all requests; and the same without
//! a runtime.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use roundtrip::client::multipart::{Form, Part};
use roundtrip::{Body, Client, Json, Request, Response, Result, Router, Server, blocking};
use serde::{Deserialize, Serialize};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/client.rs");

#[derive(Debug, Deserialize, Serialize)]
struct Todo {
    title: String,
    done: bool,
}

fn main() -> Result<()> {
    let server = Server::new(router()).workers(1).bind("127.0.0.1:0")?;
    let base = format!("http://{}/api/", server.local_addr().expect("it listens"));
    let handle = server.handle();
    let serving = std::thread::spawn(|| server.run());
    roundtrip::block_on(asynchronous(&base))?;
    without_a_runtime(&base)?;
    handle.shutdown();
    serving.join().expect("it does not panic")
}

async fn asynchronous(base: &str) -> Result<()> {
    let client = Client::builder()
        .base_url(base)? // requests name what is below
        .default_headers([("Accept-Language", "en")])?
        .timeout(Duration::from_secs(10)) // for everything, the body included
        .build();

    let found = client
        .get("search")
        .query([("q", "io uring")])
        .query([("page", 2)]);
    println!(
        "search: {}",
        found.send().await?.error_for_status()?.text().await?
    );

    let form = client
        .post("sign-up")
        .form([("name", "Ada"), ("born", "1815")]);
    println!("form: {}", form.send().await?.text().await?);

    let todo = Todo {
        title: "tea".into(),
        done: false,
    };
    let response = client.post("todos").json(&todo).send().await?;
    println!("took {:?}", response.timings().head);
    println!("JSON: {:?}", response.json::<Todo>().await?);

    let form = Form::new()
        .text("title", "This very file")
        .part("file", Part::open(FILE).await?) // read while it is sent
        .part(
            "notes",
            Part::new("short")
                .file_name("notes.txt")
                .media_type("text/plain"),
        );
    let response = client.post("files").multipart(form).send().await?;
    println!("files: {}", response.text().await?);

    // A body that is made while it is sent, and one that is read as it comes.
    let numbers = Body::produce(async |sender| {
        for number in 0..3 {
            sender.send(format!("{number} ").into()).await?;
        }
        Ok(())
    });
    let mut response = client.post("echo").body(numbers).send().await?;
    while let Some(chunk) = response.chunk().await? {
        println!("streamed: {} bytes", chunk.len());
    }

    let missing = client.get("nothing").send().await?.error_for_status();
    println!("error: {}", missing.expect_err("there is no such page"));
    Ok(())
}

/// The same on a thread that just waits; bodies come from `Read` and are `Read`.
fn without_a_runtime(base: &str) -> Result<()> {
    let client = blocking::Client::builder().base_url(base)?.build();
    let found = client.get("search").query([("q", "waiting")]).send()?;
    println!("search: {}", found.text()?);

    let input = std::io::repeat(b'a').take(1_000_000);
    let mut echo = client.post("echo").body_reader(input, None).send()?;
    println!("echo: {} bytes", echo.copy_to(&mut std::io::sink())?);

    let lines = client.post("echo").body("one\ntwo\n").send()?;
    for line in BufReader::new(lines).lines() {
        println!("line: {}", line?);
    }
    Ok(())
}

fn router() -> Router {
    let api = Router::new()
        .get("/search", |r: &Request| {
            let query = r.query_pairs()?;
            let (q, page) = (query.get("q"), query.get_as::<u32>("page")?);
            Ok::<_, roundtrip::Error>(format!("{q:?} on page {}", page.unwrap_or(1)))
        })
        .post("/sign-up", async |mut r: Request| {
            let form = r.form().await?;
            let name = form.get("name").unwrap_or("nobody");
            Ok::<_, roundtrip::Error>(format!("welcome, {name}"))
        })
        .post("/todos", async |mut r: Request| {
            let todo: Todo = r.json().await?;
            Ok::<_, roundtrip::Error>(Json(Todo { done: true, ..todo }))
        })
        .post("/files", async |mut r: Request| {
            let mut text = String::new();
            let mut parts = r.multipart()?;
            while let Some(part) = parts.next_part().await? {
                let name = part.file_name().unwrap_or(part.name()).to_owned();
                let bytes = part.bytes(1 << 20).await?.len();
                text += &format!("{name}: {bytes} bytes; ");
            }
            Ok::<_, roundtrip::Error>(text)
        })
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        });
    Router::new().nest("/api", api)
}

#[cfg(test)]
#[test]
fn everything_is_answered() {
    main().unwrap();
}
