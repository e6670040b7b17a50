//! Connections that go on without HTTP: `upgrade [ADDR]`.
//!
//! ```text
//!   CONNECT host:port   a tunnel: curl --proxytunnel -x 127.0.0.1:8080 http://example.com/
//!   GET /reverse        with Upgrade: reverse, every line comes back reversed
//! ```
//!
//! Whoever reaches the address reaches whatever this machine does: it listens on the loopback alone.

use std::process::ExitCode;
use std::time::Duration;

use bytes::BytesMut;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::net::TcpStream;
use roundtrip::runtime;
use roundtrip::server::Duplex;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("upgrade: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<()> {
    let address = std::env::args().nth(1);
    let router = Router::new()
        .connect(connect)
        .get("/reverse", |_: &Request| {
            Response::upgrade("reverse", reverse)
        });
    let server = Server::new(router)
        .bind(address.unwrap_or_else(|| "127.0.0.1:8080".into()))?
        // Open tunnels may go on for so long when the server is asked to end.
        .shutdown_timeout(Duration::from_secs(10));
    server
        .on_handler_error(|failed| eprintln!("{failed}"))
        .on_listening(|addresses| {
            for address in addresses {
                println!("listening on http://{address}");
            }
        })
        .run()
}

/// Connects first: a tunnel that cannot be made is a 502, and the client is not told why.
async fn connect(request: Request) -> Result<Response> {
    let target = request.host().and_then(|host| host.rsplit_once(':'));
    let Some((host, Ok(port))) = target.map(|(host, port)| (host, port.parse())) else {
        return Ok(Response::new().status(roundtrip::StatusCode::BAD_REQUEST));
    };
    let server = TcpStream::connect(host, port).await?;
    Ok(Response::tunnel(async move |client| {
        if let Err(error) = copy(client, server).await {
            eprintln!("a tunnel ended: {error:#}");
        }
    }))
}

/// Both directions at once, each until its end. Neither side is read faster than the other takes it.
async fn copy(client: Duplex, server: TcpStream) -> Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let to_server = server.clone();
    let up = runtime::spawn(async move {
        while let Some(bytes) = from_client.read().await? {
            to_server.write_all(bytes).await?;
        }
        to_server.shutdown_write();
        Ok::<_, roundtrip::Error>(())
    });
    loop {
        let (read, buffer) = server.read(BytesMut::with_capacity(64 * 1024)).await;
        if read? == 0 {
            break;
        }
        to_client.write(buffer.freeze()).await?;
    }
    to_client.shutdown();
    up.await?
}

/// A protocol of lines. Dropping the duplex closes the connection.
async fn reverse(mut duplex: Duplex) -> Result<()> {
    let mut line = BytesMut::new();
    while let Some(bytes) = duplex.read().await? {
        for byte in bytes {
            if byte != b'\n' {
                line.extend_from_slice(&[byte]);
                continue;
            }
            line.reverse();
            line.extend_from_slice(b"\n");
            duplex.write(line.split().freeze()).await?;
        }
        if line.len() > 4_096 {
            return duplex.write("a line is too long\n").await;
        }
    }
    Ok(())
}
