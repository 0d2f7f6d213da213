//! The global allocator: jemalloc serves small blocks, the system's allocator large ones.
//!
//! musl's allocator maps and unmaps nearly every block above some kilobytes. A list of fifty guests takes fifty system
//! calls, and each of them blocks all threads. jemalloc keeps such blocks for the next call. It also keeps the blocks of
//! answers of megabytes for a while, so these are the system's, which unmaps them when they are freed.
//!
//! The size of a block decides. It is known when the block is allocated and when it is freed.

use crate::LARGE_BYTES;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::CStr;
use std::ptr;
use tikv_jemalloc_sys::mallctl;
use tikv_jemallocator::Jemalloc;

static SMALL_ALLOCATOR: Jemalloc = Jemalloc;

/// The options of jemalloc, which reads this symbol when it starts.
///
/// Each thread has a small cache, at most 20 blocks of a size and 8 KiB each. The cache of jemalloc's defaults would cost
/// 80 kB for each of a thousand connections.
// SAFETY: the symbol is jemalloc's, and its type is a pointer to a C string, the first word of this slice.
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static JEMALLOC_OPTIONS: &[u8] = b"narenas:4,tcache_max:8192,tcache_nslots_small_min:8,tcache_nslots_small_max:20,\
    dirty_decay_ms:1000,muzzy_decay_ms:0\0";

/// The control that enables the cache of the current thread.
const THREAD_CACHE: &CStr = c"thread.tcache.enabled";

/// The index that means all arenas, MALLCTL_ARENAS_ALL in jemalloc's header.
const PURGE_ALL_ARENAS: &CStr = c"arena.4096.purge";

/// Frees the cached blocks of the current thread, and ends its cache.
pub fn end_thread_cache() {
    let mut enabled = false;
    let size = size_of::<bool>();
    // SAFETY: the name is a C string. The control reads one bool, and a null pointer means that no value is wanted.
    let error =
        unsafe { mallctl(THREAD_CACHE.as_ptr(), ptr::null_mut(), ptr::null_mut(), (&raw mut enabled).cast(), size) };
    debug_assert_eq!(error, 0, "jemalloc has this control");
}

/// Returns jemalloc's unused pages to the system. jemalloc itself does this only while blocks are allocated and freed.
pub fn release_unused_pages() {
    // SAFETY: the name is a C string. Null pointers mean no value in either direction, as this control wants it.
    let error = unsafe { mallctl(PURGE_ALL_ARENAS.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    debug_assert_eq!(error, 0, "jemalloc has this control");
}

/// The global allocator.
pub struct Allocator;

fn select_allocator(size: usize) -> &'static dyn GlobalAlloc {
    if size < LARGE_BYTES { &SMALL_ALLOCATOR } else { &System }
}

// SAFETY: each block is allocated, resized and freed by the same one of two allocators, which both keep the contract.
// Only the layout's size selects the allocator, and a caller frees a block with the layout of its allocation. A block
// that is resized across the limit becomes a new block of the other allocator, with the bytes of the old one.
//
// Not inlined, since thousands of places allocate.
unsafe impl GlobalAlloc for Allocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this function, which is the same, here and below.
        unsafe { select_allocator(layout.size()).alloc(layout) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { select_allocator(layout.size()).alloc_zeroed(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above. The size is that of the block.
        unsafe { select_allocator(layout.size()).dealloc(ptr, layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if (layout.size() < LARGE_BYTES) == (size < LARGE_BYTES) {
            // SAFETY: as above. Both sizes belong to the same allocator.
            return unsafe { select_allocator(size).realloc(ptr, layout, size) };
        }
        // SAFETY: the caller's contract covers the new size with the old alignment.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both blocks have at least the bytes of the smaller one, and they do not overlap.
            unsafe {
                ptr::copy_nonoverlapping(ptr, moved, layout.size().min(size));
                self.dealloc(ptr, layout);
            }
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator;

    #[test]
    fn a_block_that_crosses_the_limit_keeps_its_bytes() {
        let byte = |n: usize| (n * 31 % 251) as u8;
        let mut bytes = Vec::new();
        for n in 0..3 * LARGE_BYTES {
            bytes.push(byte(n));
        }
        for left in [LARGE_BYTES + 1, LARGE_BYTES, LARGE_BYTES - 1, 100, 0] {
            bytes.truncate(left);
            bytes.shrink_to_fit();
            assert!(bytes.iter().enumerate().all(|(n, found)| *found == byte(n)), "{left}");
        }
    }

    #[test]
    fn a_thread_without_a_cache_keeps_its_blocks() {
        let kept: Vec<Vec<u8>> = (1..100).map(|n| vec![n as u8; n * 40]).collect();
        end_thread_cache();
        let later: Vec<Vec<u8>> = (1..100).map(|n| vec![n as u8; n * 40]).collect();
        assert_eq!(kept, later);
        end_thread_cache();
        drop((kept, later));
    }

    #[test]
    fn a_thread_frees_blocks_of_other_threads() {
        let made: Vec<Vec<u8>> = (0..64).map(|n| vec![n as u8; n * 4_000]).collect();
        let threads: Vec<_> = made.into_iter().map(|bytes| std::thread::spawn(move || bytes.len())).collect();
        let sum: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(sum, 63 * 64 / 2 * 4_000);
        assert!(vec![0_u8; 2 * LARGE_BYTES].iter().all(|byte| *byte == 0));
    }
}
