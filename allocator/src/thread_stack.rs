//! The stack of the current thread.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ptr;

/// Returns the pages of the stack that earlier calls used to the system. They are zero when they are used again.
#[inline(never)]
pub fn release_unused_pages() {
    let Some(low) = find_low_end() else { return };
    // SAFETY: the function has no requirements.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as usize;
    let here = 0_u8;
    // The page below this one has the frame of the call that follows, and the red zone of the ABI below it.
    let high = (black_box(&raw const here).addr() / page).saturating_sub(1) * page;
    let Some(length) = high.checked_sub(low.addr()) else { return };
    // SAFETY: the range is a part of this thread's stack, below every frame that exists, so no value is in it. The
    // kernel rejects an address that is not at the start of a page.
    unsafe { libc::madvise(low.cast(), length, libc::MADV_DONTNEED) };
}

/// Returns the lowest address of the stack, or `None` if the system does not tell it.
fn find_low_end() -> Option<*mut u8> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: the function initializes the attributes of this thread, or returns an error.
    if unsafe { libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut low, mut size) = (ptr::null_mut(), 0);
    // SAFETY: the attributes are initialized, and destroyed once. Both results have the types that the function writes.
    let error = unsafe {
        let error = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        error
    };
    (error == 0).then_some(low.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses some kilobytes of the stack for each level.
    fn fill(level: usize) -> usize {
        let bytes = black_box([level as u8; 4_000]);
        let sum = bytes.iter().map(|byte| usize::from(*byte)).sum();
        if level == 0 { sum } else { sum + fill(level - 1) }
    }

    #[test]
    fn frames_keep_their_values() {
        let run = || {
            let kept: [usize; 1_000] = std::array::from_fn(|n| n * 7);
            let sum = fill(30);
            for _ in 0..3 {
                release_unused_pages();
                assert_eq!(fill(30), sum);
                assert!(black_box(&kept).iter().enumerate().all(|(n, value)| *value == n * 7));
            }
        };
        run();
        std::thread::spawn(run).join().expect("no panic");
    }

    #[test]
    fn pages_of_earlier_calls_are_returned() {
        let run = || {
            // SAFETY: the function has no requirements.
            let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
            let low = find_low_end().expect("a stack").addr().next_multiple_of(page);
            let here = 0_u8;
            let pages = (black_box(&raw const here).addr() - low) / page;
            let count_resident = || {
                let mut resident = vec![0_u8; pages];
                let start = ptr::without_provenance_mut(low);
                // SAFETY: the vector has a byte for each page of the range.
                assert_eq!(unsafe { libc::mincore(start, pages * page, resident.as_mut_ptr().cast()) }, 0);
                resident.iter().filter(|flags| **flags & 1 == 1).count()
            };
            fill(60);
            let before = count_resident();
            release_unused_pages();
            (before, count_resident())
        };
        let (before, after) = std::thread::spawn(run).join().expect("no panic");
        assert!(before > 2 * after, "{before} pages, then {after}");
    }
}
