//! The runtime on the real kernel.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::limits::WORKERS_MAX;
use crate::reactor::operation::Operation;
use crate::runtime::Core;
use crate::runtime::RingOptions;
use crate::runtime::Runtime;
use crate::runtime::ThreadScope;
use crate::runtime::WorkerOptions;
use crate::runtime::Workers;
use crate::runtime::block_on;
use crate::runtime::blocking;
use crate::runtime::operations;
use crate::runtime::sleep;
use crate::runtime::spawn;
use crate::runtime::timeout;
use crate::runtime::yield_now;

fn run<F: Future>(future: F) -> F::Output {
    Runtime::small().unwrap().block_on(future).unwrap()
}

#[test]
fn sleeps_in_order_and_not_too_short() {
    run(async {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let tasks: Vec<_> = [30u64, 10, 20]
            .into_iter()
            .map(|milliseconds| {
                let order = Rc::clone(&order);
                spawn(async move {
                    let before = Core::current().unwrap().now();
                    sleep(Duration::from_millis(milliseconds)).await;
                    let slept = Core::current().unwrap().now() - before;
                    assert!(slept >= Duration::from_millis(milliseconds), "{slept:?}");
                    order.borrow_mut().push(milliseconds);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.borrow(), [10, 20, 30]);
    });
}

#[test]
fn aborted_and_panicked_tasks_say_so() {
    run(async {
        let dropped = Rc::new(Cell::new(false));
        struct Flag(Rc<Cell<bool>>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let flag = Flag(Rc::clone(&dropped));
        let task = spawn(async move {
            let _flag = flag;
            std::future::pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert!(dropped.get());
        assert_eq!(task.await.unwrap_err().kind(), ErrorKind::Canceled);
        let task = spawn(async { assert!(std::hint::black_box(false), "on purpose") });
        let error = task.await.unwrap_err();
        assert!(error.to_string().contains("on purpose"), "{error}");
    });
}

#[test]
fn a_time_out_drops_the_future() {
    run(async {
        let error = timeout(Duration::from_millis(5), std::future::pending::<()>()).await;
        assert!(error.unwrap_err().is_timeout());
        assert_eq!(
            timeout(Duration::from_secs(9), async { 7 }).await.unwrap(),
            7
        );
    });
}

#[test]
fn nested_block_on_is_an_error() {
    let error = block_on(async { block_on(async { Ok::<_, crate::error::Error>(()) }) });
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn wakers_work_from_other_threads() {
    run(async {
        let mut sent = false;
        let done = Arc::new(AtomicUsize::new(0));
        std::future::poll_fn(|context| {
            if done.load(Ordering::SeqCst) == 1 {
                return Poll::Ready(());
            }
            if !std::mem::replace(&mut sent, true) {
                let waker = context.waker().clone();
                let done = Arc::clone(&done);
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(10));
                    done.store(1, Ordering::SeqCst);
                    waker.wake();
                });
            }
            Poll::Pending
        })
        .await;
        for round in 0..200u32 {
            assert_eq!(blocking(move || round * 2).await.unwrap(), round * 2);
        }
        let error = blocking(|| assert!(std::hint::black_box(false), "on purpose"))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("on purpose"));
    });
}

#[test]
fn workers_start_take_messages_and_stop() {
    let started = Arc::new(AtomicUsize::new(0));
    let theirs = Arc::clone(&started);
    let options = WorkerOptions {
        count: Some(3),
        ..WorkerOptions::default()
    };
    let workers = Workers::start(
        &options,
        Arc::new(move |_core, _index| {
            theirs.fetch_add(1, Ordering::SeqCst);
            Ok(())
        }),
    )
    .unwrap();
    assert_eq!(started.load(Ordering::SeqCst), 3);
    assert_eq!(workers.running(), 3);
    let (sender, receiver) = std::sync::mpsc::channel();
    workers.post_all(Arc::new(move |_core| sender.send(()).unwrap()));
    for _ in 0..3 {
        receiver.recv_timeout(Duration::from_secs(5)).unwrap();
    }
    workers.stop();
    workers.event().wait();
    assert_eq!(workers.running(), 0);
    workers.join().unwrap();
}

#[test]
fn a_worker_that_ends_unasked_is_an_error() {
    type End = fn(&Core);
    let table: [(End, &str); 2] = [
        (
            |core| assert!(core.remote().post_own(|_| panic!("an invariant"))),
            "panicked: an invariant",
        ),
        (|core| core.stop(), "ended unasked: its core was stopped"),
    ];
    for (end, text) in table {
        let told = Arc::new(AtomicUsize::new(0));
        let failed = Arc::clone(&told);
        let (sender, cores) = std::sync::mpsc::channel();
        let options = WorkerOptions {
            count: Some(3),
            ..WorkerOptions::default()
        };
        let workers = Workers::start_with(
            &options,
            Arc::new(crate::runtime::Event::new().unwrap()),
            Arc::new(move || assert_eq!(failed.fetch_add(1, Ordering::SeqCst), 0)),
            Arc::new(move |core, index| {
                sender.send((index, Arc::clone(core.remote()))).unwrap();
                Ok(())
            }),
        )
        .unwrap();
        let (_, second) = cores.iter().find(|(index, _)| *index == 1).unwrap();
        second.post_own(move |core| end(core));
        while workers.running() != 2 {
            std::thread::yield_now();
        }
        assert_eq!(told.load(Ordering::SeqCst), 1);
        assert!(!second.post(|_| ()), "it has ended");
        let (sender, others) = std::sync::mpsc::channel();
        workers.post_all(Arc::new(move |_core| sender.send(()).unwrap()));
        assert_eq!(others.iter().count(), 2);
        workers.stop();
        let error = workers.join().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Shutdown);
        assert_eq!(error.text(), format!("worker roundtrip-1 {text}"));
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_worker_that_cannot_start_stops_all() {
    let options = WorkerOptions {
        count: Some(2),
        ..WorkerOptions::default()
    };
    let result = Workers::start(
        &options,
        Arc::new(|_core, index| match index {
            0 => Ok(()),
            _ => Err(crate::error::Error::new(ErrorKind::Bind, "no")),
        }),
    );
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Bind);
}

/// A worker may have ended before it is told to make its ring.
#[test]
fn a_scope_that_panics_is_an_error_of_the_start() {
    for _ in 0..3 {
        let options = WorkerOptions {
            count: Some(64),
            scope: Some(ThreadScope::new(|_body| panic!("a scope on purpose"))),
            ..WorkerOptions::default()
        };
        let error = Workers::start(&options, Arc::new(|_core, _index| Ok(()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Setup);
        assert!(error.to_string().contains("a scope on purpose"), "{error}");
    }
}

#[test]
fn sizes_from_outside_have_bounds() {
    for count in [0, WORKERS_MAX + 1, usize::MAX] {
        let options = WorkerOptions {
            count: Some(count),
            ..WorkerOptions::default()
        };
        let error = Workers::start(&options, Arc::new(|_core, _index| Ok(()))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains("1 to 1024"), "{error}");
    }
    let sizes = [
        (32, 256, 3, 4_096),
        (32, 256, 0, 4_096),
        (32, 256, 1 << 15, u32::MAX),
        (32, 256, 16, 0),
        (0, 256, 16, 4_096),
        (32, 31, 16, 4_096),
    ];
    for (sq_entries, cq_entries, buffers, buffer_bytes) in sizes {
        let options = RingOptions {
            sq_entries,
            cq_entries,
            buffers,
            buffer_bytes,
            ..RingOptions::SMALL
        };
        let error = Runtime::with_options(options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    }
}

#[test]
fn a_runtime_goes_on_where_it_was() {
    let runtime = Runtime::small().unwrap();
    let mut task = None;
    runtime
        .block_on(async { task = Some(spawn(async { 5 })) })
        .unwrap();
    assert_eq!(runtime.block_on(task.unwrap()).unwrap().unwrap(), 5);
    let counters = runtime.core().counters();
    assert!(counters.enters > 0);
    assert_eq!(counters.stale, 0);
}

#[test]
fn time_between_two_calls_is_not_taken_for_waiting() {
    let runtime = Runtime::small().unwrap();
    runtime.block_on(yield_now()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let work = async {
        yield_now().await;
        blocking(|| std::thread::sleep(Duration::from_millis(20))).await
    };
    let limited = timeout(Duration::from_millis(200), work);
    runtime.block_on(limited).unwrap().unwrap().unwrap();
}

#[test]
fn a_turn_that_takes_long_delays_no_sleeper_further() {
    run(async {
        let before = crate::ring::clock::now();
        let long_turn = spawn(async { std::thread::sleep(Duration::from_millis(80)) });
        sleep(Duration::from_millis(100)).await;
        long_turn.await.unwrap();
        let slept = crate::ring::clock::now() - before;
        assert!(slept < Duration::from_millis(160), "{slept:?}");
    });
}

#[test]
fn an_endless_sleep_lets_the_core_sleep() {
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            let endless = spawn(sleep(Duration::MAX));
            let before = Core::current().unwrap().counters().enters;
            blocking(|| std::thread::sleep(Duration::from_millis(50)))
                .await
                .unwrap();
            let enters = Core::current().unwrap().counters().enters - before;
            assert!(enters < 20, "{enters} turns without anything to do");
            endless.abort();
        })
        .unwrap();
}

#[test]
fn a_handle_aborts_its_own_task_wherever_it_is() {
    let first = Runtime::small().unwrap();
    let second = Runtime::small().unwrap();
    let spawn_one = |runtime: &Runtime| {
        let mut task = None;
        let spawning = async { task = Some(spawn(std::future::pending::<()>())) };
        runtime.block_on(spawning).unwrap();
        task.unwrap()
    };
    let (ours, theirs) = (spawn_one(&first), spawn_one(&second));
    second.block_on(async { ours.abort() }).unwrap();
    assert!(ours.is_finished());
    assert!(!theirs.is_finished(), "another core's task was aborted");
    theirs.abort();
    assert!(theirs.is_finished(), "no core runs, and the task is there");
}

#[test]
fn a_late_start_and_an_early_failure_stop_all() {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let options = WorkerOptions {
            count: Some(3),
            ..WorkerOptions::default()
        };
        let result = Workers::start(
            &options,
            Arc::new(|_core, index| match index {
                0 => Err(crate::error::Error::new(ErrorKind::Bind, "no")),
                1 => panic!("on purpose"),
                _ => {
                    std::thread::sleep(Duration::from_millis(200));
                    Ok(())
                }
            }),
        );
        sender.send(result.map(|_| ()).unwrap_err().kind()).unwrap();
    });
    let kind = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert!(matches!(kind, ErrorKind::Bind | ErrorKind::Setup));
}

#[test]
fn a_runtime_may_end_with_its_thread() {
    thread_local! {
        static RUNTIME: Runtime = Runtime::small().unwrap();
    }
    let thread = std::thread::spawn(|| {
        RUNTIME.with(|runtime| {
            let spawned = async {
                spawn(sleep(Duration::from_secs(60)));
                yield_now().await;
            };
            runtime.block_on(spawned).unwrap();
        });
    });
    thread.join().unwrap();
}

#[test]
fn a_core_that_is_stopped_ends_block_on_with_an_error() {
    let runtime = Runtime::small().unwrap();
    let result = runtime.block_on(async {
        Core::current().unwrap().stop();
        std::future::pending::<()>().await;
    });
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Shutdown);
}

/// Uses the core when dropped, as values of users may.
struct UsesCore;

impl Drop for UsesCore {
    fn drop(&mut self) {
        let core = Core::current().expect("destructors run on their core");
        assert!(core.counters().enters < u64::MAX);
        spawn(async {});
        core.local(|_| Rc::new(1u8));
    }
}

#[test]
fn destructors_may_use_the_core_that_ends() {
    struct SpawnsLate;
    impl Drop for SpawnsLate {
        fn drop(&mut self) {
            spawn(async { drop(UsesCore) });
        }
    }
    let runtime = Runtime::small().unwrap();
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            core.local(|_| Rc::new(UsesCore));
            core.local(|_| Rc::new(SpawnsLate));
            core.remote().post({
                let value = UsesCore;
                move |_| drop(value)
            });
        })
        .unwrap();
    drop(runtime);
}

/// Panics where its table says so: in its drop, or when it is woken.
struct Bomb {
    wakes: bool,
}

impl Bomb {
    /// Panics in its drop.
    fn armed() -> Bomb {
        Bomb { wakes: false }
    }

    /// A waker that panics when it is woken, and again when it is dropped.
    fn waker() -> std::task::Waker {
        std::task::Waker::from(Arc::new(Bomb { wakes: true }))
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        // A second panic in one unwinding would be the end of the process: that of the user.
        if !std::thread::panicking() {
            panic!("a drop on purpose");
        }
    }
}

impl std::task::Wake for Bomb {
    fn wake(self: Arc<Self>) {
        assert!(!self.wakes, "a waker on purpose");
    }
}

/// Polls once, with a waker that panics. Gives the future back.
fn poll_with_bomb<F: Future + Unpin + 'static>(mut future: F) -> Box<dyn std::any::Any> {
    let waker = Bomb::waker();
    let mut context = std::task::Context::from_waker(&waker);
    let mut pinned = std::pin::Pin::new(&mut future);
    assert!(pinned.as_mut().poll(&mut context).is_pending());
    Box::new(future)
}

#[test]
fn what_panics_is_the_end_of_its_own_thing() {
    // What it gives back is kept until the panic.
    type Cause = fn(&Rc<Core>) -> Box<dyn std::any::Any>;
    let table: [(&str, Cause); 9] = [
        ("a posted closure", |core| {
            Box::new(core.remote().post(|_| panic!("a closure on purpose")))
        }),
        ("what a posted closure owns", |core| {
            let bomb = Bomb::armed();
            Box::new(core.remote().post(move |_| drop(bomb)))
        }),
        ("a task", |_| {
            Box::new(spawn(async { panic!("a task on purpose") }))
        }),
        ("what a task owns at its end", |_| {
            let bomb = Bomb::armed();
            spawn(async move {
                let _bomb = bomb;
                yield_now().await;
            });
            Box::new(())
        }),
        ("a result that nobody waits for", |_| {
            spawn(async { Bomb::armed() });
            Box::new(())
        }),
        ("what an aborted task owns", |_| {
            let bomb = Bomb::armed();
            spawn(async move {
                let _bomb = bomb;
                std::future::pending::<()>().await;
            })
            .abort();
            Box::new(())
        }),
        ("who waits for a task", |_| {
            poll_with_bomb(spawn(yield_now()))
        }),
        ("who sleeps", |_| {
            poll_with_bomb(Box::pin(sleep(Duration::from_millis(1))))
        }),
        ("who waits for an operation", |core| {
            let event = crate::runtime::Event::new().unwrap();
            event.notify();
            let read = Operation::Wake(Box::new(0));
            let read = operations::submit(core, event.raw(), None, read);
            Box::new((poll_with_bomb(read), event))
        }),
    ];
    let runtime = Runtime::small().unwrap();
    for (what, cause) in table {
        let before = runtime.core().counters().panics;
        runtime
            .block_on(async {
                let _kept = cause(&Core::current().unwrap());
                for _ in 0..1_000 {
                    if runtime.core().counters().panics > before {
                        return;
                    }
                    sleep(Duration::from_millis(1)).await;
                }
                panic!("{what}: nothing has panicked");
            })
            .unwrap();
        assert_eq!(runtime.core().counters().panics, before + 1, "{what}");
    }
}

#[test]
fn a_core_ends_whatever_panics() {
    let runtime = Runtime::small().unwrap();
    let before = runtime.core().counters().panics;
    runtime
        .block_on(async {
            let core = Core::current().unwrap();
            core.local(|_| Rc::new(Bomb::armed()));
            core.local(|_| Rc::new((Bomb::armed(), 1)));
            for _ in 0..2 {
                let (ours, theirs) = (Bomb::armed(), Bomb::armed());
                spawn(async move {
                    let _bomb = ours;
                    std::future::pending::<()>().await;
                });
                core.remote().post(move |_| drop(theirs));
            }
        })
        .unwrap();
    drop(runtime);
    assert_eq!(crate::guard::count(), before + 6);
}
