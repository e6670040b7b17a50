//! Receives: into a buffer of the ring, again and again, into memory of our own.

use crate::ring::sim::compare::LAST_COME_FIRST;
use crate::ring::sim::compare::Row;
use crate::ring::sim::compare::SEES_THE_END;
use crate::ring::sim::compare::STARVES_AT_ONCE;
use crate::ring::sim::compare::row;
use crate::ring::sim::compare::stage::Stage;
use crate::ring::sim::compare::trace::Form;
use crate::ring::sys::Shutdown;

/// All rows of this file.
pub const ROWS: [&[Row]; 3] = [DATA, ENDINGS, BUFFERS];

fn each_receive(stage: &mut Stage, poll_first: bool, act: fn(&mut Stage)) {
    for kind in ["select", "multi", "own"] {
        stage.call("kind", kind);
        stage.tcp("a", "b");
        match kind {
            "select" => stage.recv_select("recv", "a", poll_first),
            "multi" => stage.recv_multi("recv", "a", poll_first),
            _ => stage.recv("recv", "a", 16, poll_first),
        }
        act(stage);
        stage.clear();
    }
}

/// `prepare` happens before the receive is submitted.
fn each_receive_after(stage: &mut Stage, poll_first: bool, prepare: fn(&mut Stage)) {
    for kind in ["select", "multi", "own"] {
        stage.call("kind", kind);
        stage.tcp("a", "b");
        prepare(stage);
        match kind {
            "select" => stage.recv_select("recv", "a", poll_first),
            "multi" => stage.recv_multi("recv", "a", poll_first),
            _ => stage.recv("recv", "a", 16, poll_first),
        }
        stage.settle();
        stage.clear();
    }
}

/// Makes the peer of `a` reset the connection: it closes with unread bytes.
fn reset_by_b(stage: &mut Stage) {
    stage.send_now("a", b"unread");
    stage.close("b");
}

const DATA: &[Row] = &[
    row("data before, no poll first", Form::Exact, |stage| {
        each_receive_after(stage, false, |stage| stage.send_now("b", b"hello"));
    }),
    row("data before, poll first", Form::Exact, |stage| {
        each_receive_after(stage, true, |stage| stage.send_now("b", b"hello"));
    }),
    row("data after, no poll first", Form::Exact, |stage| {
        each_receive(stage, false, |stage| {
            stage.settle();
            stage.send_now("b", b"hello");
            stage.settle();
        });
    }),
    row("data after, poll first", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.settle();
            stage.send_now("b", b"hello");
            stage.settle();
        });
    }),
    row("data between push and enter", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.send_now("b", b"hello");
            stage.settle();
        });
    }),
    row("several pieces at once are one", Form::Exact, |stage| {
        each_receive_after(stage, false, |stage| {
            stage.send_now("b", b"one");
            stage.send_now("b", b"two");
            stage.send_now("b", b"three");
        });
    }),
    row("pieces one by one", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            for piece in [b"one", b"two", b"six"] {
                stage.send_now("b", piece);
                stage.settle();
            }
        });
    }),
    row("more than one buffer", Form::Exact, |stage| {
        each_receive_after(stage, false, |stage| {
            stage.send_now("b", b"0123456789abcdef0123456789ABCDEFxyz");
        });
    }),
    row("exactly two buffers", Form::Exact, |stage| {
        each_receive_after(stage, true, |stage| {
            stage.send_now("b", b"0123456789abcdef0123456789ABCDEF");
        });
    }),
    row("unix: exactly two buffers", Form::Exact, |stage| {
        stage.pair("a", "b");
        stage.send_now("b", b"0123456789abcdef");
        stage.send_now("b", b"0123456789ABCDEF");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"0123");
        stage.send_now("b", b"abcd");
        stage.settle();
    }),
    row("unix: data before and after", Form::Exact, |stage| {
        for poll_first in [false, true] {
            stage.pair("a", "b");
            stage.send_now("b", b"before");
            stage.recv_select("select", "a", poll_first);
            stage.settle();
            stage.recv("own", "a", 16, poll_first);
            stage.settle();
            stage.send_now("b", b"after");
            stage.settle();
        }
    }),
    row("33 and more buffers ready", Form::Merged, |stage| {
        stage.pair("a", "b");
        stage.quietly(|stage| {
            for _ in 0..50 {
                stage.send_now("b", b"0123456789abcdef");
            }
        });
        stage.recv_multi("recv", "a", true);
        stage.settle();
    })
    .buffers(64),
    row("33 and more buffers arrive", Form::Merged, |stage| {
        stage.pair("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.quietly(|stage| {
            for _ in 0..50 {
                stage.send_now("b", b"0123456789abcdef");
            }
        });
        stage.settle();
    })
    .buffers(64),
    row("two receives on one socket", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_select("first", "a", true);
        stage.recv_select("second", "a", true);
        stage.settle();
        stage.send_now("b", b"one");
        stage.settle();
        stage.send_now("b", b"two");
        stage.settle();
    })
    .older_differ((6, 1), LAST_COME_FIRST)
    .epoll_differs("first come, first served; nothing of ours has two"),
    row("two receives, data before", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.send_now("b", b"0123456789abcdef0123");
        stage.recv("first", "a", 8, false);
        stage.recv("second", "a", 8, false);
        stage.recv_select("third", "a", false);
        stage.settle();
    }),
    row("two receives, both own, one piece", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv("first", "a", 8, true);
        stage.recv("second", "a", 8, true);
        stage.settle();
        stage.send_now("b", b"0123456789ab");
        stage.settle();
    })
    .older_differ((6, 1), LAST_COME_FIRST)
    .epoll_differs("first come, first served; nothing of ours has two"),
    row("receive of nothing", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv("empty", "a", 0, false);
        stage.settle();
        stage.send_now("b", b"x");
        stage.recv("empty with data", "a", 0, false);
        stage.settle();
    })
    .real_only("nobody receives into no memory"),
    row("large stream into own memory", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv("recv", "a", 4096, true);
        stage.send_now("b", &[b'x'; 10_000]);
        stage.settle();
        stage.recv("recv", "a", 4096, true);
        stage.settle();
        stage.recv("recv", "a", 4096, true);
        stage.settle();
    }),
    row(
        "receive on a descriptor that is no socket",
        Form::Exact,
        |stage| {
            stage.event("event");
            stage.recv_select("event", "event", false);
            stage.recv("own", "event", 8, false);
            stage.recv_multi("multi", "event", false);
            stage.settle();
        },
    ),
    row(
        "poll first on a descriptor that is no socket",
        Form::Exact,
        |stage| {
            stage.event("event");
            stage.recv_select("event", "event", true);
            stage.settle();
        },
    )
    .real_only("waits for ever instead of ENOTSOCK; we receive on sockets only"),
    row("receive on a closed descriptor", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_select("select", "a", true);
        stage.recv_multi("multi", "a", true);
        stage.recv("own", "a", 8, true);
        stage.close("a");
        stage.settle();
    }),
    row("receive on an unconnected socket", Form::Exact, |stage| {
        stage.listener("l");
        let address = stage.address("l");
        stage.socket("a", &crate::ring::sys::Address::Tcp(address));
        stage.recv_select("select", "a", false);
        stage.settle();
        stage.recv_multi("multi, poll first", "a", true);
        stage.settle();
        stage.recv("own, poll first", "a", 8, true);
        stage.settle();
    }),
    row("receive on a listener", Form::Exact, |stage| {
        stage.listener("l");
        stage.recv_select("select", "l", false);
        stage.settle();
    }),
];

const ENDINGS: &[Row] = &[
    row("end after", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.settle();
            stage.close("b");
            stage.settle();
        });
    }),
    row("end before, no poll first", Form::Exact, |stage| {
        each_receive_after(stage, false, |stage| stage.close("b"));
    }),
    row("end before, poll first", Form::Exact, |stage| {
        each_receive_after(stage, true, |stage| stage.close("b"));
    }),
    row("half end after", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.settle();
            stage.shutdown("b", Shutdown::Write);
            stage.settle();
        });
    }),
    row("data and end before", Form::Exact, |stage| {
        each_receive_after(stage, true, |stage| {
            stage.send_now("b", b"last");
            stage.close("b");
        });
    }),
    row("data and end after", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.settle();
            stage.send_now("b", b"last");
            stage.close("b");
            stage.settle();
        });
    }),
    row("data, then end", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.settle();
            stage.send_now("b", b"last");
            stage.settle();
            stage.close("b");
            stage.settle();
        });
    }),
    row("the end is seen again and again", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.close("b");
        stage.recv_select("first", "a", true);
        stage.settle();
        stage.recv_multi("second", "a", true);
        stage.settle();
        stage.recv("third", "a", 8, true);
        stage.settle();
    }),
    row(
        "unix: end before and after, with data",
        Form::Exact,
        |stage| {
            for before in [true, false] {
                for kind in ["select", "multi", "own"] {
                    stage.call("kind", kind);
                    stage.pair("a", "b");
                    if before {
                        stage.send_now("b", b"last");
                        stage.close("b");
                    }
                    match kind {
                        "select" => stage.recv_select("recv", "a", true),
                        "multi" => stage.recv_multi("recv", "a", true),
                        _ => stage.recv("recv", "a", 16, true),
                    }
                    stage.settle();
                    if !before {
                        stage.close("b");
                        stage.settle();
                    }
                }
            }
        },
    )
    .older_differ((6, 12), SEES_THE_END)
    .epoll_differs("a standing receive sees the end behind the data"),
    row("unix: data and end after", Form::Exact, |stage| {
        stage.pair("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"last");
        stage.close("b");
        stage.settle();
    }),
    row("unix: data and half end after", Form::Exact, |stage| {
        stage.pair("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"last");
        stage.shutdown("b", Shutdown::Write);
        stage.settle();
        stage.close("b");
        stage.settle();
    }),
    row("unix: full buffer and end after", Form::Exact, |stage| {
        stage.pair("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"0123456789abcdef");
        stage.close("b");
        stage.settle();
    }),
    row("unix: data, then end", Form::Exact, |stage| {
        stage.pair("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"last");
        stage.settle();
        stage.close("b");
        stage.settle();
    }),
    row("unix: data and unread end after", Form::Exact, |stage| {
        stage.pair("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("a", b"unread");
        stage.send_now("b", b"last");
        stage.close("b");
        stage.settle();
    }),
    row("full buffer and end after", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"0123456789abcdef");
        stage.close("b");
        stage.settle();
    }),
    row("full buffer and end before", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.send_now("b", b"0123456789abcdef");
        stage.close("b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
    }),
    row("no poll first: data and end before", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.send_now("b", b"last");
        stage.close("b");
        stage.recv_multi("tcp", "a", false);
        stage.settle();
        stage.pair("a", "b");
        stage.send_now("b", b"last");
        stage.close("b");
        stage.recv_multi("unix", "a", false);
        stage.settle();
        stage.tcp("a", "b");
        stage.send_now("b", b"last");
        reset_by_b(stage);
        stage.recv_multi("reset", "a", false);
        stage.settle();
    }),
    row("unix: closed with unread bytes", Form::Exact, |stage| {
        for kind in ["select", "multi", "own"] {
            stage.call("kind", kind);
            stage.pair("a", "b");
            stage.send_now("a", b"unread");
            stage.close("b");
            match kind {
                "select" => stage.recv_select("recv", "a", true),
                "multi" => stage.recv_multi("recv", "a", true),
                _ => stage.recv("recv", "a", 16, true),
            }
            stage.settle();
            stage.recv_select("again", "a", true);
            stage.settle();
        }
    }),
    row(
        "unix: data before, closed with unread bytes",
        Form::Exact,
        |stage| {
            stage.pair("a", "b");
            stage.send_now("a", b"unread");
            stage.send_now("b", b"data");
            stage.close("b");
            stage.recv_multi("recv", "a", true);
            stage.settle();
            stage.recv_multi("again", "a", true);
            stage.settle();
            stage.recv_multi("third", "a", true);
            stage.settle();
            stage.send_now("a", b"x");
        },
    )
    .older_differ((6, 12), SEES_THE_END)
    .epoll_differs("a standing receive sees the end behind the data"),
    row("reset after", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.settle();
            reset_by_b(stage);
            stage.settle();
        });
    }),
    row("reset before", Form::Exact, |stage| {
        each_receive_after(stage, true, reset_by_b);
    }),
    row("reset before, no poll first", Form::Exact, |stage| {
        each_receive_after(stage, false, reset_by_b);
    }),
    row("data and reset before", Form::Exact, |stage| {
        each_receive_after(stage, true, |stage| {
            stage.send_now("b", b"last");
            reset_by_b(stage);
        });
    })
    .older_differ((6, 1), SEES_THE_END)
    .epoll_differs("a standing receive sees the end behind the data"),
    row("data and reset before, then again", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.send_now("b", b"last");
        reset_by_b(stage);
        for name in ["first", "second", "third", "fourth"] {
            stage.recv_select(name, "a", true);
            stage.settle();
        }
    }),
    row("data and reset after", Form::Exact, |stage| {
        each_receive(stage, true, |stage| {
            stage.settle();
            stage.send_now("b", b"last");
            reset_by_b(stage);
            stage.settle();
        });
    }),
    row("a reset is seen once", Form::Exact, |stage| {
        stage.tcp("a", "b");
        reset_by_b(stage);
        stage.recv_select("first", "a", true);
        stage.settle();
        stage.recv_multi("second", "a", true);
        stage.settle();
        stage.send_now("a", b"x");
        stage.recv("third", "a", 8, false);
        stage.settle();
    }),
    row("a reset is seen by the send first", Form::Exact, |stage| {
        stage.tcp("a", "b");
        reset_by_b(stage);
        stage.send_now("a", b"x");
        stage.send_now("a", b"x");
        stage.recv_select("recv", "a", true);
        stage.settle();
    }),
    row("end, then reset by our bytes", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.close("b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("a", b"into the void");
        stage.settle();
        stage.recv_multi("again", "a", true);
        stage.settle();
        stage.send_now("a", b"x");
        stage.send_now("a", b"x");
    }),
    row("both directions end", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("a", "a", true);
        stage.recv_multi("b", "b", true);
        stage.settle();
        stage.send_now("a", b"request");
        stage.shutdown("a", Shutdown::Write);
        stage.settle();
        stage.send_now("b", b"response");
        stage.settle();
        stage.shutdown("b", Shutdown::Write);
        stage.settle();
        stage.recv_select("a again", "a", true);
        stage.settle();
        stage.send_now("a", b"x");
    }),
];

const BUFFERS: &[Row] = &[
    row(
        "no buffer, nothing there, poll first",
        Form::Exact,
        |stage| {
            exhaust(stage);
            stage.tcp("a", "b");
            stage.tcp("c", "d");
            stage.recv_select("select", "a", true);
            stage.recv_multi("multi", "c", true);
            stage.settle();
            stage.send_now("b", b"hello");
            stage.send_now("d", b"hello");
            stage.settle();
        },
    )
    .older_differ((6, 1), LAST_COME_FIRST)
    .buffers(2),
    row(
        "no buffer, nothing there, no poll first",
        Form::Exact,
        |stage| {
            exhaust(stage);
            stage.tcp("a", "b");
            stage.recv_select("select", "a", false);
            stage.recv_multi("multi", "a", false);
            stage.settle();
        },
    )
    .buffers(2),
    row("no buffer, data there", Form::Exact, |stage| {
        exhaust(stage);
        stage.tcp("a", "b");
        stage.send_now("b", b"hello");
        for poll_first in [true, false] {
            stage.recv_select("select", "a", poll_first);
            stage.settle();
            stage.recv_multi("multi", "a", poll_first);
            stage.settle();
        }
        stage.give_back(2);
        stage.recv_multi("after", "a", true);
        stage.settle();
    })
    .buffers(2),
    row("no buffer, end there", Form::Exact, |stage| {
        exhaust(stage);
        stage.tcp("a", "b");
        stage.close("b");
        for poll_first in [true, false] {
            stage.recv_select("select", "a", poll_first);
            stage.settle();
            stage.recv_multi("multi", "a", poll_first);
            stage.settle();
        }
        stage.give_back(2);
        stage.recv_multi("after", "a", true);
        stage.settle();
    })
    .buffers(2),
    row("no buffer, end comes", Form::Exact, |stage| {
        exhaust(stage);
        stage.tcp("a", "b");
        stage.tcp("c", "d");
        stage.recv_select("select", "a", true);
        stage.recv_multi("multi", "c", true);
        stage.settle();
        stage.close("b");
        stage.close("d");
        stage.settle();
    })
    .older_differ((6, 1), LAST_COME_FIRST)
    .buffers(2),
    row("no buffer, reset comes", Form::Exact, |stage| {
        exhaust(stage);
        stage.tcp("a", "b");
        stage.recv_multi("multi", "a", true);
        stage.settle();
        reset_by_b(stage);
        stage.settle();
        stage.recv_multi("again", "a", true);
        stage.settle();
        stage.give_back(2);
        stage.recv_multi("after", "a", true);
        stage.settle();
    })
    .buffers(2),
    row("multishot runs out", Form::Exact, |stage| {
        stage.hold_buffers();
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        for piece in [b"one", b"two", b"six"] {
            stage.send_now("b", piece);
            stage.settle();
        }
        stage.give_back(1);
        stage.settle();
        stage.recv_multi("again", "a", true);
        stage.settle();
        stage.send_now("b", b"ten");
        stage.settle();
    })
    .older_differ((6, 1), STARVES_AT_ONCE)
    .buffers(2),
    row("multishot runs out in one go", Form::Exact, |stage| {
        stage.hold_buffers();
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"0123456789abcdef0123456789ABCDEFrest");
        stage.settle();
        stage.give_back(2);
        stage.recv_multi("again", "a", true);
        stage.settle();
    })
    .buffers(2),
    row("exactly the last buffer is filled", Form::Exact, |stage| {
        stage.hold_buffers();
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"0123456789abcdef0123456789ABCDEF");
        stage.settle();
        stage.give_back(2);
        stage.send_now("b", b"more");
        stage.settle();
    })
    .older_differ((6, 1), STARVES_AT_ONCE)
    .epoll_differs("that nothing more is there would need a buffer to find out")
    .buffers(2),
    row("the last buffer, not filled", Form::Exact, |stage| {
        stage.hold_buffers();
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.send_now("b", b"0123456789abcdef");
        stage.settle();
        stage.send_now("b", b"short");
        stage.settle();
        stage.close("b");
        stage.settle();
    })
    .older_differ((6, 1), STARVES_AT_ONCE)
    .buffers(2),
    row("cancelled without a buffer left", Form::Exact, |stage| {
        exhaust(stage);
        stage.tcp("a", "b");
        stage.recv_multi("recv", "a", true);
        stage.settle();
        stage.cancel("cancel", "recv");
        stage.settle();
    })
    .buffers(2),
    row("two sockets, one buffer", Form::Exact, |stage| {
        stage.hold_buffers();
        stage.tcp("a", "b");
        stage.tcp("c", "d");
        stage.recv_multi("first", "a", true);
        stage.recv_multi("second", "c", true);
        stage.settle();
        stage.send_now("b", b"one");
        stage.send_now("d", b"two");
        stage.settle();
    })
    .older_differ((6, 1), LAST_COME_FIRST)
    .buffers(1),
    row(
        "a given back buffer is used at once",
        Form::Exact,
        |stage| {
            stage.tcp("a", "b");
            stage.recv_multi("recv", "a", true);
            for _ in 0..8 {
                stage.send_now("b", b"again");
                stage.settle();
            }
        },
    )
    .older_differ((6, 1), STARVES_AT_ONCE)
    .buffers(1),
    row("owned receive needs no buffer", Form::Exact, |stage| {
        exhaust(stage);
        stage.tcp("a", "b");
        stage.recv("recv", "a", 8, true);
        stage.settle();
        stage.send_now("b", b"hello");
        stage.settle();
    })
    .buffers(2),
];

/// Takes all buffers (two) and keeps them.
fn exhaust(stage: &mut Stage) {
    stage.hold_buffers();
    stage.quietly(|stage| {
        stage.pair("x", "y");
        for _ in 0..2 {
            stage.recv_select("exhaust", "x", true);
            stage.send_now("y", b"x");
            stage.settle();
        }
    });
}
