//! Files of a directory: `peer-roundtrip-files DIR [ADDR] [WORKERS]`.

use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files;

fn main() -> roundtrip::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let (address, workers) = shared::arguments(2);
    let router = Router::new().get("/", files::serve(folder));
    let server = Server::new(router)
        .bind(address.to_string())?
        .workers(workers);
    for address in server.addresses() {
        println!("listening on http://{address}");
    }
    server.run()
}
