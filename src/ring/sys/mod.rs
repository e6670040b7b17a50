//! Every system call that is not an operation of the ring.

mod descriptor;
mod event;
mod file;
mod inherited;
mod process;
mod socket;
mod temporary;
mod transfer;
mod unix_listener;

/// An open file; closed when dropped.
pub use std::fs::File;

pub use event::Event;
pub use event::Signals;
pub use file::DirEntry;
pub use file::Directory;
pub use file::Links;
pub use file::Metadata;
pub use inherited::Inherited;
pub use inherited::take_inherited;
pub use process::affinity;
pub use process::file_descriptor_limit;
pub use process::kernel_release;
pub use process::memlock_limit;
pub use process::pin_to;
pub use process::raise_soft_limits;
pub use socket::Address;
pub use socket::PieceList;
pub use socket::Shutdown;
pub use socket::Socket;
pub use socket::SocketAddress;
pub use socket::accept_now;
pub use socket::bind_tcp;
pub use socket::local_addr;
pub use socket::look_up;
pub use socket::new_socket;
pub use socket::peer_addr;
pub use socket::reset;
pub use socket::send_now;
pub use socket::send_pieces_now;
pub use socket::set_tcp_options;
pub use socket::shutdown;
pub use socket::socket_pair;
pub use socket::unacknowledged_bytes;
pub use temporary::copy_to_new;
pub use temporary::temporary_file;
pub use temporary::write_all_at;
pub use temporary::write_new;
pub use transfer::is_cached;
pub use transfer::may_send_files;
pub use transfer::read_now;
pub use transfer::send_file_now;
pub use transfer::set_nonblocking;
pub use unix_listener::SocketFile;
pub use unix_listener::UnixOptions;
pub use unix_listener::bind_unix;
