//! Starts our programs and other people's for the tests that need processes.
#![allow(dead_code, reason = "each test uses its part")]

use std::ffi::OsStr;
use std::fs;
use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Read as _;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStderr;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::thread;

/// The binary under test.
pub fn roundtrip() -> Command {
    Command::new(env!("CARGO_BIN_EXE_roundtrip"))
}

/// An example, built beforehand into the folder beside this test's.
pub fn example(name: &str) -> Command {
    example_in(2, "", name)
}

/// An example of the profile for development, built beforehand whatever this test's profile is.
pub fn development_example(name: &str) -> Command {
    example_in(3, "debug", name)
}

/// Above this test's program, `target/PROFILE/deps/test`, and from there in a profile.
fn example_in(above: usize, profile: &str, name: &str) -> Command {
    let test = std::env::current_exe().expect("a running test");
    let folder = test.ancestors().nth(above).expect("target/PROFILE/deps");
    let path = folder.join(profile).join("examples").join(name);
    assert!(path.exists(), "{} is not built", path.display());
    Command::new(path)
}

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    /// `HOST:PORT`.
    pub address: String,
}

impl Server {
    /// Starts it, and waits for the line that says where it listens.
    pub fn start(command: &mut Command) -> Server {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on http://");
        let address = address.unwrap_or_else(|| panic!("the server said {line:?}"));
        let address = address.trim_end_matches('/').to_owned();
        // What it prints later must not fill the pipe.
        thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Server { child, address }
    }

    /// `roundtrip serve` for a folder.
    pub fn serve(folder: impl AsRef<OsStr>) -> Server {
        let mut command = roundtrip();
        command
            .arg("serve")
            .arg(folder)
            .args(["--addr", "127.0.0.1:0", "--workers", "1"]);
        Server::start(&mut command)
    }

    /// The example `echo`.
    pub fn echo() -> Server {
        Server::start(example("echo").args(["127.0.0.1:0", "1"]))
    }

    /// `http://HOST:PORT` and the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The most memory it has used (VmHWM).
    pub fn peak_resident_bytes(&self) -> u64 {
        peak_resident_bytes(self.child.id()).expect("it runs")
    }

    /// Descriptors below a number that it has not open; what it inherited may lie above.
    pub fn free_descriptors(&self, max: usize) -> usize {
        let folder = PathBuf::from(format!("/proc/{}/fd", self.child.id()));
        let is_free = |number: &usize| fs::read_link(folder.join(number.to_string())).is_err();
        (0..max).filter(is_free).count()
    }

    /// Descriptors that it has open of what lies beneath a folder.
    pub fn open_paths(&self, folder: &Path) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.child.id())).expect("it runs");
        let links = open.filter_map(|one| fs::read_link(one.ok()?.path()).ok());
        links.filter(|link| link.starts_with(folder)).count()
    }

    /// Seconds of processor time it has used so far (proc(5), schedstat of each thread).
    pub fn processor_seconds(&self) -> f64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let nanoseconds = tasks.expect("it runs").flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        nanoseconds.sum::<u64>() as f64 / 1e9
    }

    /// The names of its threads, with those that the kernel runs for it.
    pub fn threads(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let names = tasks
            .expect("it runs")
            .flatten()
            .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.collect()
    }

    /// What it says on standard error, if that is a pipe.
    pub fn stderr(&mut self) -> ChildStderr {
        self.child.stderr.take().expect("a pipe")
    }

    /// Sends a signal by name (`TERM`).
    pub fn signal(&self, signal: &str) {
        let done = Command::new("kill")
            .args(["-s", signal, &self.child.id().to_string()])
            .status();
        assert!(done.expect("kill(1)").success());
    }

    /// Sends a signal by name (`TERM`) and waits for the end.
    pub fn end(mut self, signal: &str) -> std::process::ExitStatus {
        self.signal(signal);
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The most memory that a running process has used (VmHWM); `None` once it ends.
fn peak_resident_bytes(process: u32) -> Option<u64> {
    let path = format!("/proc/{process}/status");
    let status = fs::read_to_string(path).expect("the process still runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib = line.split_whitespace().nth(1).expect("KiB");
    Some(kib.parse::<u64>().expect("KiB") * 1024)
}

/// Runs a program that must exist and succeed; its standard output.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output.stdout
}

/// The same, as text.
pub fn text(command: &mut Command) -> String {
    String::from_utf8(output(command)).expect("UTF-8 output")
}

/// Runs a program that must exist.
pub fn run(command: &mut Command) -> Output {
    command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
}

/// Reads standard output of a program piece by piece, and checks that it succeeded. Returns the
/// most memory it was seen to use.
pub fn for_each_piece(command: &mut Command, mut each: impl FnMut(&[u8])) -> u64 {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut piece = vec![0; 256 * 1024];
    let mut peak = 0;
    for round in 0.. {
        let length = stdout.read(&mut piece).expect("a pipe");
        if length == 0 {
            break;
        }
        each(&piece[..length]);
        if round % 64 == 0 {
            peak = peak_resident_bytes(child.id()).unwrap_or(peak);
        }
    }
    let status = child.wait().expect("it ends");
    assert!(status.success(), "{command:?}: {status}");
    peak
}
