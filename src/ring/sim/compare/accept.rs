//! Accepting and connecting.

use std::net::SocketAddr;

use crate::ring::sim::compare::LAST_COME_FIRST;
use crate::ring::sim::compare::Row;
use crate::ring::sim::compare::row;
use crate::ring::sim::compare::stage::Stage;
use crate::ring::sim::compare::trace::Form;
use crate::ring::sys::Address;
use crate::ring::sys::Shutdown;

/// All rows of this file.
pub const ROWS: [&[Row]; 3] = [ACCEPTS, CONNECTS, BINDS];

/// Connects so many clients of listener `l`, called `c1` and so on, and records nothing.
fn dial(stage: &mut Stage, count: usize) {
    stage.quietly(|stage| {
        for number in 1..=count {
            stage.dial("dial", &format!("c{number}"), "l");
            stage.settle();
        }
    });
}

const ACCEPTS: &[Row] = &[
    row("accept before the connection", Form::Sorted, |stage| {
        stage.listener("l");
        stage.accept("accept", "l");
        stage.settle();
        stage.dial("connect", "c", "l");
        stage.settle();
        stage.peer_addr("accept1");
        stage.peer_addr("c");
    }),
    row("accept after the connection", Form::Exact, |stage| {
        stage.listener("l");
        dial(stage, 1);
        stage.accept("accept", "l");
        stage.settle();
        stage.send_now("c1", b"hello");
        stage.recv_select("recv", "accept1", true);
        stage.settle();
    }),
    row("bytes before the accept", Form::Exact, |stage| {
        stage.listener("l");
        dial(stage, 1);
        stage.send_now("c1", b"early");
        stage.accept("accept", "l");
        stage.settle();
        stage.recv_multi("recv", "accept1", true);
        stage.settle();
    }),
    row("accept one of three", Form::Exact, |stage| {
        stage.listener("l");
        dial(stage, 3);
        stage.accept("accept", "l");
        stage.settle();
        stage.accept("again", "l");
        stage.settle();
    }),
    row("accept all of three", Form::Exact, |stage| {
        stage.listener("l");
        dial(stage, 3);
        stage.accept_multi("accept", "l");
        stage.settle();
        for number in 1..=3 {
            stage.send_now(&format!("c{number}"), format!("{number}").as_bytes());
        }
        stage.recv_select("first", "accept1", true);
        stage.recv_select("second", "accept2", true);
        stage.recv_select("third", "accept3", true);
        stage.settle();
    })
    .older_differ((6, 1), LAST_COME_FIRST),
    row("accept all, one by one", Form::Sorted, |stage| {
        stage.listener("l");
        stage.accept_multi("accept", "l");
        stage.settle();
        for client in ["c1", "c2", "c3"] {
            stage.dial("connect", client, "l");
            stage.settle();
        }
    }),
    row("two accepts wait", Form::Sorted, |stage| {
        stage.listener("l");
        stage.accept("first", "l");
        stage.accept("second", "l");
        stage.settle();
        dial_recorded(stage, "c1");
        dial_recorded(stage, "c2");
    }),
    row(
        "the client is gone before the accept",
        Form::Exact,
        |stage| {
            stage.listener("l");
            dial(stage, 1);
            stage.close("c1");
            stage.accept("accept", "l");
            stage.settle();
            stage.recv_select("recv", "accept1", true);
            stage.settle();
        },
    ),
    row("the client reset before the accept", Form::Exact, |stage| {
        stage.listener("l");
        dial(stage, 1);
        stage.reset("c1");
        stage.accept("accept", "l");
        stage.settle();
        stage.peer_addr("accept1");
        stage.recv_select("recv", "accept1", true);
        stage.settle();
    })
    .real_only("the simulation has no SO_LINGER"),
    row("accept cancelled", Form::Exact, |stage| {
        for multi in [false, true] {
            stage.listener("l");
            if multi {
                stage.accept_multi("accept", "l");
            } else {
                stage.accept("accept", "l");
            }
            stage.settle();
            stage.cancel("cancel", "accept");
            stage.settle();
            stage.quietly(|stage| {
                stage.dial("dial", "c", "l");
                stage.settle();
            });
            stage.accept_now("l", "queued");
        }
    }),
    row("accept, listener shut down", Form::Exact, |stage| {
        for multi in [false, true] {
            stage.listener("l");
            if multi {
                stage.accept_multi("accept", "l");
            } else {
                stage.accept("accept", "l");
            }
            stage.settle();
            stage.shutdown("l", Shutdown::Both);
            stage.settle();
            stage.accept("again", "l");
            stage.settle();
            stage.accept_now("l", "no");
        }
    }),
    row("shutdown(Write) of a listener", Form::Sorted, |stage| {
        stage.listener("l");
        stage.accept_multi("accept", "l");
        stage.settle();
        stage.shutdown("l", Shutdown::Write);
        stage.settle();
        stage.dial("connect", "c", "l");
        stage.settle();
    }),
    row("accept, listener closed", Form::Sorted, |stage| {
        stage.listener("l");
        let address = stage.address("l");
        stage.accept_multi("accept", "l");
        stage.settle();
        stage.close("l");
        stage.settle();
        stage.socket("c", &Address::Tcp(address));
        stage.connect("connect", "c", &Address::Tcp(address));
        stage.settle();
        stage.cancel("cancel", "accept");
        stage.settle();
        stage.socket("d", &Address::Tcp(address));
        stage.connect("connect after the cancel", "d", &Address::Tcp(address));
        stage.settle();
    })
    .epoll_differs("a close ends what waits; nothing of ours does then"),
    row(
        "listener closed with queued connections",
        Form::Exact,
        |stage| {
            stage.listener("l");
            dial(stage, 2);
            stage.recv_select("waiting", "c1", true);
            stage.settle();
            stage.close("l");
            stage.settle();
            stage.recv_select("late", "c2", true);
            stage.settle();
            stage.send_now("c1", b"x");
        },
    ),
    row(
        "listener shut down with queued connections",
        Form::Exact,
        |stage| {
            stage.listener("l");
            dial(stage, 2);
            stage.recv_select("waiting", "c1", true);
            stage.settle();
            stage.shutdown("l", Shutdown::Both);
            stage.settle();
            stage.accept_now("l", "queued");
            stage.recv_select("late", "c2", true);
            stage.settle();
        },
    ),
    row("accept_now", Form::Exact, |stage| {
        stage.listener("l");
        stage.accept_now("l", "none");
        dial(stage, 1);
        stage.accept_now("l", "one");
        stage.accept_now("l", "none");
        stage.peer_addr("one");
    }),
    row("accept on what does not listen", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.accept("connected", "a");
        stage.settle();
        stage.event("event");
        stage.accept("event", "event");
        stage.settle();
        stage.accept_multi("closed", "b");
        stage.close("b");
        stage.settle();
    }),
    row("two listeners on one port", Form::Exact, |stage| {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        stage.bind("first", any, true);
        let address = stage.address("first");
        stage.bind("second", address, true);
        stage.bind("not shared", address, false);
        stage.quietly(|stage| {
            for number in 0..16 {
                stage.dial("dial", &format!("c{number}"), "first");
                stage.settle();
            }
        });
        let mut total = 0;
        stage.quietly(|stage| {
            for listener in ["first", "second"] {
                stage.accept_multi("accept", listener);
                stage.settle();
            }
            while stage.has(&format!("accept{}", total + 1)) {
                total += 1;
            }
        });
        stage.call("accepted by both together", &total.to_string());
    }),
    row("unix: accept and connect", Form::Sorted, |stage| {
        stage.bind_unix("l", "socket");
        stage.accept_multi("accept", "l");
        stage.settle();
        let address = stage.unix_address("socket");
        for client in ["c", "d"] {
            stage.socket(client, &address);
            stage.connect("connect", client, &address);
            stage.settle();
        }
        stage.peer_addr("accept1");
        stage.send_now("c", b"hello");
        stage.recv_select("recv", "accept1", true);
        stage.settle();
    }),
    row(
        "unix: listener closed with a queued connection",
        Form::Exact,
        |stage| {
            stage.bind_unix("l", "socket");
            let address = stage.unix_address("socket");
            stage.socket("c", &address);
            stage.connect("connect", "c", &address);
            stage.settle();
            stage.send_now("c", b"unread");
            stage.close("l");
            stage.recv_select("recv", "c", true);
            stage.settle();
            stage.socket("d", &address);
            stage.connect("refused", "d", &address);
            stage.settle();
            stage.bind_unix("l", "socket");
        },
    ),
    row("unix: bind errors", Form::Exact, |stage| {
        let missing = stage.unix_address("missing");
        stage.socket("c", &missing);
        stage.connect("no such file", "c", &missing);
        stage.settle();
        stage.bind_unix("l", "socket");
        stage.bind_unix("again", "socket");
    }),
    row("unix: bind in no directory", Form::Exact, |stage| {
        stage.bind_unix("no directory", "missing/socket");
    })
    .real_only("a path of the simulation needs no directory"),
    row(
        "unix: accept cancelled and shut down",
        Form::Exact,
        |stage| {
            stage.bind_unix("l", "socket");
            stage.accept_multi("accept", "l");
            stage.settle();
            stage.cancel("cancel", "accept");
            stage.settle();
            stage.accept_multi("again", "l");
            stage.settle();
            stage.shutdown("l", Shutdown::Both);
            stage.settle();
            let address = stage.unix_address("socket");
            stage.socket("c", &address);
            stage.connect("connect", "c", &address);
            stage.settle();
            stage.accept("after", "l");
            stage.settle();
        },
    )
    .epoll_differs("who waits for connections hears that none will come"),
    row(
        "unix: the client is gone before the accept",
        Form::Sorted,
        |stage| {
            stage.bind_unix("l", "socket");
            let address = stage.unix_address("socket");
            stage.socket("c", &address);
            stage.connect("connect", "c", &address);
            stage.settle();
            stage.close("c");
            stage.accept("accept", "l");
            stage.settle();
            stage.recv_select("recv", "accept1", true);
            stage.settle();
        },
    ),
];

fn dial_recorded(stage: &mut Stage, client: &str) {
    stage.dial("connect", client, "l");
    stage.settle();
}

const CONNECTS: &[Row] = &[
    row("connect", Form::Exact, |stage| {
        stage.listener("l");
        stage.dial("connect", "c", "l");
        stage.settle();
        stage.peer_addr("c");
        stage.accept_now("l", "s");
        stage.peer_addr("s");
    }),
    row("connect refused", Form::Exact, |stage| {
        stage.listener("l");
        let address = Address::Tcp(stage.address("l"));
        stage.close("l");
        stage.socket("c", &address);
        stage.connect("connect", "c", &address);
        stage.settle();
        stage.peer_addr("c");
        stage.recv_select("recv", "c", true);
        stage.settle();
        stage.send_now("c", b"x");
        stage.connect("again", "c", &address);
        stage.settle();
    })
    .epoll_differs("connect(2) itself is asked how it went, which makes the socket as new"),
    row("connect twice", Form::Exact, |stage| {
        stage.listener("l");
        stage.dial("connect", "c", "l");
        stage.settle();
        let address = Address::Tcp(stage.address("l"));
        stage.connect("again", "c", &address);
        stage.settle();
    }),
    row(
        "connect and the first bytes in one batch",
        Form::Sorted,
        |stage| {
            stage.listener("l");
            stage.dial("connect", "c", "l");
            stage.recv_select("recv", "c", true);
            stage.settle();
            stage.send("send", "c", b"hello");
            stage.settle();
        },
    ),
    row("connect on a closed descriptor", Form::Exact, |stage| {
        stage.listener("l");
        stage.dial("connect", "c", "l");
        stage.close("c");
        stage.settle();
    }),
    row("connect on what is no socket", Form::Exact, |stage| {
        stage.listener("l");
        let address = Address::Tcp(stage.address("l"));
        stage.event("event");
        stage.connect("connect", "event", &address);
        stage.settle();
    }),
    row("connect to a listener", Form::Exact, |stage| {
        stage.listener("l");
        stage.listener("m");
        let address = Address::Tcp(stage.address("l"));
        stage.connect("from a listener", "m", &address);
        stage.settle();
    }),
    row(
        "send and receive before the connect",
        Form::Exact,
        |stage| {
            stage.listener("l");
            let address = Address::Tcp(stage.address("l"));
            stage.socket("c", &address);
            stage.send_now("c", b"x");
            stage.send("send", "c", b"x");
            stage.settle();
            stage.peer_addr("c");
        },
    ),
    row(
        "connect cancelled in the same batch",
        Form::Sorted,
        |stage| {
            stage.listener("l");
            stage.dial("connect", "c", "l");
            stage.cancel("cancel", "connect");
            stage.settle();
        },
    ),
];

const BINDS: &[Row] = &[row("bind errors", Form::Exact, |stage| {
    stage.listener("l");
    let address = stage.address("l");
    stage.bind("again", address, false);
    stage.bind("shared", address, true);
    stage.close("l");
    stage.bind("after the close", address, false);
    stage.bind("not ours", SocketAddr::from(([192, 0, 2, 1], 0)), false);
})];
