//! The pages of the program's own code.
//!
//! Linux maps code in large pieces: whole folios of its cache since 6.18, 64 KiB before. A start so maps nearly all of
//! the program, and the kernel takes mapped pages for used ones. Unmapped ones are mapped again when they run.

use std::fs;
use std::ops::Range;
use std::sync::OnceLock;

/// Unmaps the pages of the code. Those in use are mapped again at once.
pub fn unmap() {
    static CODE: OnceLock<Option<Range<usize>>> = OnceLock::new();
    let Some(code) = CODE.get_or_init(find_code) else { return };
    // SAFETY: the range is one mapping of the program's file that is executable and not writable. None of its pages
    // differs from the file, which the kernel reads when a page is used again.
    unsafe {
        libc::madvise(code.start as *mut libc::c_void, code.len(), libc::MADV_DONTNEED);
    }
}

/// Returns the mapping of this function's code. `None` without /proc.
fn find_code() -> Option<Range<usize>> {
    let here = find_code as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines().filter_map(parse_code_mapping).find(|range| range.contains(&here))
}

/// Returns the range of a line of /proc/self/maps, if it is private, executable and not writable.
fn parse_code_mapping(line: &str) -> Option<Range<usize>> {
    let mut words = line.split(' ');
    let (start, end) = words.next()?.split_once('-')?;
    let parse = |address| usize::from_str_radix(address, 16).ok();
    (words.next()? == "r-xp").then_some(parse(start)?..parse(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mappings_of_code_are_found() {
        let line =
            |permissions: &str| format!("55ff00001000-55ff00003000 {permissions} 00001000 fe:00 12 /proxmox-mcp");
        assert_eq!(parse_code_mapping(&line("r-xp")), Some(0x55ff_0000_1000..0x55ff_0000_3000));
        for other in ["r--p", "rw-p", "rwxp", "r-xs"] {
            assert_eq!(parse_code_mapping(&line(other)), None, "{other}");
        }
    }

    #[test]
    fn code_runs_on_after_it_was_unmapped() {
        assert!(find_code().is_some_and(|code| code.contains(&(unmap as *const () as usize))));
        for n in 0..100_u64 {
            unmap();
            assert_eq!((0..=n).sum::<u64>(), n * (n + 1) / 2);
        }
    }
}
