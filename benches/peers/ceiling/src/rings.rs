//! io_uring with DEFER_TASKRUN: single receives into own buffers, or standing receives into a
//! shared ring of buffers.

use std::net::TcpListener;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering;

use io_uring::IoUring;
use io_uring::cqueue;
use io_uring::opcode;
use io_uring::squeue;
use io_uring::types::BufRingEntry;
use io_uring::types::Fd;

use crate::Answers;
use crate::Ends;
use crate::Table;

const SQ_ENTRIES: u32 = 2048;
const CQ_ENTRIES: u32 = 8192;
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 4096;
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

const ACCEPT: u64 = 0;
const RECV: u64 = 1 << 32;
const OTHER: u64 = 2 << 32;

struct Loop {
    ring: IoUring,
    accepting: i32,
    completions: Vec<(u64, i32, u32)>,
}

impl Loop {
    fn new(listener: &TcpListener) -> Loop {
        listener.set_nonblocking(false).expect("blocking");
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)
            .expect("a ring");
        let mut new = Loop {
            ring,
            accepting: crate::fd_of(listener),
            completions: Vec::with_capacity(CQ_ENTRIES as usize),
        };
        new.accept();
        new
    }

    fn accept(&mut self) {
        let entry = opcode::AcceptMulti::new(Fd(self.accepting)).build();
        self.push(entry.user_data(ACCEPT));
    }

    /// The memory an entry names is static, or belongs to a buffer that is never freed.
    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: see above; all callers are in this file.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit().expect("submit");
        }
    }

    fn turn(&mut self) {
        let done = self.ring.submit_and_wait(1);
        if let Err(error) = done {
            let again = [libc::EINTR, libc::EAGAIN, libc::EBUSY].map(Some);
            assert!(again.contains(&error.raw_os_error()), "enter: {error}");
        }
        self.completions.clear();
        let all = self.ring.completion();
        let all = all.map(|entry| (entry.user_data(), entry.result(), entry.flags()));
        self.completions.extend(all);
    }

    fn send(&mut self, fd: i32, bytes: &'static [u8], then_close: bool) {
        let send = opcode::Send::new(Fd(fd), bytes.as_ptr(), bytes.len() as u32);
        let send = send.flags(SEND_FLAGS).build().user_data(OTHER);
        if then_close {
            self.push(send.flags(squeue::Flags::SKIP_SUCCESS | squeue::Flags::IO_LINK));
            self.close(fd);
        } else {
            self.push(send.flags(squeue::Flags::SKIP_SUCCESS));
        }
    }

    fn close(&mut self, fd: i32) {
        let close = opcode::Close::new(Fd(fd)).build().user_data(OTHER);
        self.push(close.flags(squeue::Flags::SKIP_SUCCESS));
    }

    fn accepted(&mut self, result: i32, flags: u32) -> Option<i32> {
        if !cqueue::more(flags) {
            self.accept();
        }
        (result >= 0).then(|| {
            crate::set_nodelay(result);
            result
        })
    }
}

/// A receive into the connection's own buffer, then a send and the next receive in one batch.
pub fn oneshot(listener: &TcpListener, close: bool) {
    let mut it = Loop::new(listener);
    let mut buffers = Table::<Option<Box<[u8; BUFFER_BYTES]>>>(Vec::new());
    let mut ends = Table::<Ends>(Vec::new());
    let answers = Answers::new(close);
    loop {
        it.turn();
        for index in 0..it.completions.len() {
            let (data, result, flags) = it.completions[index];
            let fd = match data {
                ACCEPT => match it.accepted(result, flags) {
                    Some(fd) => fd,
                    None => continue,
                },
                data if data & RECV != 0 => data as u32 as i32,
                _ => continue,
            };
            let buffer = buffers
                .at(fd)
                .get_or_insert_with(|| Box::new([0; BUFFER_BYTES]));
            if data == ACCEPT {
                *ends.at(fd) = Ends::default();
            } else if result <= 0 {
                it.close(fd);
                continue;
            } else {
                let count = ends.at(fd).count(&buffer[..result as usize]);
                if count > 0 {
                    it.send(fd, answers.of(count), close);
                    if close {
                        continue;
                    }
                }
            }
            let entry = opcode::Recv::new(Fd(fd), buffer.as_mut_ptr(), BUFFER_BYTES as u32);
            it.push(entry.build().user_data(RECV | fd as u64));
        }
    }
}

/// A standing receive per connection into shared buffers; sends by the ring, or by send(2).
pub fn multishot(listener: &TcpListener, by_call: bool) {
    let mut it = Loop::new(listener);
    let mut buffers = Buffers::new(&it.ring);
    let mut ends = Table::<Ends>(Vec::new());
    let answers = Answers::new(false);
    let arm = |fd: i32| {
        let entry = opcode::RecvMulti::new(Fd(fd), 0).build();
        entry.user_data(RECV | fd as u64)
    };
    loop {
        it.turn();
        for index in 0..it.completions.len() {
            let (data, result, flags) = it.completions[index];
            if data == ACCEPT {
                if let Some(fd) = it.accepted(result, flags) {
                    *ends.at(fd) = Ends::default();
                    it.push(arm(fd));
                }
                continue;
            }
            if data & RECV == 0 {
                continue;
            }
            let fd = data as u32 as i32;
            if let Some(id) = cqueue::buffer_select(flags) {
                let count = ends
                    .at(fd)
                    .count(buffers.filled(id, result.max(0) as usize));
                buffers.give_back(id);
                if count > 0 {
                    let bytes = answers.of(count);
                    if by_call {
                        let flags = libc::MSG_NOSIGNAL;
                        // SAFETY: `bytes` is readable.
                        unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
                    } else {
                        it.send(fd, bytes, false);
                    }
                }
            }
            if !cqueue::more(flags) {
                match result > 0 || result == -libc::ENOBUFS {
                    true => it.push(arm(fd)),
                    false => it.close(fd),
                }
            }
        }
        buffers.publish();
    }
}

/// Buffers that the kernel takes from and we give back to.
struct Buffers {
    entries: *mut BufRingEntry,
    memory: Vec<u8>,
    tail: u16,
}

impl Buffers {
    fn new(ring: &IoUring) -> Buffers {
        let bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
        let layout = std::alloc::Layout::from_size_align(bytes, 4096).expect("a layout");
        // SAFETY: the layout is not empty.
        let entries = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<BufRingEntry>();
        // SAFETY: page-aligned memory of the stated size that is never freed.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(entries as u64, BUFFERS, 0, 0)
        }
        .expect("a ring of buffers");
        let mut new = Buffers {
            entries,
            memory: vec![0; usize::from(BUFFERS) * BUFFER_BYTES],
            tail: 0,
        };
        (0..BUFFERS).for_each(|id| new.give_back(id));
        new.publish();
        new
    }

    fn filled(&self, id: u16, length: usize) -> &[u8] {
        let start = usize::from(id) * BUFFER_BYTES;
        &self.memory[start..start + length]
    }

    fn give_back(&mut self, id: u16) {
        let index = usize::from(self.tail % BUFFERS);
        let start = usize::from(id) * BUFFER_BYTES;
        let address = self.memory[start..].as_ptr() as u64;
        // SAFETY: the index is below BUFFERS, and the kernel reads entries only below the tail.
        let entry = unsafe { &mut *self.entries.add(index) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: `entries` is the start of a registered ring; its tail is aligned and shared.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}
