//! actix-web.

use actix_web::App;
use actix_web::HttpServer;
use actix_web::web;

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let (address, workers) = shared::arguments(1);
    let listener = shared::listen(address);
    let address = listener.local_addr()?;
    let server = HttpServer::new(|| {
        App::new()
            .app_data(web::PayloadConfig::new(shared::ECHO_BYTES_MAX))
            .route("/", web::get().to(async || shared::HELLO))
            .route("/echo", web::post().to(async |body: web::Bytes| body))
    });
    let server = server
        .workers(workers)
        .keep_alive(std::time::Duration::from_secs(90))
        .listen(listener)?
        .run();
    shared::announce(address);
    server.await
}
