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
use std::path::Path;
#[cfg(feature = "simulation")]
use std::path::PathBuf;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::fcntl::FcntlArg;
use nix::fcntl::OFlag;
use nix::fcntl::fcntl;
use nix::sys::stat::FileStat;
use nix::sys::stat::Mode;
use nix::sys::stat::SFlag;
use nix::sys::stat::fstat;
use nix::sys::stat::fstatat;
use nix::sys::statfs::fstatfs;

#[cfg(feature = "simulation")]
use crate::ring::sim::calls;
use crate::ring::sys::beneath::Beneath;
use crate::ring::sys::beneath::not_empty;

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
    /// The number of the device that it is on.
    pub device: u64,
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
            device: stat.st_dev,
            inode: stat.st_ino,
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }
}

/// What a file system's word is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// The kernel knows names, times and sizes.
    Local,
    /// Another machine or process knows them: asking may wait, and answers are some seconds old.
    Remote,
    /// Files are made up while they are read: sizes and times promise nothing.
    Pseudo,
}

impl FileSystem {
    fn of(fd: impl AsFd, metadata: &Metadata) -> FileSystem {
        // What is on a block device is neither of the others.
        if libc::major(metadata.device) != 0 {
            return FileSystem::Local;
        }
        fstatfs(fd).map_or(FileSystem::Local, |stat| {
            FileSystem::of_type(stat.filesystem_type().0)
        })
    }

    /// By the number that fstatfs(2) gives (`f_type`). What has none of ours is local: overlayfs, tmpfs,
    /// btrfs, ZFS.
    fn of_type(number: libc::__fsword_t) -> FileSystem {
        if PSEUDO.contains(&number) {
            return FileSystem::Pseudo;
        }
        match REMOTE.contains(&number) {
            true => FileSystem::Remote,
            false => FileSystem::Local,
        }
    }
}

/// proc, sysfs, debugfs, tracefs, cgroup, cgroup2, securityfs, configfs, selinuxfs, efivarfs, pstore,
/// resctrl (linux/magic.h).
const PSEUDO: [libc::__fsword_t; 12] = [
    0x9fa0,
    0x6265_6572,
    0x6462_6720,
    0x7472_6163,
    0x0027_e0eb,
    0x6367_7270,
    0x7363_6673,
    0x6265_6570,
    0xf97c_ff8c,
    0xde5e_81e4,
    0x6165_676c,
    0x0765_5821,
];

/// NFS, FUSE, 9p, SMB (three), Ceph, AFS (two), Coda, Lustre, GFS2, OCFS2 (linux/magic.h, statfs(2)); GPFS,
/// BeeGFS, OrangeFS, PanFS, StorNext, and what VirtualBox, VMware and Parallels share with their guests
/// (those that coreutils' stat(1) knows as remote).
const REMOTE: [libc::__fsword_t; 21] = [
    0x6969,
    0x6573_5546,
    0x0102_1997,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x00c3_6400,
    0x5346_414f,
    0x6b41_4653,
    0x7375_7245,
    0x0bd0_0bd0,
    0x0116_1970,
    0x7461_636f,
    0x4750_4653,
    0x1983_0326,
    0x2003_0528,
    0xaad7_aaea,
    0xbeef_dead,
    0x786f_4256,
    0xbacb_acbc,
    0x7c7c_6673,
];

/// A file that was opened, and what was read of it.
#[derive(Debug)]
pub struct Opened {
    /// For reading.
    pub file: File,
    /// What it was when it was opened.
    pub metadata: Metadata,
    /// Where it is.
    pub file_system: FileSystem,
    /// What read(2) gave.
    pub content: FileContent,
}

/// What was read of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum FileContent {
    /// Nothing: a directory, or a file whose size is more than was asked for.
    Unread,
    /// All of it, which is what its size promises.
    Whole(Vec<u8>),
    /// All of it, though its size or its time says something else, or nothing: what is read another
    /// time may differ.
    Passing(Vec<u8>),
    /// More than was asked for, and it has no size that says how much.
    Endless,
}

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// Its name, any bytes but `/` and NUL.
    pub name: OsString,
    /// What it is; symbolic links are followed.
    pub metadata: Metadata,
}

/// What was read of a directory.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Files and directories, in no order.
    pub entries: Vec<DirEntry>,
    /// True exactly when it has more names than were to be read: `entries` are a part then, and which
    /// one is a matter of the file system.
    pub is_cut: bool,
    /// The directory, before its names were read.
    pub directory: Metadata,
    /// Where it is.
    pub file_system: FileSystem,
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
    Kernel(Beneath),
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
        let is_local = FileSystem::of(&fd, &Metadata::from_stat(&stat)) == FileSystem::Local;
        Ok(Directory {
            place: Place::Kernel(Beneath::new(fd, is_local)),
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
    /// Those of openat2(2); `WouldBlock` where the kernel might have to ask a disk.
    pub fn is_at(&self, path: &Path) -> io::Result<bool> {
        let identity = match &self.place {
            Place::Kernel(beneath) => {
                let stat = beneath.look_at(path)?;
                (stat.st_dev, stat.st_ino)
            }
            #[cfg(feature = "simulation")]
            Place::Simulated(_) => calls::look_at_directory(path)?,
        };
        Ok(identity == self.identity)
    }

    /// Opens a file or directory beneath this one for reading. Every way out is refused (openat2(2),
    /// RESOLVE_BENEATH, since 5.6; where it is not there, single steps): `..`, absolute paths and links
    /// leading outside are EXDEV; links are followed anywhere if `links` says so. Without waiting for
    /// the other end of a pipe.
    pub fn open_beneath(&self, relative: &Path, links: Links) -> io::Result<(File, Metadata)> {
        match &self.place {
            Place::Kernel(directory) => open_beneath(directory, relative, links),
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::open_beneath(directory, relative),
        }
    }

    /// The error of a path that names nothing, or nothing that may be had, as far as the kernel knows
    /// without waiting: see [`Directory::look_beneath`], without asking for attributes. What is there,
    /// or may be, is no error.
    pub fn refuse_beneath(&self, relative: &Path, links: Links) -> io::Result<()> {
        let refused = match &self.place {
            Place::Kernel(directory) => directory.look_now(relative, links, false).map(drop),
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::look_beneath(directory, relative).map(drop),
        };
        match refused.map_err(|error| (Errno::from_raw(error.raw_os_error().unwrap_or(0)), error)) {
            Err((Errno::EAGAIN | Errno::EMFILE | Errno::ENFILE, _)) => Ok(()),
            Err((_, error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    /// True when a path beneath this directory leads to what was seen before. Takes no descriptor, and
    /// does not see to where links lead: it is for what was opened beneath this directory.
    pub fn is_same_beneath(&self, relative: &Path, seen: &Metadata) -> bool {
        let now = match &self.place {
            Place::Kernel(directory) => fstatat(directory, not_empty(relative), AtFlags::empty())
                .map(|stat| Metadata::from_stat(&stat))
                .ok(),
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::look_beneath(directory, relative).ok(),
        };
        now.as_ref() == Some(seen)
    }

    /// What a path beneath this directory names now, if the kernel knows without asking a disk or
    /// another machine (RESOLVE_CACHED, since 5.12), and without opening it (O_PATH): a call that may
    /// be made between two turns. On a network file system the attributes may be asked for. It is for
    /// what was there a moment ago: a kernel that cannot leave the disk alone is asked all the same
    /// where the directory is on this machine's.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open_beneath`]; `WouldBlock` where the kernel does not know.
    pub fn look_beneath(&self, relative: &Path, links: Links) -> io::Result<Metadata> {
        match &self.place {
            Place::Kernel(directory) => {
                let fd = directory.look_now(relative, links, true)?;
                Ok(Metadata::from_stat(&fstat(&fd)?))
            }
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::look_beneath(directory, relative),
        }
    }

    /// Opens a file or directory beneath this one, and reads a file of up to `bytes_max` bytes, unless
    /// its size says that it is longer.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open_beneath`]; `WouldBlock` for a file that has nothing to read now.
    pub fn open_and_read(
        &self,
        relative: &Path,
        links: Links,
        bytes_max: usize,
    ) -> io::Result<Opened> {
        let (file, metadata) = self.open_beneath(relative, links)?;
        let (file_system, is_real) = match &self.place {
            Place::Kernel(_) => (FileSystem::of(&file, &metadata), true),
            #[cfg(feature = "simulation")]
            Place::Simulated(_) => (FileSystem::Local, false),
        };
        let has_size = file_system != FileSystem::Pseudo;
        let content = if !metadata.is_file || has_size && metadata.len > bytes_max as u64 {
            FileContent::Unread
        } else {
            let promised = has_size.then_some(metadata.len);
            match read_up_to(&file, promised, bytes_max)? {
                None => FileContent::Endless,
                Some(read) if promised != Some(read.len() as u64) => FileContent::Passing(read),
                Some(read) if is_real && Metadata::from_stat(&fstat(&file)?) != metadata => {
                    FileContent::Passing(read)
                }
                Some(read) => FileContent::Whole(read),
            }
        };
        if file_system != FileSystem::Pseudo {
            set_blocking(&file)?;
        }
        Ok(Opened {
            file,
            metadata,
            file_system,
            content,
        })
    }

    /// Lists a directory beneath this one, of at most `count_max` names besides `.` and `..`. Left out is
    /// what vanishes meanwhile, links that lead nowhere or outside, and what is neither file nor directory.
    ///
    /// # Errors
    ///
    /// As for [`Directory::open_beneath`], and those of getdents(2); ECANCELED once `is_wanted` says no,
    /// which is asked for each name.
    pub fn list(
        &self,
        relative: &Path,
        links: Links,
        count_max: usize,
        is_wanted: &dyn Fn() -> bool,
    ) -> io::Result<Listed> {
        match &self.place {
            Place::Kernel(directory) => list(directory, relative, links, count_max, is_wanted),
            #[cfg(feature = "simulation")]
            Place::Simulated(directory) => calls::list(directory, relative, count_max),
        }
    }
}

/// True for a file that is made up while it is read: what it says of its size promises nothing. Does not
/// wait for a file system of another machine: what takes room somewhere is not made up.
pub fn is_pseudo(file: &File) -> bool {
    fstat(file).is_ok_and(|stat| {
        let metadata = Metadata::from_stat(&stat);
        stat.st_blocks == 0 && FileSystem::of(file, &metadata) == FileSystem::Pseudo
    })
}

/// True for a file on a file system of this machine, which a read waits for as long as its disk takes:
/// not for another machine or process. Asks that file system, which one of another machine may take its
/// time for.
pub fn is_local(file: &File) -> bool {
    fstat(file)
        .is_ok_and(|stat| FileSystem::of(file, &Metadata::from_stat(&stat)) == FileSystem::Local)
}

/// Opens a regular file for reading, wherever links lead. What is something else is not opened.
pub fn open_file(path: &Path) -> io::Result<(File, Metadata)> {
    simulated!(calls::open_file(path));
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let looked = fstat(nix::fcntl::open(path, flags, Mode::empty())?)?;
    if !Metadata::from_stat(&looked).is_file {
        return Err(io::Error::other("it is no regular file"));
    }
    let fd = nix::fcntl::open(path, OPEN_FLAGS, Mode::empty())?;
    let metadata = Metadata::from_stat(&fstat(&fd)?);
    let file = File::from(fd);
    set_blocking(&file)?;
    Ok((file, metadata))
}

/// For reading. O_NONBLOCK: something else may have taken the name since it was looked at.
const OPEN_FLAGS: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_CLOEXEC)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY);

/// Takes O_NONBLOCK away from a file: with it the ring believes that reads do not wait, and makes them on
/// the loop's thread, whatever the file system is (io_uring/io_uring.c, io_file_get_flags).
fn set_blocking(file: &File) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Opens a file or directory; ENXIO for anything else, which is not opened: to open a pipe or a device
/// is to do something to it.
fn open_beneath(
    directory: &Beneath,
    relative: &Path,
    links: Links,
) -> io::Result<(File, Metadata)> {
    let looked = Metadata::from_stat(&fstat(directory.look(relative, links)?)?);
    if !looked.is_file && !looked.is_dir {
        return Err(Errno::ENXIO.into());
    }
    let fd = directory.open(relative, links, OPEN_FLAGS)?;
    let metadata = Metadata::from_stat(&fstat(&fd)?);
    if !metadata.is_file && !metadata.is_dir {
        return Err(Errno::ENXIO.into());
    }
    Ok((File::from(fd), metadata))
}

/// Reads a file to its end; `None` when it is longer than `bytes_max`. A size that is known saves the
/// read that finds the end.
fn read_up_to(file: &File, promised: Option<u64>, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    // One byte more than was promised shows that there is more.
    let room = promised.map_or(bytes_max, |bytes| bytes as usize) + 1;
    let mut content = vec![0; room.min(bytes_max + 1)];
    let mut length = 0;
    loop {
        if length == content.len() {
            if length > bytes_max {
                return Ok(None);
            }
            content.resize(bytes_max + 1, 0);
        }
        match file.read_at(&mut content[length..], length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) => return Err(error),
        }
        if promised == Some(length as u64) {
            break;
        }
    }
    content.truncate(length);
    Ok(Some(content))
}

fn list(
    directory: &Beneath,
    relative: &Path,
    links: Links,
    count_max: usize,
    is_wanted: &dyn Fn() -> bool,
) -> io::Result<Listed> {
    let (file, metadata) = open_beneath(directory, relative, links)?;
    let file_system = FileSystem::of(&file, &metadata);
    let mut dir = Dir::from_fd(OwnedFd::from(file))?;
    let mut names: Vec<OsString> = Vec::new();
    let mut is_cut = false;
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        is_cut = names.len() == count_max;
        if is_cut || !is_wanted() {
            break;
        }
        names.push(OsString::from_vec(name.to_vec()));
    }
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        if !is_wanted() {
            return Err(Errno::ECANCELED.into());
        }
        if let Some(metadata) = entry_metadata(directory, &dir, &relative.join(&name), links)
            && (metadata.is_file || metadata.is_dir)
        {
            entries.push(DirEntry { name, metadata });
        }
    }
    Ok(Listed {
        entries,
        is_cut,
        directory: metadata,
        file_system,
    })
}

fn entry_metadata(directory: &Beneath, dir: &Dir, path: &Path, links: Links) -> Option<Metadata> {
    let name = path.file_name()?;
    let stat = fstatat(dir.as_fd(), name.as_bytes(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if kind != SFlag::S_IFLNK {
        return Some(Metadata::from_stat(&stat));
    }
    let fd = directory.look(path, links).ok()?;
    Some(Metadata::from_stat(&fstat(&fd).ok()?))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs;
    use std::os::fd::AsRawFd;

    use super::*;

    /// By their names in `mount -t` and their numbers in linux/magic.h.
    #[test]
    fn file_systems_are_told_by_their_numbers() {
        for (name, number, expected) in [
            ("overlay", 0x794c_7630, FileSystem::Local),
            ("tmpfs", 0x0102_1994, FileSystem::Local),
            ("ext4", 0xef53, FileSystem::Local),
            ("xfs", 0x5846_5342, FileSystem::Local),
            ("btrfs", 0x9123_683e, FileSystem::Local),
            ("zfs", 0x2fc1_2fc1, FileSystem::Local),
            ("squashfs", 0x7371_7368, FileSystem::Local),
            ("nfs", 0x6969, FileSystem::Remote),
            ("fuse, virtiofs", 0x6573_5546, FileSystem::Remote),
            ("9p", 0x0102_1997, FileSystem::Remote),
            ("cifs", 0xff53_4d42, FileSystem::Remote),
            ("smb3", 0xfe53_4d42, FileSystem::Remote),
            ("ceph", 0x00c3_6400, FileSystem::Remote),
            ("vboxsf", 0x786f_4256, FileSystem::Remote),
            ("proc", 0x9fa0, FileSystem::Pseudo),
            ("sysfs", 0x6265_6572, FileSystem::Pseudo),
            ("cgroup2", 0x6367_7270, FileSystem::Pseudo),
        ] {
            assert_eq!(FileSystem::of_type(number), expected, "{name}");
        }
        for (path, is_expected) in [("/dev/shm", true), ("/proc/self", false)] {
            assert_eq!(is_local(&File::open(path).unwrap()), is_expected, "{path}");
        }
    }

    #[test]
    fn a_listing_that_nobody_wants_goes_no_further() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c", "d"] {
            fs::write(folder.path().join(name), name).unwrap();
        }
        let directory = Directory::open(folder.path()).unwrap();
        let list = |count_max, patience: usize| {
            let left = Cell::new(patience);
            let is_wanted = || left.replace(left.get().saturating_sub(1)) > 0;
            let listed = directory.list(Path::new(""), Links::Inside, count_max, &is_wanted);
            listed.map(|listed| (listed.entries.len(), listed.is_cut))
        };
        assert_eq!(list(4, usize::MAX).unwrap(), (4, false));
        assert_eq!(list(3, usize::MAX).unwrap(), (3, true));
        for patience in [1, 3, 6, 7] {
            let error = list(4, patience).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{patience}");
        }
    }

    /// Who holds the lease would have to give it back first: the kernel says "not now", and it was
    /// asked again and again.
    #[test]
    fn what_cannot_be_opened_now_is_an_error_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "content").unwrap();
        let holder = File::options().write(true).open(&path).unwrap();
        // SAFETY: numbers alone. The signal that tells the holder is ignored from here on.
        let leased = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(holder.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
        };
        assert_eq!(leased, 0, "{}", io::Error::last_os_error());
        let directory = Directory::open(folder.path()).unwrap();
        let open = || directory.open_and_read(Path::new("file"), Links::Inside, 100);
        assert_eq!(open().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(holder);
        assert_eq!(
            open().unwrap().content,
            FileContent::Whole(b"content".to_vec())
        );
    }
}
