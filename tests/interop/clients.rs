//! Client libraries: Python's requests and Node's fetch.

use std::process::Command;

use crate::interop::files;
use crate::process;
use crate::process::Server;

const PYTHON: &str = r#"
import sys
import requests

serve, echo = sys.argv[1:]
numbers = bytes(index % 251 for index in range(100000))
session = requests.Session()
for _ in range(20):
    answer = session.get(serve + "/a.txt", timeout=10)
    assert answer.status_code == 200 and answer.text == "the letter a\n", answer
assert session.get(serve + "/numbers.bin", timeout=10).content == numbers
part = session.get(serve + "/numbers.bin", headers={"Range": "bytes=5-9"}, timeout=10)
assert part.status_code == 206 and part.content == numbers[5:10], part
assert part.headers["Content-Range"] == "bytes 5-9/100000", part.headers
assert session.head(serve + "/numbers.bin", timeout=10).headers["Content-Length"] == "100000"
assert session.get(serve + "/missing", timeout=10).status_code == 404
tag = session.get(serve + "/a.txt", timeout=10).headers["ETag"]
same = session.get(serve + "/a.txt", headers={"If-None-Match": tag}, timeout=10)
assert same.status_code == 304 and same.content == b"", same
moved = session.get(serve + "/listed", timeout=10)
assert moved.status_code == 200 and moved.url.endswith("/listed/"), moved.url
assert session.post(echo + "/echo", data=numbers, timeout=10).content == numbers
def pieces():
    for start in range(0, len(numbers), 7777):
        yield numbers[start:start + 7777]
assert session.post(echo + "/echo", data=pieces(), timeout=10).content == numbers
assert session.post(echo + "/echo", data=b"", timeout=10).content == b""
streamed = session.get(serve + "/numbers.bin", stream=True, timeout=10)
assert b"".join(streamed.iter_content(1000)) == numbers
print("fine")
"#;

const NODE: &str = r#"
const [serve, echo] = process.argv.slice(1);
const assert = require("node:assert");
const numbers = Buffer.from(Array.from({ length: 100000 }, (_, index) => index % 251));
const bytes = async answer => Buffer.from(await answer.arrayBuffer());
(async () => {
  for (let round = 0; round < 20; round++) {
    const answer = await fetch(serve + "/a.txt");
    assert.equal(answer.status, 200);
    assert.equal(await answer.text(), "the letter a\n");
  }
  const all = await Promise.all(Array.from({ length: 32 }, () => fetch(serve + "/numbers.bin").then(bytes)));
  for (const one of all) assert.ok(one.equals(numbers));
  const part = await fetch(serve + "/numbers.bin", { headers: { Range: "bytes=5-9" } });
  assert.equal(part.status, 206);
  assert.ok((await bytes(part)).equals(numbers.subarray(5, 10)));
  assert.equal((await fetch(serve + "/a.txt", { method: "HEAD" })).headers.get("content-length"), "13");
  assert.equal((await fetch(serve + "/missing")).status, 404);
  assert.ok((await bytes(await fetch(echo + "/echo", { method: "POST", body: numbers }))).equals(numbers));
  const stream = new ReadableStream({
    start(controller) {
      for (let at = 0; at < numbers.length; at += 7777) controller.enqueue(numbers.subarray(at, at + 7777));
      controller.close();
    },
  });
  const streamed = await fetch(echo + "/echo", { method: "POST", body: stream, duplex: "half" });
  assert.ok((await bytes(streamed)).equals(numbers));
  console.log("fine");
})().catch(error => { console.error(error); process.exit(1); });
"#;

#[test]
fn python_requests() {
    let folder = files::folder();
    let (serve, echo) = (Server::serve(folder.path()), Server::echo());
    // Debian's own Python has Debian's package; another one may be first in PATH.
    let said = process::text(
        Command::new("/usr/bin/python3")
            .args(["-c", PYTHON, &serve.url(""), &echo.url("")])
            .env("NO_PROXY", "*"),
    );
    assert_eq!(said, "fine\n");
}

#[test]
fn node_fetch() {
    let folder = files::folder();
    let (serve, echo) = (Server::serve(folder.path()), Server::echo());
    let said =
        process::text(Command::new("node").args(["-e", NODE, &serve.url(""), &echo.url("")]));
    assert_eq!(said, "fine\n");
}

#[test]
fn the_profile_for_containers_is_valid() {
    let profile = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/seccomp.json");
    let script = "import json, sys\n\
        rules = json.load(open(sys.argv[1]))['syscalls']\n\
        allowed = {name for rule in rules if rule['action'] == 'SCMP_ACT_ALLOW' for name in rule['names']}\n\
        needed = {'io_uring_setup', 'io_uring_enter', 'io_uring_register', 'openat2', 'accept4'}\n\
        assert needed <= allowed, needed - allowed\n";
    process::output(Command::new("/usr/bin/python3").args(["-c", script, profile]));
}
