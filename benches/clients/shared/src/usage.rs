//! What this process has used so far.

use crate::allocator;

pub struct Usage {
    pub user_seconds: f64,
    pub system_seconds: f64,
    pub allocations: u64,
    pub allocated_bytes: u64,
}

impl Usage {
    /// All threads of this process; the sum of the two times is exact, their split is not.
    pub fn now() -> Usage {
        // SAFETY: a zeroed rusage is valid, and the kernel fills it.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        let (allocations, allocated_bytes) = allocator::counted();
        Usage {
            user_seconds: seconds(usage.ru_utime),
            system_seconds: seconds(usage.ru_stime),
            allocations,
            allocated_bytes,
        }
    }
}
