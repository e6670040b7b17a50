//! One enter: cancels and first tries in order, one wait, and what is ready then.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::limits::CONNECT_RETRY_PAUSE;
use crate::limits::EVENTS_PER_TURN;
use crate::ring::buffers::BufferRing;
use crate::ring::clock;
use crate::ring::clock::Instant;
use crate::ring::epoll::attempts::Tried;
use crate::ring::epoll::buffers::FreeBuffers;
use crate::ring::epoll::calls;
use crate::ring::epoll::descriptors::Descriptors;
use crate::ring::epoll::descriptors::Kind;
use crate::ring::epoll::operations::Operations;
use crate::ring::epoll::operations::Side;
use crate::ring::epoll::operations::Waiting;
use crate::ring::epoll::readers::Job;
use crate::ring::epoll::readers::Mailbox;
use crate::ring::op::Op;
use crate::ring::queue::Cqe;
use crate::ring::queue::RingCounters;
use crate::ring::queue::Wait;
use crate::ring::sys::Process;
use crate::ring::token::Token;

/// The data of the mailbox's event: no descriptor has this index.
const MAILBOX: u64 = u64::MAX;

/// There is something to receive, or never will be.
const READABLE: u32 =
    (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// There is room, or never will be.
const WRITABLE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// More can stand behind what one receive takes: an end, an error, an urgent byte at which it stops.
const MORE_BEHIND: u32 =
    (libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLHUP | libc::EPOLLERR) as u32;
/// Connections are registered once, and once more with the first send that waits for room: told of it
/// before, each would begin with a turn for nothing, and on Unix sockets have one for each read of the
/// peer.
const RECEIVING: u32 = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLPRI | libc::EPOLLET) as u32;
const ROOM: u32 = libc::EPOLLOUT as u32;
/// There is always room in a counter, and each read would say so.
const COUNTER: u32 = (libc::EPOLLIN | libc::EPOLLET) as u32;

/// All that one ring knows.
pub(in crate::ring) struct EpollEngine {
    set: OwnedFd,
    /// Keeps a registration free for the counter that wakes the core, without which it cannot work:
    /// where there are no more (max_user_watches), the set-up fails.
    spare: Option<OwnedFd>,
    process: Process,
    submissions: Vec<(Op, Token)>,
    pub(super) operations: Operations,
    pub(super) descriptors: Descriptors,
    /// Descriptors that are ready and have somebody waiting.
    ready: VecDeque<u32>,
    /// The same, after a first try in this turn: for the next.
    tried: Vec<u32>,
    /// The last turn ended without a buffer while somebody waited for one.
    ran_out: bool,
    /// Connects that are tried again at `retry_at`.
    retries: Vec<u32>,
    retry_at: Instant,
    pub(super) buffers: FreeBuffers,
    /// The turn began with a free buffer.
    pub(super) had_buffers: bool,
    /// Operations that submissions of this turn cancelled.
    canceled: Vec<u32>,
    completions: VecDeque<Cqe>,
    events: Box<[libc::epoll_event]>,
    /// Where threads that read leave their results.
    mailbox: Arc<Mailbox>,
    registrations: u64,
    pub(super) system_calls: u64,
}

impl EpollEngine {
    pub(super) fn new(buffers: &Rc<BufferRing>) -> io::Result<EpollEngine> {
        let no_event = libc::epoll_event { events: 0, u64: 0 };
        let set = calls::new_set()?;
        let watch = |fd: RawFd, events, data| {
            calls::add(&set, fd, events, data).map_err(io::Error::from_raw_os_error)
        };
        let mailbox = Mailbox::new()?;
        watch(mailbox.fd(), COUNTER, MAILBOX)?;
        let spare = calls::new_set()?;
        watch(spare.as_raw_fd(), libc::EPOLLIN as u32, MAILBOX)?;
        Ok(EpollEngine {
            spare: Some(spare),
            set,
            process: Process::here(),
            submissions: Vec::new(),
            operations: Operations::default(),
            descriptors: Descriptors::default(),
            ready: VecDeque::new(),
            tried: Vec::new(),
            ran_out: false,
            retries: Vec::new(),
            retry_at: Instant::NEVER,
            buffers: FreeBuffers::new(buffers),
            had_buffers: false,
            canceled: Vec::new(),
            completions: VecDeque::new(),
            events: vec![no_event; EVENTS_PER_TURN].into(),
            mailbox: Arc::new(mailbox),
            registrations: 1,
            system_calls: 0,
        })
    }

    /// Queues an operation. What a child of fork(2) wants is forgotten.
    ///
    /// # Safety
    ///
    /// As for [`Ring::push`](crate::ring::queue::Ring::push): this is what every attempt relies on.
    #[inline]
    pub(super) unsafe fn push(&mut self, op: Op, token: Token) {
        if self.process.is_here() {
            self.submissions.push((op, token));
        }
    }

    pub(super) fn has_queued(&self) -> bool {
        !self.submissions.is_empty()
    }

    pub(super) fn completions(&mut self, into: &mut Vec<Cqe>, max: usize) -> (usize, usize) {
        let taken = self.completions.len().min(max);
        into.extend(self.completions.drain(..taken));
        (taken, self.completions.len())
    }

    pub(super) fn enter(&mut self, wait: Wait, counters: &mut RingCounters) -> io::Result<()> {
        if !self.process.is_here() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.buffers.look();
        self.had_buffers = !self.buffers.is_empty();
        let mut submissions = std::mem::take(&mut self.submissions);
        for (op, token) in submissions.drain(..) {
            self.begin(op, token);
        }
        self.submissions = submissions;
        self.end_canceled();
        self.retry();
        let count = self.wait(wait)?;
        for at in 0..count {
            let libc::epoll_event { events, u64: data } = self.events[at];
            self.take_event(data, events);
        }
        self.serve_ready();
        counters.registrations = self.registrations;
        counters.system_calls = self.system_calls;
        Ok(())
    }

    /// Each once. What cannot be served whole is for the next turn: behind the others that had their
    /// share, before them where a buffer lacked.
    fn serve_ready(&mut self) {
        self.ran_out = false;
        for _ in 0..self.ready.len() {
            self.ran_out = self.had_buffers && self.buffers.is_empty();
            if self.ran_out {
                break;
            }
            let index = self.ready.pop_front().expect("it was counted");
            self.descriptors.get(index).is_queued = false;
            self.serve(index);
            self.queue_if_ready(index);
        }
        self.ready.extend(self.tried.drain(..));
    }

    /// The one wait of an enter: none where something is there to be taken or done.
    fn wait(&mut self, wait: Wait) -> io::Result<usize> {
        let has_left = !self.ready.is_empty() || !self.tried.is_empty();
        let has_work = has_left || !self.completions.is_empty();
        let mut timeout = match wait {
            _ if has_work => Some(std::time::Duration::ZERO),
            Wait::Zero => Some(std::time::Duration::ZERO),
            Wait::For(duration) => Some(duration),
            Wait::Forever => None,
        };
        if !self.retries.is_empty() {
            let pause = self.retry_at - clock::now();
            timeout = Some(timeout.map_or(pause, |timeout| timeout.min(pause)));
        }
        self.system_calls += 1;
        calls::wait(&self.set, &mut self.events, timeout)
    }

    fn take_event(&mut self, data: u64, events: u32) {
        if data == MAILBOX {
            return self.open_mailbox();
        }
        let Some(index) = self.descriptors.of_event(data) else {
            return;
        };
        let found = self.descriptors.get(index);
        if events & READABLE != 0 {
            found.is_readable = true;
            found.has_data_alone = events & MORE_BEHIND == 0;
        }
        found.is_writable |= events & WRITABLE != 0;
        found.is_hung_up = found.kind.is_listener() && events & libc::EPOLLHUP as u32 != 0;
        self.queue_if_ready(index);
    }

    fn queue_if_ready(&mut self, index: u32) {
        let found = self.descriptors.get(index);
        if found.is_ready() && !found.is_queued {
            found.is_queued = true;
            self.ready.push_back(index);
        }
    }

    /// Tries what waits for a descriptor, as far as it goes.
    fn serve(&mut self, index: u32) {
        for side in [Side::In, Side::Out] {
            let mut budget = 1;
            while budget > 0
                && let Some(first) = self.next_to_try(index, side)
            {
                let (op, token) = self.operations.get(first);
                let short_is_all = self.short_is_all(index, op);
                match self.attempt(op, token, short_is_all) {
                    Tried::Over { is_empty } => {
                        self.unlink(first);
                        if is_empty {
                            self.descriptors.get(index).is_readable = false;
                        }
                    }
                    Tried::WouldBlock if self.descriptors.get(index).is_hung_up => {
                        self.unlink(first);
                        self.post(token, -libc::EINVAL, false, None);
                    }
                    Tried::WouldBlock => self.is_not_ready(index, side),
                    Tried::Left => budget = 0,
                }
            }
        }
        let found = self.descriptors.get(index);
        found.is_writable = false;
        if found.kind.is_listener() {
            found.is_readable = false;
            if found.receivers.is_empty() {
                self.deregister(index);
            }
        }
    }

    /// True when a receive that does not fill its memory takes all: on TCP, where the last event told of
    /// data alone. Which of them it is, those are asked for that receive more than once.
    pub(super) fn short_is_all(&mut self, index: u32, op: Op) -> bool {
        let found = self.descriptors.get(index);
        let is_asked = matches!(op, Op::RecvMulti { .. } | Op::Recv { .. });
        if is_asked && found.has_data_alone && found.kind == Kind::Unknown {
            self.system_calls += 1;
            found.kind = match calls::is_tcp(found.fd) {
                true => Kind::Tcp,
                false => Kind::Other,
            };
        }
        found.has_data_alone && found.kind == Kind::Tcp
    }

    fn next_to_try(&mut self, index: u32, side: Side) -> Option<u32> {
        let found = self.descriptors.get(index);
        match side {
            Side::In if found.is_readable => found.receivers.first(),
            Side::Out if found.is_writable => found.senders.first(),
            _ => None,
        }
    }

    fn is_not_ready(&mut self, index: u32, side: Side) {
        let found = self.descriptors.get(index);
        match side {
            Side::In => found.is_readable = false,
            Side::Out => found.is_writable = false,
        }
    }

    // ---- waiting -----------------------------------------------------------------------------

    /// Lets an operation wait for its descriptor, which is registered now if it was not.
    pub(super) fn wait_for(&mut self, fd: RawFd, side: Side, op: Op, token: Token) {
        let index = match self.descriptors.find(fd) {
            Some(index) => index,
            None => self.descriptors.insert(fd, Kind::Unknown),
        };
        if let Err(errno) = self.register(index, side) {
            return self.post(token, -errno, false, None);
        }
        let waiting = Waiting::Descriptor { index, side };
        let operation = self.operations.begin(op, token, waiting);
        let list = self.descriptors.get(index).list(side);
        self.operations.append(list, operation);
    }

    /// The same for one that is to go on with the next turn.
    pub(super) fn go_on(&mut self, fd: RawFd, op: Op, token: Token) {
        self.wait_for(fd, Side::In, op, token);
        if let Some(index) = self.descriptors.find(fd) {
            let found = self.descriptors.get(index);
            found.is_readable = true;
            if found.is_ready() && !found.is_queued {
                found.is_queued = true;
                self.tried.push(index);
            }
        }
    }

    /// True when others have waited for a buffer since the last turn: who comes now stands behind them.
    pub(super) fn must_queue(&self) -> bool {
        self.ran_out
    }

    /// Tries a connect again after a pause.
    pub(super) fn wait_for_retry(&mut self, op: Op, token: Token) {
        let index = self.operations.begin(op, token, Waiting::Retry);
        if self.retries.is_empty() {
            self.retry_at = clock::now() + CONNECT_RETRY_PAUSE;
        }
        self.retries.push(index);
    }

    fn retry(&mut self) {
        if self.retries.is_empty() || clock::now() < self.retry_at {
            return;
        }
        for index in std::mem::take(&mut self.retries) {
            let (op, token) = self.operations.get(index);
            self.operations.end(index);
            self.begin(op, token);
        }
    }

    /// A thread reads for an operation.
    pub(super) fn wait_for_reader(&mut self, op: Op, token: Token) {
        let Op::Read {
            fd,
            start,
            bytes,
            offset,
        } = op
        else {
            panic!("{op:?} is no read");
        };
        let mailbox = Arc::clone(&self.mailbox);
        // SAFETY: the submitter lends the memory, and keeps the file open, until the last completion
        // (`Ring::push`), which is posted when the job is over or was taken back unbegun.
        let job = unsafe { Job::new(token, fd, start, bytes, offset, mailbox) };
        self.operations
            .begin(op, token, Waiting::Reader(Arc::clone(&job)));
        job.start();
    }

    fn open_mailbox(&mut self) {
        for (token, result) in self.mailbox.take() {
            let index = self
                .operations
                .find(token)
                .expect("a job's operation waits");
            self.operations.end(index);
            self.post(token, result, false, None);
        }
    }

    // ---- registrations -----------------------------------------------------------------------

    /// Sees to it that a descriptor's set tells what one direction waits for.
    fn register(&mut self, index: u32, side: Side) -> Result<(), i32> {
        let data = self.descriptors.data(index);
        let found = self.descriptors.get(index);
        let is_enough = side == Side::In || found.tells_room;
        if found.is_registered && is_enough {
            return Ok(());
        }
        let tells_room = side == Side::Out;
        let events = match found.kind {
            Kind::Listener => libc::EPOLLIN as u32,
            Kind::SharedListener => (libc::EPOLLIN | libc::EPOLLEXCLUSIVE) as u32,
            Kind::Counter => COUNTER,
            Kind::Unknown | Kind::Tcp | Kind::Other if tells_room => RECEIVING | ROOM,
            Kind::Unknown | Kind::Tcp | Kind::Other => RECEIVING,
        };
        self.registrations += 1;
        self.system_calls += 1;
        if found.kind == Kind::Counter
            && let Some(spare) = self.spare.take()
        {
            calls::delete(&self.set, spare.as_raw_fd());
        }
        let mut done = match found.is_registered {
            true => calls::modify(&self.set, found.fd, events, data),
            false => calls::add(&self.set, found.fd, events, data),
        };
        // The number was closed behind our back, or stands for the same description again.
        if matches!(done, Err(libc::EEXIST | libc::ENOENT)) {
            calls::delete(&self.set, found.fd);
            done = calls::add(&self.set, found.fd, events, data);
        }
        found.is_registered = done.is_ok();
        found.tells_room = tells_room && done.is_ok();
        done
    }

    fn deregister(&mut self, index: u32) {
        let found = self.descriptors.get(index);
        if std::mem::take(&mut found.is_registered) {
            self.system_calls += 1;
            calls::delete(&self.set, found.fd);
        }
    }

    /// The descriptor is about to be closed or to leave this thread. Nothing should wait for it; what
    /// does all the same ends. A child of fork(2), which shares the set with its parent, leaves it alone.
    pub(super) fn forget(&mut self, fd: RawFd) {
        if !self.process.is_here() {
            return;
        }
        let Some(index) = self.descriptors.find(fd) else {
            return;
        };
        for side in [Side::In, Side::Out] {
            while let Some(operation) = self.descriptors.get(index).list(side).first() {
                let (_, token) = self.operations.get(operation);
                self.unlink(operation);
                self.post(token, -libc::ECANCELED, false, None);
            }
        }
        self.deregister(index);
        self.descriptors.remove(index);
    }

    /// The descriptor was shut down: not every kind tells its set.
    pub(super) fn notice(&mut self, fd: RawFd) {
        if let Some(index) = self.descriptors.find(fd) {
            let found = self.descriptors.get(index);
            found.is_readable = true;
            found.is_writable = true;
            self.queue_if_ready(index);
        }
    }

    // ---- ends --------------------------------------------------------------------------------

    /// Takes an operation out of wherever it waited.
    fn unlink(&mut self, operation: u32) -> Waiting {
        let waiting = self.operations.end(operation);
        match waiting {
            Waiting::Descriptor { index, side } => {
                let list = self.descriptors.get(index).list(side);
                self.operations.unlink(list, operation);
            }
            Waiting::Retry => self.retries.retain(|other| *other != operation),
            Waiting::Reader(_) | Waiting::Canceled | Waiting::Free => {}
        }
        waiting
    }

    /// Ends an operation: its completion comes behind those of the submissions, as with io_uring.
    pub(super) fn cancel(&mut self, target: Token, own: Token) {
        let result = match self.operations.find(target) {
            Some(operation) => self.cancel_found(operation),
            None => -libc::ENOENT,
        };
        self.post(own, result, false, None);
    }

    pub(super) fn cancel_all(&mut self, own: Token) {
        let found = self.operations.all().into_iter();
        let count = found
            .filter(|operation| self.cancel_found(*operation) == 0)
            .count();
        self.post(own, count as i32, false, None);
    }

    fn cancel_found(&mut self, operation: u32) -> i32 {
        match self.operations.waiting(operation) {
            Waiting::Canceled => return 0,
            Waiting::Reader(job) if !job.take_back() => return -libc::EALREADY,
            _ => {}
        }
        let (op, token) = self.operations.get(operation);
        let was_waiting = self.unlink(operation);
        self.operations.begin(op, token, Waiting::Canceled);
        self.canceled.push(operation);
        if let Waiting::Descriptor { index, .. } = was_waiting {
            let found = self.descriptors.get(index);
            // Level-triggered: it would be told again and again.
            if found.kind.is_listener() && found.receivers.is_empty() {
                self.deregister(index);
            }
        }
        0
    }

    fn end_canceled(&mut self) {
        for operation in std::mem::take(&mut self.canceled) {
            let (_, token) = self.operations.get(operation);
            self.operations.end(operation);
            self.post(token, -libc::ECANCELED, false, None);
        }
    }

    pub(super) fn post(&mut self, token: Token, result: i32, more: bool, buffer: Option<u16>) {
        self.completions
            .push_back(Cqe::new(token, result, more, buffer));
    }
}
