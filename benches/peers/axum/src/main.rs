//! axum on a current-thread tokio runtime per worker.

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::routing::post;
use axum::serve::ListenerExt as _;

fn main() {
    shared::run(|listener| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(serve(listener));
    });
}

async fn serve(listener: std::net::TcpListener) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new()
        .route("/", get(async || shared::HELLO))
        .route("/echo", post(async |body: Bytes| body))
        .layer(DefaultBodyLimit::max(shared::ECHO_BYTES_MAX));
    axum::serve(listener, router).await.expect("serves forever");
}
