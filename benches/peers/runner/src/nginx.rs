//! nginx with `sendfile on`, and the folder of files that it and others serve.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::time::Instant;

use crate::load::WORKLOADS;
use crate::server;

fn folder() -> PathBuf {
    server::workspace().join("target/files")
}

/// The folder with a file for each workload that asks for one; written if they are not there.
pub fn files() -> io::Result<PathBuf> {
    let root = folder().join("root");
    fs::create_dir_all(&root)?;
    for (name, bytes) in WORKLOADS.iter().filter_map(|workload| workload.file) {
        let path = root.join(name);
        if fs::metadata(&path).is_ok_and(|found| found.len() == bytes) {
            continue;
        }
        let content: Vec<u8> = (0..bytes).map(|index| (index * 31 % 251) as u8).collect();
        fs::write(path, content)?;
    }
    root.canonicalize()
}

/// The same folder as a container sees it, through overlayfs; to mount that takes root. Dropping it
/// unmounts it.
pub struct Overlay;

impl Overlay {
    pub fn mount() -> io::Result<Overlay> {
        let (lower, empty, root) = (files()?, folder().join("empty"), overlaid());
        for folder in [&empty, &root] {
            fs::create_dir_all(folder)?;
        }
        let (lower, empty) = (lower.display(), empty.canonicalize()?);
        let layers = format!("ro,lowerdir={lower}:{}", empty.display());
        let mut command = Command::new("mount");
        command.args(["-t", "overlay", "overlay", "-o", &layers]);
        let output = command.arg(root).output()?;
        match output.status.success() {
            true => Ok(Overlay),
            false => Err(io::Error::other(
                String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            )),
        }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(overlaid()).status();
        assert!(status.is_ok_and(|status| status.success()), "umount failed");
    }
}

fn overlaid() -> PathBuf {
    folder().join("overlaid")
}

/// The folder with the files, or where [`Overlay`] shows it.
pub fn root(is_overlaid: bool) -> io::Result<PathBuf> {
    match is_overlaid {
        true => overlaid().canonicalize(),
        false => files(),
    }
}

/// nginx in one process, so that its CPU time is that of its one worker, on a free port; and its
/// address. As it is set up where files matter: sendfile, tcp_nopush, a cache of open files.
pub fn command(is_overlaid: bool) -> io::Result<(Command, String)> {
    let root = root(is_overlaid)?;
    let folder = folder().canonicalize()?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let shown = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("{name}_temp_path {shown}/{name};\n"))
        .collect();
    let text = format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {shown}/nginx.pid;\n\
         error_log {shown}/nginx.log warn;\nevents {{ worker_connections 4096; }}\nhttp {{\n\
         access_log off;\nsendfile on;\ntcp_nopush on;\n\
         open_file_cache max=1000 inactive=60s;\nkeepalive_requests 1000000000;\n\
         default_type application/octet-stream;\n{temporary}\
         server {{ listen {address}; root {}; }}\n}}\n",
        root.display()
    );
    let config = folder.join("nginx.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("nginx");
    command.arg("-p").arg(&folder).arg("-c").arg(config);
    Ok((command, address.to_string()))
}

/// Waits until it listens.
pub fn wait_for(address: &str) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > Duration::from_secs(5) => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
