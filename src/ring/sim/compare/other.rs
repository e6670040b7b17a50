//! Events, files, waiting, and queues that are too small.

use std::time::Duration;

use crate::ring::sim::compare::LAST_COME_FIRST;
use crate::ring::sim::compare::Row;
use crate::ring::sim::compare::row;
use crate::ring::sim::compare::trace::Form;
use crate::ring::sys::Shutdown;

/// All rows of this file.
pub const ROWS: [&[Row]; 4] = [EVENTS, FILES, WAITS, QUEUES];

const EVENT_NAMES: [&str; 8] = ["e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8"];

const EVENTS: &[Row] = &[
    row("event: notified before", Form::Exact, |stage| {
        stage.event("event");
        stage.notify("event");
        stage.notify("event");
        stage.read_event("read", "event");
        stage.settle();
        stage.read_event("again", "event");
        stage.settle();
        stage.notify("event");
        stage.settle();
    }),
    row("event: notified after", Form::Exact, |stage| {
        stage.event("event");
        stage.read_event("read", "event");
        stage.settle();
        stage.notify("event");
        stage.notify("event");
        stage.settle();
    }),
    row("event: notified while a turn waits", Form::Exact, |stage| {
        stage.event("event");
        stage.read_event("read", "event");
        stage.notify("event");
        stage.settle();
    }),
    row("event: closed with a read waiting", Form::Exact, |stage| {
        stage.event("event");
        stage.read_event("read", "event");
        stage.settle();
        stage.close("event");
        stage.settle();
    })
    .epoll_differs("a close ends what waits; nothing of ours does then"),
    row("event: small memory", Form::Exact, |stage| {
        stage.event("event");
        stage.notify("event");
        let fd = stage.raw("event");
        stage.read("four bytes", fd, 4, u64::MAX);
        stage.settle();
    }),
    row("read of a closed descriptor", Form::Exact, |stage| {
        stage.event("event");
        stage.read_event("read", "event");
        stage.close("event");
        stage.settle();
    }),
];

const FILES: &[Row] = &[
    READ,
    row("file: read at once", Form::Exact, |stage| {
        let (file, _) = stage.file(b"0123456789");
        stage.read_now(&file, 0, 10);
        stage.read_now(&file, 3, 4);
        stage.read_now(&file, 6, 40);
        stage.read_now(&file, 10, 4);
        stage.read_now(&file, 1_000, 4);
        stage.read_now(&file, 0, 0);
    }),
    row("file: sent at once", Form::Exact, |stage| {
        let (file, _) = stage.file(b"0123456789");
        stage.tcp("a", "b");
        stage.set_nonblocking("a");
        stage.send_file_now("a", &file, 2, 5);
        stage.recv("five", "b", 64, false);
        stage.settle();
        stage.send_file_now("a", &file, 8, 5);
        stage.recv("two", "b", 64, false);
        stage.settle();
        stage.send_file_now("a", &file, 10, 5);
        stage.send_file_now("a", &file, 1_000, 5);
        stage.shutdown("a", Shutdown::Write);
        stage.send_file_now("a", &file, 0, 5);
    }),
    row(
        "file: sent at once until there is no room",
        Form::Exact,
        |stage| {
            let (file, _) = stage.file(&vec![b'x'; 16 << 20]);
            stage.tcp("a", "b");
            stage.set_nonblocking("a");
            stage.round_counts();
            stage.send_file_now("a", &file, 0, 16 << 20);
            stage.send_file_now("a", &file, 0, 1);
            stage.drain("b");
            stage.send_file_now("a", &file, 0, 1);
            stage.drain("b");
        },
    ),
    // What the ring does on a socket that is not to block, it does as on any other.
    row(
        "file: the ring waits on a socket that does not block",
        Form::Exact,
        |stage| {
            stage.tcp("a", "b");
            stage.set_nonblocking("a");
            stage.recv("recv", "a", 16, false);
            stage.recv_select("behind", "b", false);
            stage.settle();
            stage.send_now("b", b"hello");
            stage.settle();
            stage.recv_multi("standing", "a", false);
            stage.settle();
            stage.send_now("b", b"more");
            stage.settle();
            stage.send_now("a", b"back");
            stage.settle();
        },
    ),
];

const READ: Row = row("file", Form::Exact, |stage| {
    let (file, fd) = stage.file(b"0123456789");
    stage.read("whole", fd, 10, 0);
    stage.settle();
    stage.read("more than there is", fd, 20, 0);
    stage.settle();
    stage.read("part", fd, 4, 3);
    stage.settle();
    stage.read("to the end", fd, 8, 6);
    stage.settle();
    stage.read("at the end", fd, 8, 10);
    stage.settle();
    stage.read("beyond", fd, 8, 1_000);
    stage.settle();
    stage.read("nothing", fd, 0, 0);
    stage.settle();
    stage.read("first", fd, 2, 0);
    stage.read("second", fd, 2, 2);
    stage.settle();
    drop(file);
    stage.read("closed", fd, 8, 0);
    stage.settle();
});

const WAITS: &[Row] = &[
    row("wait: nothing comes", Form::Exact, |stage| {
        stage.wait(Duration::from_millis(20));
        stage.wait(Duration::from_micros(1));
        stage.wait(Duration::ZERO);
    }),
    row("wait: something is there", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_select("recv", "a", true);
        stage.send_now("b", b"hello");
        stage.wait(Duration::from_secs(30));
    }),
    row("wait: submission completes it", Form::Exact, |stage| {
        stage.cancel_all("all");
        stage.wait(Duration::from_secs(30));
    }),
    row("wait: with operations in flight", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_select("recv", "a", true);
        stage.wait(Duration::from_millis(20));
    }),
];

const QUEUES: &[Row] = &[
    row("submission queue too small", Form::Exact, |stage| {
        stage.event("event");
        for _ in 0..10 {
            stage.read_event("closed", "event");
        }
        stage.close("event");
        stage.settle();
        let spilled = stage.ring().counters().spills > 0;
        stage.call("spilled", &spilled.to_string());
    })
    .epoll_differs("its queues have no bounds but memory")
    .queues(4, 64),
    row(
        "completion queue too small: single",
        Form::Sorted,
        |stage| {
            stage.event("event");
            for _ in 0..20 {
                stage.read_event("closed", "event");
            }
            stage.close("event");
            stage.settle();
            stage.settle();
            let overflows = stage.ring().counters().overflows > 0;
            stage.call("overflowed", &overflows.to_string());
        },
    )
    .queues(4, 4),
    row(
        "completion queue too small: many singles",
        Form::Sorted,
        |stage| {
            for event in EVENT_NAMES {
                stage.event(event);
                stage.read_event(event, event);
            }
            stage.settle();
            for event in EVENT_NAMES {
                stage.notify(event);
            }
            stage.turn_once();
            stage.settle();
            stage.turn_once();
            let overflows = stage.ring().counters().overflows > 0;
            stage.call("overflowed", &overflows.to_string());
        },
    )
    .epoll_differs("its queues have no bounds but memory")
    .queues(4, 4),
    row(
        "completion queue too small: one multishot",
        Form::Exact,
        |stage| {
            stage.tcp("a", "b");
            stage.recv_multi("recv", "a", true);
            stage.settle();
            stage.send_now("b", &[b'x'; 16 * 12]);
            stage.settle();
            let overflows = stage.ring().counters().overflows > 0;
            stage.call("overflowed", &overflows.to_string());
        },
    )
    .epoll_differs("its queues have no bounds but memory")
    .queues(4, 4),
    row(
        "completion queue too small: many multishots",
        Form::Sorted,
        |stage| {
            for (name, a, b) in [
                ("1", "a1", "b1"),
                ("2", "a2", "b2"),
                ("3", "a3", "b3"),
                ("4", "a4", "b4"),
                ("5", "a5", "b5"),
                ("6", "a6", "b6"),
                ("7", "a7", "b7"),
                ("8", "a8", "b8"),
            ] {
                stage.tcp(a, b);
                stage.recv_multi(name, a, true);
            }
            stage.settle();
            for b in ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"] {
                stage.send_now(b, b"x");
            }
            stage.settle();
            let overflows = stage.ring().counters().overflows > 0;
            stage.call("overflowed", &overflows.to_string());
            for b in ["b1", "b2", "b3", "b4", "b5", "b6", "b7", "b8"] {
                stage.send_now(b, b"y");
            }
            stage.settle();
        },
    )
    .older_differ((6, 1), LAST_COME_FIRST)
    .epoll_differs("its queues have no bounds but memory")
    .queues(4, 4),
];
