//! Files beneath a directory, their metadata, and listings. These calls may block: they run on the
//! blocking pool.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::Component;
use std::path::Path;
#[cfg(feature = "simulation")]
use std::path::PathBuf;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::fcntl::AtFlags;
use nix::fcntl::OFlag;
use nix::fcntl::OpenHow;
use nix::fcntl::ResolveFlag;
use nix::fcntl::openat2;
use nix::sys::stat::FileStat;
use nix::sys::stat::Mode;
use nix::sys::stat::SFlag;
use nix::sys::stat::fstat;
use nix::sys::stat::fstatat;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;

/// What a server needs to know of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// A directory.
    pub is_dir: bool,
    /// A regular file; anything else (pipe, device, socket) is not served.
    pub is_file: bool,
    /// Bytes.
    pub len: u64,
    /// Last modification, seconds since 1970; 0 for earlier ones.
    pub modified_seconds: u64,
    /// Nanoseconds of the last modification within its second.
    pub modified_nanoseconds: u32,
    /// The inode's number.
    pub inode: u64,
    /// Last change of content, name or rights, seconds since 1970 and nanoseconds: nobody can set it
    /// back.
    pub changed: (i64, i64),
}

impl Metadata {
    fn from_stat(stat: &FileStat) -> Metadata {
        let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
        Metadata {
            is_dir: kind == SFlag::S_IFDIR,
            is_file: kind == SFlag::S_IFREG,
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified_seconds: u64::try_from(stat.st_mtime).unwrap_or(0),
            modified_nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            inode: stat.st_ino,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// Its name, any bytes but `/` and NUL.
    pub name: OsString,
    /// What it is; symbolic links are followed.
    pub metadata: Metadata,
}

/// Where symbolic links may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Nowhere out of the directory.
    Inside,
    /// Anywhere.
    Followed,
}

/// An open directory beneath which files are opened.
#[derive(Debug)]
pub struct Directory {
    place: Place,
    identity: Identity,
}

/// Tells a directory from others: device and inode.
type Identity = (u64, u64);

#[derive(Debug)]
enum Place {
    Kernel(OwnedFd),
    #[cfg(feature = "simulation")]
    Simulated(PathBuf),
}

impl Directory {
    /// Opens `path`, which must be a directory.
    pub fn open(path: &Path) -> io::Result<Directory> {
        simulated!(calls::open_directory(path).map(|opened| {
            opened.map(|identity| Directory {
                place: Place::Simulated(path.to_owned()),
                identity,
            })
        }));
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = nix::fcntl::open(path, flags, Mode::empty())?;
        let stat = fstat(&fd)?;
        Ok(Directory {
            place: Place::Kernel(fd),
            identity: (stat.st_dev, stat.st_ino),
        })
    }

    /// True when both are one directory, whatever their paths are.
    pub fn is_same(&self, other: &Directory) -> bool {
        self.identity == other.identity
    }

    /// True when `path` names this directory now; without waiting, as [`Directory::look_beneath`].
    ///
    /// # Errors
    ///
    /// Those of openat2(2); `WouldBlock` where the kernel would have to ask a disk.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let identity = match &self.place {
            Place::Kernel(_) => {
                let how = OpenHow::new()
                    .flags(OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY)
                    .resolve(ResolveFlag::from_bits_retain(RESOLVE_CACHED));
                let stat = fstat(&openat2(AT_FDCWD, path, how)?)?;
                (stat.st_dev, stat.st_ino)
            }
            #[cfg(feature = "simulation")]
            Place::Simulated(_) => calls::look_at_directory(path)?,
        };
        Ok(identity == self.identity)
    }

    /// Opens a file or directory beneath this one for reading. The kernel refuses every way out
    /// (openat2(2) RESOLVE_BENEATH, since 5.6): `..`, absolute paths and links leading outside
    /// are EXDEV; links are followed anywhere if `links` says so. Without waiting for the other end
    /// of a pipe.
    pub fn open_beneath(&self, relative: &Path, links: Links) -> io::Result<(File, Metadata)> {
        match &self.place {
            Place::Kernel(directory) => open_beneath(directory, relative, links),
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::open_beneath(directory, relative),
        }
    }

    /// What a path beneath this directory names now, if the kernel knows without asking a disk or
    /// another machine (RESOLVE_CACHED, since 5.12), and without opening it (O_PATH): a call that may
    /// be made between two turns. On a network file system the attributes may be asked for.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open_beneath`]; `WouldBlock` where the kernel does not know.
    pub fn look_beneath(&self, relative: &Path, links: Links) -> io::Result<Metadata> {
        match &self.place {
            Place::Kernel(directory) => {
                let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
                let cached = ResolveFlag::from_bits_retain(RESOLVE_CACHED);
                let how = OpenHow::new()
                    .flags(flags)
                    .resolve(resolve(relative, links)? | cached);
                let fd = openat2(directory, relative, how)?;
                Ok(Metadata::from_stat(&fstat(&fd)?))
            }
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::look_beneath(directory, relative),
        }
    }

    /// Opens a file or directory beneath this one, and reads a file of up to `bytes_max` bytes, unless
    /// it changes meanwhile.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open_beneath`].
    pub fn open_and_read(
        &self,
        relative: &Path,
        links: Links,
        bytes_max: usize,
    ) -> io::Result<(File, Metadata, Option<Vec<u8>>)> {
        let (file, metadata) = self.open_beneath(relative, links)?;
        if !metadata.is_file || metadata.len > bytes_max as u64 {
            return Ok((file, metadata, None));
        }
        let mut content = vec![0; metadata.len as usize];
        let is_read = file.read_exact_at(&mut content, 0).is_ok();
        let is_same = match &self.place {
            Place::Kernel(_) => Metadata::from_stat(&fstat(&file)?) == metadata,
            #[cfg(feature = "simulation")]
            Place::Simulated(_) => true,
        };
        Ok((file, metadata, (is_read && is_same).then_some(content)))
    }

    /// Lists a directory beneath this one, without `.` and `..`, in no order. Entries that vanish
    /// meanwhile, and links that lead nowhere or outside, are left out. At most `count_max`.
    pub fn list(
        &self,
        relative: &Path,
        links: Links,
        count_max: usize,
    ) -> io::Result<Vec<DirEntry>> {
        match &self.place {
            Place::Kernel(directory) => list(directory, relative, links, count_max),
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::list(directory, relative, count_max),
        }
    }
}

/// Opens a file or directory for reading, wherever links lead; without waiting for the other end of a
/// pipe.
pub fn open_file(path: &Path) -> io::Result<(File, Metadata)> {
    simulated!(calls::open_file(path));
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let fd = nix::fcntl::open(path, flags, Mode::empty())?;
    let metadata = Metadata::from_stat(&fstat(&fd)?);
    Ok((File::from(fd), metadata))
}

fn open_beneath(
    directory: &OwnedFd,
    relative: &Path,
    links: Links,
) -> io::Result<(File, Metadata)> {
    let relative = if relative.as_os_str().is_empty() {
        Path::new(".")
    } else {
        relative
    };
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
        .resolve(resolve(relative, links)?);
    let fd = loop {
        match openat2(directory, relative, how) {
            // A rename raced with the walk; openat2(2) says to try again.
            Err(Errno::EAGAIN) => {}
            other => break other?,
        }
    };
    let metadata = Metadata::from_stat(&fstat(&fd)?);
    Ok((File::from(fd), metadata))
}

/// linux/openat2.h; not in nix.
const RESOLVE_CACHED: u64 = 0x20;

fn resolve(relative: &Path, links: Links) -> io::Result<ResolveFlag> {
    match links {
        Links::Inside => Ok(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS),
        // Links alone may lead out: the path itself may not.
        Links::Followed if leads_out(relative) => Err(Errno::EXDEV.into()),
        Links::Followed => Ok(ResolveFlag::RESOLVE_NO_MAGICLINKS),
    }
}

/// True for an absolute path, and for one with a `..`.
fn leads_out(relative: &Path) -> bool {
    relative
        .components()
        .any(|component| !matches!(component, Component::Normal(_) | Component::CurDir))
}

fn list(
    directory: &OwnedFd,
    relative: &Path,
    links: Links,
    count_max: usize,
) -> io::Result<Vec<DirEntry>> {
    let (file, _) = open_beneath(directory, relative, links)?;
    let mut dir = Dir::from_fd(OwnedFd::from(file))?;
    let names: Vec<OsString> = dir
        .iter()
        .take(count_max)
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_bytes().to_vec())
        .filter(|name| name != b"." && name != b"..")
        .map(OsString::from_vec)
        .collect();
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        if let Some(metadata) = entry_metadata(directory, &dir, &relative.join(&name), links) {
            entries.push(DirEntry { name, metadata });
        }
    }
    Ok(entries)
}

fn entry_metadata(directory: &OwnedFd, dir: &Dir, path: &Path, links: Links) -> Option<Metadata> {
    let name = path.file_name()?;
    let stat = fstatat(dir.as_fd(), name.as_bytes(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFLNK {
        return Some(Metadata::from_stat(&stat));
    }
    open_beneath(directory, path, links)
        .ok()
        .map(|(_, metadata)| metadata)
}
