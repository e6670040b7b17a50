//! ntex on its own io_uring driver.

use ntex::util::Bytes;
use ntex::web;
use ntex::web::App;
use ntex::web::HttpServer;

#[ntex::main]
async fn main() -> std::io::Result<()> {
    let (address, workers) = shared::arguments(1);
    let listener = shared::listen(address);
    let address = listener.local_addr()?;
    let server = HttpServer::new(async || {
        App::new()
            .state(web::types::PayloadConfig::new(shared::ECHO_BYTES_MAX))
            .route("/", web::get().to(async || shared::HELLO))
            .route("/echo", web::post().to(async |body: Bytes| body))
    });
    let server = server.workers(workers).listen(listener)?.run();
    shared::announce(address);
    server.await
}
