//! What paths beneath a directory lead to: nowhere out of it.
//!
//! ```text
//!   Kernel ──► openat2(RESOLVE_BENEATH), without waiting with RESOLVE_CACHED
//!   Waiting ─► the same of Linux 5.6 to 5.11, which have no RESOLVE_CACHED
//!   Steps ───► openat(O_PATH | O_NOFOLLOW), one name at a time: where openat2(2) is refused
//!                ├─ a directory ─► on the stack; `..` takes the last one off it
//!                └─ a link ──────► its names come next
//! ```
//!
//! Steps never ask the kernel for `..` beneath the directory: one that is moved out of it meanwhile leads
//! back to where it was found. What is opened is what was looked at, or nothing.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Component;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::fcntl::OFlag;
use nix::fcntl::OpenHow;
use nix::fcntl::ResolveFlag;
use nix::fcntl::openat;
use nix::fcntl::openat2;
use nix::fcntl::readlinkat;
use nix::sys::stat::FileStat;
use nix::sys::stat::Mode;
use nix::sys::stat::SFlag;
use nix::sys::stat::fstat;
use nix::sys::statfs::PROC_SUPER_MAGIC;
use nix::sys::statfs::fstatfs;
use nix::unistd::geteuid;

use crate::ring::sys::file::Links;

/// Who finds out where paths lead, in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolver {
    Kernel,
    Waiting,
    Steps,
}

impl Resolver {
    fn of_process() -> Resolver {
        static KNOWN: OnceLock<Resolver> = OnceLock::new();
        *KNOWN.get_or_init(|| {
            // Flags are looked at before names, and no name is none that exists.
            let how = how(LOOK, ResolveFlag::from_bits_retain(RESOLVE_CACHED));
            match openat2(AT_FDCWD, "", how).map(drop) {
                Ok(()) | Err(Errno::ENOENT) => Resolver::Kernel,
                Err(Errno::EINVAL) => Resolver::Waiting,
                // ENOSYS of an older kernel; of a filter of system calls, whatever it says.
                Err(_) => Resolver::Steps,
            }
        })
    }
}

/// A descriptor that names what is there and does nothing to it.
const LOOK: OFlag = OFlag::O_PATH.union(OFlag::O_CLOEXEC);

/// linux/openat2.h; not in nix.
const RESOLVE_CACHED: u64 = 0x20;

/// Links that one path may lead over (linux/namei.h, MAXSYMLINKS).
const LINKS_MAX: usize = 40;

/// An open directory, and how paths beneath it are followed.
#[derive(Debug)]
pub(super) struct Beneath {
    directory: OwnedFd,
    resolver: Resolver,
    is_local: bool,
}

impl Beneath {
    /// `is_local` says that only disks of this machine have to be waited for.
    pub(super) fn new(directory: OwnedFd, is_local: bool) -> Beneath {
        Beneath {
            directory,
            resolver: Resolver::of_process(),
            is_local,
        }
    }

    /// Opens what a path leads to with these flags.
    ///
    /// # Errors
    ///
    /// Those of openat2(2): EXDEV for a way out, ELOOP for links of procfs and too many, EAGAIN where
    /// something is renamed meanwhile.
    pub(super) fn open(&self, relative: &Path, links: Links, flags: OFlag) -> io::Result<OwnedFd> {
        let resolve = resolve(relative, links)?;
        Ok(match self.resolver {
            Resolver::Kernel | Resolver::Waiting => {
                openat2(&self.directory, not_empty(relative), how(flags, resolve))?
            }
            Resolver::Steps => walk(self.directory.as_fd(), relative, links, flags)?,
        })
    }

    /// Names what a path leads to (O_PATH), and does nothing to it.
    ///
    /// # Errors
    ///
    /// As for [`Beneath::open`].
    pub(super) fn look(&self, relative: &Path, links: Links) -> io::Result<OwnedFd> {
        self.open(relative, links, LOOK)
    }

    /// The same as far as the kernel knows without waiting. A kernel that does not tell is asked all the
    /// same on a local file system, where a name that is `known` to be there is in memory.
    ///
    /// # Errors
    ///
    /// As for [`Beneath::open`]; EAGAIN where it might have to be waited for.
    pub(super) fn look_now(
        &self,
        relative: &Path,
        links: Links,
        is_known: bool,
    ) -> io::Result<OwnedFd> {
        match self.resolver {
            Resolver::Kernel => {
                let cached = ResolveFlag::from_bits_retain(RESOLVE_CACHED);
                let how = how(LOOK, resolve(relative, links)? | cached);
                Ok(openat2(&self.directory, not_empty(relative), how)?)
            }
            Resolver::Waiting | Resolver::Steps if is_known && self.is_local => {
                self.look(relative, links)
            }
            Resolver::Waiting | Resolver::Steps => Err(Errno::EAGAIN.into()),
        }
    }

    /// What the path of a directory names now, as far as the kernel knows without waiting.
    ///
    /// # Errors
    ///
    /// Those of openat2(2); EAGAIN where it might have to be waited for.
    pub(super) fn look_at(&self, path: &Path) -> io::Result<FileStat> {
        if self.resolver != Resolver::Kernel {
            return Err(Errno::EAGAIN.into());
        }
        let cached = ResolveFlag::from_bits_retain(RESOLVE_CACHED);
        let how = how(LOOK | OFlag::O_DIRECTORY, cached);
        Ok(fstat(openat2(AT_FDCWD, path, how)?)?)
    }
}

impl AsFd for Beneath {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

fn how(flags: OFlag, resolve: ResolveFlag) -> OpenHow {
    OpenHow::new().flags(flags).resolve(resolve)
}

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

/// A path that openat2(2) takes: none is the directory itself.
pub(super) fn not_empty(relative: &Path) -> &Path {
    match relative.as_os_str().is_empty() {
        true => Path::new("."),
        false => relative,
    }
}

/// What openat2(2) does, by single steps.
fn walk(
    directory: BorrowedFd<'_>,
    relative: &Path,
    links: Links,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    let path = relative.as_os_str().as_bytes();
    if path.contains(&0) {
        return Err(Errno::EINVAL);
    }
    if path.len() >= libc::PATH_MAX as usize {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut walk = Walk {
        directory,
        outside: None,
        stack: Vec::new(),
        names: Vec::new(),
        links,
        links_left: LINKS_MAX,
    };
    walk.add_path(relative.as_os_str())?;
    walk.go(flags)
}

/// A way through directories, of which each is open.
struct Walk<'a> {
    directory: BorrowedFd<'a>,
    /// Where a link led out to, if links may: the stack stands on it.
    outside: Option<OwnedFd>,
    stack: Vec<OwnedFd>,
    /// The next one is the last. Empty ones stand for a slash behind a name.
    names: Vec<OsString>,
    links: Links,
    links_left: usize,
}

impl Walk<'_> {
    fn go(&mut self, flags: OFlag) -> nix::Result<OwnedFd> {
        while let Some(name) = self.names.pop() {
            match name.as_bytes() {
                b"" | b"." => continue,
                b".." => {
                    self.leave()?;
                    continue;
                }
                _ => {}
            }
            let found = openat(self.here(), &*name, LOOK | OFlag::O_NOFOLLOW, Mode::empty())?;
            let stat = fstat(&found)?;
            let is_last = self.names.iter().all(|name| name.is_empty());
            match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFLNK => self.follow(&found, &stat)?,
                SFlag::S_IFDIR if !is_last => self.stack.push(found),
                kind if kind != SFlag::S_IFDIR && !self.names.is_empty() => {
                    return Err(Errno::ENOTDIR);
                }
                _ if flags.contains(OFlag::O_PATH) => return Ok(found),
                _ => {
                    let flags = flags | OFlag::O_NOFOLLOW;
                    let opened = openat(self.here(), &*name, flags, Mode::empty());
                    // A link has taken the name meanwhile.
                    return opened.map_err(|errno| match errno {
                        Errno::ELOOP => Errno::EAGAIN,
                        errno => errno,
                    });
                }
            }
        }
        openat(self.here(), ".", flags, Mode::empty())
    }

    /// The directory that the way has come to.
    fn here(&self) -> BorrowedFd<'_> {
        match self.stack.last().or(self.outside.as_ref()) {
            Some(open) => open.as_fd(),
            None => self.directory,
        }
    }

    /// `..`
    fn leave(&mut self) -> nix::Result<()> {
        if self.stack.pop().is_some() {
            return Ok(());
        }
        if self.links == Links::Inside {
            return Err(Errno::EXDEV);
        }
        self.outside = Some(openat(self.here(), "..", LOOK, Mode::empty())?);
        Ok(())
    }

    /// Goes on with the names of a link. One that leads to what the kernel holds, and not to a path, is
    /// refused with all links of procfs.
    fn follow(&mut self, link: &OwnedFd, stat: &FileStat) -> nix::Result<()> {
        if self.links_left == 0 || fstatfs(link)?.filesystem_type() == PROC_SUPER_MAGIC {
            return Err(Errno::ELOOP);
        }
        self.links_left -= 1;
        if is_protected(&fstat(self.here())?, stat, geteuid().as_raw()) {
            return Err(Errno::EACCES);
        }
        let target = readlinkat(link, "")?;
        self.add_path(&target)
    }

    fn add_path(&mut self, path: &OsStr) -> nix::Result<()> {
        if path.as_bytes().starts_with(b"/") {
            if self.links == Links::Inside {
                return Err(Errno::EXDEV);
            }
            self.stack.clear();
            self.outside = Some(openat(AT_FDCWD, "/", LOOK, Mode::empty())?);
        }
        let names = path.as_bytes().split(|byte| *byte == b'/').rev();
        self.names
            .extend(names.map(|name| OsStr::from_bytes(name).to_owned()));
        Ok(())
    }
}

/// True for a link that the kernel would not follow where it protects links (proc_sys_fs(5),
/// protected_symlinks): in a directory that all may write to, somebody else's than ours and the
/// directory's owner's.
fn is_protected(directory: &FileStat, link: &FileStat, own: u32) -> bool {
    let shared = libc::S_ISVTX | libc::S_IWOTH;
    let is_shared = directory.st_mode & shared == shared;
    is_shared && link.st_uid != own && link.st_uid != directory.st_uid
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::File;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering;
    use std::thread;

    use nix::fcntl::RenameFlags;
    use nix::fcntl::renameat2;
    use nix::unistd::mkfifo;
    use tempfile::TempDir;

    use super::*;

    const READ: OFlag = OFlag::O_RDONLY
        .union(OFlag::O_CLOEXEC)
        .union(OFlag::O_NONBLOCK);

    /// A folder with a directory `inside`, and `outside/secret` beside it.
    struct Place(TempDir);

    impl Place {
        fn new() -> Place {
            let place = Place(tempfile::tempdir().unwrap());
            for name in ["inside", "outside"] {
                fs::create_dir(place.path(name)).unwrap();
            }
            fs::write(place.path("outside/secret"), "secret").unwrap();
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn by(&self, resolver: Resolver) -> Beneath {
            let directory = File::open(self.path("inside")).unwrap();
            Beneath {
                directory: directory.into(),
                resolver,
                is_local: true,
            }
        }

        fn secret(&self) -> Identity {
            identity(File::open(self.path("outside/secret")).unwrap())
        }
    }

    type Identity = (u64, u64);

    fn identity(fd: impl AsFd) -> Identity {
        let stat = fstat(fd).unwrap();
        (stat.st_dev, stat.st_ino)
    }

    fn errno(error: io::Error) -> Errno {
        Errno::from_raw(error.raw_os_error().unwrap())
    }

    fn open(beneath: &Beneath, path: &str, links: Links, flags: OFlag) -> Result<Identity, Errno> {
        // The kernel gives `..` up while somebody, anywhere, renames (openat2(2), EAGAIN).
        let opened = (0..10_000)
            .map(|_| beneath.open(Path::new(path), links, flags).map_err(errno))
            .find(|opened| !matches!(opened, Err(Errno::EAGAIN)));
        opened.expect("somebody renames for ever").map(identity)
    }

    /// Names of which paths are made, and where those that are links lead.
    fn furnish(place: &Place) -> Vec<String> {
        let inside = |name: &str| place.path("inside").join(name);
        fs::create_dir_all(inside("sub/deep")).unwrap();
        for name in ["file", "sub/file", "sub/deep/file"] {
            fs::write(inside(name), name).unwrap();
        }
        mkfifo(&inside("pipe"), Mode::S_IRWXU).unwrap();
        let outside = place.path("outside").display().to_string();
        let own = place.path("inside").display().to_string();
        let links = [
            ("within", "sub/file"),
            ("down", "sub"),
            ("slash", "file/"),
            ("dirslash", "sub//"),
            ("dots", "sub/./deep/../file"),
            ("self", "."),
            ("sub/up", "../file"),
            ("sub/self", "../sub"),
            ("sub/deep/over", "../../.."),
            ("roundabout", "../inside/file"),
            ("above", ".."),
            ("own", &format!("{own}/file")),
            ("out", &format!("{outside}/secret")),
            ("outdir", &outside),
            ("sub/outdir", "../../outside"),
            ("loop", "loop"),
            ("ping", "pong/x"),
            ("pong", "ping"),
            ("dangling", "nowhere"),
            ("program", "/proc/self/exe"),
            ("root", "/proc/self/root"),
            ("sub/held", "/proc/self/fd/0"),
        ];
        for (name, target) in links {
            symlink(target, inside(name)).unwrap();
        }
        for link in 0..41 {
            let target = if link == 0 {
                "file".to_owned()
            } else {
                format!("l{}", link - 1)
            };
            symlink(target, inside(&format!("l{link}"))).unwrap();
        }
        let names = links
            .iter()
            .map(|(name, _)| name.rsplit('/').next().unwrap());
        let more = [
            "file", "sub", "deep", "pipe", "missing", "secret", "l39", "l40", ".", "..", "",
        ];
        names.chain(more).map(str::to_owned).collect()
    }

    /// Whatever the kernel says, the steps say too.
    #[test]
    fn steps_lead_where_the_kernel_leads() {
        let place = Place::new();
        let names = furnish(&place);
        // Where the kernel refuses to say, that nothing leads out is still to be seen.
        let kernel = place.by(Resolver::of_process());
        let steps = place.by(Resolver::Steps);
        let mut paths = vec![
            String::new(),
            "/etc/passwd".to_owned(),
            "a\0b".to_owned(),
            "missing/a\0b".to_owned(),
            "n".repeat(255),
            "n".repeat(256),
            format!("sub/{}/x", "n".repeat(256)),
            format!("{}file", "./".repeat(2_045)),
            format!("{}file", "./".repeat(2_046)),
            format!("{}file", "sub/../".repeat(500)),
        ];
        for first in &names {
            for second in &names {
                paths.push(format!("{first}/{second}"));
                let last = ["", "..", "file", "over", "outdir", "secret", "l40"];
                paths.extend(last.map(|third| format!("{first}/{second}/{third}")));
            }
            paths.push(first.clone());
        }
        let mut found = 0;
        for path in &paths {
            for links in [Links::Inside, Links::Followed] {
                for flags in [LOOK, READ] {
                    let expected = open(&kernel, path, links, flags);
                    found += usize::from(expected.is_ok());
                    let stepped = open(&steps, path, links, flags);
                    assert_eq!(stepped, expected, "{path:?} {links:?} {flags:?}");
                    if links == Links::Inside {
                        assert_ne!(stepped, Ok(place.secret()), "{path:?}");
                    }
                }
            }
        }
        assert!(found > 500, "{found}");
    }

    /// Where links of procfs lead is not asked: among them are those to what the kernel holds.
    #[test]
    fn no_link_of_procfs_is_followed() {
        let place = Place::new();
        symlink("/proc/self/status", place.path("inside/status")).unwrap();
        let steps = place.by(Resolver::Steps);
        for (links, expected) in [
            (Links::Inside, Errno::EXDEV),
            (Links::Followed, Errno::ELOOP),
        ] {
            assert_eq!(
                open(&steps, "status", links, LOOK),
                Err(expected),
                "{links:?}"
            );
        }
    }

    #[test]
    fn links_of_others_in_shared_directories_are_not_followed() {
        let stat = |st_mode: u32, st_uid: u32| {
            let mut stat = fstat(File::open("/").unwrap()).unwrap();
            (stat.st_mode, stat.st_uid) = (st_mode, st_uid);
            stat
        };
        for (mode, directory, link, expected) in [
            (0o1777, 0, 7, true),
            (0o1777, 0, 0, false),
            (0o1777, 0, 5, false),
            (0o1777, 7, 7, false),
            (0o0777, 0, 7, false),
            (0o1755, 0, 7, false),
        ] {
            let found = is_protected(&stat(mode, directory), &stat(0o777, link), 5);
            assert_eq!(found, expected, "{mode:o} {directory} {link}");
        }
    }

    /// What kernels that cannot leave a disk alone are asked between two turns.
    #[test]
    fn only_what_is_known_on_a_local_disk_is_looked_at() {
        let place = Place::new();
        fs::write(place.path("inside/file"), "").unwrap();
        let path = Path::new("file");
        for resolver in [Resolver::Waiting, Resolver::Steps] {
            for (is_local, is_known, is_seen) in [
                (true, true, true),
                (true, false, false),
                (false, true, false),
            ] {
                let beneath = Beneath {
                    is_local,
                    ..place.by(resolver)
                };
                let looked = beneath.look_now(path, Links::Inside, is_known);
                let expected = if is_seen { Ok(()) } else { Err(Errno::EAGAIN) };
                assert_eq!(looked.map(drop).map_err(errno), expected, "{resolver:?}");
            }
            let at = place.by(resolver).look_at(&place.path("inside"));
            assert_eq!(at.map(drop).map_err(errno), Err(Errno::EAGAIN));
        }
    }

    /// Directories and files become links that lead out, or are moved out, while they are looked for.
    #[test]
    fn nothing_leads_out_while_things_are_renamed() {
        let place = Place::new();
        let inside = |name: &str| place.path("inside").join(name);
        for name in ["a/b", "c"] {
            fs::create_dir_all(inside(name)).unwrap();
        }
        for name in ["a/b/secret", "c/secret", "f"] {
            fs::write(inside(name), "public").unwrap();
        }
        symlink(place.path("outside"), inside("to-directory")).unwrap();
        symlink(place.path("outside/secret"), inside("to-file")).unwrap();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let exchange = |one: &str, other: &str| {
                    let (one, other) = (inside(one), inside(other));
                    let how = RenameFlags::RENAME_EXCHANGE;
                    renameat2(AT_FDCWD, &one, AT_FDCWD, &other, how).unwrap();
                };
                while !is_over.load(Ordering::Relaxed) {
                    exchange("c", "to-directory");
                    exchange("f", "to-file");
                    fs::rename(inside("a/b"), place.path("outside/b")).unwrap();
                    fs::rename(place.path("outside/b"), inside("a/b")).unwrap();
                }
            });
            let steps = place.by(Resolver::Steps);
            let mut opened = [0; 3];
            // Until each was seen both ways: it is a matter of the scheduler how often.
            let mut refused = [0; 3];
            while opened.iter().chain(&refused).any(|times| *times < 100) {
                for (index, path) in ["c/secret", "f", "a/b/../b/secret"].iter().enumerate() {
                    match open(&steps, path, Links::Inside, READ) {
                        Ok(found) => {
                            assert_ne!(found, place.secret(), "{path}");
                            opened[index] += 1;
                        }
                        Err(_) => refused[index] += 1,
                    }
                    // From a directory that is outside by now, a kernel's `..` would find it.
                    let missing = open(&steps, "a/b/../secret", Links::Inside, READ);
                    assert_eq!(missing, Err(Errno::ENOENT));
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}
