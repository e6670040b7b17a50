//! monoio and monoio-http on io_uring. It sends no Date and does not honour `Connection: close`.

use bytes::Bytes;
use http::Method;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::response::Builder;
use monoio::RuntimeBuilder;
use monoio::io::Splitable as _;
use monoio::io::sink::SinkExt as _;
use monoio::io::stream::Stream as _;
use monoio::net::TcpListener;
use monoio::net::TcpStream;
use monoio_http::common::request::Request;
use monoio_http::common::response::Response;
use monoio_http::h1::codec::decoder::FillPayload as _;
use monoio_http::h1::codec::decoder::RequestDecoder;
use monoio_http::h1::codec::encoder::GenericEncoder;
use monoio_http::h1::payload::FixedPayload;
use monoio_http::h1::payload::Payload;

fn main() {
    shared::run(|listener| {
        let runtime = RuntimeBuilder::<monoio::IoUringDriver>::new().build();
        runtime.expect("a runtime").block_on(serve(listener));
    });
}

async fn serve(listener: std::net::TcpListener) {
    listener.set_nonblocking(false).expect("blocking");
    let listener = TcpListener::from_std(listener).expect("a listener");
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            monoio::spawn(connection(stream));
        }
    }
}

async fn connection(stream: TcpStream) {
    let (read, write) = stream.into_split();
    let mut sender = GenericEncoder::new(write);
    let mut receiver = RequestDecoder::new(read);
    while let Some(Ok(request)) = receiver.next().await {
        // The body follows the head, and only this decoder reads it.
        if receiver.fill_payload().await.is_err() {
            return;
        }
        let response = answer(request).await;
        if sender.send_and_flush(response).await.is_err() {
            return;
        }
    }
}

async fn answer(request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let response = Builder::new();
    let response = match (&parts.method, parts.uri.path()) {
        (&Method::GET, "/") => response
            .header(CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(payload(Bytes::from_static(shared::HELLO.as_bytes()))),
        (&Method::POST, "/echo") => match body {
            Payload::Fixed(mut body) => match body.next().await {
                Some(Ok(bytes)) => response.body(payload(bytes)),
                _ => response.status(StatusCode::BAD_REQUEST).body(Payload::None),
            },
            _ => response
                .status(StatusCode::LENGTH_REQUIRED)
                .body(Payload::None),
        },
        _ => response
            .status(StatusCode::NOT_FOUND)
            .body(payload(Bytes::new())),
    };
    response.expect("valid parts")
}

fn payload(bytes: Bytes) -> Payload {
    Payload::Fixed(FixedPayload::new(bytes))
}
