//! Copies our examples `hello` and `echo`, so that they are built here with the allocator and the
//! profile of all the others. A module comment may not stand in an included file.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    for name in ["hello.rs", "echo.rs"] {
        let from = Path::new("../../../examples").join(name);
        println!("cargo::rerun-if-changed={}", from.display());
        let text = fs::read_to_string(&from).expect("the example exists");
        let text = text.replace("//!", "//");
        fs::write(Path::new(&out).join(name), text).expect("OUT_DIR is writable");
    }
}
