//! Notes in PostgreSQL, by crates that need tokio: `database CONFIG [ADDR]`, with the feature `tokio`.
//!
//! ```text
//!   psql -c 'CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)'
//!   database 'host=127.0.0.1 user=me dbname=me'
//!   curl localhost:8080/notes -d tea    1
//!   curl localhost:8080/notes/1         tea
//! ```

use std::error::Error as StdError;
use std::time::Duration;

use deadpool_postgres::Manager;
use deadpool_postgres::Pool;
use deadpool_postgres::Runtime;
use deadpool_postgres::tokio_postgres::NoTls;
use roundtrip::Error;
use roundtrip::IntoResponse;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::StatusCode;
use roundtrip::error::ErrorKind;

/// Connections, shared by all workers.
const CONNECTIONS_MAX: usize = 8;
/// For a connection, of the pool or a new one.
const PATIENCE: Duration = Duration::from_secs(5);

fn pool(config: &str) -> Result<Pool> {
    let manager = Manager::new(config.parse().map_err(failed)?, NoTls);
    Pool::builder(manager)
        .max_size(CONNECTIONS_MAX)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(PATIENCE))
        .create_timeout(Some(PATIENCE))
        .build()
        .map_err(failed)
}

/// Is answered 500, without a word of the text.
fn failed(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Handler, "the database").because(error)
}

async fn read(pool: &Pool, request: &Request) -> Result<Response> {
    let Ok(id) = request.param("id").parse::<i64>() else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let client = pool.get().await.map_err(failed)?;
    let query = "SELECT text FROM notes WHERE id = $1";
    let query = client.prepare_cached(query).await.map_err(failed)?;
    let row = client.query_opt(&query, &[&id]).await;
    Ok(match row.map_err(failed)? {
        Some(row) => row.get::<_, String>("text").into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    })
}

async fn write(pool: &Pool, request: Request) -> Result<Response> {
    let text = request.into_body().text().await?;
    let client = pool.get().await.map_err(failed)?;
    let query = "INSERT INTO notes (text) VALUES ($1) RETURNING id";
    let query = client.prepare_cached(query).await.map_err(failed)?;
    let row = client.query_one(&query, &[&text]).await;
    let id: i64 = row.map_err(failed)?.get("id");
    Ok((StatusCode::CREATED, id.to_string()).into_response())
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let config = arguments.next().unwrap_or_default();
    let address = arguments.next();
    let reader = pool(&config)?;
    let writer = reader.clone();
    let router = Router::new()
        .body_bytes_max(16 * 1024)
        .get("/notes/{id}", async move |r: Request| {
            read(&reader, &r).await
        })
        .post("/notes", async move |r: Request| write(&writer, r).await)
        .after(|response: Response| {
            if let Some(error) = response.error() {
                eprintln!("{}: {error:#}", response.status_code());
            }
            response
        });
    Server::new(router)
        .bind(address.as_deref().unwrap_or("127.0.0.1:8080"))?
        .on_listening(|addresses| {
            for address in addresses {
                println!("listening on http://{address}");
            }
        })
        .run()
}
