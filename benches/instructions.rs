//! Instructions per request, counted by callgrind on the real ring: what changes in it is the code,
//! not the machine's mood.
//!
//! ```text
//!   this process ── N requests, one after the other ──► valgrind ─ the same program, one scenario
//!              └─── 2 N requests ─────────────────────► valgrind ─ again
//!                                (2nd − 1st) ÷ N = instructions per request
//! ```
//! `make instructions`, or `cargo bench --bench instructions [-- SCENARIO …]`. Start and end are in
//! both runs, so they cancel out; a run differs from the next by a timer's tick or two: the median
//! of three is printed. The kernel's part is not counted. All scenarios together write
//! `benches/instructions.md`; what stood there is compared.
//!
//! valgrind runs one thread at a time and lets no other run while one waits in io_uring_enter(2): so
//! the server runs on one thread (`Server::run_here`). And valgrind 3.19 knows no openat2(2): so the
//! file is a body over an open file, and the look at its name, which `files` adds, is not counted.

use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::OnceLock;

use roundtrip::Body;
use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Response;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::server::ServerHandle;

/// Requests of the shorter run; a multiple of the largest batch.
const REQUESTS: usize = 1_600;
const ROUNDS: usize = 3;
const TABLE: &str = "benches/instructions.md";
const HELLO_BODY: &str = "Hello, World!";

/// What is asked, and how often per write.
struct Scenario {
    name: &'static str,
    about: &'static str,
    request: fn() -> String,
    batch: usize,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "hello",
        about: "`GET /`, a synchronous handler, one connection",
        request: || get("/"),
        batch: 1,
    },
    Scenario {
        name: "pipelined",
        about: "the same, 16 requests per write",
        request: || get("/"),
        batch: 16,
    },
    Scenario {
        name: "asynchronous",
        about: "an asynchronous handler that is ready at once",
        request: || get("/later"),
        batch: 1,
    },
    Scenario {
        name: "routed",
        about: "100 routes with a parameter, `before`, `after` and `around`",
        request: || get("/routed/50/items/7"),
        batch: 1,
    },
    Scenario {
        name: "fields",
        about: "20 header fields, one of them read",
        request: twenty_fields,
        batch: 1,
    },
    Scenario {
        name: "echo",
        about: "`POST /echo`, three chunks of 1 KiB, streamed both ways",
        request: chunked_upload,
        batch: 1,
    },
    Scenario {
        name: "file",
        about: "a file of 4 KiB that is open",
        request: || get("/file"),
        batch: 1,
    },
    Scenario {
        name: "client",
        about: "`Client::get`, a reused connection, the body read",
        request: String::new,
        batch: 1,
    },
];

fn main() -> io::Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let names: Vec<String> = match arguments.next().as_deref() {
        Some("--serve") => return serve().map_err(Into::into),
        Some("--ask") => return ask(arguments).map_err(Into::into),
        first => first
            .map(str::to_owned)
            .into_iter()
            .chain(arguments)
            .collect(),
    };
    let before = fs::read_to_string(TABLE).unwrap_or_default();
    let mut table = String::from(HEADER);
    for scenario in SCENARIOS {
        if !names.is_empty() && !names.iter().any(|name| name == scenario.name) {
            continue;
        }
        let (least, median, most) = measure(scenario)?;
        let (name, about) = (scenario.name, scenario.about);
        writeln!(table, "| {name} | {about} | {median} | {least} … {most} |")
            .expect("memory takes all that is written");
        match figure_in(&before, name) {
            Some(was) if was > 0 => {
                let change = 100.0 * (median as f64 / was as f64 - 1.0);
                println!("{name:13} {median:8}  was {was:8}  {change:+.1} %");
            }
            _ => println!("{name:13} {median:8}"),
        }
    }
    if names.is_empty() {
        fs::write(TABLE, table)?;
    }
    Ok(())
}

const HEADER: &str = "\
# Instructions per request

What `make instructions` counted last, in user space, one worker, Rust 1.95, x86-64 with AVX2: the
median of three, and the least and the most. A change that touches a request's way runs it again and
quotes what it printed. Other compilers and processors give other figures: compare on one machine.

| scenario | what it is | instructions | least … most |
|---|---|---:|---:|
";

/// The figure of a scenario in a table that was written before.
fn figure_in(table: &str, name: &str) -> Option<u64> {
    let row = table
        .lines()
        .find(|line| line.starts_with(&format!("| {name} |")))?;
    row.split('|').nth(3)?.trim().parse().ok()
}

// ---- what is asked ---------------------------------------------------------------------------

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")
}

fn twenty_fields() -> String {
    let mut text = String::from("GET /fields HTTP/1.1\r\nHost: www.example.com\r\n");
    for number in 1..=18 {
        write!(text, "X-Field-{number}: the value of field {number}\r\n")
            .expect("memory takes all that is written");
    }
    text + "Accept: text/html,application/xhtml+xml\r\n\r\n"
}

fn chunked_upload() -> String {
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let head = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    format!("{head}{}0\r\n\r\n", chunk.repeat(3))
}

// ---- the measured process --------------------------------------------------------------------

fn router() -> io::Result<Router> {
    let mut routed = Router::new();
    for number in 0..100 {
        routed = routed.get(&format!("/{number}/items/{{id}}"), |r: &Request| {
            r.param("id").to_owned()
        });
    }
    let routed = routed
        .before(|request: &mut Request| match request.param("id") {
            "stop" => Some("stopped"),
            _ => None,
        })
        .after(|response: Response| response.header("X-After", "yes"))
        .around(|_: &mut Request| |response: Response| response.header("X-Around", "yes"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("4k");
    fs::write(&path, [b'x'; 4096])?;
    let file = Arc::new(File::open(path)?);
    Ok(Router::new()
        .get("/{$}", |_: &Request| HELLO_BODY)
        .get("/later", async |_: Request| HELLO_BODY)
        .get("/fields", |r: &Request| {
            r.headers().get("x-field-18").map(str::to_owned)
        })
        .post("/echo", async |r: Request| {
            Response::new().body(r.into_body())
        })
        .get("/file", move |_: &Request| {
            Response::new().body(Body::file(Arc::clone(&file), 0..4096))
        })
        .nest("/routed", routed))
}

/// Serves until `GET /end`.
fn serve() -> roundtrip::Result<()> {
    let handle = Arc::new(OnceLock::<ServerHandle>::new());
    let own = Arc::clone(&handle);
    let router = router()?.get("/end", move |_: &Request| {
        own.get().map(ServerHandle::shutdown)
    });
    let server = Server::new(router).bind("127.0.0.1:0")?;
    let _ = handle.set(server.handle());
    for address in server.addresses() {
        println!("{address}");
    }
    roundtrip::block_on(server.run_here())
}

/// Asks for `URL`, `COUNT` times.
fn ask(mut arguments: impl Iterator<Item = String>) -> roundtrip::Result<()> {
    let url = arguments.next().expect("--ask URL COUNT");
    let count = arguments.next().and_then(|count| count.parse().ok());
    roundtrip::block_on(async {
        let client = Client::new();
        for _ in 0..count.expect("--ask URL COUNT") {
            let text = client.get(url.as_str()).send().await?.text().await?;
            assert_eq!(text, HELLO_BODY);
        }
        Ok(())
    })
}

// ---- the measuring process -------------------------------------------------------------------

/// The least, the median and the most of a few rounds.
fn measure(scenario: &Scenario) -> io::Result<(u64, u64, u64)> {
    let mut rounds = [0; ROUNDS];
    for round in &mut rounds {
        let run = match scenario.name {
            "client" => run_client,
            _ => run_server,
        };
        let (short, long) = (run(scenario, REQUESTS)?, run(scenario, 2 * REQUESTS)?);
        *round = long.saturating_sub(short) / REQUESTS as u64;
    }
    rounds.sort_unstable();
    Ok((rounds[0], rounds[ROUNDS / 2], rounds[ROUNDS - 1]))
}

/// This program under callgrind.
fn counted(arguments: &[&str]) -> io::Result<Child> {
    Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::other(format!("valgrind cannot be run: {error}")))
}

/// Waits for its end, and reads the count that callgrind prints.
fn count(child: Child) -> io::Result<u64> {
    let output = child.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| {
        let (_, count) = line.split_once("Collected : ")?;
        count.trim().parse().ok()
    });
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(io::Error::other(format!("{}\n{text}", output.status))),
    }
}

fn run_server(scenario: &Scenario, requests: usize) -> io::Result<u64> {
    let mut child = counted(&["--serve"])?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().expect("it is piped")).read_line(&mut address)?;
    let Ok(address) = address.trim().parse::<SocketAddr>() else {
        return count(child);
    };
    let mut peer = Peer::connect(address)?;
    let text = (scenario.request)().repeat(scenario.batch);
    for _ in 0..requests / scenario.batch {
        peer.socket.write_all(text.as_bytes())?;
        for _ in 0..scenario.batch {
            peer.read_answer()?;
        }
    }
    peer.socket.write_all(get("/end").as_bytes())?;
    count(child)
}

fn run_client(_: &Scenario, requests: usize) -> io::Result<u64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/", listener.local_addr()?);
    std::thread::spawn(move || -> io::Result<()> {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{HELLO_BODY}");
        // A request is one segment on loopback.
        while socket.read(&mut [0; 4096])? > 0 {
            socket.write_all(answer.as_bytes())?;
        }
        Ok(())
    });
    count(counted(&["--ask", &url, &requests.to_string()])?)
}

/// A client that reads whole answers, and no more of HTTP than this server's.
struct Peer {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Peer {
    fn connect(address: SocketAddr) -> io::Result<Peer> {
        let socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let reader = BufReader::new(socket.try_clone()?);
        Ok(Peer { socket, reader })
    }

    fn read_answer(&mut self) -> io::Result<()> {
        let status = self.read_line()?;
        assert!(status.starts_with("HTTP/1.1 200 "), "{status}");
        let mut length = Some(0);
        loop {
            let line = self.read_line()?.to_ascii_lowercase();
            if line == "\r\n" {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().ok();
            }
            if line.starts_with("transfer-encoding: ") {
                length = None;
            }
        }
        match length {
            Some(length) => self.skip(length),
            None => loop {
                let line = self.read_line()?;
                let size = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                self.skip(size + 2)?;
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    fn read_line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line),
        }
    }

    fn skip(&mut self, bytes: usize) -> io::Result<()> {
        self.reader.read_exact(&mut vec![0; bytes])
    }
}
