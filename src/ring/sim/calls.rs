//! System calls that a simulated kernel answers. `None` where a call names no descriptor, and no
//! simulation runs on this thread.

use std::io;
use std::io::IoSlice;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::ring::clock::Instant;
use crate::ring::sim;
use crate::ring::sim::faults::Fault;
use crate::ring::sim::network::EndpointId;
use crate::ring::sim::network::Kind;
use crate::ring::sim::network::Owner;
use crate::ring::sim::world::World;
use crate::ring::sim::world::name_of;
use crate::ring::sys::Address;
use crate::ring::sys::File;
use crate::ring::sys::Listed;
use crate::ring::sys::Metadata;
use crate::ring::sys::Shutdown;

/// The lowest simulated descriptor: no real one is as high, so a number tells whose it is.
pub const DESCRIPTOR_BASE: RawFd = 1 << 30;

/// True for a descriptor of a simulated kernel.
pub fn is_simulated(fd: RawFd) -> bool {
    fd >= DESCRIPTOR_BASE
}

/// True when a simulated kernel answers this thread.
pub fn is_installed() -> bool {
    sim::with(|_| ()).is_some()
}

/// The virtual time.
pub fn now() -> Option<Instant> {
    sim::with(|world| world.now())
}

/// The virtual wall clock.
pub fn wall_seconds() -> Option<u64> {
    sim::with(|world| world.wall_seconds())
}

fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

/// Calls into the world with the socket of a descriptor; EBADF without either.
fn on_socket<T>(
    fd: RawFd,
    call: impl FnOnce(&mut World, EndpointId) -> Result<T, i32>,
) -> io::Result<T> {
    let result = sim::with(|world| {
        let Some(endpoint) = world.endpoint_of(fd) else {
            world.see_closed(fd, || "a call".to_owned());
            return Err(libc::EBADF);
        };
        call(world, endpoint)
    });
    // A descriptor may outlive its simulation.
    result.unwrap_or(Err(libc::EBADF)).map_err(error)
}

/// close(2) of a simulated descriptor; one that outlives its simulation is gone already.
pub fn close(fd: RawFd) {
    sim::with(|world| world.close_descriptor(fd));
}

/// dup(2) of a simulated descriptor.
pub fn duplicate(fd: RawFd) -> io::Result<RawFd> {
    on_socket(fd, |world, endpoint| world.open_descriptor(endpoint))
}

/// socket(2).
pub fn new_socket(address: &Address) -> Option<io::Result<RawFd>> {
    let is_unix = matches!(address, Address::Unix(_));
    open(|world| {
        if world.chaos.strikes(Fault::DescriptorsExhausted) {
            return Err(libc::EMFILE);
        }
        Ok(world.net.add(Kind::Fresh, Owner::Program, is_unix))
    })
}

/// Makes a socket and its descriptor.
fn open(make: impl FnOnce(&mut World) -> Result<EndpointId, i32>) -> Option<io::Result<RawFd>> {
    sim::with(|world| {
        world.check_descriptors().map_err(error)?;
        let endpoint = make(world).map_err(error)?;
        let fd = world.open_descriptor(endpoint).map_err(error)?;
        world.note(|| format!("{} opened", name_of(fd)));
        Ok(fd)
    })
}

/// socketpair(2).
pub fn socket_pair() -> Option<io::Result<(RawFd, RawFd)>> {
    sim::with(|world| {
        world.check_descriptors().map_err(error)?;
        let a = world.net.add(Kind::Fresh, Owner::Program, true);
        let b = world.net.add(Kind::Fresh, Owner::Program, true);
        world.net.connect(a, b);
        let first = world.open_descriptor(a).map_err(error)?;
        match world.open_descriptor(b) {
            Ok(second) => Ok((first, second)),
            Err(errno) => {
                world.close_descriptor(first);
                Err(error(errno))
            }
        }
    })
}

/// bind(2) of a socket that connects from there.
pub fn bind_source(fd: RawFd, ip: IpAddr) -> io::Result<()> {
    on_socket(fd, |world, endpoint| {
        if !is_ours(ip) {
            return Err(libc::EADDRNOTAVAIL);
        }
        let found = world.net.get_mut(endpoint).ok_or(libc::EBADF)?;
        found.places.local = Some(Address::Tcp(SocketAddr::new(ip, 0)));
        Ok(())
    })
}

/// socket(2), bind(2), listen(2).
pub fn bind_tcp(address: SocketAddr, share_port: bool) -> Option<io::Result<RawFd>> {
    open(|world| {
        if !is_ours(address.ip()) {
            return Err(libc::EADDRNOTAVAIL);
        }
        world
            .net
            .listen(&Address::Tcp(address), share_port, Owner::Program)
    })
}

/// The simulated machine has the loopback interface, and all of 10.0.0.0/8.
fn is_ours(ip: IpAddr) -> bool {
    let is_inside = matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 10);
    ip.is_loopback() || ip.is_unspecified() || is_inside
}

/// socket(2), bind(2), listen(2). The file of a socket that nobody listens on is replaced.
pub fn bind_unix(path: &Path) -> Option<io::Result<RawFd>> {
    open(|world| {
        let address = Address::Unix(path.to_owned());
        let listener = world.net.listen(&address, false, Owner::Program)?;
        world.add_socket_file(path.to_owned());
        Ok(listener)
    })
}

/// unlink(2) of a socket file; false when no simulation runs.
pub fn remove_socket_file(path: &Path) -> bool {
    sim::with(|world| world.remove_socket_file(path)).is_some()
}

/// True when a simulation runs on this thread.
pub fn is_running() -> bool {
    sim::with(|_| ()).is_some()
}

/// A number from the seed.
pub fn random_number() -> Option<u64> {
    sim::with(|world| world.entropy.number())
}

/// getaddrinfo(3).
pub fn look_up(host: &str, port: u16) -> Option<io::Result<Vec<SocketAddr>>> {
    sim::with(|world| world.look_up(host, port))
}

/// if_nametoindex(3): there is the loopback interface.
pub fn interface_index(name: &str) -> Option<io::Result<u32>> {
    sim::with(|_| match name {
        "lo" => Ok(1),
        _ => Err(error(libc::ENODEV)),
    })
}

/// accept4(2) without waiting.
pub fn accept_now(listener: RawFd) -> io::Result<RawFd> {
    on_socket(listener, |world, listener| {
        match &world.net.get(listener).ok_or(libc::EBADF)?.kind {
            Kind::Listener(queue) if queue.is_empty() => Err(libc::EAGAIN),
            Kind::Listener(_) => world.accept_one(listener),
            _ => Err(libc::EINVAL),
        }
    })
}

/// send(2) without waiting.
pub fn send_now(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    send(fd, &[bytes])
}

/// sendmsg(2) without waiting.
pub fn send_pieces_now(fd: RawFd, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &**piece).collect();
    send(fd, &pieces)
}

/// preadv2(2) with RWF_NOWAIT: files of a simulation are real memory files.
pub fn read_now(
    file: &File,
    offset: u64,
    buffer: &mut Vec<u8>,
    bytes_max: usize,
    may_wait: bool,
) -> Option<io::Result<usize>> {
    let room = (buffer.capacity() - buffer.len()).min(bytes_max);
    let bytes = sim::with(|world| {
        if !may_wait && world.chaos.strikes(Fault::WouldBlock) {
            return Err(libc::EAGAIN);
        }
        if world.chaos.strikes(Fault::FileFailed) {
            return Err(libc::EIO);
        }
        Ok(world.chaos.shorten(Fault::ShortReceive, room))
    })?;
    let read = bytes.map_err(error).and_then(|bytes| {
        let start = buffer.len();
        buffer.resize(start + bytes, 0);
        let read = file.read_at(&mut buffer[start..], offset);
        buffer.truncate(start + *read.as_ref().unwrap_or(&0));
        read
    });
    Some(read)
}

/// Whether a part of a file is in memory, if the file system says.
pub fn is_cached() -> Option<Option<bool>> {
    sim::with(|world| Some(!world.chaos.strikes(Fault::WouldBlock)))
}

/// sendfile(2).
pub fn send_file_now(fd: RawFd, file: &File, offset: u64, bytes: usize) -> io::Result<usize> {
    if sim::with(|world| world.chaos.strikes(Fault::FileFailed)) == Some(true) {
        return Err(error(libc::EIO));
    }
    let mut content = vec![0; bytes];
    let read = file.read_at(&mut content, offset)?;
    if read == 0 {
        return Ok(0);
    }
    send(fd, &[&content[..read]])
}

fn send(fd: RawFd, pieces: &[&[u8]]) -> io::Result<usize> {
    on_socket(fd, |world, endpoint| {
        let is_sending = world.net.get(endpoint).is_some_and(|found| found.sends > 0);
        if is_sending && world.is_strict {
            let socket = name_of(fd);
            world.violation(format!(
                "send at once on {socket} while a send is in flight"
            ));
        }
        if world.chaos.strikes(Fault::WouldBlock) {
            return Err(libc::EAGAIN);
        }
        if world.chaos.strikes(Fault::Interrupted) {
            return Err(libc::EINTR);
        }
        world.break_before_send(endpoint);
        let total = pieces.iter().map(|piece| piece.len()).sum();
        let bytes_max = world.chaos.shorten(Fault::ShortSend, total);
        let sent = world.transmit(endpoint, pieces, bytes_max);
        world.note(|| format!("send at once {total} on {}: {sent:?}", name_of(fd)));
        sent
    })
}

/// shutdown(2).
pub fn shutdown(fd: RawFd, how: Shutdown) {
    let read = how == Shutdown::Both;
    let _ = on_socket(fd, |world, endpoint| {
        world.note(|| format!("shut {} {how:?}", name_of(fd)));
        world.shut(endpoint, read, true);
        Ok(())
    });
}

/// connect(2) to no address: a reset to the other side.
pub fn reset(fd: RawFd) {
    let _ = on_socket(fd, |world, endpoint| {
        world.note(|| format!("reset {}", name_of(fd)));
        world.disconnect(endpoint);
        Ok(())
    });
}

/// getsockname(2).
pub fn local_addr(fd: RawFd) -> Option<SocketAddr> {
    place(fd, |world, endpoint| {
        world.net.get(endpoint)?.places.local.clone()
    })
}

/// getpeername(2).
pub fn peer_addr(fd: RawFd) -> Option<SocketAddr> {
    place(fd, |world, endpoint| {
        let is_connected = world.net.is_connected(endpoint);
        let found = world.net.get(endpoint).filter(|_| is_connected)?;
        found.places.remote.clone()
    })
}

/// ioctl(2) with SIOCOUTQ: what the other side has not read.
pub fn unacknowledged_bytes(fd: RawFd) -> Option<u64> {
    let unread = on_socket(fd, |world, endpoint| {
        let other = world.net.linked(endpoint).and_then(|id| world.net.get(id));
        Ok(other.map_or(0, |other| other.inbox.len() as u64))
    });
    unread.ok()
}

fn place(
    fd: RawFd,
    find: impl FnOnce(&mut World, EndpointId) -> Option<Address>,
) -> Option<SocketAddr> {
    match on_socket(fd, |world, endpoint| Ok(find(world, endpoint))).ok()?? {
        Address::Tcp(address) => Some(address),
        Address::Unix(_) => None,
    }
}

/// eventfd(2).
pub fn new_event() -> Option<io::Result<RawFd>> {
    open(|world| Ok(world.net.add(Kind::Counter(0), Owner::Program, false)))
}

/// write(2) of one to an eventfd.
pub fn notify_event(fd: RawFd) {
    let _ = on_socket(fd, |world, endpoint| {
        let found = world.net.get_mut(endpoint).ok_or(libc::EBADF)?;
        let Kind::Counter(counter) = &mut found.kind else {
            return Err(libc::EINVAL);
        };
        *counter += 1;
        world.net.wake_readers(endpoint);
        world.pass_on();
        Ok(())
    });
}

/// Opens a directory of the simulated files; `None` where there are none, and real ones are meant.
/// Its device and inode.
pub fn open_directory(path: &Path) -> Option<io::Result<(u64, u64)>> {
    sim::with(|world| {
        let is_real = world.files.is_empty();
        (!is_real).then(|| world.files.directory(path))
    })
    .flatten()
}

/// Device and inode of a simulated directory, if they are known at once.
pub fn look_at_directory(path: &Path) -> io::Result<(u64, u64)> {
    in_files(|world| {
        if world.chaos.strikes(Fault::WouldBlock) {
            return Err(error(libc::EAGAIN));
        }
        world.files.directory(path)
    })
}

/// openat2(2) beneath a simulated directory.
pub fn open_beneath(directory: &Path, relative: &Path) -> io::Result<(File, Metadata)> {
    in_files(|world| open_in(world, directory, relative))
}

fn open_in(world: &mut World, directory: &Path, relative: &Path) -> io::Result<(File, Metadata)> {
    if world.chaos.strikes(Fault::FileFailed) {
        const ERRNOS: [i32; 4] = [libc::EMFILE, libc::EIO, libc::ENOMEM, libc::EAGAIN];
        let errno = ERRNOS[world.chaos.pick(ERRNOS.len())];
        return Err(error(errno));
    }
    world.files.open(directory, relative)
}

/// open(2) of a simulated file; `None` where there are none, and real ones are meant.
pub fn open_file(path: &Path) -> Option<io::Result<(File, Metadata)>> {
    sim::with(|world| {
        if world.files.is_empty() {
            return None;
        }
        let (directory, name) = match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) => (directory, Path::new(name)),
            _ => (path, Path::new("")),
        };
        Some(open_in(world, directory, name))
    })?
}

/// What is beneath a simulated directory, if that is known at once.
pub fn look_beneath(directory: &Path, relative: &Path) -> io::Result<Metadata> {
    in_files(|world| {
        if world.chaos.strikes(Fault::WouldBlock) {
            return Err(error(libc::EAGAIN));
        }
        world.files.look(directory, relative)
    })
}

/// The entries of a simulated directory.
pub fn list(directory: &Path, relative: &Path, count_max: usize) -> io::Result<Listed> {
    in_files(|world| world.files.list(directory, relative, count_max))
}

/// open(2) with O_TMPFILE.
pub fn temporary_file() -> Option<io::Result<File>> {
    sim::with(|world| {
        if world.chaos.strikes(Fault::FileFailed) {
            let errno = [libc::EMFILE, libc::ENOSPC, libc::EACCES][world.chaos.pick(3)];
            return Err(error(errno));
        }
        world.files.temporary()
    })
}

/// What makes a write to a file fail; otherwise it is a write to memory.
pub fn write_failure() -> Option<io::Result<()>> {
    sim::with(|world| {
        let fails = world.chaos.strikes(Fault::FileFailed);
        fails.then(|| Err(error([libc::ENOSPC, libc::EIO][world.chaos.pick(2)])))
    })?
}

/// No file with a name can be made: the simulated files are there from the start.
pub fn new_file_failure() -> Option<io::Result<()>> {
    sim::with(|_| Err(error(libc::EROFS)))
}

fn in_files<T>(call: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
    sim::with(call).unwrap_or_else(|| Err(error(libc::EBADF)))
}

/// Work that may block.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs a job later, as a thread of its own would: when a thread has woken, or when work of a class
/// has taken its time. Gives it back when no simulation runs.
pub fn defer(class: Option<usize>, job: Job) -> Result<(), Job> {
    let mut job = Some(job);
    sim::with(|world| world.defer(class, job.take().expect("it is given once")));
    job.map_or(Ok(()), Err)
}

/// True when work of this class takes longer than a thread takes to wake.
pub fn takes_time(class: usize) -> bool {
    sim::with(|world| world.work_nanoseconds[class].1 > 0).unwrap_or(false)
}
