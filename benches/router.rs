//! Finding the route of a request.

use divan::Bencher;
use divan::black_box;

use http::Method;
use roundtrip::server::pattern::Pattern;
use roundtrip::server::routes::Routes;

fn main() {
    divan::main();
}

#[divan::bench(args = [
    "/",
    "/users/42",
    "/users/42/posts/7/comments",
    "/static/css/site.css",
    "/api/v1/resource77/12",
    "/nothing/here",
])]
fn find(bencher: Bencher<'_, '_>, path: &str) {
    let routes = routes();
    bencher.bench(|| {
        routes
            .find(&Method::GET, black_box("example.com"), black_box(path))
            .found()
            .is_some()
    });
}

/// As many routes as a real service has.
fn routes() -> Routes<usize> {
    let mut routes = Routes::new();
    let mut patterns: Vec<String> = (0..100)
        .map(|index| format!("GET /api/v1/resource{index}/{{id}}"))
        .collect();
    patterns.extend(
        [
            "GET /{$}",
            "GET /users/{id}",
            "POST /users",
            "GET /users/{id}/posts/{post}/comments",
            "GET /static/{path...}",
            "GET other.example.com/{path...}",
        ]
        .map(str::to_owned),
    );
    for (index, text) in patterns.iter().enumerate() {
        let pattern = Pattern::parse(text).expect("a valid pattern");
        routes.insert(pattern, index).expect("no two conflict");
    }
    routes
}
