//! Server-sent events: `events [ADDR]`, then open the page, or `curl -N ADDR/events`.
//!
//! ```text
//!   GET /         a page that shows the events
//!   GET /events   one event per second, from where the client was cut off
//! ```

use std::time::Duration;

use roundtrip::Html;
use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::runtime;
use roundtrip::server::Event;
use roundtrip::server::EventStream;

/// An `EventSource` connects again by itself, and then says which event was its last.
const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8">
<title>events</title>
<h1>Events</h1>
<pre id="log"></pre>
<script>
  const log = document.getElementById("log");
  const source = new EventSource("/events");
  const show = text => log.textContent = text + "\n" + log.textContent;
  source.addEventListener("tick", event => show(event.lastEventId + ": " + event.data));
  source.onopen = () => show("connected");
  source.onerror = () => show("connection lost");
</script>
"#;

async fn events(request: Request) -> EventStream {
    let last = request
        .last_event_id()
        .and_then(|id| id.parse::<u64>().ok());
    EventStream::produce(async move |events| {
        let hello = Event::new().comment("hello").retry(Duration::from_secs(2));
        events.send(hello).await?;
        for number in last.map_or(1, |last| last.saturating_add(1)).. {
            let text = format!("this is event\nnumber {number}");
            let event = Event::new().event("tick").id(number.to_string()).data(text);
            // Waits while the client is slow. When it goes, this closure is dropped.
            events.send(event).await?;
            runtime::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    })
}

fn main() -> roundtrip::Result<()> {
    let address = std::env::args().nth(1);
    let router = Router::new()
        .get("/{$}", |_: &Request| Html(PAGE))
        .get("/events", events);
    let server = Server::new(router).bind(address.as_deref().unwrap_or("127.0.0.1:8080"))?;
    server
        .on_handler_error(|failed| eprintln!("{failed}"))
        .on_listening(|addresses| {
            for address in addresses {
                println!("listening on http://{address}");
            }
        })
        .run()
}
