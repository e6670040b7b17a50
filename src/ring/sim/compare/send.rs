//! Sends, and what ends them.

use crate::ring::sim::compare::Row;
use crate::ring::sim::compare::SEES_THE_END;
use crate::ring::sim::compare::row;
use crate::ring::sim::compare::stage::Stage;
use crate::ring::sim::compare::trace::Form;
use crate::ring::sys::Shutdown;

/// All rows of this file.
pub const ROWS: [&[Row]; 3] = [SENDS, BLOCKED, CLOSES];

/// Either kind of connection, called `a` and `b`.
fn connect(stage: &mut Stage, unix: bool) {
    stage.call("unix", &unix.to_string());
    if unix {
        stage.pair("a", "b");
    } else {
        stage.tcp("a", "b");
    }
}

fn on_both(stage: &mut Stage, act: fn(&mut Stage)) {
    for unix in [false, true] {
        connect(stage, unix);
        act(stage);
        stage.clear();
    }
}

fn on_unix(stage: &mut Stage, act: fn(&mut Stage)) {
    connect(stage, true);
    act(stage);
}

/// Fills `a` and leaves a send waiting there.
fn block(stage: &mut Stage) {
    stage.round_counts();
    stage.fill("a");
    stage.send("send", "a", b"waits");
    stage.settle();
}

const SENDS: &[Row] = &[
    row("send", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.send("send", "a", b"hello");
            stage.settle();
            stage.recv_select("recv", "b", true);
            stage.settle();
        });
    }),
    row("send and receive in one batch", Form::Sorted, |stage| {
        on_both(stage, |stage| {
            stage.recv_multi("recv", "b", true);
            stage.send("send", "a", b"hello");
            stage.settle();
        });
    }),
    row("send of nothing", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.send("send", "a", b"");
        stage.settle();
        stage.send_now("a", b"");
        stage.recv_select("recv", "b", true);
        stage.settle();
    }),
    row("send of pieces", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.send_pieces("send", "a", &[b"one ", b"", b"two ", b"three"]);
            stage.settle();
            stage.send_pieces_now("a", &[b", ", b"4"]);
            stage.recv_select("recv", "b", true);
            stage.settle();
        });
    }),
    row("sends in order", Form::Merged, |stage| {
        on_both(stage, |stage| {
            stage.send("first", "a", b"one ");
            stage.send_pieces("second", "a", &[b"two ", b"three "]);
            stage.send("third", "a", b"four");
            stage.recv_multi("recv", "b", true);
            stage.settle();
        });
    }),
    row("both ends send", Form::Sorted, |stage| {
        stage.tcp("a", "b");
        stage.recv_multi("a receives", "a", true);
        stage.recv_multi("b receives", "b", true);
        stage.settle();
        stage.send("a sends", "a", b"ping");
        stage.send("b sends", "b", b"pong");
        stage.settle();
    }),
    row("send on a closed descriptor", Form::Exact, |stage| {
        stage.tcp("a", "b");
        stage.send("send", "a", b"x");
        stage.send_pieces("pieces", "a", &[b"x"]);
        stage.close("a");
        stage.settle();
    }),
    row("send on what is no socket", Form::Exact, |stage| {
        stage.event("event");
        stage.send("send", "event", b"x");
        stage.settle();
        stage.send_now("event", b"x");
    }),
    row("a large send is cut", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.round_counts();
            stage.send("large", "a", &vec![b'x'; 16 << 20]);
            stage.settle();
            stage.drain("b");
        });
    }),
    row("large pieces are cut", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.round_counts();
            let large = vec![b'x'; 8 << 20];
            stage.send_pieces("large", "a", &[b"head", &large, &large]);
            stage.settle();
            stage.drain("b");
        });
    }),
    row("a large send at once is cut", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.round_counts();
            let large = vec![b'x'; 16 << 20];
            stage.send_now("a", &large);
            stage.send_now("a", b"x");
            stage.drain("b");
            stage.send_pieces_now("a", &[b"head", &large]);
            stage.drain("b");
        });
    }),
];

const BLOCKED: &[Row] = &[
    row(
        "full: waits, and goes on when drained",
        Form::Exact,
        |stage| {
            on_both(stage, |stage| {
                block(stage);
                stage.send_now("a", b"no");
                stage.drain_recorded("b");
                stage.settle();
            });
        },
    ),
    row("full: pieces wait", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.round_counts();
            stage.fill("a");
            stage.send_pieces("send", "a", &[b"one", b"two"]);
            stage.settle();
            stage.drain_recorded("b");
        });
    }),
    row("full: a large send goes on in part", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.round_counts();
            stage.fill("a");
            stage.send("large", "a", &vec![b'x'; 32 << 20]);
            stage.settle();
            stage.drain_recorded("b");
        });
    }),
    row("full: cancelled", Form::Exact, |stage| {
        on_both(stage, |stage| {
            block(stage);
            stage.cancel("cancel", "send");
            stage.settle();
            stage.drain("b");
        });
    }),
    row("full: our shutdown(Write)", Form::Exact, |stage| {
        on_both(stage, |stage| {
            block(stage);
            stage.shutdown("a", Shutdown::Write);
            stage.settle();
            stage.drain("b");
        });
    }),
    row("full: our shutdown(Both)", Form::Exact, |stage| {
        on_both(stage, |stage| {
            block(stage);
            stage.shutdown("a", Shutdown::Both);
            stage.settle();
        });
    }),
    row("full: the peer closes", Form::Exact, |stage| {
        on_both(stage, |stage| {
            block(stage);
            stage.close("b");
            stage.settle();
            stage.send("again", "a", b"x");
            stage.settle();
            stage.recv_select("recv", "a", true);
            stage.settle();
        });
    }),
    row("full: the peer shuts both down", Form::Exact, |stage| {
        on_unix(stage, |stage| {
            block(stage);
            stage.shutdown("b", Shutdown::Both);
            stage.settle();
        });
    }),
    row(
        "full: the peer ends its own sending",
        Form::Exact,
        |stage| {
            on_unix(stage, |stage| {
                block(stage);
                stage.shutdown("b", Shutdown::Write);
                stage.settle();
                stage.recv_select("recv", "a", true);
                stage.settle();
            });
        },
    ),
    row("full: a receive waits beside", Form::Sorted, |stage| {
        on_both(stage, |stage| {
            stage.recv_multi("recv", "a", true);
            block(stage);
            stage.send_now("b", b"hello");
            stage.settle();
        });
    }),
    row(
        "full: a reset finds both, send armed last",
        Form::Sorted,
        |stage| {
            on_both(stage, |stage| {
                stage.recv_multi("recv", "a", true);
                block(stage);
                stage.close("b");
                stage.settle();
            });
        },
    )
    .varies(),
    row(
        "full: a reset finds both, receive armed last",
        Form::Sorted,
        |stage| {
            on_both(stage, |stage| {
                block(stage);
                stage.recv_multi("recv", "a", true);
                stage.settle();
                stage.close("b");
                stage.settle();
            });
        },
    )
    .varies(),
    row("full: we close the descriptor", Form::Exact, |stage| {
        on_both(stage, |stage| {
            block(stage);
            stage.close("a");
            stage.settle();
            stage.drain_recorded("b");
            stage.recv_select("end", "b", true);
            stage.settle();
        });
    })
    .epoll_differs("a close ends what waits; nothing of ours does then"),
];

const CLOSES: &[Row] = &[
    row("after our shutdown", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.shutdown("a", Shutdown::Write);
            stage.send("send", "a", b"x");
            stage.settle();
            stage.send_now("a", b"x");
            stage.send_pieces("pieces", "a", &[b"x", b"y"]);
            stage.settle();
            stage.shutdown("a", Shutdown::Write);
            stage.shutdown("a", Shutdown::Both);
        });
    }),
    row(
        "the peer closed: first send, then errors",
        Form::Exact,
        |stage| {
            on_both(stage, |stage| {
                stage.close("b");
                stage.send("first", "a", b"x");
                stage.settle();
                stage.send("second", "a", b"x");
                stage.settle();
                stage.send_now("a", b"x");
                stage.recv_select("recv", "a", true);
                stage.settle();
            });
        },
    ),
    row("the peer reset: errors", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.send_now("a", b"unread");
            stage.close("b");
            stage.send("first", "a", b"x");
            stage.settle();
            stage.send("second", "a", b"x");
            stage.settle();
            stage.recv_select("recv", "a", true);
            stage.settle();
        });
    }),
    row(
        "the peer shut both down: send, then errors",
        Form::Exact,
        |stage| {
            on_both(stage, |stage| {
                stage.shutdown("b", Shutdown::Both);
                stage.send("first", "a", b"x");
                stage.settle();
                stage.send("second", "a", b"x");
                stage.settle();
                stage.recv_select("recv", "a", true);
                stage.settle();
                stage.recv_select("b", "b", true);
                stage.settle();
            });
        },
    ),
    row(
        "shutdown(Both) with a receive waiting",
        Form::Exact,
        |stage| {
            on_both(stage, |stage| {
                stage.recv_multi("multi", "a", true);
                stage.settle();
                stage.shutdown("a", Shutdown::Both);
                stage.settle();
                stage.recv_select("select", "b", true);
                stage.settle();
                stage.recv_select("again", "a", true);
                stage.settle();
                stage.send_now("a", b"x");
                stage.send_now("b", b"x");
                stage.settle();
                stage.recv_select("b again", "b", true);
                stage.settle();
            });
        },
    ),
    row("shutdown(Both) with unread data", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.send_now("b", b"hello");
            stage.shutdown("a", Shutdown::Both);
            stage.recv_multi("recv", "a", false);
            stage.settle();
            stage.recv_select("peer", "b", true);
            stage.settle();
            stage.close("a");
            stage.recv_select("peer again", "b", true);
            stage.settle();
        });
    }),
    row(
        "unix: shutdown(Both) with unread data, poll first",
        Form::Exact,
        |stage| {
            stage.pair("a", "b");
            stage.send_now("b", b"hello");
            stage.shutdown("a", Shutdown::Both);
            stage.recv_multi("recv", "a", true);
            stage.settle();
        },
    )
    .older_differ((6, 12), SEES_THE_END)
    .epoll_differs("a standing receive sees the end behind the data"),
    row(
        "shutdown(Both), then the peer sends",
        Form::Exact,
        |stage| {
            stage.tcp("a", "b");
            stage.shutdown("a", Shutdown::Both);
            stage.send_now("b", b"late");
            stage.settle();
            stage.recv_select("recv", "a", true);
            stage.settle();
            stage.recv_select("peer", "b", true);
            stage.settle();
            stage.recv_select("peer again", "b", true);
            stage.settle();
            stage.close("a");
            stage.recv_select("peer after the close", "b", true);
            stage.settle();
        },
    ),
    row(
        "shutdown(Write) with a receive waiting",
        Form::Exact,
        |stage| {
            on_both(stage, |stage| {
                stage.recv_multi("multi", "a", true);
                stage.settle();
                stage.shutdown("a", Shutdown::Write);
                stage.settle();
                stage.send_now("b", b"still");
                stage.settle();
                stage.close("b");
                stage.settle();
            });
        },
    ),
    row("closed with a receive waiting", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.recv_multi("multi", "a", true);
            stage.recv_multi("peer", "b", true);
            stage.settle();
            stage.close("a");
            stage.settle();
            stage.send_now("b", b"hello");
            stage.settle();
            stage.cancel("cancel", "multi");
            stage.settle();
            stage.send_now("b", b"x");
        });
    })
    .epoll_differs("a close ends what waits; nothing of ours does then"),
    row(
        "closed with unread data resets the peer",
        Form::Exact,
        |stage| {
            on_both(stage, |stage| {
                stage.recv_multi("peer", "b", true);
                stage.settle();
                stage.send_now("b", b"unread");
                stage.send_now("a", b"last words");
                stage.close("a");
                stage.settle();
            });
        },
    ),
    row("half closed both ways, then closed", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.recv_multi("a", "a", true);
            stage.recv_multi("b", "b", true);
            stage.settle();
            stage.shutdown("a", Shutdown::Write);
            stage.settle();
            stage.shutdown("b", Shutdown::Write);
            stage.settle();
            stage.close("a");
            stage.close("b");
            stage.settle();
        });
    }),
    row(
        "a copied descriptor keeps the socket",
        Form::Exact,
        |stage| {
            on_both(stage, |stage| {
                stage.recv_multi("peer", "b", true);
                stage.settle();
                stage.duplicate("a", "copy");
                stage.close("a");
                stage.settle();
                stage.send_now("copy", b"still");
                stage.settle();
                stage.close("copy");
                stage.settle();
            });
        },
    ),
    row("TCP options", Form::Exact, |stage| {
        on_both(stage, |stage| {
            stage.set_options("a");
            stage.send_now("a", b"x");
        });
    }),
];
