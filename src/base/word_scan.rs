//! Byte searches and copies in words of eight bytes, for answers of megabytes.
//!
//! A search marks bytes by their high bit. `(x - 1) & !x` marks the lowest zero byte and no byte below it. `(x - n) &
//! !x` does the same for bytes less than `n`. A mark above the lowest one may be wrong, so only the lowest one is read.

const ONES: u64 = 0x0101_0101_0101_0101;

/// Returns a word of eight times `byte`.
pub const fn repeat(byte: u8) -> u64 {
    ONES * byte as u64
}

/// Returns the eight bytes at `at`, the first one lowest, or `None` if fewer are left.
#[inline(always)]
pub fn word_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// Marks the lowest byte that equals `byte`.
#[inline(always)]
pub fn mark_equal(word: u64, byte: u8) -> u64 {
    mark_below(word ^ repeat(byte), 1)
}

/// Marks the lowest byte that is less than `limit`, which is at most 0x80.
#[inline(always)]
pub fn mark_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(repeat(limit)) & !word
}

/// Returns the number of bytes before the lowest mark, 8 if there is no mark.
#[inline(always)]
pub fn count_unmarked(marks: u64) -> usize {
    ((marks & repeat(0x80)).trailing_zeros() / 8) as usize
}

/// Returns the first position from `at` on that `count_clean` stops at, which counts the clean bytes of a word from the
/// lowest. Without one, it is among the last bytes, which fill no whole word.
#[inline(always)]
pub fn skip_clean(bytes: &[u8], mut at: usize, count_clean: impl Fn(u64) -> usize) -> usize {
    while let Some(word) = word_at(bytes, at) {
        let clean = count_clean(word);
        at += clean;
        if clean < 8 {
            break;
        }
    }
    at
}

/// Appends a short text in words of eight bytes. For a few bytes this is faster than a call of musl's `memcpy`.
pub fn append(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() > 64 {
        return out.extend_from_slice(text);
    }
    let (words, rest) = text.as_chunks::<8>();
    words.iter().for_each(|word| out.extend_from_slice(word));
    rest.iter().for_each(|byte| out.push(*byte));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_match_is_found_at_every_place() {
        for place in 0..8 {
            for byte in 0..=u8::MAX {
                let mut bytes = [0xff; 8];
                bytes[place] = byte;
                let word = word_at(&bytes, 0).unwrap();
                let equal = if byte == 0xff { 0 } else { place };
                assert_eq!(count_unmarked(mark_equal(word, byte)), equal, "{byte} at {place}");
                assert_eq!(count_unmarked(mark_below(word, 0x20)), if byte < 0x20 { place } else { 8 });
            }
        }
        assert_eq!(word_at(&[0; 8], 1), None);
    }
}
