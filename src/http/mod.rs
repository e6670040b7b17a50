//! HTTP/1: messages and how they are framed. No I/O, no clock.
#![allow(dead_code)] // Until heads are parsed.
pub mod body;
pub mod disconnect;
pub mod headers;
pub mod incoming;
mod known;
mod params;
mod recycle;
pub mod request;
pub mod response;
mod token;
