//! What simulations have found once, each made as small as it gets.

use std::time::Duration;

use roundtrip::Client;
use roundtrip::Error;
use roundtrip::Router;
use roundtrip::Server;
use roundtrip::files;
use roundtrip::net::Net;
use roundtrip::runtime;
use roundtrip::runtime::Core;
use roundtrip::runtime::JoinHandle;
use roundtrip::server::ServerHandle;
use roundtrip::simulation::Fault;
use roundtrip::simulation::Faults;
use roundtrip::simulation::Simulation;

const URL: &str = "http://127.0.0.1/";

fn serve(router: Router) -> Result<(ServerHandle, JoinHandle<Result<(), Error>>), Error> {
    let server = Server::new(router).bind("127.0.0.1:80")?;
    Ok((server.handle(), runtime::spawn(server.run_here())))
}

/// A dial belongs to its host and not to the request that began it. When it was made after the
/// client had gone, its connection rested until its idle time-out.
#[test]
fn a_dial_that_outlives_its_client_leaves_nothing() {
    let latency = Duration::from_millis(50);
    let simulation = Simulation::new(1).latency(latency, latency);
    let left = simulation.run(async {
        let (handle, serving) = serve(Router::new())?;
        let client = Client::new();
        let impatient = client.get(URL).timeout(Duration::from_millis(1));
        assert!(impatient.send().await.unwrap_err().is_timeout());
        drop(client);
        runtime::sleep(Duration::from_secs(1)).await;
        assert_eq!(handle.statistics().connections_accepted, 1);
        let left = Net::of(&Core::try_current()?).connections();
        handle.shutdown();
        serving.await??;
        Ok::<_, Error>(left)
    });
    assert_eq!(left.unwrap().unwrap(), 0);
}

/// A read of a file that the kernel gave up cost the connection; receives and sends are repeated.
#[test]
fn a_file_is_read_again_when_a_read_was_given_up() {
    let faults = Faults::none().with(Fault::Canceled, 0.2);
    let content = vec![7; 1_000_000];
    let simulation = Simulation::new(2)
        .faults(faults)
        .file("/srv/f", content.clone());
    let report = simulation.run(async move {
        let router = Router::new().route("GET /{path...}", files::serve("/srv"));
        let (handle, serving) = serve(router)?;
        let client = Client::new();
        for _ in 0..20 {
            let response = client.get(format!("{URL}f")).send().await?;
            assert!(response.bytes().await? == content);
        }
        handle.shutdown();
        serving.await?
    });
    assert!(report.fired().of(Fault::Canceled) > 0);
    report.unwrap().unwrap();
}
