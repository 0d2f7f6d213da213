//! The memory of `proxmox-mcp`: its allocator on musl, and the return of unused memory to the system.

#[cfg(target_os = "linux")]
mod program_code;
#[cfg(target_env = "musl")]
mod split_allocator;
#[cfg(target_os = "linux")]
mod thread_stack;

#[cfg(target_env = "musl")]
pub use split_allocator::Allocator;

/// Size from which each block is the system's own, and is returned to it when it is freed.
#[cfg(any(target_env = "musl", all(target_os = "linux", target_env = "gnu")))]
const LARGE_BYTES: usize = 64 << 10;

/// Configures the allocator. Call it before other threads start.
pub fn configure() {
    // glibc raises both limits with each large block that is freed, and then keeps the blocks of every thread.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: no other thread allocates yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES as libc::c_int);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * LARGE_BYTES as libc::c_int);
    }
}

/// Returns the memory that the current thread keeps for later: the blocks that the allocator caches for it, whose cache
/// ends, and the unused pages of its stack. For a thread that will wait for a long time.
pub fn release_thread_memory() {
    #[cfg(target_env = "musl")]
    split_allocator::end_thread_cache();
    #[cfg(target_os = "linux")]
    thread_stack::release_unused_pages();
}

/// Returns unused memory to the system. After a burst of calls, an allocator keeps it for later calls that may never
/// come. Code that ran once, such as that of the start, stays mapped.
pub fn release_unused_memory() {
    #[cfg(target_env = "musl")]
    split_allocator::release_unused_pages();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: the function may be called by any thread at any time.
    unsafe {
        libc::malloc_trim(0);
    }
    #[cfg(target_os = "linux")]
    program_code::unmap();
}
