//! Files of a simulation: anonymous memory (memfd_create(2)), so that whoever holds an open file
//! holds a real one, and nothing touches a disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::fd::RawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

use nix::sys::memfd::MFdFlags;
use nix::sys::memfd::memfd_create;

use crate::ring::sys::DirEntry;
use crate::ring::sys::File;
use crate::ring::sys::Metadata;

/// When all files were last modified: seconds since 1970.
const MODIFIED_SECONDS: u64 = 1_700_000_000;

/// Paths and what is there.
#[derive(Default)]
pub(super) struct Files {
    entries: BTreeMap<PathBuf, Entry>,
    /// The real descriptors that were handed out, and the memory file of each.
    opened: BTreeMap<RawFd, u64>,
}

enum Entry {
    Directory(File),
    File(File, u64),
}

impl Files {
    /// Adds a file and the directories above it.
    pub(super) fn add(&mut self, path: &Path, content: &[u8]) {
        for above in path.ancestors().skip(1) {
            let entry = || Entry::Directory(memory_file(&[]));
            self.entries.entry(above.to_owned()).or_insert_with(entry);
        }
        let entry = Entry::File(memory_file(content), content.len() as u64);
        self.entries.insert(path.to_owned(), entry);
    }

    /// True when there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True for a directory.
    pub(super) fn is_directory(&self, path: &Path) -> bool {
        matches!(self.entries.get(path), Some(Entry::Directory(_)))
    }

    /// openat2(2) with RESOLVE_BENEATH.
    pub(super) fn open(
        &mut self,
        directory: &Path,
        relative: &Path,
    ) -> io::Result<(File, Metadata)> {
        let path = beneath(directory, relative)?;
        let (inode, entry) = self
            .entries
            .iter()
            .enumerate()
            .find(|(_, (name, _))| **name == path)
            .map(|(inode, (_, entry))| (inode as u64 + 1, entry))
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
        let file = match entry {
            Entry::Directory(file) | Entry::File(file, _) => file.try_clone()?,
        };
        let memory = file.metadata()?.ino();
        self.opened.insert(file.as_raw_fd(), memory);
        Ok((file, metadata(entry, inode)))
    }

    /// A file without a name.
    pub(super) fn temporary(&mut self) -> io::Result<File> {
        let file = memory_file(&[]);
        self.opened.insert(file.as_raw_fd(), file.metadata()?.ino());
        Ok(file)
    }

    /// How many of the files that were opened are open. A number that has another file by now was
    /// closed.
    pub(super) fn open_count(&self) -> usize {
        let is_open = |(fd, memory): &(&RawFd, &u64)| {
            let found = fs::metadata(format!("/proc/self/fd/{fd}"));
            found.is_ok_and(|found| found.ino() == **memory)
        };
        self.opened.iter().filter(is_open).count()
    }

    /// The entries of a directory.
    pub(super) fn list(
        &self,
        directory: &Path,
        relative: &Path,
        count_max: usize,
    ) -> io::Result<Vec<DirEntry>> {
        let path = beneath(directory, relative)?;
        if !self.is_directory(&path) {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        let children = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, (name, _))| name.parent() == Some(&path));
        let entries = children.map(|(inode, (name, entry))| DirEntry {
            name: name.file_name().map(OsString::from).unwrap_or_default(),
            metadata: metadata(entry, inode as u64 + 1),
        });
        Ok(entries.take(count_max).collect())
    }
}

fn metadata(entry: &Entry, inode: u64) -> Metadata {
    let (is_dir, len) = match entry {
        Entry::Directory(_) => (true, 0),
        Entry::File(_, len) => (false, *len),
    };
    Metadata {
        is_dir,
        is_file: !is_dir,
        len,
        modified_seconds: MODIFIED_SECONDS,
        modified_nanoseconds: 0,
        inode,
        changed: (0, 0),
    }
}

/// The path without `.` and `..`; EXDEV where it leads out.
fn beneath(directory: &Path, relative: &Path) -> io::Result<PathBuf> {
    let out = || io::Error::from_raw_os_error(libc::EXDEV);
    let mut path = directory.to_owned();
    let mut depth = 0;
    for component in relative.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                if std::os::unix::ffi::OsStrExt::as_bytes(name).contains(&0) {
                    return Err(io::Error::from_raw_os_error(libc::EINVAL));
                }
                path.push(name);
                depth += 1;
            }
            Component::ParentDir if depth > 0 => {
                path.pop();
                depth -= 1;
            }
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Err(out()),
        }
    }
    Ok(path)
}

fn memory_file(content: &[u8]) -> File {
    let fd = memfd_create(c"roundtrip-simulation", MFdFlags::MFD_CLOEXEC)
        .expect("memory for a file of the simulation");
    let mut file = File::from(fd);
    file.write_all(content)
        .expect("memory for a file of the simulation");
    file
}
