//! Runs of the targets over their seeds and some thousand mutations of them. The mutations are the same in every run,
//! and enough for most of what a fuzzer finds in its first seconds.

use super::targets::{TARGETS, find_target};
use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

/// The random numbers of xorshift64*, which are the same on every machine.
struct XorShift(u64);

impl XorShift {
    fn pick_below(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize) % below.max(1)
    }

    fn pick_range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let start = self.pick_below(bytes.len() + 1);
        let max_len = 1 << self.pick_below(7);
        start..(start + self.pick_below(max_len)).min(bytes.len())
    }
}

/// Byte sequences that break parsers.
const SPECIAL_BYTES: [&[u8]; 24] = [
    b"\"",
    b"\\",
    b"\r\n",
    b"\n",
    b"\0",
    b"\xff",
    b"\xe2\x80\xae",
    b"%2f",
    b"%00",
    b"..",
    b"/",
    b":",
    b",",
    b"=",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\\u202e",
    b"\\ud800",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b" ",
];

fn mutate(seeds: &[Vec<u8>], random: &mut XorShift) -> Vec<u8> {
    let mut bytes = seeds[random.pick_below(seeds.len())].clone();
    for _ in 0..=random.pick_below(4) {
        let at = random.pick_below(bytes.len() + 1);
        match random.pick_below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.pick_below(8),
            1 if at < bytes.len() => bytes[at] = random.pick_below(256) as u8,
            2 => drop(bytes.drain(random.pick_range(&bytes))),
            3 => {
                let again = bytes[random.pick_range(&bytes)].to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 => {
                let other = &seeds[random.pick_below(seeds.len())];
                let part = other[random.pick_range(other)].to_vec();
                drop(bytes.splice(at..at, part));
            }
            _ => drop(bytes.splice(at..at, SPECIAL_BYTES[random.pick_below(SPECIAL_BYTES.len())].iter().copied())),
        }
    }
    bytes
}

/// Runs a target over its seeds and `mutations` of them. Seeds whose name begins with `valid` must be accepted.
fn run_mutations(name: &str, mutations: usize) {
    let check = find_target(name).check;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut files: Vec<_> = fs::read_dir(folder).expect("seeds").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let mut seeds = Vec::new();
    for file in files {
        let seed = fs::read(&file).expect("a seed");
        let is_valid = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("valid"));
        assert!(check(&seed) || !is_valid, "{} is rejected", file.display());
        seeds.push(seed);
    }
    let mut random = XorShift(0x0123_4567_89ab_cdef);
    let (mut accepted, mut rejected) = (0, 0);
    for _ in 0..mutations {
        let bytes = mutate(&seeds, &mut random);
        match catch_unwind(|| check(&bytes)) {
            Ok(true) => accepted += 1,
            Ok(false) => rejected += 1,
            Err(_) => panic!("{name} fails for \"{}\"", bytes.escape_ascii()),
        }
    }
    let min = mutations / 100;
    assert!(accepted >= min && rejected >= min, "{accepted} accepted, {rejected} rejected");
}

macro_rules! targets {
    ($($name:ident $mutations:literal)*) => {
        $(#[test]
        fn $name() {
            run_mutations(stringify!($name), $mutations);
        })*

        #[test]
        fn every_target_is_run() {
            assert!(TARGETS.iter().map(|target| target.name).eq([$(stringify!($name)),*]));
        }
    };
}

targets! {
    request 12_000
    message 12_000
    path 7_000
    upid 12_000
    apidoc 2_000
    clusters 12_000
    filter 12_000
    view 12_000
    json 20_000
    redact 12_000
    visible 20_000
}
