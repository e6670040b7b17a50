//! One engine per process: what is asked for later agrees with it, or is an error that names both.

use roundtrip::Client;
use roundtrip::Request;
use roundtrip::Result;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::error::ErrorKind;
use roundtrip::runtime;
use roundtrip::runtime::Engine;
use roundtrip::runtime::RingOptions;
use roundtrip::runtime::Runtime;

use crate::server_support::Serving;

fn server(engine: Engine) -> Server {
    let router = Router::new().get("/{$}", |_: &Request| "hello");
    let server = Server::new(router).bind("127.0.0.1:0").expect("a port");
    server.engine(engine)
}

fn refused<T>(asked: Engine, result: Result<T>) {
    let error = result.map(drop).expect_err("two engines in one process");
    let choice = runtime::engine().expect("there is a ring");
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Setup);
    assert!(text.starts_with(asked.name()), "{text}");
    assert!(text.contains(&choice.to_string()), "{text}");
}

#[test]
fn a_process_has_one() {
    let runtime = Runtime::small().expect("a ring");
    let choice = runtime.engine().expect("a real kernel");
    let other = match choice.engine {
        Engine::IoUring => Engine::Epoll,
        _ => Engine::IoUring,
    };
    refused(other, server(other).run_until(async {}));
    refused(
        other,
        runtime
            .block_on(server(other).run_here())
            .expect("it is ours"),
    );
    refused(other, runtime::set_engine(other));
    let options = RingOptions {
        engine: other,
        ..RingOptions::SMALL
    };
    refused(other, Runtime::with_options(options));
    assert_eq!(runtime::engine(), Some(choice.clone()));

    for engine in [Engine::Auto, choice.engine] {
        runtime::set_engine(engine).expect("nothing new");
        let mut serving = Serving::with(server(engine), |server| server.workers(2));
        assert_eq!(serving.handle.engine(), Some(choice.clone()));
        serving.stop().expect("it ran");
    }
}

#[test]
fn counters_name_it() {
    let runtime = Runtime::new().expect("a ring");
    let served = runtime.block_on(async {
        let server = server(Engine::Auto);
        let (handle, address) = (server.handle(), server.local_addr().expect("a port"));
        let serving = runtime::spawn(server.run_here());
        let client = Client::new();
        for _ in 0..10 {
            let request = client.get(format!("http://{address}/"));
            assert_eq!(request.send().await?.text().await?, "hello");
        }
        handle.shutdown();
        serving.await?
    });
    served.expect("no other core").expect("it serves");
    let counters = runtime.core().counters();
    let engine = runtime.engine().expect("a real kernel").engine;
    assert_eq!(counters.engine, engine.name());
    match engine {
        Engine::Epoll => {
            assert!(counters.system_calls > counters.enters, "{counters:?}");
            // A listener, the mailbox, two connections: nothing per request.
            assert!((3..10).contains(&counters.registrations), "{counters:?}");
        }
        _ => {
            assert_eq!(counters.system_calls, counters.enters);
            assert_eq!(counters.registrations, 0);
        }
    }
}
