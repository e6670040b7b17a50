//! Connections: receive, send, close, deadline.
pub mod output;
pub mod protocol;
pub use output::Output;
pub use output::Segment;
pub use protocol::Io;
pub use protocol::Protocol;
pub use protocol::Receive;
pub use protocol::Received;
pub use protocol::Step;
