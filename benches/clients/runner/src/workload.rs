//! What the clients are asked to do.

pub struct Workload {
    pub name: &'static str,
    pub title: &'static str,
    /// As the clients call it.
    pub mode: &'static str,
    pub in_flight: usize,
}

const fn workload(
    name: &'static str,
    title: &'static str,
    mode: &'static str,
    in_flight: usize,
) -> Workload {
    Workload {
        name,
        title,
        mode,
        in_flight,
    }
}

pub const WORKLOADS: &[Workload] = &[
    workload(
        "reuse1",
        "one request at a time, connections reused",
        "reuse",
        1,
    ),
    workload("reuse64", "64 in flight, connections reused", "reuse", 64),
    workload(
        "new1",
        "one request at a time, the client keeps no connection",
        "new",
        1,
    ),
    workload(
        "new64",
        "64 in flight, the client keeps no connection",
        "new",
        64,
    ),
    workload(
        "close1",
        "one request at a time, the server closes",
        "close",
        1,
    ),
    workload("close64", "64 in flight, the server closes", "close", 64),
];

impl Workload {
    /// True when connections serve many requests.
    pub fn keeps(&self) -> bool {
        self.mode == "reuse"
    }
}
