//! What a request costs in the `http` layer: scanning, parsing, framing, chunks, writing a head.
//!
//! ```text
//!   head ──► scan ──► parse ──► frame ──► (handler) ──► encode
//! ```

use ::http::Method;
use ::http::Version;
use divan::AllocProfiler;
use divan::Bencher;
use divan::black_box;
use divan::counter::BytesCount;
use roundtrip::h1::chunked::CHUNK_END;
use roundtrip::h1::chunked::Decoded;
use roundtrip::h1::chunked::Decoder;
use roundtrip::h1::chunked::LAST_CHUNK;
use roundtrip::h1::chunked::encode_chunk_head;
use roundtrip::h1::encode::Persistence;
use roundtrip::h1::encode::response_head;
use roundtrip::h1::framing::Outgoing;
use roundtrip::h1::framing::request_framing;
use roundtrip::h1::framing::response_framing;
use roundtrip::h1::head::parse_request;
use roundtrip::h1::head::parse_response;
use roundtrip::http::date::DateCache;
use roundtrip::http::head::HeadLimits;
use roundtrip::http::head::Scan;
use roundtrip::http::head::Scanner;
use roundtrip::http::response::Response;

/// Shows what allocates; in steady state nothing does.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// What wrk sends.
const WRK: &str = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";

/// What a browser sends, about 500 bytes.
const BROWSER: &str = "GET /users/7?tab=posts HTTP/1.1\r\nHost: www.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
    Connection: keep-alive\r\nReferer: http://www.example.com/users\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef\r\nUpgrade-Insecure-Requests: 1\r\n\
    Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nPriority: u=0, i\r\n\r\n";

const RESPONSE: &str = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Type: text/plain\r\nContent-Length: 13\r\n\r\n";

const HEADS: [&str; 2] = ["wrk", "browser"];

fn head(name: &str) -> &'static [u8] {
    if name == "wrk" {
        WRK.as_bytes()
    } else {
        BROWSER.as_bytes()
    }
}

#[divan::bench(args = HEADS)]
fn scan(bencher: Bencher<'_, '_>, name: &str) {
    let head = head(name);
    bencher.counter(BytesCount::new(head.len())).bench(|| {
        let mut scanner = Scanner::request(HeadLimits::REQUEST);
        scanner.push(black_box(head))
    });
}

#[divan::bench(args = HEADS)]
fn scan_parse_frame_and_drop(bencher: Bencher<'_, '_>, name: &str) {
    let head = head(name);
    bencher.counter(BytesCount::new(head.len())).bench(|| {
        let mut scanner = Scanner::request(HeadLimits::REQUEST);
        let Ok(Scan::Complete { used }) = scanner.push(black_box(head)) else {
            panic!("the head is complete");
        };
        let parsed = parse_request(&head[..used], &HeadLimits::REQUEST).unwrap();
        let framing = request_framing(&parsed).unwrap();
        drop(black_box(parsed.into_request()));
        framing
    });
}

/// The oracle, to compare with: scans and parses, but checks and keeps nothing.
#[divan::bench(args = HEADS)]
fn httparse_alone(bencher: Bencher<'_, '_>, name: &str) {
    let head = head(name);
    bencher.counter(BytesCount::new(head.len())).bench(|| {
        let mut fields = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut fields);
        request
            .parse(black_box(head))
            .map(|_| request.headers.len())
    });
}

#[divan::bench]
fn parse_and_frame_a_response(bencher: Bencher<'_, '_>) {
    bencher.bench(|| {
        let head = parse_response(black_box(RESPONSE.as_bytes()), &HeadLimits::RESPONSE).unwrap();
        let framing = response_framing(&Method::GET, &head).unwrap();
        drop(black_box(head.into_response()));
        framing
    });
}

#[divan::bench]
fn frame(bencher: Bencher<'_, '_>) {
    let head = parse_request(BROWSER.as_bytes(), &HeadLimits::REQUEST).unwrap();
    bencher.bench_local(|| request_framing(black_box(&head)));
}

#[divan::bench]
fn build_and_encode_a_response(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(4_096);
    let mut cache = DateCache::new();
    bencher.bench_local(|| {
        out.clear();
        let response = Response::new()
            .header("Content-Type", "text/plain; charset=utf-8")
            .body("Hello, World!");
        let length = response.body_ref().length();
        let status = response.status_code();
        let outgoing = Outgoing::of_response(&Method::GET, Version::HTTP_11, status, length);
        let date = (&mut cache, 784_111_777);
        response_head(&mut out, &response, outgoing, Persistence::Default, date);
        out.len()
    });
}

#[divan::bench(args = [16, 1_024, 65_536])]
fn decode_chunks(bencher: Bencher<'_, '_>, chunk_bytes: usize) {
    let mut body = Vec::new();
    while body.len() < 256 * 1_024 {
        encode_chunk_head(&mut body, chunk_bytes);
        body.resize(body.len() + chunk_bytes, b'x');
        body.extend_from_slice(CHUNK_END);
    }
    body.extend_from_slice(LAST_CHUNK);
    bencher.counter(BytesCount::new(body.len())).bench(|| {
        let mut decoder = Decoder::new();
        let mut rest = black_box(&body[..]);
        let mut seen = 0;
        loop {
            match decoder.push(rest).unwrap() {
                Decoded::Data { used, data } => {
                    seen += data.len();
                    rest = &rest[used..];
                }
                Decoded::More => panic!("the body is complete"),
                Decoded::End { .. } => return seen,
            }
        }
    });
}
