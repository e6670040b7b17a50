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
use crate::ring::sys::FileSystem;
use crate::ring::sys::Listed;
use crate::ring::sys::Metadata;

/// When all files were last modified: seconds since 1970.
const MODIFIED_SECONDS: u64 = 1_700_000_000;

/// Paths and what is there.
#[derive(Default)]
pub(super) struct Files {
    entries: BTreeMap<PathBuf, Entry>,
    /// The real descriptors that were handed out, and the memory file of each.
    opened: BTreeMap<RawFd, u64>,
    /// Inodes given out.
    made: u64,
}

struct Entry {
    kind: Kind,
    memory: File,
    inode: u64,
}

enum Kind {
    Directory,
    /// With so many bytes.
    File(u64),
}

impl Files {
    /// Adds a file and the directories above it.
    pub(super) fn add(&mut self, path: &Path, content: &[u8]) {
        for above in path.ancestors().skip(1) {
            if !self.entries.contains_key(above) {
                self.put(above, Kind::Directory, &[]);
            }
        }
        self.put(path, Kind::File(content.len() as u64), content);
    }

    /// Puts something in the place of what is there: who has that open keeps it.
    fn put(&mut self, path: &Path, kind: Kind, content: &[u8]) {
        self.made += 1;
        let entry = Entry {
            kind,
            memory: memory_file(content),
            inode: self.made,
        };
        self.entries.insert(path.to_owned(), entry);
    }

    /// unlink(2).
    pub(super) fn remove(&mut self, path: &Path) {
        self.entries.remove(path);
    }

    /// True when there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Device and inode of a directory.
    pub(super) fn directory(&self, path: &Path) -> io::Result<(u64, u64)> {
        match self.entries.get(path) {
            Some(entry) if self.is_directory(path) => Ok((0, entry.inode)),
            _ => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        }
    }

    /// True for a directory.
    fn is_directory(&self, path: &Path) -> bool {
        self.entries
            .get(path)
            .is_some_and(|entry| matches!(entry.kind, Kind::Directory))
    }

    /// openat2(2) with RESOLVE_BENEATH.
    pub(super) fn open(
        &mut self,
        directory: &Path,
        relative: &Path,
    ) -> io::Result<(File, Metadata)> {
        let entry = self.find(directory, relative)?;
        let file = entry.memory.try_clone()?;
        let memory = file.metadata()?.ino();
        let metadata = metadata(entry);
        self.opened.insert(file.as_raw_fd(), memory);
        Ok((file, metadata))
    }

    /// The same without opening it.
    pub(super) fn look(&self, directory: &Path, relative: &Path) -> io::Result<Metadata> {
        self.find(directory, relative).map(metadata)
    }

    fn find(&self, directory: &Path, relative: &Path) -> io::Result<&Entry> {
        let path = beneath(directory, relative)?;
        self.entries
            .get(&path)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
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
    ) -> io::Result<Listed> {
        let path = beneath(directory, relative)?;
        if !self.is_directory(&path) {
            return Err(io::Error::from_raw_os_error(libc::ENOTDIR));
        }
        let directory = self.look(directory, relative)?;
        let children = self
            .entries
            .iter()
            .filter(|(name, _)| name.parent() == Some(&path));
        let entries = children.map(|(name, entry)| DirEntry {
            name: name.file_name().map(OsString::from).unwrap_or_default(),
            metadata: metadata(entry),
        });
        let mut entries: Vec<_> = entries.take(count_max.saturating_add(1)).collect();
        let is_cut = entries.len() > count_max;
        entries.truncate(count_max);
        Ok(Listed {
            entries,
            is_cut,
            directory,
            file_system: FileSystem::Local,
        })
    }
}

fn metadata(entry: &Entry) -> Metadata {
    let (is_dir, len) = match entry.kind {
        Kind::Directory => (true, 0),
        Kind::File(len) => (false, len),
    };
    Metadata {
        is_dir,
        is_file: !is_dir,
        len,
        modified_seconds: MODIFIED_SECONDS,
        modified_nanoseconds: 0,
        device: 0,
        inode: entry.inode,
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
