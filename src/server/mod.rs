//! The HTTP server.
pub mod pattern;
pub mod routes;
