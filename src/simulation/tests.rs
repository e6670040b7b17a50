//! Simulations and what they report.

use std::time::Duration;

use crate::http::request::Request;
use crate::runtime;
use crate::runtime::Core;
use crate::runtime::Engine;
use crate::runtime::Runtime;
use crate::runtime::sleep;
use crate::server::Router;
use crate::server::Server;
use crate::simulation::Peer;
use crate::simulation::PeerIo;
use crate::simulation::PeerReceived;
use crate::simulation::PeerSocket;
use crate::simulation::Simulation;
use crate::simulation::add_peer;
use crate::simulation::fail;
use crate::simulation::now;

#[test]
fn a_core_within_blocking_work_takes_its_time() {
    let report = Simulation::new(1).run(async {
        let before = now();
        let nap = || Runtime::small()?.block_on(sleep(Duration::from_secs(60)));
        let napped = runtime::blocking(nap);
        // Its deadline passes while the work runs.
        sleep(Duration::from_secs(1)).await;
        napped.await.unwrap().unwrap();
        now() - before
    });
    let elapsed = report.unwrap();
    assert!(elapsed >= Duration::from_secs(60) && elapsed < Duration::from_secs(62));
}

#[test]
fn a_simulation_has_no_engine() {
    let report = Simulation::new(1).run(async {
        runtime::set_engine(Engine::Epoll).unwrap();
        assert_eq!(runtime::engine(), None);
        let counters = Core::current().unwrap().counters();
        assert_eq!(counters.engine, "simulated");
        assert_eq!(counters.system_calls, counters.enters);
    });
    report.unwrap();
}

#[test]
#[should_panic(expected = "a core runs on this thread already")]
fn a_core_does_not_simulate() {
    let inside = async { drop(Simulation::new(1).run(async {})) };
    Runtime::small().unwrap().block_on(inside).unwrap();
}

#[test]
fn a_simulation_within_another_is_its_failure() {
    let report = Simulation::new(1).run(async { drop(Simulation::new(2).run(async {})) });
    assert!(report.failure().unwrap().contains("already"), "{report:?}");
    Simulation::new(3).run(async {}).unwrap();
}

/// Calls it a failure when its connection ends.
struct Loyal(Option<PeerSocket>);

impl Peer for Loyal {
    fn act(&mut self, io: &mut PeerIo<'_>) -> bool {
        let socket = *self
            .0
            .get_or_insert_with(|| io.connect(ADDRESS.parse().unwrap()));
        let has_ended = matches!(
            io.receive(socket, &mut Vec::new(), 1),
            PeerReceived::End | PeerReceived::Reset
        );
        if has_ended {
            fail("cut off");
        }
        !has_ended
    }
}

const ADDRESS: &str = "10.0.0.1:80";

#[test]
fn a_panic_comes_before_what_it_leads_to() {
    let report = Simulation::new(1).run(async {
        let router = Router::new().get("/", |_: &Request| "");
        let server = Server::new(router).bind(ADDRESS).unwrap();
        let serving = runtime::spawn(server.run_here());
        add_peer(Loyal(None));
        sleep(Duration::from_millis(1)).await;
        assert!(serving.is_finished(), "on purpose");
    });
    assert_eq!(report.failure(), Some("on purpose"));
}
