//! Where it was measured, and with what.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Kernel, CPU and compiler, as `Linux 6.18, AMD EPYC, rustc 1.95`.
pub fn describe() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let cpu = cpu
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or("unknown CPU");
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!(
        "Linux {}, {cpu}, {}",
        kernel.trim(),
        rustc.unwrap_or_default()
    )
}

/// The versions of packages that the lock file of a workspace fixes, as `hyper 1.12.0, tokio 1.48.0`.
pub fn versions(workspace: &Path, names: &[&str]) -> String {
    let lock = fs::read_to_string(workspace.join("Cargo.lock")).unwrap_or_default();
    let found = names
        .iter()
        .map(|name| format!("{name} {}", version(&lock, name).unwrap_or("?")));
    found.collect::<Vec<String>>().join(", ")
}

fn version<'lock>(lock: &'lock str, name: &str) -> Option<&'lock str> {
    let start = lock.find(&format!("name = \"{name}\"\n"))?;
    lock[start..].lines().nth(1)?.split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_versions() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"1.2.3\"\n\n[[package]]\nname = \"b\"\n\
            version = \"4.0.0\"\n";
        assert_eq!(version(lock, "a-b"), Some("1.2.3"));
        assert_eq!(version(lock, "b"), Some("4.0.0"));
        assert_eq!(version(lock, "a"), None);
    }
}
