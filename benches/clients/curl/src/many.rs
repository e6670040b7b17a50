//! Many requests in flight: libcurl says which sockets to watch and when to call it, epoll watches.
//!
//! ```text
//!   add ─► timer: at once ─► action ─► socket: watch ─► epoll_wait ─► action ─► message: done ─┐
//!    ▲                                                                                       │
//!    └────────────────────────────── remove, the next turn ◄──────────────────────────────────┘
//! ```

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::fd::FromRawFd as _;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use client_shared::Load;
use client_shared::Phase;
use client_shared::Turns;
use client_shared::fail;
use curl::MultiError;
use curl::easy::Easy2;
use curl::multi::Easy2Handle;
use curl::multi::Events;
use curl::multi::Multi;

use crate::Body;
use crate::answered;
use crate::easy;

/// Events that are taken from epoll at once.
const EVENTS: usize = 64;

/// The handles of one client.
struct Many {
    multi: Multi,
    epoll: OwnedFd,
    /// When libcurl wants to be called, whatever happens.
    call_at: Arc<Mutex<Option<Instant>>>,
    /// Handles without a request.
    resting: Vec<Easy2<Body>>,
}

pub fn measure(load: &Load) {
    let mut many = Many::new(load).unwrap_or_else(|error| fail(&error.to_string()));
    client_shared::measure(load, |phase| {
        let all = many.run(phase);
        all.unwrap_or_else(|error| fail(&error.to_string()))
    });
}

impl Many {
    fn new(load: &Load) -> Result<Many, Box<dyn std::error::Error>> {
        let mut multi = Multi::new();
        // As many connections are kept as there are requests.
        multi.set_max_connects(load.in_flight)?;
        let epoll = create()?;
        let fd = epoll.as_raw_fd();
        let mut is_watched = Vec::new();
        multi.socket_function(move |socket, events, _| {
            let index = socket as usize;
            if is_watched.len() <= index {
                is_watched.resize(index + 1, false);
            }
            let wanted = (!events.remove()).then(|| (events.input(), events.output()));
            watch(fd, socket, is_watched[index], wanted);
            is_watched[index] = wanted.is_some();
        })?;
        let call_at = Arc::new(Mutex::new(None));
        let timer = Arc::clone(&call_at);
        multi.timer_function(move |after| {
            *timer.lock().expect("one thread") = after.map(|after| Instant::now() + after);
            true
        })?;
        let resting = (0..load.in_flight).map(|_| easy(load));
        Ok(Many {
            multi,
            epoll,
            call_at,
            resting: resting.collect::<Result<_, _>>()?,
        })
    }

    /// All requests of a phase; how many they were.
    fn run(&mut self, phase: Phase) -> Result<u64, Box<dyn std::error::Error>> {
        let mut turns: Vec<Turns> = self.resting.iter().map(|_| phase.turns()).collect();
        let mut busy: Vec<Option<Easy2Handle<Body>>> = Vec::new();
        for (index, easy) in std::mem::take(&mut self.resting).into_iter().enumerate() {
            busy.push(self.start(easy, index, &turns[index])?);
        }
        let mut done = Vec::new();
        while busy.iter().any(Option::is_some) {
            self.wait()?;
            self.multi.messages(|message| {
                let index = message.token().expect("each has one");
                let handle = busy[index].as_ref().expect("it is under way");
                done.push((index, message.result_for2(handle).expect("it has ended")));
            });
            for (index, result) in done.drain(..) {
                result?;
                let handle = busy[index].take().expect("it is under way");
                let mut easy = self.multi.remove2(handle)?;
                answered(&mut easy, &mut turns[index])?;
                busy[index] = self.start(easy, index, &turns[index])?;
            }
        }
        Ok(turns.iter().map(Turns::done).sum())
    }

    /// Begins the next request, unless its turns are over.
    fn start(
        &mut self,
        easy: Easy2<Body>,
        index: usize,
        turns: &Turns,
    ) -> Result<Option<Easy2Handle<Body>>, MultiError> {
        if !turns.go_on() {
            self.resting.push(easy);
            return Ok(None);
        }
        let mut handle = self.multi.add2(easy)?;
        handle.set_token(index).expect("a token");
        Ok(Some(handle))
    }

    /// Waits for sockets and the timer, and tells libcurl.
    fn wait(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let call_at = *self.call_at.lock().expect("one thread");
        let left = call_at.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            // Not the callback's place to be called again from: forgotten first.
            *self.call_at.lock().expect("one thread") = None;
            self.multi.timeout()?;
            return Ok(());
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        let ready = wait(self.epoll.as_raw_fd(), &mut events, left)?;
        for event in &events[..ready] {
            let (bits, socket) = (event.events as i32, event.u64 as RawFd);
            let mut events = Events::new();
            events
                .input(bits & (libc::EPOLLIN | libc::EPOLLHUP) != 0)
                .output(bits & libc::EPOLLOUT != 0)
                .error(bits & libc::EPOLLERR != 0);
            self.multi.action(socket, &events)?;
        }
        Ok(())
    }
}

fn create() -> io::Result<OwnedFd> {
    // SAFETY: the descriptor that is returned is nobody else's.
    match unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

/// Watches a socket for reading and writing, or not any more.
fn watch(epoll: RawFd, socket: RawFd, was_watched: bool, wanted: Option<(bool, bool)>) {
    let operation = match (was_watched, wanted) {
        (true, Some(_)) => libc::EPOLL_CTL_MOD,
        (false, Some(_)) => libc::EPOLL_CTL_ADD,
        (true, None) => libc::EPOLL_CTL_DEL,
        (false, None) => return,
    };
    let (input, output) = wanted.unwrap_or_default();
    let bits = [(input, libc::EPOLLIN), (output, libc::EPOLLOUT)];
    let bits = bits.into_iter().filter_map(|(on, bit)| on.then_some(bit));
    let mut event = libc::epoll_event {
        events: bits.sum::<i32>() as u32,
        u64: socket as u64,
    };
    // SAFETY: the event is read during the call only.
    let done = unsafe { libc::epoll_ctl(epoll, operation, socket, &raw mut event) };
    if done == -1 {
        fail(&format!("epoll_ctl: {}", io::Error::last_os_error()));
    }
}

fn wait(
    epoll: RawFd,
    events: &mut [libc::epoll_event],
    left: Option<Duration>,
) -> io::Result<usize> {
    let millis = left.map_or(-1, |left| left.as_millis() as libc::c_int + 1);
    let room = events.len() as libc::c_int;
    // SAFETY: the kernel writes at most as many events as there is room for.
    match unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, millis) } {
        -1 => Err(io::Error::last_os_error()),
        count => Ok(count as usize),
    }
}
