//! Starts the servers of others. What they need is installed by `make interop`.

use std::fs;
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::interop::files::numbers;
use crate::process;
use crate::process::Server;

/// A server that runs until this is dropped.
pub struct Origin {
    pub name: &'static str,
    /// As it calls itself.
    pub version: String,
    /// `http://HOST:PORT`
    pub base: String,
    /// What ends when this is dropped, in this order.
    _server: Option<Server>,
    _guard: Option<Guard>,
    _folder: Option<TempDir>,
}

/// A server that does not say when it listens. It is asked to end: it may have processes of its own.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.0.wait();
    }
}

impl Origin {
    /// `HOST:PORT`
    pub fn address(&self) -> String {
        self.base.trim_start_matches("http://").to_owned()
    }
}

/// A file of this folder, or what was installed, from the root of the project.
fn path(name: &str) -> String {
    format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn source(name: &str) -> String {
    path(&format!("tests/interop/origins/{name}"))
}

fn speaking(name: &'static str, version: String, command: &mut Command) -> Origin {
    let server = Server::start(command);
    Origin {
        name,
        version,
        base: server.url(""),
        _server: Some(server),
        _guard: None,
        _folder: None,
    }
}

/// Go's net/http.
pub fn go() -> Origin {
    let tool = path("target/go/bin/go");
    let built = path("target/interop-go-server");
    let go = |arguments: &[&str]| {
        let mut command = Command::new(&tool);
        command
            .args(arguments)
            .env("GOCACHE", path("target/go/cache"))
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "-mod=mod")
            .env("GO111MODULE", "off")
            .env("GOTELEMETRY", "off");
        process::text(&mut command)
    };
    go(&["build", "-o", &built, &source("server.go")]);
    let version = go(&["version"]);
    let version = version
        .split(' ')
        .nth(2)
        .unwrap_or_default()
        .replacen("go", "Go ", 1);
    speaking("go", version, &mut Command::new(built))
}

/// Node's http.
pub fn node() -> Origin {
    let version = process::text(Command::new("node").arg("--version"));
    let version = format!("Node {}", version.trim().trim_start_matches('v'));
    speaking(
        "node",
        version,
        Command::new("node").arg(source("server.mjs")),
    )
}

/// Python's http.server.
pub fn python() -> Origin {
    let version = process::text(Command::new("/usr/bin/python3").arg("--version"));
    let mut command = Command::new("/usr/bin/python3");
    let version = format!("{} http.server", version.trim());
    speaking("python", version, command.arg(source("server.py")))
}

/// httpbin, in threads of gunicorn.
pub fn httpbin() -> Origin {
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let address = format!("127.0.0.1:{port}");
    let version = process::text(Command::new(path("target/httpbin/bin/gunicorn")).arg("--version"));
    let version = version.replace(['(', ')'], "").replace(" version", "");
    let mut command = Command::new(path("target/httpbin/bin/gunicorn"));
    command
        .args([
            "--bind",
            &address,
            "--worker-class",
            "gthread",
            "--threads",
            "8",
        ])
        .args(["--keep-alive", "2", "--log-level", "error", "httpbin:app"])
        .current_dir(folder.path());
    Origin {
        name: "httpbin",
        version: format!("httpbin, {}", version.trim()),
        base: format!("http://{address}"),
        _server: None,
        _guard: Some(silent(&mut command, &address)),
        _folder: Some(folder),
    }
}

/// nginx, with files, and before another server.
pub fn nginx(behind: &str) -> Origin {
    let port = free_port();
    let folder = tempfile::tempdir().expect("a folder");
    let files = folder.path().join("files");
    fs::create_dir_all(files.join("bytes")).expect("a folder");
    fs::write(files.join("hello"), "hello").expect("a file");
    fs::write(files.join("file"), numbers()).expect("a file");
    fs::write(files.join("bytes/100000"), numbers()).expect("a file");
    fs::write(folder.path().join("users"), "me:{PLAIN}se cret\n").expect("a file");
    let plan = fs::read_to_string(source("nginx.conf")).expect("the configuration");
    let plan = plan
        .replace("FOLDER", folder.path().to_str().expect("text"))
        .replace("PORT", &port.to_string())
        .replace("BEHIND", behind);
    let written = folder.path().join("nginx.conf");
    fs::write(&written, plan).expect("a file");
    let said = process::run(Command::new("nginx").arg("-v")).stderr;
    let said = String::from_utf8_lossy(&said);
    let version = said.trim().rsplit('/').next().unwrap_or_default();
    let mut command = Command::new("nginx");
    command
        .arg("-c")
        .arg(&written)
        .arg("-e")
        .arg(folder.path().join("error.log"));
    let address = format!("127.0.0.1:{port}");
    Origin {
        name: "nginx",
        version: format!("nginx {version}"),
        base: format!("http://{address}"),
        _server: None,
        _guard: Some(silent(&mut command, &address)),
        _folder: Some(folder),
    }
}

/// Starts a server, and waits until somebody listens.
fn silent(command: &mut Command, address: &str) -> Guard {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    let mut guard = Guard(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    for _ in 0..400 {
        if TcpStream::connect(address).is_ok() {
            return guard;
        }
        if let Ok(Some(status)) = guard.0.try_wait() {
            panic!("{command:?}: {status}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{command:?} does not listen");
}

/// A port that nobody has now.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("bound").port()
}
