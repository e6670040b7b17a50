//! Codings through a whole client: when they are asked for, and what becomes of the connection.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use roundtrip::client::Client;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;

use crate::peer::Peer;
use crate::peer::Seen;
use crate::peer::run;
use crate::peer::until;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn br(data: &[u8]) -> Vec<u8> {
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 4, 22);
    encoder.write_all(data).unwrap();
    encoder.into_inner()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; zstd_safe::compress_bound(data.len())];
    let len = zstd_safe::compress(&mut coded[..], data, 3).unwrap();
    coded.truncate(len);
    coded
}

/// A response in a coding, with its length.
fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn path(seen: &Seen) -> &str {
    seen.line.split(' ').nth(1).unwrap()
}

/// Bytes that no coding makes smaller.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn each_coding_is_asked_for_decoded_and_leaves_the_connection() {
    let plain = "one two three ".repeat(10_000);
    let body = plain.clone();
    let peer = Peer::answering(move |seen| {
        assert_eq!(seen.fields["accept-encoding"], "gzip, deflate, br, zstd");
        match path(seen) {
            "/gzip" => coded("gzip", &gzip(body.as_bytes())),
            "/GZIP" => coded("GZIP", &gzip(body.as_bytes())),
            "/br" => coded("br", &br(body.as_bytes())),
            "/zstd" => coded("zstd", &zstd(body.as_bytes())),
            "/chunked" => {
                let coded = gzip(body.as_bytes());
                let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\
                            Transfer-Encoding: chunked\r\n\r\n";
                let mut answer = head.as_bytes().to_vec();
                for piece in coded.chunks(100) {
                    write!(answer, "{:x}\r\n", piece.len()).unwrap();
                    answer.extend_from_slice(piece);
                    answer.extend_from_slice(b"\r\n");
                }
                answer.extend_from_slice(b"0\r\nX-Sum: 7\r\n\r\n");
                answer
            }
            _ => coded("gzip", &[gzip(body.as_bytes()), gzip(b"more")].concat()),
        }
    });
    run(async {
        let client = Client::new();
        for path in ["/gzip", "/GZIP", "/br", "/zstd", "/chunked", "/members"] {
            let mut response = client.get(peer.url(path)).send().await?;
            assert!(response.is_decompressed(), "{path}");
            assert!(!response.headers().contains("content-encoding"));
            assert!(!response.headers().contains("content-length"));
            assert_eq!(response.body_ref().length(), None);
            let mut read = Vec::new();
            while let Some(chunk) = response.body_mut().chunk().await {
                read.extend_from_slice(&chunk?);
            }
            let expected = match path {
                "/members" => format!("{plain}more"),
                _ => plain.clone(),
            };
            assert!(read == expected.as_bytes(), "{path}");
            let trailers = response.body_mut().take_trailers();
            assert_eq!(trailers.is_some(), path == "/chunked");
        }
        let stats = client.stats().unwrap();
        assert_eq!(stats.pool.connected_total, 1, "each leaves it usable");
        Ok(())
    });
}

/// net/http: TransportGzip, RangeAndGzip, and that a caller who asks is left alone.
#[test]
fn who_asks_for_codings_gets_them_as_they_come() {
    let peer = Peer::answering(|seen| {
        let asked = seen.fields.get("accept-encoding").map(String::as_str);
        match path(seen) {
            "/own" => assert_eq!(asked, Some("br;q=0.1, gzip")),
            _ => assert_eq!(asked, None),
        }
        match seen.line.split(' ').next() {
            Some("HEAD") => b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\
                              Content-Length: 900\r\n\r\n"
                .to_vec(),
            _ => coded("gzip", &gzip(b"hello")),
        }
    });
    run(async {
        let client = Client::new();
        let off = Client::builder().decompress(false).build();
        let own = client
            .get(peer.url("/own"))
            .header("Accept-Encoding", "br;q=0.1, gzip");
        let range = client.get(peer.url("/range")).header("Range", "bytes=0-99");
        for request in [own, range, off.get(peer.url("/off"))] {
            let response = request.send().await?;
            assert!(!response.is_decompressed());
            assert_eq!(response.headers().get("content-encoding"), Some("gzip"));
            assert_eq!(response.bytes().await?, gzip(b"hello"));
        }
        let response = client.head(peer.url("/head")).send().await?;
        assert_eq!(response.headers().get("content-encoding"), Some("gzip"));
        assert_eq!(response.headers().get("content-length"), Some("900"));
        assert_eq!(response.bytes().await?, "");
        Ok(())
    });
}

#[test]
fn bodies_that_are_empty_or_not_coded() {
    let peer = Peer::answering(|seen| match path(seen) {
        "/204" => b"HTTP/1.1 204 No Content\r\nContent-Encoding: gzip\r\n\r\n".to_vec(),
        "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n".to_vec(),
        "/0" => coded("gzip", b""),
        "/chunked" => b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\
                        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            .to_vec(),
        "/plain" => crate::peer::ok("plain"),
        "/two" => coded("br, gzip", b"whatever"),
        _ => coded("compress", b"whatever"),
    });
    run(async {
        let client = Client::new();
        for (path, expected) in [
            ("/204", ""),
            ("/304", ""),
            ("/0", ""),
            ("/chunked", ""),
            ("/plain", "plain"),
            ("/two", "whatever"),
            ("/compress", "whatever"),
        ] {
            let response = client.get(peer.url(path)).send().await?;
            assert_eq!(response.is_decompressed(), path == "/chunked", "{path}");
            assert_eq!(response.text().await?, expected, "{path}");
        }
        assert_eq!(client.stats().unwrap().pool.connected_total, 1);
        Ok(())
    });
}

#[test]
fn what_is_cut_or_corrupt_is_an_error_of_the_body() {
    let peer = Peer::answering(|seen| {
        let mut body = gzip(&noise(5_000));
        match path(seen) {
            "/cut" => body.truncate(3_000),
            "/short" => body.truncate(2),
            _ => body[2_000] ^= 0x40,
        }
        coded("gzip", &body)
    });
    run(async {
        let client = Client::new();
        for (path, text) in [("/cut", "cut"), ("/short", "cut"), ("/corrupt", "corrupt")] {
            let response = client.get(peer.url(path)).send().await?;
            let error = response.bytes().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
            assert!(error.text().contains(text), "{path}: {error}");
        }
        Ok(())
    });
}

#[test]
fn limits_count_decoded_bytes_and_name_their_knob() {
    let peer = Peer::answering(|_| coded("gzip", &gzip(&vec![0; 3_000_000])));
    run(async {
        let client = Client::new();
        let error = client.get(peer.url("/")).send().await?.text().await;
        assert!(error.unwrap_err().text().contains("2097152"));
        let client = Client::builder().decompressed_bytes_max(2_999_999).build();
        let response = client.get(peer.url("/")).send().await?;
        let error = response.into_body().collect(4_000_000).await.unwrap_err();
        assert!(error.is_limit());
        assert!(error.text().contains("decompressed_bytes_max"), "{error}");
        let client = Client::builder().decompression_ratio_max(1).build();
        let response = client.get(peer.url("/")).send().await?;
        let body = response.into_body().collect(4_000_000).await?;
        assert_eq!(body.len(), 3_000_000, "the first 16 MiB are free");
        Ok(())
    });
}

/// As bodies that are not coded: a rest of up to 256 KiB is read and dropped.
#[test]
fn a_half_read_body_is_drained_or_closes() {
    let peer = Peer::answering(|seen| match path(seen) {
        "/small" => coded("gzip", &gzip(&noise(150_000))),
        _ => coded("gzip", &gzip(&noise(4_000_000))),
    });
    run(async {
        let client = Client::new();
        for (path, is_kept) in [("/small", true), ("/large", false)] {
            let mut response = client.get(peer.url(path)).send().await?;
            response.body_mut().chunk().await.unwrap()?;
            drop(response);
            let idle = usize::from(is_kept);
            until("the connection is settled", || {
                let pool = client.stats().unwrap().pool;
                (pool.idle, pool.connections) == (idle, idle)
            })
            .await;
        }
        Ok(())
    });
}

#[test]
fn a_slow_reader_holds_the_sender_back() {
    let (sent, seen) = std::sync::mpsc::channel();
    let peer = Peer::start(move |_, mut socket| {
        let mut request = [0; 1024];
        let _ = std::io::Read::read(&mut socket, &mut request).unwrap();
        // Stored, which is quick.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(&noise(30_000_000)).unwrap();
        let body = coded("gzip", &encoder.finish().unwrap());
        socket
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let is_stuck = socket.write_all(&body).is_err();
        sent.send(is_stuck).unwrap();
    });
    run(async {
        let mut response = Client::new().get(peer.url("/")).send().await?;
        response.body_mut().chunk().await.unwrap()?;
        let mut is_stuck = None;
        for _ in 0..1_000 {
            is_stuck = seen.try_recv().ok();
            if is_stuck.is_some() {
                break;
            }
            runtime::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(is_stuck, Some(true), "it was received though nobody reads");
        Ok(())
    });
}

#[test]
fn codings_are_asked_for_again_behind_a_redirect() {
    let peer = Peer::answering(|seen| {
        assert_eq!(seen.fields["accept-encoding"], "gzip, deflate, br, zstd");
        match path(seen) {
            "/from" => b"HTTP/1.1 302 Found\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => coded("br", &br(b"hello")),
        }
    });
    run(async {
        let response = Client::new().get(peer.url("/from")).send().await?;
        assert_eq!(response.text().await?, "hello");
        Ok(())
    });
}
