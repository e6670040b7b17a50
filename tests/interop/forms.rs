//! Forms as others write them: curl, Python's requests, Node's `FormData`.

use std::future::pending;
use std::process::Command;
use std::thread;
use std::time::Duration;

use roundtrip::Request;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::server::form::FormOptions;

use crate::process;

/// Fields and files of a form, one per line; of a file its length and the sum of its bytes.
async fn show(mut request: Request) -> roundtrip::Result<String> {
    let mut text = String::new();
    if request.path() == "/plain" {
        for (name, value) in request.form().await?.iter() {
            text += &format!("{name}={value}\n");
        }
        return Ok(text);
    }
    let form = request.multipart_form(FormOptions::default()).await?;
    for (name, value) in form.fields() {
        text += &format!("{name}={value}\n");
    }
    for file in form.all_files() {
        let bytes = file.bytes(10 << 20).await?;
        let sum = bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let (name, file_name) = (file.name(), file.file_name());
        text += &format!("{name}: {file_name} {} {sum}\n", bytes.len());
    }
    Ok(text)
}

/// Runs `check` with the address of a server that shows forms.
fn with_server(check: impl FnOnce(&str)) {
    let router = Router::new().post("/{path...}", show);
    let server = Server::new(router).bind("127.0.0.1:0").unwrap().workers(1);
    let server = server.shutdown_timeout(Duration::from_secs(3));
    let url = format!("http://{}", server.local_addr().unwrap());
    let handle = server.handle();
    let running = thread::spawn(|| server.run_until(pending()));
    check(&url);
    handle.shutdown();
    running.join().unwrap().unwrap();
}

const SHOWN: &str = "name=J\u{f6}rg & \"co\"\nempty=\nphoto: a b.bin 3000000 373500000\n";

#[test]
fn curl() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.bin");
    let bytes: Vec<u8> = (0..3_000_000u32).map(|index| (index % 250) as u8).collect();
    std::fs::write(&path, bytes).unwrap();
    with_server(|url| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20"]);
        command.args([
            "--form-string",
            "name=J\u{f6}rg & \"co\"",
            "--form",
            "empty=",
        ]);
        let photo = format!("photo=@\"{}\"", path.display());
        command.args(["--form", &photo, &format!("{url}/")]);
        assert_eq!(process::text(&mut command), SHOWN);
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20"]);
        command.args(["--data-urlencode", "a=x & y=+%", "--data", "b="]);
        let text = process::text(command.arg(format!("{url}/plain")));
        assert_eq!(text, "a=x & y=+%\nb=\n");
    });
}

const PYTHON: &str = r#"
import sys
import requests
url = sys.argv[1]
numbers = bytes(index % 250 for index in range(3000000))
fields = [("name", "J\u00f6rg & \"co\""), ("empty", "")]
files = [("photo", ("a b.bin", numbers, "image/png"))]
print(requests.post(url + "/", data=fields, files=files, timeout=10).text, end="")
print(requests.post(url + "/plain", data=[("a", "x & y=+%"), ("b", "")], timeout=10).text, end="")
"#;

#[test]
fn python_requests() {
    with_server(|url| {
        let text = process::text(Command::new("/usr/bin/python3").args(["-c", PYTHON, url]));
        assert_eq!(text, format!("{SHOWN}a=x & y=+%\nb=\n"));
    });
}

const NODE: &str = r#"
const url = process.argv[1];
(async () => {
  const numbers = Uint8Array.from({ length: 3000000 }, (_, index) => index % 250);
  const form = new FormData();
  form.append("name", "J\u00f6rg & \"co\"");
  form.append("empty", "");
  form.append("photo", new Blob([numbers]), "a b.bin");
  let text = await (await fetch(url + "/", { method: "POST", body: form })).text();
  const plain = new URLSearchParams([["a", "x & y=+%"], ["b", ""]]);
  text += await (await fetch(url + "/plain", { method: "POST", body: plain })).text();
  process.stdout.write(text);
})();
"#;

#[test]
fn node_form_data() {
    with_server(|url| {
        let text = process::text(Command::new("node").args(["-e", NODE, url]));
        assert_eq!(text, format!("{SHOWN}a=x & y=+%\nb=\n"));
    });
}
