//! Files on overlayfs, which is what containers see: it does not say what is in memory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::process;
use crate::process::Server;

/// Two layers, mounted read-only. It takes root to do that.
struct Overlay {
    folder: TempDir,
}

impl Overlay {
    fn mount(files: &[(&str, &[u8])]) -> Overlay {
        let overlay = Overlay {
            folder: TempDir::new().expect("a folder"),
        };
        let path = |name: &str| overlay.folder.path().join(name);
        for name in ["lower", "empty", "seen"] {
            fs::create_dir(path(name)).expect("a folder");
        }
        for (name, content) in files {
            fs::write(path("lower").join(name), content).expect("a file");
        }
        let (lower, empty) = (path("lower"), path("empty"));
        let layers = format!("ro,lowerdir={}:{}", lower.display(), empty.display());
        run(Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &layers])
            .arg(overlay.seen()));
        overlay
    }

    fn seen(&self) -> PathBuf {
        self.folder.path().join("seen")
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        run(Command::new("umount").arg("--lazy").arg(self.seen()));
    }
}

fn run(command: &mut Command) {
    let status = command.status().expect("a program of util-linux");
    assert!(status.success(), "{command:?}: as root?");
}

fn fetch(server: &Server, path: &str, range: Option<&str>) -> Vec<u8> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", &server.url(path)]);
    if let Some(range) = range {
        curl.args(["--range", range]);
    }
    let mut body = Vec::new();
    process::for_each_piece(&mut curl, |piece| body.extend_from_slice(piece));
    body
}

#[test]
fn files_of_containers_are_sent_as_they_are() {
    let bytes = (0..1_u32 << 20).map(|index| (index * 31 % 251) as u8);
    let large: Vec<u8> = bytes.collect();
    let files: [(&str, &[u8]); 3] = [("large", &large), ("small", &large[..100]), ("empty", b"")];
    let overlay = Overlay::mount(&files);
    let server = Server::serve(overlay.seen());
    for (path, range, expected) in [
        ("/large", None, &large[..]),
        ("/large", Some("1000-9999"), &large[1_000..10_000]),
        ("/large", Some("-70000"), &large[large.len() - 70_000..]),
        ("/small", None, &large[..100]),
        ("/empty", None, b""),
    ] {
        let body = fetch(&server, path, range);
        assert!(body == expected, "{path} {range:?}: {} bytes", body.len());
    }
    // They are in memory: a thread of the kernel that reads for the ring shows that nobody knew.
    let threads = server.threads();
    let is_one = |name: &String| name.starts_with("iou-wrk");
    assert!(!threads.iter().any(is_one), "{threads:?}");
    drop(server);
}
