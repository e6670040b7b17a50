//! A JSON service with errors of its own, a test, and who may ask: `api [ADDR]`, then
//! `curl -i ADDR/todos -H 'Authorization: Bearer secret' --json '{"title": "tea"}'`.

use std::sync::{Arc, Mutex};

use roundtrip::http::authentication::is_same;
use roundtrip::server::Problem;
use roundtrip::{Error, IntoResponse, Json, Request, Response, Result, Router, Server, StatusCode};
use serde::{Deserialize, Serialize};

#[derive(Clone, Deserialize, Serialize)]
struct Todo {
    title: String,
}

enum ApiError {
    NoTodo,
    Other(Error), // the library's errors know what they are answered
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            ApiError::NoTodo => Problem::new(StatusCode::NOT_FOUND).into_response(),
            ApiError::Other(error) => Problem::from(error).into_response(),
        }
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        ApiError::Other(error)
    }
}

fn authorize(request: &mut Request) -> Result<(), Problem> {
    match request.bearer_token() {
        Some(token) if is_same(token.as_bytes(), b"secret") => Ok(()),
        _ => Err(Problem::new(StatusCode::UNAUTHORIZED)),
    }
}

fn router() -> Router {
    let reader = Arc::new(Mutex::new(Vec::<Todo>::new())); // shared by all workers
    let writer = Arc::clone(&reader);
    Router::new()
        .before(authorize)
        .body_bytes_max(16 * 1024)
        .get("/todos/{id}", move |r: &Request| {
            let id: usize = r.param("id").parse().map_err(|_| ApiError::NoTodo)?;
            let todo = reader.lock().unwrap().get(id).cloned();
            todo.map(Json).ok_or(ApiError::NoTodo)
        })
        .post("/todos", async move |mut r: Request| {
            let todo: Todo = r.json().await?;
            let mut todos = writer.lock().unwrap();
            todos.push(todo.clone());
            let location = format!("/todos/{}", todos.len() - 1);
            let created = (StatusCode::CREATED, [("Location", location)], Json(todo));
            Ok::<_, ApiError>(created)
        })
}

fn main() -> Result<()> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    Server::new(router())
        .bind(address)?
        .on_handler_error(|failed| eprintln!("{failed}"))
        .run()
}

#[cfg(all(test, feature = "testing"))]
#[test]
fn a_todo_is_kept() {
    let app = roundtrip::testing::App::new(router());
    let tea = r#"{"title":"tea"}"#;
    let post = app
        .post("/todos")
        .header("Content-Type", "application/json");
    assert_eq!(post.bearer_auth("secret").body(tea).send().status(), 201);
    assert_eq!(app.get("/todos/0").send().status(), 401);
    assert_eq!(app.get("/todos/0").bearer_auth("secret").send().text(), tea);
}
