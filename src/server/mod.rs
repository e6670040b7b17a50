//! The HTTP server.
pub mod access_log;
pub mod calendar;
pub mod files;
pub mod handler;
pub mod into_response;
pub mod pattern;
pub mod router;
pub mod routes;
