//! What sockets do: connect, carry bytes, end, break, close.

use std::time::Duration;

use crate::limits::LISTEN_BACKLOG;
use crate::ring::clock::Instant;
use crate::ring::sim::agenda::Event;
use crate::ring::sim::faults::Fault;
use crate::ring::sim::network::EndpointId;
use crate::ring::sim::network::Kind;
use crate::ring::sim::network::Link;
use crate::ring::sim::network::Owner;
use crate::ring::sim::network::Reach;
use crate::ring::sim::world::World;
use crate::ring::sys::Address;

/// The kernel gives up a connection attempt after this (tcp(7), tcp_syn_retries = 6).
const CONNECT_TIMEOUT: Duration = Duration::from_secs(127);
/// The first retry of a connection attempt; each further one waits twice as long (RFC 6298).
const CONNECT_RETRY: Duration = Duration::from_secs(1);
const CONNECT_ATTEMPTS_MAX: u32 = 6;

impl World {
    // ---- connecting ------------------------------------------------------------------------

    /// connect(2): the outcome comes with an event, or at once on a network without latency.
    pub(super) fn begin_connect(&mut self, id: EndpointId, address: Address) {
        let is_unix = matches!(address, Address::Unix(_));
        let port = self.net.ephemeral_port();
        let Some(endpoint) = self.net.get_mut(id) else {
            return;
        };
        endpoint.kind = Kind::Connecting;
        endpoint.is_broken = false;
        let mut reach = None;
        if let Address::Tcp(remote) = &address {
            let here = if remote.ip().is_unspecified() {
                std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST)
            } else {
                remote.ip()
            };
            let ip = match &endpoint.places.local {
                Some(Address::Tcp(bound)) => bound.ip(),
                _ => here,
            };
            endpoint.places.local = Some(Address::Tcp(std::net::SocketAddr::new(ip, port)));
            reach = self.reaches.get(&remote.ip()).copied();
        }
        endpoint.places.remote = Some(address);
        if reach == Some(Reach::Unreachable) {
            return self.fail_dial(id, libc::ENETUNREACH);
        }
        let is_silent = reach == Some(Reach::Silent);
        if !is_unix && (self.chaos.strikes(Fault::ConnectSilent) || is_silent) {
            return self.fail_dial_after(CONNECT_TIMEOUT, id, libc::ETIMEDOUT);
        }
        let delay = match reach {
            Some(Reach::After(delay)) => delay,
            _ if is_unix => Duration::ZERO,
            _ => self.latency(),
        };
        if self.chaos.strikes(Fault::ConnectRefused) {
            self.fail_dial_after(delay, id, libc::ECONNREFUSED);
        } else if delay.is_zero() {
            self.dial(id, 0);
        } else {
            let event = Event::Dial {
                endpoint: id,
                attempt: 0,
            };
            self.agenda.add(self.now() + delay, event);
        }
    }

    fn fail_dial_after(&mut self, delay: Duration, id: EndpointId, errno: i32) {
        let event = Event::DialFailed {
            endpoint: id,
            errno,
        };
        self.agenda.add(self.now() + delay, event);
    }

    /// A connection attempt reaches its address.
    pub(super) fn dial(&mut self, id: EndpointId, attempt: u32) {
        let Some(endpoint) = self.net.get(id) else {
            return;
        };
        let is_unix = endpoint.is_unix;
        let address = endpoint
            .places
            .remote
            .clone()
            .expect("it connects somewhere");
        let local = endpoint.places.local.clone();
        let listeners = self.net.listeners(&address);
        if listeners.is_empty() {
            // A socket file that nobody listens on stays until it is removed.
            let is_missing = is_unix && !self.has_socket_file(&address);
            let errno = if is_missing {
                libc::ENOENT
            } else {
                libc::ECONNREFUSED
            };
            self.fail_dial(id, errno);
            return;
        }
        let count = listeners.len();
        let listener = self.net.listeners(&address)[self.chaos.pick(count)];
        let is_full = match &self.net.get(listener).expect("listeners are open").kind {
            Kind::Listener(queue) => queue.len() >= LISTEN_BACKLOG as usize,
            other => panic!("{other:?} is no listener"),
        };
        if is_full && attempt >= CONNECT_ATTEMPTS_MAX {
            self.fail_dial(id, libc::ETIMEDOUT);
            return;
        }
        if is_full {
            let at = self.now() + CONNECT_RETRY * 2u32.pow(attempt);
            let event = Event::Dial {
                endpoint: id,
                attempt: attempt + 1,
            };
            self.agenda.add(at, event);
            return;
        }
        let accepted = self.net.add(Kind::Fresh, Owner::Queue, is_unix);
        self.net.connect(id, accepted);
        let places = &mut self
            .net
            .get_mut(accepted)
            .expect("it was made just now")
            .places;
        places.local = Some(address);
        places.remote = local;
        if let Kind::Listener(queue) = &mut self.net.get_mut(listener).expect("as above").kind {
            queue.push_back(accepted);
        }
        self.net.wake_writers(id);
        self.net.wake_readers(listener);
        self.pass_on();
    }

    pub(super) fn fail_dial(&mut self, id: EndpointId, errno: i32) {
        if let Some(endpoint) = self.net.get_mut(id) {
            endpoint.kind = Kind::Fresh;
            endpoint.is_broken = true;
            endpoint.error = errno;
            self.net.wake_writers(id);
            self.net.wake_readers(id);
            self.pass_on();
        }
    }

    // ---- carrying bytes --------------------------------------------------------------------

    /// send(2) without waiting: how many bytes were taken, at most `bytes_max`, or an errno.
    pub(super) fn transmit(
        &mut self,
        id: EndpointId,
        pieces: &[&[u8]],
        bytes_max: usize,
    ) -> Result<usize, i32> {
        let endpoint = self.net.get_mut(id).ok_or(libc::EBADF)?;
        match endpoint.kind {
            Kind::Connecting => return Err(libc::EAGAIN),
            Kind::Stream => {}
            Kind::Counter(_) => return Err(libc::ENOTSOCK),
            Kind::Fresh | Kind::Listener(_) => return Err(libc::EPIPE),
        }
        // A Unix socket keeps its error for the reader (unix_stream_sendmsg).
        if endpoint.error != 0 && !endpoint.is_shut_write && !endpoint.is_unix {
            endpoint.is_shut_write = true;
            return Err(std::mem::take(&mut endpoint.error));
        }
        if endpoint.is_shut_write || endpoint.is_broken {
            return Err(libc::EPIPE);
        }
        let is_unix = endpoint.is_unix;
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let Link::To(other) = endpoint.link else {
            if is_unix {
                return Err(libc::EPIPE);
            }
            // The first send after the other side has closed goes out, and a reset comes back.
            self.send_reset(id);
            return Ok(total.min(bytes_max));
        };
        let buffer_bytes = self.socket_buffer_bytes;
        let inbox = self.net.get_mut(other).expect("linked sockets are open");
        if inbox.is_shut_read && is_unix {
            return Err(libc::EPIPE);
        }
        let room = buffer_bytes.saturating_sub(inbox.inbox.len());
        if room == 0 {
            return Err(libc::EAGAIN);
        }
        let bytes = total.min(room).min(bytes_max);
        let mut left = bytes;
        for piece in pieces {
            let taken = piece.len().min(left);
            inbox.inbox.extend(&piece[..taken]);
            left -= taken;
        }
        self.convey(other, bytes);
        Ok(bytes)
    }

    /// Bytes set out for a socket: one event per segment, none on a network without latency.
    fn convey(&mut self, to: EndpointId, bytes: usize) {
        let mut left = bytes;
        while left > 0 {
            let segment = if self.chaos.strikes(Fault::Split) {
                1 + self.chaos.pick(left.min(64))
            } else {
                left
            };
            left -= segment;
            let at = self.arrival(to);
            if at == self.now() {
                self.arrive(to, segment);
            } else {
                let bytes = u32::try_from(segment).expect("a socket's buffer is smaller");
                self.agenda.add(
                    at,
                    Event::Arrive {
                        endpoint: to,
                        bytes,
                    },
                );
            }
        }
        self.pass_on();
    }

    /// When something that sets out now arrives: never before what set out earlier.
    fn arrival(&mut self, to: EndpointId) -> Instant {
        let mut at = self.now() + self.latency();
        if self.chaos.strikes(Fault::Latency) {
            at = at + self.chaos.delay(1_000_000..200_000_000);
        }
        let endpoint = self.net.get_mut(to).expect("linked sockets are open");
        endpoint.last_arrival = at.max(endpoint.last_arrival);
        endpoint.last_arrival
    }

    /// How long a segment is under way.
    fn latency(&mut self) -> Duration {
        let (least, most) = self.latency_nanoseconds;
        if most == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.chaos.random.within(least..most + 1))
    }

    pub(super) fn arrive(&mut self, id: EndpointId, bytes: usize) {
        let Some(endpoint) = self.net.get_mut(id) else {
            return;
        };
        if endpoint.is_shut_read
            && !endpoint.is_unix
            && let Link::To(other) = endpoint.link
        {
            // Nobody will read it: the connection is over for both (RFC 9293, 3.6.1).
            self.break_here(id);
            self.send_reset(other);
            return;
        }
        // A reset has thrown away what was under way.
        endpoint.arrived = (endpoint.arrived + bytes).min(endpoint.inbox.len());
        self.net.wake_readers(id);
        self.pass_on();
    }

    /// recv(2) without waiting: hands up to `bytes_max` bytes to `sink`. Zero is the end.
    pub(super) fn take_received(
        &mut self,
        id: EndpointId,
        bytes_max: usize,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<usize, i32> {
        let endpoint = self.net.get_mut(id).ok_or(libc::EBADF)?;
        match endpoint.kind {
            Kind::Connecting => return Err(libc::EAGAIN),
            Kind::Stream => {}
            Kind::Counter(_) => return Err(libc::ENOTSOCK),
            Kind::Fresh if endpoint.is_broken => {}
            Kind::Fresh | Kind::Listener(_) => return Err(libc::ENOTCONN),
        }
        let bytes = endpoint.arrived.min(bytes_max);
        if bytes == 0 {
            if endpoint.error != 0 {
                return Err(std::mem::take(&mut endpoint.error));
            }
            if endpoint.has_end || endpoint.is_broken || endpoint.is_shut_read {
                return Ok(0);
            }
            return Err(libc::EAGAIN);
        }
        let (first, second) = endpoint.inbox.as_slices();
        let in_first = bytes.min(first.len());
        sink(&first[..in_first]);
        if bytes > in_first {
            sink(&second[..bytes - in_first]);
        }
        endpoint.inbox.drain(..bytes);
        endpoint.arrived -= bytes;
        if endpoint.inbox.is_empty() && endpoint.inbox.capacity() > 4096 {
            // An idle socket holds nothing.
            endpoint.inbox = std::collections::VecDeque::new();
        }
        if let Link::To(other) = endpoint.link {
            self.net.wake_writers(other);
            self.pass_on();
        }
        Ok(bytes)
    }

    // ---- ending ----------------------------------------------------------------------------

    /// shutdown(2).
    pub(super) fn shut(&mut self, id: EndpointId, read: bool, write: bool) {
        let Some(endpoint) = self.net.get_mut(id) else {
            return;
        };
        match endpoint.kind {
            Kind::Stream => {}
            Kind::Listener(_) if read => {
                self.shut_listener(id);
                return;
            }
            _ => return,
        }
        let is_new_end = write && !endpoint.is_shut_write;
        endpoint.is_shut_write |= write;
        endpoint.is_shut_read |= read;
        let (link, is_unix) = (endpoint.link, endpoint.is_unix);
        if let Link::To(other) = link
            && is_new_end
        {
            self.send_end(other);
        }
        if let Link::To(other) = link
            && is_unix
            && read
        {
            // Who waits for room there waits in vain.
            self.net.wake_writers(other);
        }
        if read {
            self.net.wake_readers(id);
        }
        self.net.wake_writers(id);
        self.pass_on();
    }

    /// A listener that is shut accepts nothing more; who waits in its queue is reset.
    fn shut_listener(&mut self, id: EndpointId) {
        let endpoint = self.net.get_mut(id).expect("the caller has seen it");
        endpoint.is_shut_read = true;
        let Kind::Listener(queue) = &mut endpoint.kind else {
            panic!("{id:?} is no listener")
        };
        let queue = std::mem::take(queue);
        let address = endpoint.places.local.clone();
        let is_unix = endpoint.is_unix;
        for waiting in queue {
            self.close_endpoint(waiting, true);
        }
        if let Some(address) = address {
            self.net.remove_listener(id, &address);
        }
        // Who waits on a Unix listener hears nothing of it (observed on 6.18).
        if !is_unix {
            self.net.wake_readers(id);
            self.pass_on();
        }
    }

    fn send_end(&mut self, to: EndpointId) {
        let at = self.arrival(to);
        if at == self.now() {
            self.end(to);
        } else {
            self.agenda.add(at, Event::End { endpoint: to });
        }
    }

    pub(super) fn end(&mut self, id: EndpointId) {
        if let Some(endpoint) = self.net.get_mut(id) {
            endpoint.has_end = true;
            self.net.wake_readers(id);
            self.pass_on();
        }
    }

    /// A reset follows what was sent before.
    fn send_reset(&mut self, to: EndpointId) {
        let at = self.arrival(to);
        if at == self.now() {
            self.break_here(to);
        } else {
            self.agenda.add(at, Event::Reset { endpoint: to });
        }
    }

    /// A reset arrives: what is under way is lost, what has arrived can still be read.
    pub(super) fn break_here(&mut self, id: EndpointId) {
        let Some(endpoint) = self.net.get_mut(id) else {
            return;
        };
        if endpoint.is_broken {
            return;
        }
        endpoint.inbox.truncate(endpoint.arrived);
        endpoint.is_broken = true;
        // After the other side's end a reset is no news for a reader (tcp_reset, CLOSE_WAIT).
        if endpoint.has_end && !endpoint.is_unix {
            endpoint.is_shut_write = true;
        } else {
            endpoint.error = libc::ECONNRESET;
        }
        let has_both = !endpoint.readers.is_empty() && !endpoint.writers.is_empty();
        let link = std::mem::replace(&mut endpoint.link, Link::Gone);
        if let Link::To(other) = link
            && let Some(other) = self.net.get_mut(other)
            && other.link == Link::To(id)
        {
            other.link = Link::Gone;
        }
        // The error is told once, to whoever asks first: on Linux who was armed last.
        if has_both && self.chaos.pick(2) == 1 {
            self.net.wake_writers(id);
            self.net.wake_readers(id);
        } else {
            self.net.wake_readers(id);
            self.net.wake_writers(id);
        }
        self.pass_on();
    }

    /// Something between the two ends resets the connection: both hear of it, and what is under
    /// way is lost.
    pub(super) fn break_between(&mut self, id: EndpointId) {
        let other = self.net.linked(id);
        self.break_here(id);
        if let Some(other) = other {
            self.break_here(other);
        }
    }

    /// connect(2) of a TCP connection to no address: the other side is reset, what has arrived here
    /// is thrown away, and what waits here gets an error (tcp_disconnect).
    pub(super) fn disconnect(&mut self, id: EndpointId) {
        let Some(endpoint) = self.net.get_mut(id) else {
            return;
        };
        if endpoint.is_unix || !matches!(endpoint.kind, Kind::Stream) {
            return;
        }
        endpoint.inbox.clear();
        endpoint.arrived = 0;
        if let Link::To(other) = endpoint.link {
            self.send_reset(other);
        }
        self.break_here(id);
    }

    /// The last reference to a socket is gone. With `reset`, or with something unread, the other
    /// side is reset (RFC 1122 4.2.2.13); otherwise it sees the end.
    pub(super) fn close_endpoint(&mut self, id: EndpointId, reset: bool) {
        let Some(mut endpoint) = self.net.remove(id) else {
            return;
        };
        if let Kind::Listener(queue) = &mut endpoint.kind {
            let queue = std::mem::take(queue);
            if let Some(address) = &endpoint.places.local {
                self.net.remove_listener(id, address);
            }
            for waiting in queue {
                self.close_endpoint(waiting, true);
            }
            return;
        }
        let Link::To(other) = endpoint.link else {
            return;
        };
        if let Some(other) = self.net.get_mut(other) {
            other.link = Link::Gone;
        }
        if reset || !endpoint.inbox.is_empty() {
            self.send_reset(other);
        } else if !endpoint.is_shut_write {
            self.send_end(other);
        }
        // Who waits for room there waits in vain.
        self.net.wake_writers(other);
        self.pass_on();
    }
}
