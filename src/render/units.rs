//! Numbers in a form for readers, written without intermediate texts, because a table has thousands of them.
//!
//! Functions named `append_…` write bytes into a table. Functions named `push_…` add to a text.

use crate::base::word_scan::append;

/// Parses a finite number. Proxmox writes numbers as JSON numbers or as strings.
pub(crate) fn parse_number(text: &[u8]) -> Option<f64> {
    // Most numbers are whole and short enough to be exact in a float.
    if matches!(text.len(), 1..16) && text.iter().all(u8::is_ascii_digit) {
        return Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')) as f64);
    }
    str::from_utf8(text).ok()?.parse().ok().filter(|n: &f64| n.is_finite())
}

/// Appends bytes in the largest binary unit that leaves a whole part: `1.5GiB`, `512MiB`, `0`. A size with at most two
/// decimals is exact, any other one has three digits: `128.5GiB`, `129GiB`, `12.9GiB`.
pub(crate) fn append_byte_size(out: &mut Vec<u8>, bytes: f64) {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // Integers only, as formatting a float is many times slower.
    if bytes <= -1.0 {
        out.push(b'-');
    }
    // No number of a node is as large. The limit leaves room for the hundredths.
    let bytes = bytes.abs().min(1e30) as u128;
    if bytes == 0 {
        return out.push(b'0');
    }
    let unit = (bytes.ilog2() / 10).min(UNITS.len() as u32 - 1);
    // Rounds to at most two decimals, without trailing zeros.
    let step = match bytes >> (10 * unit) {
        _ if (bytes * 100).trailing_zeros() >= 10 * unit => 1,
        100.. => 100,
        10.. => 10,
        _ => 1,
    };
    let half = (step << (10 * unit)) >> 1;
    let hundredths = (((bytes * 100 + half) / step) >> (10 * unit)) as u64 * step as u64;
    append_number(out, hundredths / 100);
    match (hundredths % 100) as u8 {
        0 => {}
        n if n % 10 == 0 => append(out, &[b'.', b'0' + n / 10]),
        n => append(out, &[b'.', b'0' + n / 10, b'0' + n % 10]),
    }
    append(out, UNITS[unit as usize].as_bytes());
}

/// Appends a fraction of 1 as a percentage with one decimal: `12.3%`.
pub(crate) fn append_percent(out: &mut Vec<u8>, fraction: f64) {
    if fraction < 0.0 {
        out.push(b'-');
    }
    let tenths = (fraction.abs() * 1_000.0 + 0.5) as u64;
    append_number(out, tenths / 10);
    append(out, &[b'.', b'0' + (tenths % 10) as u8, b'%']);
}

/// Appends a whole number.
#[inline]
pub(crate) fn append_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return append(out, &digits[start..]);
        }
    }
}

/// Appends the two largest units of a duration in seconds: `12d3h`, `3h5m`, `40s`.
pub(crate) fn append_duration(out: &mut Vec<u8>, seconds: u64) {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let (first, second) = match (days, hours, minutes) {
        (0, 0, 0) => ((seconds, b's'), None),
        (0, 0, _) => ((minutes, b'm'), None),
        (0, ..) => ((hours, b'h'), Some((minutes, b'm'))),
        _ => ((days, b'd'), Some((hours, b'h'))),
    };
    for (number, unit) in std::iter::once(first).chain(second) {
        append_number(out, number);
        out.push(unit);
    }
}

/// Pushes bytes as [`append_byte_size`] writes them.
pub(crate) fn push_byte_size(text: &mut String, bytes: f64) {
    push_appended(text, |out| append_byte_size(out, bytes));
}

/// Pushes a duration as [`append_duration`] writes it.
pub(crate) fn push_duration(text: &mut String, seconds: u64) {
    push_appended(text, |out| append_duration(out, seconds));
}

fn push_appended(text: &mut String, append: impl FnOnce(&mut Vec<u8>)) {
    let mut out = Vec::with_capacity(16);
    append(&mut out);
    text.push_str(str::from_utf8(&out).expect("digits and units are ASCII"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let bytes = |n| {
            let mut s = String::new();
            push_byte_size(&mut s, n);
            s
        };
        assert_eq!([bytes(1e21), bytes(-1e300).chars().take(3).collect()], ["867EiB", "-86"]);
        let mib = |n: f64| bytes(n * 1_048_576.0);
        assert_eq!([mib(9.876), mib(98.76), mib(987.6), mib(99.96)], ["9.88MiB", "98.8MiB", "988MiB", "100MiB"]);
        assert_eq!([mib(987.5), mib(98.25), mib(0.9997)], ["987.5MiB", "98.25MiB", "1024KiB"]);
        assert_eq!([bytes(0.0), bytes(1023.0), bytes(536870912.0), bytes(1.5e15)], ["0", "1023B", "512MiB", "1.33PiB"]);
        let duration = |n| {
            let mut s = String::new();
            push_duration(&mut s, n);
            s
        };
        assert_eq!([duration(59), duration(60), duration(3_661), duration(90_000)], ["59s", "1m", "1h1m", "1d1h"]);
    }

    #[test]
    fn numbers_parse_like_floats() {
        for text in ["0", "7", "-5", "1e3", "+1", "0.25", "999999999999999", "9999999999999999", "18446744073709551616"]
        {
            assert_eq!(parse_number(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["", "0x1", "inf", "NaN", "1 ", "é"] {
            assert_eq!(parse_number(text.as_bytes()), None, "{text}");
        }
    }
}
