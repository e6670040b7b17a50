//! Small worlds of patterns and requests, all of which can be tried.
//!
//! ```text
//!   shapes × methods = patterns          segments × methods = requests
//!              └────────── takes() ──────────┘    each pattern is the set of requests it takes
//! ```

use ::http::Method;

use crate::server::pattern::Pattern;
use crate::server::pattern::Segment;

/// Methods of the requests: one that GET answers too, and one that nothing names.
const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::PUT];

/// Paths one segment deeper than the deepest pattern, with a segment that no pattern names.
pub(in crate::server) fn requests() -> Vec<(Method, String)> {
    let mut paths = Vec::new();
    let mut parents = vec![String::new()];
    for _ in 0..4 {
        paths.extend(parents.iter().map(|parent| format!("{parent}/")));
        let deeper = parents
            .iter()
            .flat_map(|parent| ["a", "b", "z"].map(|segment| format!("{parent}/{segment}")));
        parents = deeper.collect();
        paths.extend(parents.iter().cloned());
    }
    METHODS
        .iter()
        .flat_map(|method| paths.iter().map(|path| (method.clone(), path.clone())))
        .collect()
}

/// All patterns of up to three segments over two literals.
pub(in crate::server) fn patterns() -> Vec<Pattern> {
    let mut paths = Vec::new();
    let mut parents = vec![String::new()];
    for depth in 0..3 {
        let wild = format!("{{w{depth}}}");
        for parent in &parents {
            paths.extend(["/a", "/b", "/", "/{$}"].map(|last| format!("{parent}{last}")));
            paths.push(format!("{parent}/{wild}"));
        }
        let deeper = parents
            .iter()
            .flat_map(|parent| ["a", "b", &wild].map(|segment| format!("{parent}/{segment}")));
        parents = deeper.collect();
    }
    ["", "GET ", "HEAD ", "POST "]
        .iter()
        .flat_map(|method| paths.iter().map(move |path| format!("{method}{path}")))
        .map(|text| Pattern::parse(&text).unwrap())
        .collect()
}

/// True when a pattern takes a request: the definition, segment by segment.
pub(in crate::server) fn takes(pattern: &Pattern, method: &Method, path: &str) -> bool {
    let takes_method = match pattern.method() {
        None => *method != Method::CONNECT,
        Some(own) => own == method || (*own == Method::GET && *method == Method::HEAD),
    };
    let mut pieces = path[1..].split('/');
    for segment in pattern.segments() {
        match (segment, pieces.next()) {
            (Segment::Literal(text), Some(piece)) if **text == *piece => {}
            (Segment::Wild(_), Some(piece)) if !piece.is_empty() => {}
            (Segment::Rest(_), Some(_)) => return takes_method,
            _ => return false,
        }
    }
    takes_method && pieces.next().is_none()
}
