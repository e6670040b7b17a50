//! Counts what libcurl allocates: it is told which functions to call before anything else is done.

use libc::c_char;
use libc::c_int;
use libc::c_long;
use libc::c_void;
use libc::size_t;

/// `CURL_GLOBAL_ALL`
const EVERYTHING: c_long = 3;

unsafe extern "C" {
    fn curl_global_cleanup();
    fn curl_global_init_mem(
        flags: c_long,
        malloc: extern "C" fn(size_t) -> *mut c_void,
        free: extern "C" fn(*mut c_void),
        realloc: extern "C" fn(*mut c_void, size_t) -> *mut c_void,
        strdup: extern "C" fn(*const c_char) -> *mut c_char,
        calloc: extern "C" fn(size_t, size_t) -> *mut c_void,
    ) -> c_int;
}

/// From here on. The crate `curl` has set libcurl up before `main`: that is undone first.
pub fn count() {
    // SAFETY: the functions are those of the C library, with its contracts; nothing of libcurl is in
    // use, and no other thread runs.
    let done = unsafe {
        curl_global_cleanup();
        curl_global_init_mem(EVERYTHING, malloc, free, realloc, strdup, calloc)
    };
    assert_eq!(done, 0, "curl_global_init_mem");
}

extern "C" fn malloc(bytes: size_t) -> *mut c_void {
    client_shared::count(bytes);
    // SAFETY: any size may be asked for.
    unsafe { libc::malloc(bytes) }
}

extern "C" fn free(memory: *mut c_void) {
    // SAFETY: libcurl gives back what it got from these functions.
    unsafe { libc::free(memory) }
}

extern "C" fn realloc(memory: *mut c_void, bytes: size_t) -> *mut c_void {
    client_shared::count(bytes);
    // SAFETY: as for `free`.
    unsafe { libc::realloc(memory, bytes) }
}

extern "C" fn strdup(text: *const c_char) -> *mut c_char {
    // SAFETY: libcurl passes a string that ends with a zero.
    unsafe {
        client_shared::count(libc::strlen(text) + 1);
        libc::strdup(text)
    }
}

extern "C" fn calloc(items: size_t, bytes: size_t) -> *mut c_void {
    client_shared::count(items * bytes);
    // SAFETY: any size may be asked for.
    unsafe { libc::calloc(items, bytes) }
}
