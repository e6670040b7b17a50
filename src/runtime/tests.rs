//! The runtime on the real kernel.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::runtime::Core;
use crate::runtime::Runtime;
use crate::runtime::WorkerOptions;
use crate::runtime::Workers;
use crate::runtime::block_on;
use crate::runtime::blocking;
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
    workers.join();
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
