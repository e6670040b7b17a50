//! The HTTP server.
pub mod access_log;
pub mod calendar;
pub mod pattern;
pub mod routes;
