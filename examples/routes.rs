//! A service in parts: routers in routers, what stands around their routes, and own errors.
//!
//! ```text
//!   cargo run --example routes
//!   curl -i localhost:8080/notes/                                      401
//!   curl -i localhost:8080/notes/7 -H 'Authorization: Bearer secret'   note 7
//!   curl -i localhost:8080/nowhere                                     404, in our words
//! ```

use std::time::Instant;

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::StatusCode;
use roundtrip::http::authentication::is_same;
use roundtrip::server::Next;

fn main() -> roundtrip::Result<()> {
    let notes = Router::new()
        .before(authorize)
        .body_bytes_max(64 * 1024)
        .get("/{$}", |_: &Request| "all notes")
        .get("/{id}", |r: &Request| format!("note {}", r.param("id")))
        .put("/{id}", async |r: Request| {
            let id = r.param("id").to_owned();
            let text = r.into_body().text().await?;
            Ok::<_, roundtrip::Error>(format!("note {id} has {} bytes", text.len()))
        });
    let router = Router::new()
        .wrap(timed)
        .after(|response: Response| response.header("X-Content-Type-Options", "nosniff"))
        .get("/{$}", |_: &Request| "welcome")
        .nest("/notes", notes)
        .not_found(|r: &Request| format!("there is nothing at {}", r.path()));
    Server::new(router)
        .bind("127.0.0.1:8080")?
        .on_handler_error(|failed| eprintln!("{failed}"))
        .run()
}

/// Runs inline, before every route of the router it was given to.
fn authorize(request: &mut Request) -> Option<Response> {
    match request.bearer_token() {
        // Whoever measures how long it takes learns nothing of the secret.
        Some(token) if is_same(token.as_bytes(), b"secret") => None,
        _ => {
            let refused = Response::new().status(StatusCode::UNAUTHORIZED);
            Some(refused.header("WWW-Authenticate", "Bearer"))
        }
    }
}

/// May wait, and sees the request as well as its response.
async fn timed(request: Request, next: Next) -> Response {
    let route = request.pattern().unwrap_or("no route").to_owned();
    let started = Instant::now();
    let response = next.run(request).await;
    println!(
        "{route}: {} in {:?}",
        response.status_code(),
        started.elapsed()
    );
    response
}
