//! Where the memory of `proxmox-mcp` comes from: small pieces from dlmalloc, large ones from the system.
//!
//! The allocator of musl maps and unmaps nearly every piece of more than some kilobytes: fifty system calls for a list
//! of fifty guests, each of which holds up all threads. dlmalloc keeps such pieces for the next call; but what it once
//! had for answers of megabytes it would keep as well, in between pieces that are in use. Those are the system's, which
//! maps each by itself, lets it grow in place and has it back when it is freed. So neither speed nor memory depends on
//! what was asked before.
//!
//! Nothing is done here but to choose one of the two by the size, which both of a piece's ends know.

use dlmalloc::GlobalDlmalloc;
use std::alloc::{GlobalAlloc, Layout, System};

/// From this size on a piece is the system's.
const LARGE_BYTES: usize = 64 << 10;

static SMALL_ALLOCATOR: GlobalDlmalloc = GlobalDlmalloc;

/// The global allocator.
pub struct Allocator;

fn select_allocator(size: usize) -> &'static dyn GlobalAlloc {
    if size < LARGE_BYTES { &SMALL_ALLOCATOR } else { &System }
}

// SAFETY: each piece is made, changed and freed by the same one of two allocators, which both keep the contract: the
// choice is made of the layout's size alone, and whoever frees a piece gives the layout it was made with. One that
// crosses the bound becomes a new piece of the other allocator with the bytes of the old one.
//
// Not inlined: thousands of places allocate.
unsafe impl GlobalAlloc for Allocator {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on; here and below.
        unsafe { select_allocator(layout.size()).alloc(layout) }
    }

    #[inline(never)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { select_allocator(layout.size()).alloc_zeroed(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as above; the size is that of the piece.
        unsafe { select_allocator(layout.size()).dealloc(ptr, layout) }
    }

    #[inline(never)]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if (layout.size() < LARGE_BYTES) == (size < LARGE_BYTES) {
            // SAFETY: as above; both sizes are of the same allocator.
            return unsafe { select_allocator(size).realloc(ptr, layout, size) };
        }
        // SAFETY: the caller's promise covers the new size with the old alignment.
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !moved.is_null() {
            // SAFETY: both pieces have as many bytes as the smaller one, and the new one is none of the old one's.
            unsafe {
                std::ptr::copy_nonoverlapping(ptr, moved, layout.size().min(size));
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
    fn what_grows_and_shrinks_over_the_bound_keeps_its_bytes() {
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
    fn threads_free_what_others_made() {
        let made: Vec<Vec<u8>> = (0..64).map(|n| vec![n as u8; n * 4_000]).collect();
        let threads: Vec<_> = made.into_iter().map(|bytes| std::thread::spawn(move || bytes.len())).collect();
        let sum: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
        assert_eq!(sum, 63 * 64 / 2 * 4_000);
        assert!(vec![0_u8; 2 * LARGE_BYTES].iter().all(|byte| *byte == 0));
    }
}
