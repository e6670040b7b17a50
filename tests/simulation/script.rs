//! What raw clients do: bytes, the pace at which they go out and come in, and what has to come.

use std::collections::VecDeque;
use std::time::Duration;

use roundtrip::simulation::Random;

use crate::ask::Ask;
use crate::content;
use crate::content::Way;
use crate::handlers;
use crate::handlers::failing;
use crate::handlers::manner;
use crate::job::draw_bytes;
use crate::ledger;
use crate::ledger::Rule;
use crate::plan::Plan;
use crate::upgrades::PROTOCOL;
use crate::upgrades::how;
use crate::wire;

/// What a raw client does.
pub struct Script {
    pub name: &'static str,
    pub out: Vec<u8>,
    /// Sending waits here for a 100.
    pub wait_at: Option<usize>,
    /// Most bytes that go out at a time; `usize::MAX` for all.
    pub piece_bytes_max: usize,
    /// Longest pause between two pieces.
    pub pause: Duration,
    /// Nothing is received before.
    pub deaf_for: Duration,
    /// Most bytes that are received at a time; `usize::MAX` for all.
    pub read_bytes: usize,
    pub read_pause: Duration,
    pub expects: VecDeque<Expected>,
    /// What follows the last response, when that has changed the protocol.
    pub tail: Option<&'static [u8]>,
    pub after: After,
    /// No fault excuses a wrong status.
    is_harmless: bool,
}

/// A response that has to come.
pub struct Expected {
    pub id: Option<u32>,
    pub statuses: &'static [u16],
    /// `None` for any.
    pub body: Option<&'static [u8]>,
    /// False for the response to a HEAD.
    pub has_body: bool,
    /// Informational responses that come before it.
    pub hints: u8,
}

/// What follows the last response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The client closes.
    Close,
    /// The client has said that it sends nothing more; the server closes.
    HalfClose,
    /// The server closes.
    AwaitEnd {
        /// Not before; counted from the last byte that was sent. Without it nothing is too early.
        not_before: Option<Duration>,
        within: Duration,
    },
    /// The client goes as soon as it has sent.
    Vanish { reset: bool },
    /// The server closes since nobody reads, or has sent all of it.
    Starved,
    /// The server resets before the last response is whole.
    Reset,
}

/// Statuses with which nonsense is answered.
const REFUSED: &[u16] = &[400, 405, 411, 413, 414, 417, 431, 501, 505];
const OK: &[u16] = &[200];
const SWITCHING: &[u16] = &[101];
/// How long a server needs to close what is to be closed at once: it lingers for a second.
const AT_ONCE: Duration = Duration::from_millis(2_500);
/// All pauses of an upgraded connection together.
const PAUSES: Duration = Duration::from_secs(5);

/// Draws a script.
pub fn draw(random: &mut Random, plan: &Plan) -> Script {
    let mut script = match random.index(20) {
        0..=3 => pipeline(random, plan),
        4 => slow_reader(random, plan),
        5 => vanishing(random, plan),
        6 => stalled_head(random, plan),
        7 => silent(plan),
        8 => idle(random, plan),
        9 => stalled_body(random, plan),
        10 => deaf(random, plan),
        11 => expecting(random, plan),
        12 => old(random, plan),
        13 => bad_chunks(random, plan),
        14 => hinted(random, plan),
        15 => aborted(random, plan),
        16 => stuck(random, plan),
        17 => oversized(random, plan),
        18 => upgraded(random, plan),
        _ => nonsense(random, plan),
    };
    if script.out.len() < 3_000 && random.chance(0.3) {
        script.piece_bytes_max = [1, 2, 20][random.index(3)];
        if random.chance(0.5) {
            script.pause = Duration::from_millis(2);
        }
    } else if random.chance(0.3) {
        script.piece_bytes_max = 1 + script.out.len() / (1 + random.index(20));
        script.pause = Duration::from_millis([0, 1, 30][random.index(3)]);
    }
    script
}

fn blank(name: &'static str, plan: &Plan) -> Script {
    Script {
        name,
        out: Vec::new(),
        wait_at: None,
        piece_bytes_max: usize::MAX,
        pause: Duration::ZERO,
        deaf_for: Duration::ZERO,
        read_bytes: usize::MAX,
        read_pause: Duration::ZERO,
        expects: VecDeque::new(),
        tail: None,
        after: After::Close,
        is_harmless: plan.is_harmless(),
    }
}

fn draw_ask(random: &mut Random, bytes_max: usize, rule: Rule) -> Ask {
    Ask {
        id: ledger::next(rule),
        down: draw_bytes(random, bytes_max) as u32,
        delay: random.below(20) as u16,
        ..Ask::default()
    }
}

fn head(out: &mut Vec<u8>, start: &str, ask: &Ask, fields: &str) {
    out.extend_from_slice(start.as_bytes());
    out.extend_from_slice(b"\r\nHost: server.test\r\nx-ask: ");
    out.extend_from_slice(&ask.value());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(fields.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn answer(ask: &Ask) -> Expected {
    Expected {
        id: Some(ask.id),
        statuses: OK,
        body: Some(content::of(ask.id, Way::Down, ask.down as usize)),
        has_body: true,
        hints: 0,
    }
}

/// One request without a surprise, and its answer.
fn request(script: &mut Script, random: &mut Random, fields: &str) {
    let is_harmless = script.is_harmless;
    let bytes_max = [100, 5_000, 100_000][random.index(3)];
    let mut ask = draw_ask(random, bytes_max, Rule::Once);
    let out = &mut script.out;
    match random.index(8) {
        0 => head(out, "GET /later HTTP/1.1", &ask, fields),
        1 => head(out, "GET /slow HTTP/1.1", &ask, fields),
        2 => head(out, "GET /stream HTTP/1.1", &ask, fields),
        3 => {
            head(out, "HEAD /now HTTP/1.1", &ask, fields);
            let expected = Expected {
                has_body: false,
                body: None,
                ..answer(&ask)
            };
            script.expects.push_back(expected);
            return;
        }
        4 | 5 => {
            let is_echo = random.chance(0.5);
            let path = if is_echo { "echo" } else { "take" };
            ask.up = draw_bytes(random, bytes_max) as u32;
            let body = content::of(ask.id, Way::Up, ask.up as usize);
            if random.chance(0.5) {
                let fields = format!("{fields}Content-Length: {}\r\n", body.len());
                head(out, &format!("POST /{path} HTTP/1.1"), &ask, &fields);
                out.extend_from_slice(body);
            } else {
                let fields = format!("{fields}Transfer-Encoding: chunked\r\n");
                head(out, &format!("POST /{path} HTTP/1.1"), &ask, &fields);
                wire::write_chunked(out, body, random);
            }
            let mut expected = answer(&ask);
            if is_echo {
                expected.body = Some(body);
            }
            script.expects.push_back(expected);
            return;
        }
        6 => {
            let index = handlers::draw_file(random);
            head(out, &format!("GET /files/f{index} HTTP/1.1"), &ask, fields);
            // One that cannot be opened is a fault; one that is shorter than it was said to be, none.
            let body = Some(handlers::file_content(index)).filter(|_| is_harmless);
            let statuses: &[u16] = if is_harmless {
                OK
            } else {
                &[200, 403, 404, 500, 503]
            };
            let expected = Expected {
                id: None,
                statuses,
                body,
                has_body: true,
                hints: 0,
            };
            script.expects.push_back(expected);
            return;
        }
        _ => head(out, "GET /now HTTP/1.1", &ask, fields),
    }
    script.expects.push_back(answer(&ask));
}

fn pipeline(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("pipeline", plan);
    for _ in 0..random.index(8) {
        request(&mut script, random, "");
    }
    match random.index(3) {
        0 => request(&mut script, random, ""),
        1 => {
            request(&mut script, random, "");
            script.after = After::HalfClose;
        }
        _ => {
            request(&mut script, random, "Connection: close\r\n");
            script.after = After::AwaitEnd {
                not_before: None,
                within: AT_ONCE,
            };
        }
    }
    script
}

fn slow_reader(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("slow reader", plan);
    let mut ask = draw_ask(random, 1, Rule::Once);
    ask.down = 50_000 + random.below(150_000) as u32;
    head(&mut script.out, "GET /now HTTP/1.1", &ask, "");
    script.expects.push_back(answer(&ask));
    script.read_bytes = 500 + random.index(20_000);
    script.read_pause = Duration::from_millis(1 + random.below(20));
    script
}

fn vanishing(random: &mut Random, plan: &Plan) -> Script {
    let mut script = pipeline(random, plan);
    script.name = "vanishing";
    let keep = random.index(script.out.len() + 1);
    script.out.truncate(keep);
    script.after = After::Vanish {
        reset: random.chance(0.5),
    };
    script
}

fn refused(statuses: &'static [u16]) -> Expected {
    Expected {
        id: None,
        statuses,
        body: None,
        has_body: true,
        hints: 0,
    }
}

fn stalled_head(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("stalled head", plan);
    let ask = draw_ask(random, 100, Rule::Never);
    head(&mut script.out, "GET /now HTTP/1.1", &ask, "");
    let keep = 1 + random.index(script.out.len() - 1);
    script.out.truncate(keep);
    script.expects.push_back(refused(&[408]));
    let within = plan.times.header + AT_ONCE;
    script.after = After::AwaitEnd {
        not_before: None,
        within,
    };
    script
}

fn silent(plan: &Plan) -> Script {
    let mut script = blank("silent", plan);
    let (header, within) = (plan.times.header, plan.times.header + AT_ONCE);
    script.after = After::AwaitEnd {
        not_before: Some(header),
        within,
    };
    script
}

fn idle(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("idle", plan);
    request(&mut script, random, "");
    let within = plan.times.idle + AT_ONCE;
    script.after = After::AwaitEnd {
        not_before: Some(plan.times.idle),
        within,
    };
    script
}

fn stalled_body(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("stalled body", plan);
    let mut ask = draw_ask(random, 100, Rule::Once);
    ask.up = 2 + draw_bytes(random, 100_000) as u32;
    ask.manner = *random.choose(&[manner::READ, manner::COLLECT]);
    let fields = format!("Content-Length: {}\r\n", ask.up);
    head(&mut script.out, "POST /take HTTP/1.1", &ask, &fields);
    let body = content::of(ask.id, Way::Up, ask.up as usize);
    script
        .out
        .extend_from_slice(&body[..random.index(body.len())]);
    script.expects.push_back(refused(&[400, 408]));
    let within = plan.times.body + AT_ONCE;
    script.after = After::AwaitEnd {
        not_before: None,
        within,
    };
    script
}

/// Asks for more than the network holds, and reads nothing before the server has given up.
fn deaf(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("deaf", plan);
    for _ in 0..8 {
        let mut ask = draw_ask(random, 1, Rule::Once);
        ask.down = 200_000;
        head(&mut script.out, "GET /now HTTP/1.1", &ask, "");
        script.expects.push_back(answer(&ask));
    }
    script.deaf_for = plan.times.write + plan.slack() + Duration::from_secs(1);
    script.after = After::Starved;
    script
}

fn expecting(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("expecting", plan);
    let mut ask = draw_ask(random, 100, Rule::Once);
    ask.up = 1 + draw_bytes(random, 50_000) as u32;
    ask.manner = *random.choose(&[manner::READ, manner::COLLECT, manner::IGNORE]);
    let fields = format!("Expect: 100-continue\r\nContent-Length: {}\r\n", ask.up);
    head(&mut script.out, "POST /take HTTP/1.1", &ask, &fields);
    script.expects.push_back(answer(&ask));
    if ask.manner == manner::IGNORE {
        // Without a 100 the body is not sent, and the connection ends.
        script.after = After::AwaitEnd {
            not_before: None,
            within: AT_ONCE,
        };
        return script;
    }
    script.wait_at = Some(script.out.len());
    script
        .out
        .extend_from_slice(content::of(ask.id, Way::Up, ask.up as usize));
    script
}

/// Informational responses before the response, and another request behind it.
fn hinted(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("hinted", plan);
    let mut ask = draw_ask(random, 5_000, Rule::Once);
    ask.manner = random.index(4) as u8;
    let version = *random.choose(&["1.1", "1.1", "1.0"]);
    let fields = "Connection: keep-alive\r\n";
    head(
        &mut script.out,
        &format!("GET /hinted HTTP/{version}"),
        &ask,
        fields,
    );
    let hints = if version == "1.1" { ask.manner } else { 0 };
    script.expects.push_back(Expected {
        hints,
        ..answer(&ask)
    });
    request(&mut script, random, "");
    script
}

/// Requests that are answered, and one that is not.
fn aborted(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("aborted", plan);
    let ask = draw_ask(random, 10, Rule::Once);
    head(&mut script.out, "GET /abort HTTP/1.1", &ask, "");
    script.expects.push_back(answer(&ask));
    script.after = After::Reset;
    script
}

/// A handler that takes longer than it may; the connection goes on.
fn stuck(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("stuck", plan);
    let ask = draw_ask(random, 10, Rule::Once);
    head(&mut script.out, "GET /stuck HTTP/1.1", &ask, "");
    script.expects.push_back(refused(&[503]));
    request(&mut script, random, "");
    script
}

/// A body that is longer than its route takes.
fn oversized(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("oversized", plan);
    let mut ask = draw_ask(random, 10, Rule::Once);
    ask.manner = *random.choose(&[manner::READ, manner::COLLECT, manner::READ_SLOWLY]);
    ask.up = handlers::SMALL_BYTES_MAX as u32 + 1 + random.below(20_000) as u32;
    let body = content::of(ask.id, Way::Up, ask.up as usize);
    // With its length in the head no handler would see it.
    let fields = "Transfer-Encoding: chunked\r\n";
    head(&mut script.out, "POST /small HTTP/1.1", &ask, fields);
    wire::write_chunked(&mut script.out, body, random);
    script.expects.push_back(refused(&[413]));
    script.after = After::AwaitEnd {
        not_before: None,
        within: plan.times.body + AT_ONCE,
    };
    script
}

/// Another protocol, whose first bytes may come together with the request.
fn upgraded(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("upgraded", plan);
    if random.chance(0.3) {
        request(&mut script, random, "");
    }
    let bytes_max = [100, 5_000, 150_000][random.index(3)];
    let mut ask = draw_ask(random, bytes_max, Rule::Once);
    ask.up = draw_bytes(random, bytes_max) as u32;
    ask.manner = random.below(how::COUNT) as u8;
    let is_connect = random.chance(0.5);
    let (start, fields, statuses) = match is_connect {
        true => ("CONNECT other.test:1 HTTP/1.1", String::new(), OK),
        false => {
            let fields = format!("Connection: Upgrade\r\nUpgrade: {PROTOCOL}\r\n");
            ("GET /upgrade HTTP/1.1", fields, SWITCHING)
        }
    };
    head(&mut script.out, start, &ask, &fields);
    let up = content::of(ask.id, Way::Up, ask.up as usize);
    script.out.extend_from_slice(up);
    script.expects.push_back(Expected {
        statuses,
        body: None,
        has_body: false,
        ..answer(&ask)
    });
    script.tail = Some(content::of(ask.id, Way::Down, ask.down as usize));
    script.after = After::AwaitEnd {
        not_before: None,
        within: AT_ONCE + PAUSES,
    };
    script
}

fn old(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("old", plan);
    let mut ask = draw_ask(random, 50_000, Rule::Once);
    let path = *random.choose(&["now", "stream"]);
    let fails = path == "stream" && random.chance(0.3);
    if fails {
        ask.manner = *random.choose(&[failing::IN_BODY, failing::BODY_ERROR]);
    }
    head(&mut script.out, &format!("GET /{path} HTTP/1.0"), &ask, "");
    script.expects.push_back(answer(&ask));
    if fails {
        // The part must not look like the whole.
        script.after = After::Reset;
        return script;
    }
    script.after = After::AwaitEnd {
        not_before: None,
        within: AT_ONCE,
    };
    script
}

/// What breaks a rule, each with a place `{ask}` for the description of the request.
const NONSENSE: &[&str] = &[
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nContent-Length: 5\r\n\
     Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nContent-Length: 0\r\n\
     Content-Length: 90\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nContent-Length: +0\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nContent-Length: 0, 90\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nContent-Length: 0x0\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nTransfer-Encoding: chunked, identity\r\n\r\n\
     0\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "POST /take HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n\
     0\r\n\r\n",
    "POST /take HTTP/1.1\nHost: a\nx-ask: {ask}\nContent-Length: 0\n\n",
    "GET /now HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nX: a\rb\r\n\r\n",
    "GET /now HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\nX: a\0b\r\n\r\n",
    "GET /now HTTP/1.1\r\nx-ask: {ask}\r\n\r\n",
    "GET /now HTTP/1.1\r\nHost: a\r\nHost: b\r\nx-ask: {ask}\r\n\r\n",
    "GET /now HTTP/2.0\r\nHost: a\r\nx-ask: {ask}\r\n\r\n",
    "GET  /now HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\n\r\n",
    "GET /now\r\nHost: a\r\nx-ask: {ask}\r\n\r\n",
    "GET now HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\n\r\n",
    "G(T /now HTTP/1.1\r\nHost: a\r\nx-ask: {ask}\r\n\r\n",
    "\u{16}\u{3}\u{1}\u{2}{ask}\r\n\r\n",
];

/// Chunks that are none.
const BAD_CHUNKS: &[&str] = &[
    "xyz\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "+5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello!\r\n0\r\n\r\n",
    "5\r\nhelloX0\r\n\r\n",
    "ffffffffffffffffff\r\nhello\r\n",
    "\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
];

fn bad_chunks(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("bad chunks", plan);
    let mut ask = draw_ask(random, 10, Rule::Once);
    ask.manner = manner::COLLECT;
    head(
        &mut script.out,
        "POST /take HTTP/1.1",
        &ask,
        "Transfer-Encoding: chunked\r\n",
    );
    script
        .out
        .extend_from_slice(random.choose(BAD_CHUNKS).as_bytes());
    let hidden = draw_ask(random, 10, Rule::Never);
    head(&mut script.out, "GET /now HTTP/1.1", &hidden, "");
    script.expects.push_back(refused(&[400]));
    script.after = After::AwaitEnd {
        not_before: None,
        within: AT_ONCE,
    };
    script
}

fn nonsense(random: &mut Random, plan: &Plan) -> Script {
    let mut script = blank("nonsense", plan);
    for _ in 0..random.index(3) {
        request(&mut script, random, "");
    }
    let ask = draw_ask(random, 10, Rule::Never);
    match random.index(NONSENSE.len() + 3) {
        0 => {
            let long = "a".repeat(20_000);
            head(&mut script.out, &format!("GET /{long} HTTP/1.1"), &ask, "");
        }
        1 => {
            let fields = format!("X: {}\r\n", "a".repeat(70_000));
            head(&mut script.out, "GET /now HTTP/1.1", &ask, &fields);
        }
        2 => {
            let bytes = (0..100).map(|_| random.number() as u8 | 0x80);
            script.out.extend(bytes.collect::<Vec<u8>>());
            script.out.extend_from_slice(b"\r\n\r\n");
        }
        index => {
            let text = NONSENSE[index - 3];
            let value = ask.value();
            let value = std::str::from_utf8(&value).expect("digits");
            script
                .out
                .extend_from_slice(text.replace("{ask}", value).as_bytes());
        }
    }
    // What follows must not be taken for a request.
    let hidden = draw_ask(random, 10, Rule::Never);
    head(&mut script.out, "GET /now HTTP/1.1", &hidden, "");
    script.expects.push_back(refused(REFUSED));
    script.after = After::AwaitEnd {
        not_before: None,
        within: AT_ONCE,
    };
    script
}
