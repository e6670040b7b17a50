//! Cancellation, by token and of everything.

use crate::ring::sim::compare::Row;
use crate::ring::sim::compare::row;
use crate::ring::sim::compare::trace::Form;
use crate::ring::sys::Shutdown;
use crate::ring::token::Token;

/// All rows of this file.
pub const ROWS: [&[Row]; 2] = [BY_TOKEN, ALL];

const BY_TOKEN: &[Row] = &[
    row("an armed receive", Form::Exact, |stage| {
        for kind in ["select", "multi", "own"] {
            stage.call("kind", kind);
            stage.tcp("a", "b");
            match kind {
                "select" => stage.recv_select("recv", "a", true),
                "multi" => stage.recv_multi("recv", "a", true),
                _ => stage.recv("recv", "a", 16, true),
            }
            stage.settle();
            stage.cancel("cancel", "recv");
            stage.settle();
            stage.send_now("b", b"unharmed");
            stage.recv_select("later", "a", true);
            stage.settle();
            stage.clear();
        }
    }),
    row("in the batch of the submission", Form::Exact, |stage| {
        for poll_first in [true, false] {
            for kind in ["select", "multi", "own"] {
                stage.call("kind", kind);
                stage.tcp("a", "b");
                match kind {
                    "select" => stage.recv_select("recv", "a", poll_first),
                    "multi" => stage.recv_multi("recv", "a", poll_first),
                    _ => stage.recv("recv", "a", 16, poll_first),
                }
                stage.cancel("cancel", "recv");
                stage.settle();
            }
        }
    }),
    row("before the submission", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.cancel_token("cancel", Token::slot(1_000, 0));
        stage.recv_select("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"hello");
        stage.settle();
    }),
    row("with data there, same batch", Form::Exact, |stage| {
        for poll_first in [true, false] {
            for kind in ["select", "multi", "own"] {
                stage.call("kind", kind);
                stage.tcp("a", "b");
                stage.send_now("b", b"hello");
                match kind {
                    "select" => stage.recv_select("recv", "a", poll_first),
                    "multi" => stage.recv_multi("recv", "a", poll_first),
                    _ => stage.recv("recv", "a", 16, poll_first),
                }
                stage.cancel("cancel", "recv");
                stage.settle();
            }
        }
    })
    .epoll_differs("what polls first learns of the data with the wait, behind the cancel"),
    row(
        "data came, cancel before it was seen",
        Form::Exact,
        |stage| {
            for kind in ["select", "multi", "own"] {
                stage.call("kind", kind);
                stage.tcp("a", "b");
                match kind {
                    "select" => stage.recv_select("recv", "a", true),
                    "multi" => stage.recv_multi("recv", "a", true),
                    _ => stage.recv("recv", "a", 16, true),
                }
                stage.settle();
                stage.send_now("b", b"hello");
                stage.cancel("cancel", "recv");
                stage.settle();
                stage.recv_select("later", "a", true);
                stage.settle();
            }
        },
    ),
    row(
        "the end came, cancel before it was seen",
        Form::Exact,
        |stage| {
            for kind in ["select", "multi", "own"] {
                stage.call("kind", kind);
                stage.tcp("a", "b");
                match kind {
                    "select" => stage.recv_select("recv", "a", true),
                    "multi" => stage.recv_multi("recv", "a", true),
                    _ => stage.recv("recv", "a", 16, true),
                }
                stage.settle();
                stage.close("b");
                stage.cancel("cancel", "recv");
                stage.settle();
            }
        },
    ),
    row("after the completion", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_select("recv", "a", true);
        stage.send_now("b", b"hello");
        stage.settle();
        stage.cancel("cancel", "recv");
        stage.settle();
    }),
    row("twice", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.cancel("first", "recv");
        stage.cancel("second", "recv");
        stage.settle();
        stage.cancel("third", "recv");
        stage.settle();
    }),
    row(
        "a multishot between its completions",
        Form::Exact,
        |stage| {
            stage.tcp("a", "b");
            stage.recv_multi("recv", "a", true);
            stage.settle();
            stage.send_now("b", b"one");
            stage.settle();
            stage.cancel("cancel", "recv");
            stage.settle();
            stage.send_now("b", b"two");
            stage.recv_multi("again", "a", true);
            stage.settle();
        },
    ),
    row("the cancel of a cancel", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.cancel("cancel", "recv");
        stage.cancel("cancel the cancel", "cancel");
        stage.settle();
    }),
    row("an unknown token", Form::Exact, |stage| {
        stage.cancel_token("cancel", Token::slot(4_711, 7));
        stage.settle();
    }),
    row("the wrong generation", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        let index = stage.last_index();
        stage.cancel_token("cancel", Token::slot(index, 1));
        stage.settle();
        stage.cancel_token("right", Token::slot(index, 0));
        stage.settle();
    }),
    row("an event's read", Form::Exact, |stage| {
        stage.event("event");
        stage.read_event("read", "event");
        stage.settle();
        stage.cancel("cancel", "read");
        stage.settle();
        stage.notify("event");
        stage.read_event("later", "event");
        stage.settle();
    }),
    row(
        "an event's read, notified before it was seen",
        Form::Exact,
        |stage| {
            stage.event("event");
            stage.read_event("read", "event");
            stage.settle();
            stage.notify("event");
            stage.cancel("cancel", "read");
            stage.settle();
            stage.read_event("later", "event");
            stage.settle();
        },
    ),
    row("shut down and cancelled at once", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.shutdown("a", Shutdown::Both);
        stage.cancel("cancel", "recv");
        stage.settle();
    }),
    row("an accept with a connection there", Form::Sorted, |stage| {
        for multi in [false, true] {
            stage.listener("l");
            if multi {
                stage.accept_multi("accept", "l");
            } else {
                stage.accept("accept", "l");
            }
            stage.settle();
            stage.dial("connect", "c", "l");
            stage.cancel("cancel", "accept");
            stage.settle();
            stage.accept_now("l", "queued");
        }
    }),
    row(
        "an accept with connections accepted",
        Form::Sorted,
        |stage| {
            stage.listener("l");
            stage.accept_multi("accept", "l");
            stage.settle();
            stage.dial("connect", "c", "l");
            stage.settle();
            stage.cancel("cancel", "accept");
            stage.settle();
            stage.send_now("c", b"hello");
            stage.recv_select("recv", "accept1", true);
            stage.settle();
        },
    ),
];

const ALL: &[Row] = &[
    row("all: nothing", Form::Exact, |stage| {
        stage.cancel_all("all");
        stage.settle();
    }),
    row("all: four", Form::Sorted, |stage| {
        stage.tcp("a", "b");
        stage.listener("l");
        stage.event("event");
        stage.recv_multi("multi", "a", true);
        stage.recv_select("select", "b", true);
        stage.accept_multi("accept", "l");
        stage.read_event("read", "event");
        stage.settle();
        stage.cancel_all("all");
        stage.settle();
        stage.cancel_all("again");
        stage.settle();
    }),
    row("all: a blocked send", Form::Sorted, |stage| {
        stage.tcp("a", "b");
        stage.round_counts();
        stage.fill("a");
        stage.send("send", "a", b"x");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.cancel_all("all");
        stage.settle();
    }),
    row(
        "all: in the batch of the submission",
        Form::Exact,
        |stage| {
            stage.tcp("a", "b");
            stage.recv_multi("before", "a", true);
            stage.cancel_all("all");
            stage.recv_select("after", "b", true);
            stage.settle();
        },
    ),
    row("all: two at once", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.cancel_all("first");
        stage.cancel_all("second");
        stage.settle();
    }),
];
