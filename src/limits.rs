//! Every bound and default of the crate, with its reason.
//!
//! ```text
//!   NAME_MAX, NAME_TIMEOUT, … ──► Options, where a knob starts ──► Server::name_max(…) changes it
//!                           └───► the code, where there is no knob
//! ```
//!
//! Units are in the names. What a user can change is a knob of `Server` or `Client` that starts
//! from the value here; relations between the values are checked when the crate is compiled.

use std::time::Duration;

// ---- ring ------------------------------------------------------------------------------------

/// Entries of the submission queue. Small, because the kernel charges it to RLIMIT_MEMLOCK per
/// user; what does not fit waits in a queue of ours.
pub const SQ_ENTRIES: u32 = 512;
/// Entries of the completion queue: multishot operations complete more often than they are
/// submitted, and an overflow ends them.
pub const CQ_ENTRIES: u32 = 8_192;
/// Smallest completion queue that is tried when memory may not be locked.
pub const CQ_ENTRIES_MIN: u32 = 1_024;
/// How often the smallest rings of all workers are tried again where memory may not be locked: a
/// ring that was given up, by a process that ended too, is charged until the kernel has cleaned up.
pub const RING_RETRIES_MAX: u32 = 20;
/// The pause before that, and before smaller rings are tried.
pub const RING_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Receive buffers of one core. A buffer is held for one turn, so this bounds bytes per turn, not
/// connections.
pub const RECV_BUFFERS: u16 = 1_024;
/// Size of one receive buffer: more than 99 % of request heads fit.
pub const RECV_BUFFER_BYTES: u32 = 4_096;
/// Entries of the submission queue of a small core (`blocking::Client`).
pub const SMALL_SQ_ENTRIES: u32 = 32;
/// Entries of the completion queue of a small core.
pub const SMALL_CQ_ENTRIES: u32 = 256;
/// Receive buffers of a small core.
pub const SMALL_RECV_BUFFERS: u16 = 16;

// ---- reactor ---------------------------------------------------------------------------------

/// Operation slots per chunk; chunks never move, since the kernel holds addresses into slots.
pub const SLOTS_PER_CHUNK: usize = 1_024;
/// Completions dispatched in one turn; more wait for the next, which then does not sleep.
pub const COMPLETIONS_PER_TURN: usize = 1_024;
/// Events that one epoll_wait(2) takes; the others stay for the next.
pub const EVENTS_PER_TURN: usize = 512;
/// Receives of one operation in a turn of the epoll engine (io_uring/net.c: MULTISHOT_MAX_RETRY).
pub const RECEIVES_PER_TURN: usize = 32;
/// Connections that the epoll engine takes from one listener in a turn.
pub const ACCEPTS_PER_TURN: usize = 64;
/// Threads of a process that read files for the epoll engine where a disk may have to be waited for.
pub const READER_THREADS_MAX: usize = 8;
/// How long the epoll engine waits before it tries again to connect to a Unix socket whose queue is full.
pub const CONNECT_RETRY_PAUSE: Duration = Duration::from_millis(10);
/// Resolution of connection deadlines.
pub const WHEEL_TICK: Duration = Duration::from_millis(64);
/// Slots of the timer wheel (a power of two): one revolution is 65 s; longer deadlines go round.
pub const WHEEL_SLOTS: usize = 1_024;
/// Longest sleep of one turn: the kernel adds it to its clock, and the sum must not overflow.
pub const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the end of a core waits for operations in flight before it leaks them.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

// ---- runtime ---------------------------------------------------------------------------------

/// Workers of one server: twice the processors of the largest machines that are sold. Each costs a
/// thread, a ring and its buffers, so a slip of the hand must not ask for millions.
pub const WORKERS_MAX: usize = 1_024;
/// Receive buffers of one ring: the kernel takes no more (`io_uring_register(2)`).
pub const RECV_BUFFERS_SETTABLE_MAX: u16 = 32_768;
/// Size of one receive buffer, at most: with all of them a ring maps 32 GiB, touched as it is used.
pub const RECV_BUFFER_BYTES_SETTABLE_MAX: u32 = 1 << 20;
/// Tasks and connections polled in one turn.
pub const READY_PER_TURN: usize = 256;
/// Threads for what users call blocking work: more than a pool of connections to a database has, a
/// fraction of what a process may have. Computing does not get faster beyond the processors.
pub const BLOCKING_THREADS_MAX: usize = 64;
/// Blocking work of users that may wait for a thread; the next one is refused.
pub const BLOCKING_QUEUE_MAX: usize = 4_096;
/// Threads that look names up. They wait for a network: at 20 ms each, 1,600 names a second.
pub const LOOKUP_THREADS_MAX: usize = 32;
/// Look-ups that may wait for a thread: a client looks each name up once for all, and gives it up when
/// nobody waits for it any more.
pub const LOOKUP_QUEUE_MAX: usize = 4_096;
/// Threads that open and write files: enough to keep a disk busy, or a network file system.
pub const FILE_THREADS_MAX: usize = 16;
/// Operations on files that may wait for a thread. Requests that are given up leave the queue.
pub const FILE_QUEUE_MAX: usize = 4_096;
/// Threads that list directories: many of those may be large, and opening files does not wait for them.
pub const LISTING_THREADS_MAX: usize = 4;
/// Listings that may wait for a thread: a worker makes one of a directory at a time, in each form.
pub const LISTING_QUEUE_MAX: usize = 1_024;
/// How long an idle blocking thread stays.
pub const BLOCKING_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often other cores are asked to give up descriptors, and how long who opens or connects waits for
/// that: time for a turn of theirs.
pub const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(20);

// ---- net -------------------------------------------------------------------------------------

/// Length of the kernel's queue of connections that wait for accept(2), cut to somaxconn.
pub const LISTEN_BACKLOG: i32 = 4_096;
/// Listening sockets that another process may pass (LISTEN_FDS): far more than anybody does, far
/// fewer than descriptors.
pub const INHERITED_SOCKETS_MAX: usize = 256;
/// Times that output and `on_sent` may follow each other for one connection in one turn.
pub const SENDS_PER_TURN: usize = 16;
/// Up to this many bytes are sent by send(2) at once when few connections are served in a turn.
pub const INLINE_SEND_BYTES_MAX: usize = 64 * 1024;
/// Room of large receives after which memory that is free again is given back to the system: what is
/// less is not worth the page faults when it is needed again.
pub const MEMORY_RETURN_BYTES: usize = 32 * 1024 * 1024;
/// How long after large receives memory is given back. The pause doubles from then on, since they may
/// be held for long.
pub const MEMORY_RETURN_PAUSE: Duration = Duration::from_secs(4);
/// The longest of these pauses; after it, whatever is held is as good as kept.
pub const MEMORY_RETURN_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);
/// Pause after accept(2) ran out of descriptors or memory; re-arming at once would spin.
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// Connections in a row that are gone before they are accepted; then comes that pause: it may be the
/// listener that fails, and nothing else.
pub const ACCEPT_SKIPS_MAX: u8 = 16;
/// Connections that a listener takes from its queue when it ends: more than any queue holds, so that
/// those that go on arriving meanwhile are taken as well, within reason.
pub const ACCEPT_LAST_MAX: usize = 4 * LISTEN_BACKLOG as usize;
/// Most bytes handed to one send: a completion is the only sign of progress a time-out can see.
pub const SEND_BYTES_MAX: usize = 256 * 1024;
/// Most pieces in one send.
pub const SEND_SEGMENTS_MAX: usize = 16;
/// Up to this size a body is copied behind its head; beyond, it is sent from where it is.
pub const COPY_BYTES_MAX: usize = 8 * 1024;
/// Output above which a protocol is asked to stop producing.
pub const OUTPUT_HIGH_WATER_BYTES: usize = 256 * 1024;
/// Output below which it is asked to go on.
pub const OUTPUT_LOW_WATER_BYTES: usize = 64 * 1024;
/// Completions in a turn up to which output is sent by send(2) at once instead of by the ring.
pub const INLINE_SEND_COMPLETIONS_MAX: usize = 4;
/// Bytes of one receive into an owned buffer (bodies).
pub const BODY_RECV_BYTES: usize = 128 * 1024;
/// From here on a body is received into buffers of its own instead of the shared ones.
pub const OWN_BUFFER_BODY_BYTES: u64 = 2 * RECV_BUFFER_BYTES as u64;
/// Bytes of one sendfile(2). Larger files take turns with other connections.
pub const FILE_SEND_BYTES: usize = 512 * 1024;
/// Times that sendfile(2) is called for one connection in one turn.
pub const FILE_SENDS_PER_TURN: usize = 2;
/// Up to here a part of a file is copied, to leave in one send with the head before it: cheaper than
/// a sendfile(2) of its own.
pub const FILE_COPY_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a file that the ring sends when the peer is slow: with their completion there is room for
/// sendfile(2) again.
pub const FILE_BRIDGE_BYTES: usize = 4 * 1024;
/// Reads of a file that is sent which may fail in a row for the moment (EAGAIN, EINTR); then its connection
/// fails. The ring waits itself: so many are a file that gives nothing.
pub const FILE_READ_ATTEMPTS_MAX: u8 = 16;
/// How long a core may wait for a disk between two turns without minding, where a file system does not say
/// what is in memory (overlayfs, tmpfs): what one waits for longer is counted.
pub const FILE_WAIT_MAX: Duration = Duration::from_millis(1);
/// After a longer wait, for how many times as long such files are left to the ring: so a core waits for
/// disks during a seventeenth of its time at most, however slow they are.
pub const FILE_WAIT_REST_FACTOR: u32 = 16;
/// Files of such file systems that one core knows as such. Another costs two calls when it is sent.
pub const UNSAID_FILES_MAX: usize = 16;
/// Bytes of one read of a file that is sent and not in memory.
pub const FILE_READ_BYTES: usize = 128 * 1024;
/// Addresses of one name that are tried: with a head start each, what a connect time-out of some
/// seconds has room for.
pub const CONNECT_ADDRESSES_MAX: usize = 16;
/// Head start of an attempt to connect before the next address is tried beside it (RFC 8305 §8).
pub const CONNECT_ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long a closing connection waits for the peer to stop sending.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// How much a closing connection reads and drops, so that the peer sees the last response and not
/// a reset.
pub const LINGER_BYTES_MAX: usize = 256 * 1024;
/// TCP keep-alive: idle time before the first probe.
pub const TCP_KEEPALIVE_TIME: Duration = Duration::from_secs(60);
/// TCP keep-alive: time between probes.
pub const TCP_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// TCP keep-alive: unanswered probes before the connection is given up.
pub const TCP_KEEPALIVE_PROBES: u32 = 4;
/// Output buffers kept for reuse by one core.
pub const FREE_BUFFERS_MAX: usize = 1_024;
/// Buffers of `FILE_READ_BYTES` kept for reuse by one core.
pub const FREE_FILE_BUFFERS_MAX: usize = 16;
/// Larger buffers are given back to the allocator.
pub const FREE_BUFFER_BYTES_MAX: usize = 16 * 1024;

// ---- fs --------------------------------------------------------------------------------------

/// Attempts to open a file that the kernel did not open for the moment (a rename under way, a lease that
/// is being given back): four pauses, 15 ms together, hold no thread. Then the client is to come again.
pub const FILE_OPEN_ATTEMPTS_MAX: u32 = 5;
/// The pause before the second attempt; doubled before each further one.
pub const FILE_OPEN_PAUSE: Duration = Duration::from_millis(1);
/// The part of RLIMIT_NOFILE that the open files of all caches of a process may take: one eighth, spread
/// over the cores that have such caches.
pub const FILE_CACHE_DESCRIPTORS_DIVISOR: u64 = 8;
/// When a client is to come again that could not be answered for lack of threads or descriptors, in
/// seconds: what holds them up ends within one as a rule.
pub const RETRY_AFTER_SECONDS: u32 = 1;
/// Paths of one directory handler that one worker knows, each perhaps with an open file.
pub const FILE_CACHE_ENTRIES_MAX: usize = 512;
/// How long what cannot be told from a look at the name counts: where the directory itself is; a file that
/// was changed at about the time when it was opened, whose clock may stand still; a file of another
/// machine, which a look might wait for; and a listing.
pub const FILE_FRESH_TIME: Duration = Duration::from_secs(1);
/// How often files that nobody asked for since the last time are closed: after twice that at the latest,
/// within 2 s, nothing keeps their file system from being unmounted.
pub const FILE_CACHE_IDLE_TIME: Duration = Duration::from_millis(900);
/// Files up to this size are kept in memory: with [`FILE_CACHE_ENTRIES_MAX`], 8 MiB for a handler on a
/// worker at most.
pub const FILE_CONTENT_BYTES_MAX: usize = 16 * 1024;
/// Names of one directory that are read for a listing, which says so where there are more.
pub const DIRECTORY_ENTRIES_MAX: usize = 10_000;
/// Bytes of listings that one worker keeps for those who ask within the same second. One of ten thousand
/// short names has about 2 MiB.
pub const LISTINGS_BYTES_MAX: usize = 8 * 1024 * 1024;

// ---- http ------------------------------------------------------------------------------------

/// Bytes of a request head that a server accepts.
pub const REQUEST_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a response head that a client accepts.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 256 * 1024;
/// Most bytes of a head that can be set: positions in it are 32 bits wide, and nobody sends more.
pub const HEAD_BYTES_SETTABLE_MAX: usize = 16 * 1024 * 1024;
/// Bytes of a request target; longer ones are answered 414.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a method: what a request line may be longer than its target.
pub const METHOD_BYTES_MAX: usize = 64;
/// Fields of a request head, and of a trailer section.
pub const HEADER_COUNT_MAX: usize = 128;
/// Fields of a response head that a client accepts: pages of large sites set hundreds of cookies and
/// links, and what they take is bounded by the bytes of the head.
pub const RESPONSE_HEADER_COUNT_MAX: usize = 1_000;
/// Most fields of a response head that can be set: each takes 32 bytes while it is parsed.
pub const RESPONSE_HEADER_COUNT_SETTABLE_MAX: usize = 16_384;
/// Bytes of one chunk-size line with its extensions (RFC 9112 §7.1.1).
pub const CHUNK_LINE_BYTES_MAX: usize = 4 * 1024;
/// Names and values of a query or a form: net/http's bound, far above what forms have.
pub const QUERY_PAIRS_MAX: usize = 10_000;
/// Cookies of one request: net/http's bound, far above what browsers keep for a host.
pub const COOKIES_MAX: usize = 3_000;
/// Bytes of the domain of a cookie: of any host name (RFC 1035 §2.3.4).
pub const COOKIE_DOMAIN_BYTES_MAX: usize = 253;
/// Bytes of the name and the value of a cookie that a client keeps, together (RFC 6265bis §5.6).
pub const COOKIE_BYTES_MAX: usize = 4_096;
/// Bytes of one attribute of a cookie that a client keeps (RFC 6265bis §5.6); longer ones are ignored.
pub const COOKIE_ATTRIBUTE_BYTES_MAX: usize = 1_024;
/// Parameters of a value such as `Content-Type`, each of which is compared with all others: far more
/// than any has.
pub const FIELD_PARAMETERS_MAX: usize = 32;

/// Parts of a multipart form: net/http's bound.
pub const MULTIPART_PARTS_MAX: usize = 1_000;
/// Header fields of all parts of a multipart form: net/http's bound.
pub const MULTIPART_HEADERS_MAX: usize = 10_000;
/// Bytes of the head of one part: a name, a file name, a type, and room.
pub const MULTIPART_HEAD_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a boundary (RFC 2046 §5.1.1).
pub const MULTIPART_BOUNDARY_BYTES_MAX: usize = 70;
/// Blanks behind a delimiter, which no sender in use writes.
pub const MULTIPART_PADDING_BYTES_MAX: usize = 64;
/// Bytes of a form that is collected: more than photographs, less than films.
pub const FORM_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes that the fields of a collected form take, with the names of its files.
pub const FORM_FIELDS_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of files of a collected form that stay in memory; net/http keeps 32 MiB, per request.
pub const FORM_MEMORY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of an upload that are written to its temporary file at once: each write wakes a thread.
pub const FORM_WRITE_BYTES: usize = 64 * 1024;
/// Parts of at least so many bytes share the buffer that they were received into.
pub const MULTIPART_SHARED_BYTES_MIN: usize = 16 * 1024;
/// Chunk framing beyond what chunks of sensible size need; more is an attack.
pub const CHUNK_OVERHEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a trailer section.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Informational (1xx) responses before the final one.
pub const INFORMATIONAL_COUNT_MAX: usize = 16;
/// Bytes of all informational responses that a server sends to one request.
pub const INFORMATIONAL_BYTES_MAX: usize = 32 * 1024;
/// Bytes that an upgraded connection receives ahead of who reads it.
pub const DUPLEX_AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes written to an upgraded connection that wait for it to take them; then writing waits.
pub const DUPLEX_BEHIND_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a body that `collect`, `text` and their like hold in memory.
pub const BODY_COLLECT_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Bytes of pipelined requests kept behind a running handler.
pub const PIPELINED_BYTES_MAX: usize = 64 * 1024;
/// Pipelined requests answered by one connection in one turn before others get theirs.
pub const REQUESTS_PER_TURN: usize = 64;
/// Heads of dropped messages whose memory is kept for reuse by one core.
pub const FREE_HEADERS_MAX: usize = 1_024;
/// Larger memory of a head is given back to the allocator.
pub const FREE_HEADER_BYTES_MAX: usize = 8 * 1024;
/// Dropped requests, and responses, whose memory is kept for reuse by one core.
pub const FREE_REQUESTS_MAX: usize = 1_024;
/// Channels of received bodies kept for reuse by one core.
pub const FREE_CHANNELS_MAX: usize = 256;
/// Parts of one `Range` field; with more, the whole is sent. Each costs the head of a part, and a
/// read of its own (RFC 9110 §17.15).
pub const RANGES_MAX: usize = 200;
/// Bytes of an unread body that are read and dropped to keep a connection.
pub const DRAIN_BYTES_MAX: usize = 256 * 1024;

// ---- server ----------------------------------------------------------------------------------

/// From accept (or the first byte of a further request) to the end of the head.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two requests of a connection.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Between two signs of progress of a body that is received.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two signs of progress of what is sent.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The same for files: a player that is paused reads nothing, and goes on a few minutes later.
pub const FILE_WRITE_TIMEOUT: Duration = Duration::from_secs(180);
/// Least rate of a request's body that is waited for. Slower than any modem, and what makes one
/// byte per time-out an attack that ends (the default of Kestrel too).
pub const BODY_BYTES_PER_SECOND_MIN: u32 = 240;
/// Least rate at which a response is read, where sending waits for the peer.
pub const WRITE_BYTES_PER_SECOND_MIN: u32 = 240;
/// How much younger or older than set a connection may get, so that those that began together do
/// not end together.
pub const CONNECTION_AGE_JITTER_PERCENT: u32 = 10;
/// How long a connection over a limit may take to ask, before it is closed without an answer.
pub const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Connections of one worker that may wait for their refusal; further ones are closed as they come.
pub const REFUSALS_MAX: usize = 256;
/// Locks over which the counts of addresses are spread: accepts of different workers rarely meet.
pub const ADDRESS_SHARDS: usize = 64;
/// Bytes of a PROXY header: addresses take up to 232, the rest is for values that are skipped.
pub const PROXY_HEADER_BYTES_MAX: usize = 4_096;
/// How long a shutdown waits for requests that run.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a shutdown waits for the request of a connection that was just accepted, and for the rest
/// of a head of which a part arrived: longer than what was under way takes.
pub const SHUTDOWN_NEW_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a shutdown looks whether all connections have ended.
pub const SHUTDOWN_POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Lines of one worker that may wait for the writer of the access log; further ones are counted and
/// dropped.
pub const ACCESS_LOG_QUEUE_MAX: usize = 8_192;
/// How long the end of a server waits for the writer of its access log.
pub const ACCESS_LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause before a write of the access log that failed is tried again; doubled each time. Short: a
/// pipe that does not block has room again when its reader runs.
pub const ACCESS_LOG_PAUSE_MIN: Duration = Duration::from_millis(1);
/// The longest such pause: a full disk or a reader that is gone costs a system call a second.
pub const ACCESS_LOG_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often the access log tells standard error of its troubles at most.
pub const ACCESS_LOG_TELL_INTERVAL: Duration = Duration::from_secs(60);
/// Bytes of a request target in the access log; the rest is cut.
pub const ACCESS_LOG_TARGET_BYTES_MAX: usize = 2 * 1024;
/// After how much silence an event stream sends a comment, so that proxies do not take it for dead:
/// about what the standard advises (WHATWG HTML §9.2.7), below the 30 s of the impatient ones.
pub const EVENT_KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Wildcards of one route pattern, and with it the parameters that a request may have: nobody reads
/// more of them in one path.
pub const ROUTE_PARAMS_MAX: usize = 16;

/// Workers that share a thread of the tokio runtime that a server makes (feature `tokio`): that thread
/// only passes on what sockets and timers tell.
pub const WORKERS_PER_TOKIO_THREAD: usize = 4;
/// How long the end of a server waits for the blocking work of that runtime: some is a transaction
/// that should be finished, some never ends.
pub const TOKIO_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

// ---- client ----------------------------------------------------------------------------------

/// To connect, over all addresses of a name.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the addresses of a name count. getaddrinfo(3) tells no TTL; names that move have 60 s or
/// so, and what the system's own resolver remembers comes on top.
pub const DNS_CACHE_AGE: Duration = Duration::from_secs(30);
/// Names whose addresses a client remembers.
pub const DNS_CACHE_ENTRIES_MAX: usize = 1_024;
/// Addresses of one name that are remembered: with [`DNS_CACHE_ENTRIES_MAX`] names, 8 MiB.
pub const DNS_ADDRESSES_MAX: usize = 256;
/// How long one dial waits for the look-up of another before it begins its own: that may stand on a
/// core that nobody turns. As long as the system's resolver waits for one server (resolv.conf(5)).
pub const LOOKUP_PATIENCE: Duration = Duration::from_secs(5);
/// Time of one look-up by a custom resolver. Who waits has begun another long before; this one ends.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
/// How long dials wait for a look-up of the system's resolver, from when it has a thread, before they
/// begin another: what three servers take by default, each asked twice for 5 s (resolv.conf(5)). No
/// core has to be turned for it, and a name that hangs must not take one thread after the other.
pub const SYSTEM_LOOKUP_PATIENCE: Duration = Duration::from_secs(30);
/// From the end of the request to the end of the response head.
pub const RESPONSE_HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the body of a request with `Expect: 100-continue` waits for the answer to that; then it is
/// sent, as servers that know nothing of it want (RFC 9110 §10.1.1). The default of net/http and curl.
pub const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle connections per host and worker.
pub const POOL_IDLE_PER_HOST_MAX: usize = 32;
/// Idle connections per worker.
pub const POOL_IDLE_MAX: usize = 256;
/// How long a request waits for a connection of a host that has all it may have. As long as a response
/// head: who has it reads one.
pub const POOL_TIMEOUT: Duration = Duration::from_secs(60);
/// Requests of one worker that may wait for connections: more than a core has in flight, and a sign of
/// a server that does not answer.
pub const POOL_WAITING_MAX: usize = 65_536;
/// How long a connection may rest beyond a cap. Of many requests that run side by side, each gives
/// its connection back and takes one again a moment later; closing what is over the cap in between
/// would dial without end.
pub const POOL_OVER_CAP_TIME: Duration = Duration::from_millis(100);
/// Bytes of the name of a network interface: IFNAMSIZ, less the zero behind it.
pub const INTERFACE_NAME_BYTES_MAX: usize = 15;
/// How much earlier than the server a connection of the pool goes whose server says how long it keeps
/// one (`Keep-Alive: timeout=5`), or half of that time if it is less: the server's clock began when it
/// sent, and a request on its way when that time ends meets a connection that is closed.
pub const POOL_KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);
/// How long a connection of the pool may rest; below the 60 to 120 s after which servers and
/// address translators forget it.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(90);
/// Bytes of a response body beyond which it is received into large buffers of its own.
pub const LARGE_BODY_BYTES: u64 = 64 * 1024;
/// Bytes of a response body that wait for their reader before receiving pauses.
pub const RESPONSE_AHEAD_BYTES_MAX: usize = 256 * 1024;
/// Shared memory of one core from which short response bodies are cut.
pub const RESPONSE_COPY_BYTES: usize = 16 * 1024;
/// Bytes that a request body takes from its reader at once: as much as leaves in a few sends.
pub const READER_CHUNK_BYTES: usize = 64 * 1024;
/// Exchanges kept for reuse by one core.
pub const FREE_EXCHANGES_MAX: usize = 1_024;
/// Requests of one spawned client whose exchange has not ended. More than a process has ports for
/// one server (28,232), so that who meets it has lost control; at about 2 KiB each, 64 MiB.
pub const SPAWNED_REQUESTS_MAX: usize = 32_768;
/// Bytes of a body that wait between the thread of a spawned client and another thread; as many
/// more may have been taken over and not read.
pub const SPAWNED_BODY_BYTES_MAX: usize = 256 * 1024;
/// How long the rest of a dropped response body may take to arrive for the connection to be kept.
pub const RESPONSE_DRAIN_TIMEOUT: Duration = Duration::from_millis(50);
/// Decoded bytes that one body makes of one received byte, beyond [`DECOMPRESSED_FREE_BYTES`]. Text
/// stays below 30, tables of zeros reach the 1,032 of deflate and far more in br and zstd; 200 is
/// where mod_deflate of Apache httpd draws the line.
pub const DECOMPRESSION_RATIO_MAX: u32 = 200;
/// Decoded bytes of one body whose ratio is not looked at: a small bomb is harmless, and small bodies
/// of few bytes repeated are common.
pub const DECOMPRESSED_FREE_BYTES: u64 = 16 * 1024 * 1024;
/// Most decoded bytes of one chunk; nothing is decoded ahead of its reader.
pub const DECODED_CHUNK_BYTES_MAX: usize = 32 * 1024;
/// Memory for the decoded bytes of a small body.
pub const DECODED_CHUNK_BYTES_MIN: usize = 4 * 1024;
/// The base-2 logarithm of the largest window of the content coding zstd: 8 MiB (RFC 9659 §3).
pub const ZSTD_WINDOW_BITS_MAX: u32 = 23;
/// Cookies of one site that a jar keeps: those of a registrable domain with all hosts below it, as many
/// as browsers keep.
pub const JAR_COOKIES_PER_SITE_MAX: usize = 180;
/// Cookies that a jar keeps: as many as RFC 6265bis §6.1 wants at least.
pub const JAR_COOKIES_MAX: usize = 3_000;
/// How long a jar keeps a cookie, whatever the server wants (RFC 6265bis §5.6.1).
pub const COOKIE_AGE_MAX: Duration = Duration::from_secs(400 * 24 * 60 * 60);
/// Bytes of a file of cookies: what a full jar of the longest cookies writes, and room for comments.
pub const JAR_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Lines of a file of cookies that are named as no cookies; the others are counted. Enough to see what
/// is wrong with the file, and of a file that is something else altogether no more.
pub const JAR_SKIPPED_LINES_MAX: usize = 100;
/// Attempts of one request under a retry policy, with the first.
pub const RETRY_ATTEMPTS_MAX: u32 = 3;
/// The longest wait before the second attempt; doubled before each further one.
pub const RETRY_DELAY_FIRST: Duration = Duration::from_millis(100);
/// The longest wait before any attempt.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);
/// The longest `Retry-After` that is waited for: longer than that, the caller knows better.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Retries per hundred requests (the default of Finagle).
pub const RETRY_BUDGET_PERCENT: u32 = 20;
/// Retries per second beside that, for clients that send little.
pub const RETRY_BUDGET_PER_SECOND: u32 = 1;
/// Retries that may be saved up: a long calm must not become a storm.
pub const RETRY_BUDGET_SAVED_MAX: u32 = 100;
/// Bytes of a URL in the log of a client; the rest is cut.
pub const LOG_URL_BYTES_MAX: usize = 2 * 1024;
/// Redirects followed before giving up: ten requests altogether, as in net/http.
pub const REDIRECTS_MAX: usize = 9;
/// Bytes of the body of a redirect that the next request waits for, to have the same connection; net/http
/// reads as many.
pub const REDIRECT_BODY_BYTES_MAX: u64 = 2 * 1024;
/// For a proxy to make a tunnel: it connects to the origin meanwhile (net/http's cap).
pub const PROXY_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one receive while a proxy makes a tunnel: its answers are a few lines.
pub const PROXY_RECV_BYTES: usize = 2 * 1024;
/// Bytes of a name or a password of SOCKS5, whose length is one byte (RFC 1928 §4, RFC 1929 §2).
pub const SOCKS_FIELD_BYTES_MAX: usize = 255;
/// Addresses of a name that a SOCKS5 proxy is asked for in turn, each by a new connection.
pub const SOCKS_ADDRESSES_MAX: usize = 4;

const _: () = assert!(REQUEST_HEAD_BYTES_MAX <= HEAD_BYTES_SETTABLE_MAX);
const _: () = assert!(RESPONSE_HEAD_BYTES_MAX <= HEAD_BYTES_SETTABLE_MAX);
const _: () = assert!(RESPONSE_HEADER_COUNT_MAX <= RESPONSE_HEADER_COUNT_SETTABLE_MAX);
const _: () = assert!(HEAD_BYTES_SETTABLE_MAX <= u32::MAX as usize);
const _: () = assert!(SQ_ENTRIES.is_power_of_two());
const _: () = assert!(CQ_ENTRIES.is_power_of_two());
const _: () = assert!(CQ_ENTRIES_MIN <= CQ_ENTRIES);
const _: () = assert!(RECV_BUFFERS.is_power_of_two());
const _: () = assert!(SMALL_RECV_BUFFERS.is_power_of_two());
const _: () = assert!(CQ_ENTRIES as usize >= 2 * COMPLETIONS_PER_TURN);
const _: () = assert!(WHEEL_SLOTS.is_power_of_two());
const _: () = assert!(OUTPUT_LOW_WATER_BYTES < OUTPUT_HIGH_WATER_BYTES);
const _: () = assert!(COPY_BYTES_MAX < OUTPUT_LOW_WATER_BYTES);
const _: () = assert!(FREE_BUFFER_BYTES_MAX < FILE_READ_BYTES);
const _: () = assert!(FILE_COPY_BYTES_MAX <= FREE_BUFFER_BYTES_MAX);
const _: () = assert!(FILE_BRIDGE_BYTES <= FREE_BUFFER_BYTES_MAX);
const _: () = assert!(TARGET_BYTES_MAX < REQUEST_HEAD_BYTES_MAX);
const _: () = assert!(POOL_IDLE_PER_HOST_MAX <= POOL_IDLE_MAX);
const _: () = assert!(BODY_COLLECT_BYTES_MAX as u64 <= DECOMPRESSED_FREE_BYTES);
const _: () = assert!(DECODED_CHUNK_BYTES_MIN <= DECODED_CHUNK_BYTES_MAX);
const _: () = assert!(
    JAR_FILE_BYTES_MAX as usize
        > JAR_COOKIES_MAX
            * (COOKIE_BYTES_MAX + COOKIE_ATTRIBUTE_BYTES_MAX + COOKIE_DOMAIN_BYTES_MAX + 64)
);
