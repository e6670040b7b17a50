//! Request smuggling: every technique that is known to us, as bytes.
//!
//! ```text
//!   one input ── two readers of it that disagree ──► a request that only one of them sees
//! ```
//!
//! The rule: what two strict parsers could read differently is refused, and the connection closed,
//! so that nothing behind it is read. What is accepted gives exactly the requests that stand here,
//! whole, byte by byte and cut at every place. `/admin` is what an attacker wants to reach: where
//! its bytes stand in a body they are data, and no handler sees it.

use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::server::middleware::Next;

mod wire;

use wire::Case;
use wire::check_all;
use wire::chunked;
use wire::get;
use wire::post;

/// What is smuggled.
const ADMIN: &str = "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n";

fn check(cases: &[Case]) {
    check_all(wire::router(), cases);
}

fn refused(what: &str, input: impl AsRef<[u8]>) -> Case {
    refused_with(400, what, input)
}

fn refused_with(status: u16, what: &str, input: impl AsRef<[u8]>) -> Case {
    let input = [input.as_ref(), ADMIN.as_bytes()].concat();
    Case::new("smuggling", what, input).refused(status)
}

fn served(what: &str, input: impl AsRef<[u8]>, answers: &[&str]) -> Case {
    Case::new("smuggling", what, input).answers(answers)
}

/// A body that breaks a rule: its handler has begun, and learns it; nothing behind it is read.
fn cut(what: &str, input: impl AsRef<[u8]>) -> Case {
    let input = [input.as_ref(), ADMIN.as_bytes()].concat();
    Case::new("smuggling", what, input)
        .answers(&["400"])
        .reaches(1)
        .closed()
        .head_has("Connection: close")
}

// ---- which length counts -----------------------------------------------------------------------

#[test]
fn two_lengths() {
    let te = "Transfer-Encoding: chunked\r\n";
    let cases = [
        refused(
            "CL.TE",
            post(&format!("Content-Length: 6\r\n{te}"), "0\r\n\r\nG"),
        ),
        refused(
            "TE.CL",
            post(&format!("{te}Content-Length: 4\r\n"), "5c\r\n"),
        ),
        refused(
            "CL.TE, zero",
            post(&format!("Content-Length: 0\r\n{te}"), "0\r\n\r\n"),
        ),
        refused(
            "TE.0",
            post(&format!("{te}Content-Length: 0\r\n"), "0\r\n\r\n"),
        ),
        refused(
            "CL, and TE that is not chunked",
            post(
                "Content-Length: 3\r\nTransfer-Encoding: identity\r\n",
                "abc",
            ),
        ),
        refused(
            "CL, and TE that is empty",
            post("Content-Length: 3\r\nTransfer-Encoding:\r\n", "abc"),
        ),
        refused(
            "bad CL, and TE",
            post(&format!("Content-Length: x\r\n{te}"), "0\r\n\r\n"),
        ),
        refused(
            "CL, and TE in GET",
            get(&format!("Content-Length: 3\r\n{te}")),
        ),
        refused(
            "TE.TE, the second unknown",
            post(&format!("{te}Transfer-Encoding: x\r\n"), ""),
        ),
        refused_with(
            501,
            "TE.TE, the first unknown",
            post(&format!("Transfer-Encoding: x\r\n{te}"), ""),
        ),
        refused("TE twice", post(&format!("{te}{te}"), "0\r\n\r\n")),
        refused(
            "TE in HTTP/1.0",
            format!("POST /x HTTP/1.0\r\n{te}\r\n0\r\n\r\n"),
        ),
        refused(
            "TE in HTTP/1.0, kept alive",
            format!("POST /x HTTP/1.0\r\nConnection: keep-alive\r\n{te}\r\n0\r\n\r\n"),
        ),
        refused(
            "TE and CL in HTTP/1.0",
            format!("POST /x HTTP/1.0\r\nContent-Length: 3\r\n{te}\r\nabc"),
        ),
    ];
    check(&cases);
}

#[test]
fn transfer_encodings() {
    let mut cases = Vec::new();
    for value in [
        "xchunked",
        "chunkedx",
        "chunke",
        "chunked chunked",
        "chunked\u{b}",
        "\u{b}chunked",
        "\u{c}chunked",
        "\"chunked\"",
        "'chunked'",
        "[chunked]",
        "chunked, identity",
        "chunked, gzip",
        "identity",
        "gzip",
        "",
        ",",
        ",chunked",
        "chunked,",
        "chunked, chunked",
        "chunked,,chunked",
        "chunked;q=1",
        "chunked; q",
        "cow",
        "true",
        "1",
        "chunked\t,\tgzip",
        "chun\tked",
        "chun ked",
        "\u{a0}chunked",
        "chunked\u{85}",
        "chunked\u{2028}",
        "ｃhunked",
        "chunKed\u{301}",
        "(chunked)",
        "chunked/1",
        "chunked\r\n\t",
        "\r\n chunked",
        "x\r\n chunked",
        "chunked\r\n , identity",
        "%63hunked",
    ] {
        let input = post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
        cases.push(refused(&format!("the value {value:?}"), input));
    }
    for value in [
        "identity, chunked",
        "gzip, chunked",
        "x, chunked",
        "gzip;q=1, chunked",
    ] {
        let input = post(&format!("Transfer-Encoding: {value}\r\n"), "0\r\n\r\n");
        cases.push(refused_with(501, &format!("the value {value:?}"), input));
    }
    for line in [
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "\tTransfer-Encoding: chunked\r\n",
        "Transfer Encoding: chunked\r\n",
        "Transfer-Encoding\u{b}: chunked\r\n",
        "Transfer-Encoding\0: chunked\r\n",
        "\0Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "Transfer-Encoding\n: chunked\r\n",
        "Transfer-Encoding\r: chunked\r\n",
        "Transfer-Encoding:\n chunked\r\n",
        "Transfer-Encoding: \0chunked\r\n",
        "Transfer-Encoding: chunked\0\r\n",
        "Transfer-Encoding: chunked\n",
        "Transfer-Encoding: chunked\r",
        "Transfer-Encoding: chunked\r\r\n",
        "Transfer-Encoding = chunked\r\n",
        "Transfer-Encoding chunked\r\n",
        "Transfer-Encoding;chunked\r\n",
        "Transfer-Encodïng: chunked\r\n",
        "\u{feff}Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\r\n\tTransfer-Encoding: chunked\r\n",
        "X: y\0\nTransfer-Encoding: chunked\r\n",
        "X:\r\n Transfer-Encoding: chunked\r\n",
        "(Transfer-Encoding): chunked\r\n",
        "\"Transfer-Encoding\": chunked\r\n",
        ": x\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:: chunked\r\n",
    ] {
        let input = post(&format!("Content-Length: 5\r\n{line}"), "0\r\n\r\n");
        cases.push(refused(
            &format!("beside a length, the line {line:?}"),
            input,
        ));
    }
    let body = "3\r\nabc\r\n0\r\n\r\n";
    for line in [
        "Transfer-Encoding: chunked",
        "transfer-encoding: CHUNKED",
        "TRANSFER-ENCODING:chunked",
        "tRaNsFeR-eNcOdInG: cHuNkEd",
        "Transfer-Encoding: \t chunked \t",
    ] {
        let input = post(&format!("{line}\r\n"), body) + ADMIN;
        let answers = ["200 POST /x a [abc]", "200 GET /admin a"];
        cases.push(served(
            &format!("the same to everybody: {line:?}"),
            input,
            &answers,
        ));
    }
    check(&cases);
}

#[test]
fn content_lengths() {
    let mut cases = Vec::new();
    for value in [
        "",
        "+3",
        "-3",
        "-0",
        "3 3",
        "3.",
        "3.0",
        "0x3",
        "3h",
        "3e0",
        "1_0",
        "3;",
        "3; x",
        "\"3\"",
        "'3'",
        "3,",
        ",3",
        "3,,3",
        "3, 4",
        "4, 3",
        "3, x",
        "3\u{b}",
        "\u{b}3",
        "\u{c}3",
        "3\0",
        "\u{663}",
        "３",
        "three",
        "3-3",
        "3\t3",
        "3\r\n 3",
        "\r\n 3",
        "3\r\n\t",
        "3\n",
        "3\r",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551619",
        "340282366920938463463374607431768211459",
        "NaN",
        "3/1",
        "3%",
        "\u{a0}3",
        "3\u{85}",
    ] {
        let input = post(&format!("Content-Length: {value}\r\n"), "abc");
        cases.push(refused(&format!("the value {value:?}"), input));
    }
    for lines in [
        "Content-Length: 3\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\ncontent-length: 33\r\n",
        "Content-Length: 0\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length:\r\n",
        "Content-Length:\r\nContent-Length: 3\r\n",
        "Content-Length: 3\r\nContent-Length: x\r\n",
        "Content-Length: 3\r\nX: y\r\nContent-Length: 5\r\n",
        "Content-Length: 3\r\nContent-Length: -3\r\n",
        "Content-Length: 3, 3\r\nContent-Length: 4\r\n",
        "Content-Length : 3\r\n",
        "Content-Length\t: 3\r\n",
        " Content-Length: 3\r\n",
        "Content-Length\0: 3\r\n",
        "Content-Length\u{b}: 3\r\n",
        "Content Length: 3\r\n",
        "Content-Length\r: 3\r\n",
        "Content-Length\n: 3\r\n",
        "Content-Length:\n3\r\n",
        "X: y\nContent-Length: 3\r\n",
        "X: y\rContent-Length: 3\r\n",
        "X: y\r\n Content-Length: 3\r\n",
    ] {
        cases.push(refused(&format!("the lines {lines:?}"), post(lines, "abc")));
    }
    for lines in [
        "Content-Length: 3\r\n",
        "content-LENGTH:3\r\n",
        "Content-Length: \t3\t \r\n",
        "Content-Length: 003\r\n",
        "Content-Length: 3\r\nContent-Length: 3\r\n",
        // RFC 9110 §8.6 allows the list of equal numbers; nobody reads another number from it.
        "Content-Length: 3, 3\r\n",
        "Content-Length: 3\r\nContent-Length: 03\r\n",
    ] {
        let answers = ["200 POST /x a [abc]", "200 GET /admin a"];
        let input = post(lines, "abc") + ADMIN;
        cases.push(served(
            &format!("one number to everybody: {lines:?}"),
            input,
            &answers,
        ));
    }
    // Octal is nobody's rule.
    let input = post("Content-Length: 010\r\n", "0123456789");
    cases.push(served(
        "ten, not eight",
        input,
        &["200 POST /x a [0123456789]"],
    ));
    check(&cases);
}

// ---- chunks ------------------------------------------------------------------------------------

#[test]
fn chunk_sizes() {
    let mut cases = Vec::new();
    for line in [
        "",
        " ",
        "+3",
        "-3",
        "0x3",
        "0X3",
        "x3",
        "3h",
        "3_",
        "3.0",
        "3,3",
        "3 3",
        " 3",
        "\t3",
        "3 ",
        "3\t",
        "3 \t ",
        "\u{b}3",
        "3\u{b}",
        "3\0",
        "\u{0}3",
        "３",
        "\u{663}",
        "\"3\"",
        "3:",
        "3=",
        "3\r",
        "\r3",
        "g",
        "3g",
        "-0",
        "+0",
        "3\u{85}",
        "\u{a0}3",
        "00000000000000003",
        "10000000000000003",
        "8000000000000000",
        "FFFFFFFFFFFFFFFF",
        "fffffffffffffffff",
        "100000000000000000000000000000003",
        // Extensions that end a line for one reader and not for another.
        "3;\n",
        "3;a\n",
        "3;\r",
        "3;a=\"\n\"",
        "3;a=\"\r\"",
        "3;\0",
        "3;\u{b}",
        "3;a=\u{7f}",
        "3\n",
        "3\n;a",
        "3 \n;",
        "3;\nxx\r\n4c\r\n0\r\n\r\n",
        "3;\nabc\r\n0\r\n\r\n",
    ] {
        let input = chunked(&format!("{line}\r\nabc\r\n0\r\n\r\n"));
        cases.push(cut(&format!("the size {line:?}"), input));
    }
    for line in [
        "3",
        "03",
        "0000000000000003",
        "3;",
        "3;a",
        "3;a=b",
        "3;a=\"b\"",
        "3;a=\"b",
        "3;;",
        "3;a;b=c",
        "3 ;a",
        "3\t;a",
        "3;0\u{e4}",
    ] {
        let input = chunked(&format!("{line}\r\nabc\r\n0\r\n\r\n")) + ADMIN;
        let answers = ["200 POST /x a [abc]", "200 GET /admin a"];
        cases.push(served(
            &format!("three to everybody: {line:?}"),
            input,
            &answers,
        ));
    }
    let input = chunked("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n");
    let both = "200 POST /x a [01234567890123456789]";
    cases.push(served("hexadecimal, both cases", input, &[both]));
    check(&cases);
}

#[test]
fn chunk_ends() {
    let mut cases = Vec::new();
    for (what, body) in [
        ("LF behind the data", "3\r\nabc\n0\r\n\r\n"),
        ("CR behind the data", "3\r\nabc\r0\r\n\r\n"),
        ("nothing behind the data", "3\r\nabc0\r\n\r\n"),
        ("two bytes that are no line end", "3\r\nabcXX0\r\n\r\n"),
        ("LF CR", "3\r\nabc\n\r0\r\n\r\n"),
        ("CR CR LF", "3\r\nabc\r\r\n0\r\n\r\n"),
        ("a line too many", "3\r\nabc\r\n\r\n0\r\n\r\n"),
        ("a byte too many", "3\r\nabcd\r\n0\r\n\r\n"),
        ("a byte too few", "4\r\nabc\r\n0\r\n\r\n"),
        (
            "spilled over: a size within the data",
            "5\r\nAAAAA2f\r\n0\r\n\r\n",
        ),
        (
            "spilled over: a terminator of one byte",
            "5\r\nAAAAA\n2f\r\n0\r\n\r\n",
        ),
        (
            "spilled over: a terminator of other bytes",
            "5\r\nAAAAAXX2f\r\n0\r\n\r\n",
        ),
        ("no line end behind the size", "3xyz\r\n0\r\n\r\n"),
        ("LF behind the size", "3\nabc\r\n0\r\n\r\n"),
        ("CR behind the size", "3\rabc\r\n0\r\n\r\n"),
        ("CR CR LF behind the size", "3\r\r\nabc\r\n0\r\n\r\n"),
        ("LF CR behind the size", "3\n\rabc\r\n0\r\n\r\n"),
        ("an empty line before the size", "\r\n3\r\nabc\r\n0\r\n\r\n"),
        ("LF before the size", "\n3\r\nabc\r\n0\r\n\r\n"),
        ("LF behind the last size", "3\r\nabc\r\n0\n\r\n"),
        ("LF as the last line", "3\r\nabc\r\n0\r\n\n"),
        ("CR as the last line", "3\r\nabc\r\n0\r\n\rX"),
        ("LF LF at the end", "3\r\nabc\r\n0\n\n"),
        ("a negative last size", "3\r\nabc\r\n-0\r\n\r\n"),
        ("no last line, and a request", "3\r\nabc\r\n0\r\n"),
    ] {
        cases.push(cut(what, chunked(body)));
    }
    for (what, body) in [
        ("zeros", "3\r\nabc\r\n0000\r\n\r\n"),
        (
            "an extension of the last chunk",
            "3\r\nabc\r\n0;a=b\r\n\r\n",
        ),
    ] {
        let answers = ["200 POST /x a [abc]", "200 GET /admin a"];
        cases.push(served(what, chunked(body) + ADMIN, &answers));
    }
    // A request within a chunk is data.
    let size = format!("{:x}", ADMIN.len());
    let body = format!("{size}\r\n{ADMIN}\r\n0\r\n\r\n");
    let answer = format!("200 POST /x a [{}]", ADMIN.escape_default());
    cases.push(served(
        "data that looks like a request",
        chunked(&body),
        &[&answer],
    ));
    check(&cases);
}

#[test]
fn trailers() {
    let mut cases = Vec::new();
    for (what, section) in [
        (
            "a request as the trailers",
            "GET /admin HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        ("LF ends a trailer", "A: b\n\r\n"),
        ("LF LF ends the trailers", "A: b\n\n"),
        ("CR ends a trailer", "A: b\rC: d\r\n\r\n"),
        ("a blank before the colon", "A : b\r\n\r\n"),
        ("folded", "A: b\r\n c\r\n\r\n"),
        ("a blank first", " A: b\r\n\r\n"),
        ("no colon", "A\r\n\r\n"),
        ("no name", ": b\r\n\r\n"),
        ("NUL", "A: \0\r\n\r\n"),
        ("a name with a blank", "A b: c\r\n\r\n"),
        ("CR CR LF", "A: b\r\r\n\r\n"),
    ] {
        let input = chunked(&format!("3\r\nabc\r\n0\r\n{section}"));
        cases.push(cut(what, input));
    }
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Connection",
        "Authorization",
        "Cookie",
        "Content-Type",
        "Content-Encoding",
        "Expect",
        "Trailer",
        "TE",
        "Upgrade",
        "Cache-Control",
        "Max-Forwards",
        "Range",
        "If-Match",
        "Set-Cookie",
        "Content-Range",
        "Proxy-Authorization",
        "Keep-Alive",
    ] {
        let input = chunked(&format!("3\r\nabc\r\n0\r\n{name}: 5\r\nX-Sum: 6\r\n\r\n")) + ADMIN;
        let answers = ["200 POST /x a [abc] {X-Sum: 6}", "200 GET /admin a"];
        cases.push(served(&format!("{name} is no trailer"), input, &answers));
    }
    check(&cases);
}

// ---- heads -------------------------------------------------------------------------------------

#[test]
fn line_ends() {
    let mut cases = Vec::new();
    for (what, input) in [
        ("LF throughout", "GET /x HTTP/1.1\nHost: a\n\n"),
        (
            "LF behind the request line",
            "GET /x HTTP/1.1\nHost: a\r\n\r\n",
        ),
        ("LF behind a field", "GET /x HTTP/1.1\r\nHost: a\n\r\n"),
        ("LF as the last line", "GET /x HTTP/1.1\r\nHost: a\r\n\n"),
        (
            "CR behind the request line",
            "GET /x HTTP/1.1\rHost: a\r\n\r\n",
        ),
        (
            "CR behind a field",
            "GET /x HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
        ),
        ("CR CR LF", "GET /x HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        ("LF CR", "GET /x HTTP/1.1\n\rHost: a\r\n\r\n"),
        ("CR as the last line", "GET /x HTTP/1.1\r\nHost: a\r\n\rX"),
        ("NUL as a line end", "GET /x HTTP/1.1\0Host: a\r\n\r\n"),
        (
            "vertical tab as a line end",
            "GET /x HTTP/1.1\u{b}Host: a\r\n\r\n",
        ),
        (
            "form feed as a line end",
            "GET /x HTTP/1.1\r\nHost: a\u{c}X: y\r\n\r\n",
        ),
        ("CR in the target", "GET /x\ry HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("LF in the target", "GET /x\ny HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("LF in the method", "GE\nT /x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            "LF before the request",
            "\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "CR before the request",
            "\rGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "two empty lines before the request",
            "\r\n\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
        (
            "a byte-order mark",
            "\u{feff}GET /x HTTP/1.1\r\nHost: a\r\n\r\n",
        ),
    ] {
        cases.push(refused(what, input));
    }
    // Line ends of other alphabets are bytes of a value, to everybody.
    let input = get("X: a\u{85}Y: b\u{2028}Z: c\r\n") + ADMIN;
    cases.push(served(
        "Unicode line ends",
        input,
        &["200 GET /x a", "200 GET /admin a"],
    ));
    let input = format!("\r\n{}\r\n{ADMIN}", get(""));
    let answers = ["200 GET /x a", "200 GET /admin a"];
    cases.push(served("one empty line before a request", input, &answers));
    check(&cases);
}

#[test]
fn field_lines() {
    let mut cases = Vec::new();
    for lines in [
        "A: b\r\n c\r\n",
        "A: b\r\n\tc\r\n",
        "A:\r\n b\r\n",
        "A: b\r\n \r\n",
        " A: b\r\n",
        "\tA: b\r\n",
        "A : b\r\n",
        "A\t: b\r\n",
        ": b\r\n",
        "A\r\n",
        "A b\r\n",
        "A b: c\r\n",
        "A,: b\r\n",
        "A;: b\r\n",
        "A/: b\r\n",
        "A\0: b\r\n",
        "A: \0\r\n",
        "A: b\0c\r\n",
        "A: \u{1}\r\n",
        "A: \u{7f}\r\n",
        "A: \u{8}b\r\n",
        "Ä: b\r\n",
        "\"A\": b\r\n",
        "{A}: b\r\n",
        "A@: b\r\n",
        "A[]: b\r\n",
        ":authority: b\r\n",
        ":path: /admin\r\n",
        "GET /admin HTTP/1.1\r\n",
    ] {
        cases.push(refused(&format!("the lines {lines:?}"), get(lines)));
    }
    let first = |line: &str| format!("GET /x HTTP/1.1\r\n{line}Host: a\r\n\r\n");
    cases.push(refused(
        "a blank before the first field",
        first(" X: y\r\n"),
    ));
    cases.push(refused("a tab before the first field", first("\tX: y\r\n")));
    cases.push(refused(
        "a folded request line",
        "GET /x HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
    ));
    // An underscore is not a dash: such a field is one of its own, and frames nothing. Whoever
    // hands fields to a program under other names has to refuse them there.
    let input = post(
        "Content_Length: 9\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n",
        "abc",
    );
    let answers = ["200 POST /x a [abc]", "200 GET /admin a"];
    cases.push(served("underscores", input + ADMIN, &answers));
    for lines in [
        "Content_Length: 9\r\n",
        "XContent-Length: 9\r\n",
        "Content-Length-: 9\r\n",
        "ContentLength: 9\r\n",
        "X-Transfer-Encoding: chunked\r\n",
        "TE: chunked\r\n",
        "Transfer.Encoding: chunked\r\n",
        "Trailer: Content-Length\r\n",
        "Content-Encoding: chunked\r\n",
        "X-HTTP-Method-Override: POST\r\n",
        "Connection: Content-Length\r\n",
        "Connection: Host\r\n",
        "X: Transfer-Encoding: chunked\r\n",
        "Keep-Alive: timeout=5\r\n",
        "Proxy-Connection: close\r\n",
    ] {
        let answers = ["200 GET /x a", "200 GET /admin a"];
        let what = format!("frames nothing: {lines:?}");
        cases.push(served(&what, get(lines) + ADMIN, &answers));
    }
    check(&cases);
}

#[test]
fn request_lines() {
    let mut cases = Vec::new();
    for line in [
        " GET /x HTTP/1.1",
        "\tGET /x HTTP/1.1",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x HTTP/1.1\t",
        "GET\t/x HTTP/1.1",
        "GET /x\tHTTP/1.1",
        "GET\u{b}/x HTTP/1.1",
        "GET\u{c}/x HTTP/1.1",
        "GET /x",
        "GET /x ",
        "GET",
        "/x HTTP/1.1",
        "GET /x y HTTP/1.1",
        "GET /x HTTP/1.1 HTTP/1.1",
        "GET /x HTTP/1.1, GET",
        "GET /x http/1.1",
        "GET /x HTTP/1",
        "GET /x HTTP/1.",
        "GET /x HTTP/.1",
        "GET /x HTTP/1.1.1",
        "GET /x HTTP/01.1",
        "GET /x HTTP/1.01",
        "GET /x HTTP/1,1",
        "GET /x HTTP/+1.1",
        "GET /x HTTP/1.1x",
        "GET /x HTTP/1.x",
        "GET /x HTTP\\1.1",
        "GET /x HTTP 1.1",
        "GET /x XHTTP/1.1",
        "GET /x ICAP/1.0",
        "GET /x RTSP/1.0",
        "GET: /x HTTP/1.1",
        "G[]T /x HTTP/1.1",
        "\"GET\" /x HTTP/1.1",
        "GET, /x HTTP/1.1",
        "GET /x\0 HTTP/1.1",
        "GET /\u{1}x HTTP/1.1",
        "GET /x\u{7f} HTTP/1.1",
        "GET x HTTP/1.1",
        "GET ./x HTTP/1.1",
        "GET ?x HTTP/1.1",
        "GET #x HTTP/1.1",
        "GET /x#y HTTP/1.1",
        "GET a:80 HTTP/1.1",
        "GET @a/x HTTP/1.1",
        "GET * HTTP/1.1",
        "POST * HTTP/1.1",
        "GET http://a:b@c/x HTTP/1.1",
        "GET http://@a/x HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http:/x HTTP/1.1",
        "GET http:x HTTP/1.1",
        "GET http:// HTTP/1.1",
        "GET ftp://a/x HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "GET http://a:x/ HTTP/1.1",
        "GET http://a b/ HTTP/1.1",
        "GET http://a:99999/ HTTP/1.1",
        "GET http://[::1/ HTTP/1.1",
        "GET http://a#b/ HTTP/1.1",
        "GET /% HTTP/1.1",
        "GET /%4 HTTP/1.1",
        "GET /%zz HTTP/1.1",
        "GET /%%41 HTTP/1.1",
        "GET http://a/%u0041 HTTP/1.1",
        "GET http://a\\@b/ HTTP/1.1",
        "GET javascript:alert(1) HTTP/1.1",
    ] {
        let input = format!("{line}\r\nHost: a\r\n\r\n");
        cases.push(refused(&format!("the line {line:?}"), input));
    }
    for line in [
        "GET /x HTTP/0.9",
        "GET /x HTTP/2.0",
        "GET /x HTTP/3.0",
        "PRI * HTTP/2.0",
        "GET /x HTTP/0.1",
    ] {
        let input = format!("{line}\r\nHost: a\r\n\r\n");
        cases.push(refused_with(505, &format!("the line {line:?}"), input));
    }
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    cases.push(refused_with(505, "the preface of HTTP/2", preface));
    // RFC 9110 §2.5: a higher minor version is 1.1 to whoever speaks 1.1.
    let input = format!("POST /x HTTP/1.9\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc{ADMIN}");
    let answers = ["200 POST /x a [abc]", "200 GET /admin a"];
    cases.push(served("a higher minor version", input, &answers));
    check(&cases);
}

#[test]
fn hosts() {
    let mut cases = Vec::new();
    let with = |lines: &str| format!("GET /x HTTP/1.1\r\n{lines}\r\n");
    for lines in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host:\r\nHost: a\r\n",
        "Host: a\r\nX: y\r\nHOST: b\r\n",
        "Host : a\r\n",
        " Host: a\r\n",
        "Host: a\r\n b\r\n",
        "Host\0: a\r\n",
        "Host: a b\r\n",
        "Host: a\tb\r\n",
        "Host: a, b\r\n",
        "Host: a/b\r\n",
        "Host: a/\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a\\b\r\n",
        "Host: u@a\r\n",
        "Host: u:p@a\r\n",
        "Host: @a\r\n",
        "Host: http://a\r\n",
        "Host: a:b\r\n",
        "Host: a:-1\r\n",
        "Host: a:+80\r\n",
        "Host: a:80:80\r\n",
        "Host: a:65536\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: ::1]\r\n",
        "Host: [::1]x\r\n",
        "Host: [x]\r\n",
        "Host: a\0\r\n",
        "Host: a\u{7f}\r\n",
        "Host: ä\r\n",
        "Host: {a}\r\n",
        "Host: <a>\r\n",
        "Host: a|b\r\n",
        "Host: a^b\r\n",
        "Host: \"a\"\r\n",
        "Host: `a`\r\n",
        "Host: a%\r\n",
        "Host: a%0\r\n",
        "Host: a%zz\r\n",
    ] {
        cases.push(refused(&format!("the fields {lines:?}"), with(lines)));
    }
    let old = "GET /x HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n";
    cases.push(refused("two in HTTP/1.0", old));
    // RFC 9112 §3.2.2: the authority of the target counts, and not the field.
    let absolute =
        |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let input = absolute("http://inside/x", "outside");
    cases.push(served(
        "absolute-form",
        input,
        &["200 GET http://inside/x inside"],
    ));
    let input = absolute("http://inside:81/x", "");
    cases.push(served(
        "absolute-form, empty field",
        input,
        &["200 GET http://inside:81/x inside:81"],
    ));
    cases.push(refused(
        "absolute-form, no field",
        "GET http://inside/x HTTP/1.1\r\n\r\n",
    ));
    let two = "GET http://inside/x HTTP/1.1\r\nHost: inside\r\nHost: inside\r\n\r\n";
    cases.push(refused("absolute-form, two fields", two));
    cases.push(refused(
        "absolute-form, bad field",
        absolute("http://inside/x", "a b"),
    ));
    for host in [
        "a",
        "A.b",
        "a:80",
        "a:",
        "1.2.3.4:5",
        "[::1]:80",
        "a-b_c.d",
        "xn--a",
        "a%41",
        "a,b",
    ] {
        let input = with(&format!(
            "Host: {host}\r\nX-Forwarded-Host: b\r\nForwarded: host=c\r\n"
        ));
        let answer = format!("200 GET /x {host}");
        cases.push(served(&format!("the host {host:?}"), input, &[&answer]));
    }
    check(&cases);
}

// ---- what comes behind -------------------------------------------------------------------------

/// Routes that answer without a look at the body.
fn careless() -> Router {
    Router::new()
        .get("/get", wire::ignore)
        .any("/any", wire::ignore)
        .any("/async", async |r: Request| {
            wire::saw(&r);
            "done"
        })
        .any("/none", |r: &Request| {
            wire::saw(r);
            ::http::StatusCode::NO_CONTENT
        })
        .any("/away", |r: &Request| {
            wire::saw(r);
            Response::new()
                .status(::http::StatusCode::FOUND)
                .header("Location", "/")
        })
        .any("/failed", |r: &Request| {
            wire::saw(r);
            ::http::StatusCode::INTERNAL_SERVER_ERROR
        })
        .nest(
            "/before",
            Router::new()
                .any("/", wire::ignore)
                .before(|_: &mut Request| Some(::http::StatusCode::FORBIDDEN)),
        )
        .nest(
            "/wrap",
            Router::new()
                .any("/", wire::ignore)
                .wrap(async |_: Request, _: Next| ::http::StatusCode::FORBIDDEN),
        )
        .nest(
            "/after",
            Router::new()
                .any("/", wire::ignore)
                .after(|_: Response| ::http::StatusCode::FORBIDDEN),
        )
        .nest(
            "/limited",
            Router::new().any("/", wire::echo).body_bytes_max(3),
        )
        .any("/up", |r: &Request| {
            wire::saw(r);
            Response::upgrade("echo", async |_| ())
        })
        .any("/split", |r: &Request| {
            wire::saw(r);
            Response::new().header("X", "a\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK")
        })
        .get("/next", wire::ignore)
}

/// CL.0: a server that does not read the body of what it does not want to read it for.
#[test]
fn unread_bodies() {
    let length = format!("Content-Length: {}\r\n\r\n{ADMIN}", ADMIN.len());
    let chunks = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{ADMIN}\r\n0\r\n\r\n",
        ADMIN.len()
    );
    let mut cases = Vec::new();
    for (method, path, answer) in [
        ("GET", "/get", "200 GET /get a"),
        ("POST", "/get", "405"),
        ("POST", "/any", "200 POST /any a"),
        ("DELETE", "/any", "200 DELETE /any a"),
        ("OPTIONS", "/any", "200 OPTIONS /any a"),
        ("PURGE", "/any", "200 PURGE /any a"),
        ("TRACE", "/any", "200 TRACE /any a"),
        ("POST", "/async", "200 done"),
        ("POST", "/none", "204"),
        ("POST", "/away", "302"),
        ("POST", "/failed", "500"),
        ("POST", "/split", "500"),
        ("POST", "/before/x", "403"),
        ("POST", "/wrap/x", "403"),
        ("POST", "/after/x", "403"),
        ("GET", "/up", "426"),
        ("POST", "/nowhere", "404"),
        ("GET", "//next", "307"),
        ("GET", "/next/../next", "307"),
        ("OPTIONS", "*", "200"),
    ] {
        for framing in [&length, &chunks] {
            let input = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{framing}");
            let is_ours = ["405", "404", "307"].contains(&answer)
                || ["*", "/before/x", "/wrap/x"].contains(&path);
            let case = served(&format!("CL.0: {method} {path}"), input, &[answer]);
            cases.push(case.reaches(usize::from(!is_ours)));
        }
    }
    // Over the limit of its route: whether it is known before or not, nothing behind it is read.
    for (framing, reached) in [(&length, 0), (&chunks, 1)] {
        let input = format!("POST /limited/x HTTP/1.1\r\nHost: a\r\n{framing}{ADMIN}");
        let case = served("over the limit", input, &["413"]).closed();
        cases.push(case.reaches(reached));
    }
    let head = format!("HEAD /get HTTP/1.1\r\nHost: a\r\n{length}");
    cases.push(served("HEAD with a body", head, &["200"]).without_body());
    check_all(careless(), &cases);
}

#[test]
fn nothing_follows_the_last_request() {
    let close = |version: &str, line: &str| {
        format!("GET /x HTTP/{version}\r\nHost: a\r\n{line}\r\n{ADMIN}")
    };
    let cases = [
        served(
            "behind close",
            close("1.1", "Connection: close\r\n"),
            &["200 GET /x a"],
        )
        .closed(),
        served(
            "behind close among others",
            close("1.1", "Connection: a, CLOSE ,b\r\n"),
            &["200 GET /x a"],
        )
        .closed(),
        served(
            "behind close and keep-alive",
            close("1.1", "Connection: keep-alive, close\r\n"),
            &["200 GET /x a"],
        )
        .closed(),
        served(
            "behind two Connection fields",
            close("1.1", "Connection: keep-alive\r\nConnection: close\r\n"),
            &["200 GET /x a"],
        )
        .closed(),
        served("behind HTTP/1.0", close("1.0", ""), &["200 GET /x a"]).closed(),
        refused_with(
            417,
            "behind an expectation that is unknown",
            post("Expect: tea\r\nContent-Length: 3\r\n", "abc"),
        ),
    ];
    check(&cases);
    // A tunnel that is not made: what follows belongs to nobody.
    let connect = format!("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n{ADMIN}");
    let case = served("behind CONNECT", connect, &["404"])
        .reaches(0)
        .closed();
    check_all(careless(), &[case]);
}

#[test]
fn expectations() {
    let expect = "Expect: 100-continue\r\nContent-Length: 3\r\n";
    let mut cases = Vec::new();
    for value in [
        "100-continue, 100-continue",
        "x 100-continue",
        "100-continue;q=1",
        "\"100-continue\"",
        "",
        "100",
        "\u{b}100-continue",
    ] {
        let status = if value.contains('\u{b}') { 400 } else { 417 };
        let input = post(&format!("Expect: {value}\r\nContent-Length: 3\r\n"), "abc");
        cases.push(refused_with(
            status,
            &format!("the expectation {value:?}"),
            input,
        ));
    }
    cases.push(refused(
        "obs-fold",
        post("Expect:\r\n 100-continue\r\nContent-Length: 3\r\n", "abc"),
    ));
    // The body that is behind the head is the body, whoever waits for what.
    let input = post(expect, "abc") + ADMIN;
    let answers = ["200 POST /x a [abc]", "200 GET /admin a"];
    cases.push(served("the body comes at once", input, &answers).whole_only());
    let input = post("Expect: 100-continue\r\n", "") + ADMIN;
    cases.push(served(
        "no body",
        input,
        &["200 POST /x a", "200 GET /admin a"],
    ));
    let input = format!("POST /x HTTP/1.0\r\nConnection: keep-alive\r\n{expect}\r\nabc");
    cases.push(served(
        "HTTP/1.0 expects nothing",
        input,
        &["200 POST /x - [abc]"],
    ));
    check(&cases);
    // 0.CL by Expect: the answer came without a 100; what the client sends now may be the body or
    // the next request. Nobody can tell, so nobody reads it.
    let head = format!("POST /any HTTP/1.1\r\nHost: a\r\n{expect}\r\n");
    let case = served("answered without the body", head, &["200 POST /any a"]).closed();
    let case = case.head_has("Connection: close");
    check_all(careless(), &[case]);
}

#[test]
fn upgrades_that_are_not_made() {
    let mut cases = Vec::new();
    for lines in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Connection: Upgrade\r\nUpgrade: HTTP/2.0, websocket\r\n",
    ] {
        let input = get(lines) + ADMIN;
        let answers = ["200 GET /x a", "200 GET /admin a"];
        cases.push(served(&format!("stays HTTP: {lines:?}"), input, &answers));
        let input = post(
            &format!("{lines}Content-Length: {}\r\n", ADMIN.len()),
            ADMIN,
        );
        let answer = format!("200 POST /x a [{}]", ADMIN.escape_default());
        cases.push(served(
            &format!("stays HTTP, with a body: {lines:?}"),
            input,
            &[&answer],
        ));
    }
    check(&cases);
}

/// What stands behind a request within its own segment is the next request, and nothing else.
#[test]
fn leftovers() {
    let two = post("Content-Length: 3\r\n", "abc") + &get("");
    let cases = [
        served("two", two.clone(), &["200 POST /x a [abc]", "200 GET /x a"]),
        served("ten", get("").repeat(10), &["200 GET /x a"; 10]),
        served(
            "a length of zero",
            post("Content-Length: 0\r\n", "") + ADMIN,
            &["200 POST /x a", "200 GET /admin a"],
        ),
        served(
            "no length is no body",
            post("", "") + ADMIN,
            &["200 POST /x a", "200 GET /admin a"],
        ),
        served(
            "bytes that are no request",
            post("Content-Length: 3\r\n", "abcdef\r\n\r\n"),
            &["200 POST /x a [abc]", "400"],
        )
        .closed(),
        served(
            "a part of a request",
            two + "GET /adm",
            &["200 POST /x a [abc]", "200 GET /x a"],
        )
        .waits(),
        served(
            "the end within a body",
            post("Content-Length: 9\r\n", "abc"),
            &["400"],
        )
        .reaches(1)
        .finishes()
        .closed(),
        served("the end within a chunk", chunked("9\r\nabc"), &["400"])
            .reaches(1)
            .finishes()
            .closed(),
        served(
            "the end before the last chunk",
            chunked("3\r\nabc\r\n"),
            &["400"],
        )
        .reaches(1)
        .finishes()
        .closed(),
        served("the end within a head", "GET /x HTTP/1.1\r\nHo", &[])
            .finishes()
            .closed(),
    ];
    check(&cases);
}

/// The limits refuse as well, and what is behind what is too long is not read.
#[test]
fn limits_are_ends() {
    let server = Server::new(wire::router())
        .head_bytes_max(300)
        .header_count_max(4)
        .target_bytes_max(40);
    let cases = [
        refused_with(
            431,
            "too many fields",
            get("A: b\r\nC: d\r\nE: f\r\nG: h\r\n"),
        ),
        refused_with(
            431,
            "too many bytes",
            get(&format!("A: {}\r\n", "b".repeat(300))),
        ),
        refused_with(
            414,
            "a target that is too long",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(200)),
        ),
        cut(
            "an extension that is too long",
            chunked(&format!("3;{}\r\nabc\r\n0\r\n\r\n", "a".repeat(5_000))),
        ),
        cut(
            "extensions that outweigh the data",
            chunked(&format!("1;{}\r\na\r\n", "a".repeat(1_000)).repeat(40)),
        ),
    ];
    check_all(server, &cases);
}
