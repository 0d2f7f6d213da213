//! Numbers as a person reads them, and short texts, written without a detour: a table has thousands of them.

/// Appends a short text, in words of eight bytes: for a few bytes it needs no call of musl's `memcpy`, which is made for
/// many.
pub(crate) fn append(out: &mut Vec<u8>, text: &[u8]) {
    if text.len() > 64 {
        return out.extend_from_slice(text);
    }
    let (words, rest) = text.as_chunks::<8>();
    words.iter().for_each(|word| out.extend_from_slice(word));
    rest.iter().for_each(|byte| out.push(*byte));
}

/// What Proxmox gives as a number, or as a string that is one. Most are whole, and those that a float has exactly need not
/// be read as one.
pub(crate) fn parse_number(text: &[u8]) -> Option<f64> {
    let digit = |byte: &u8| byte.wrapping_sub(b'0');
    if matches!(text.len(), 1..16) && text.iter().all(|byte| digit(byte) < 10) {
        return Some(text.iter().fold(0, |all, byte| all * 10 + u64::from(digit(byte))) as f64);
    }
    str::from_utf8(text).ok()?.parse().ok().filter(|n: &f64| n.is_finite())
}

/// Bytes in the largest binary unit that leaves a whole part: `1.5GiB`, `512MiB`, `0`.
pub(crate) fn push_byte_size(text: &mut String, number: f64) {
    edit_as_bytes(text, |out| write_byte_size(out, number));
}

/// The same, added to bytes.
pub(crate) fn write_byte_size(out: &mut Vec<u8>, bytes: f64) {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    // Whole numbers all the way: printing a float takes a thousand steps.
    append(out, if bytes <= -1.0 { b"-" } else { b"" });
    let bytes = bytes.abs() as u64;
    if bytes == 0 {
        return out.push(b'0');
    }
    let unit = bytes.ilog2() / 10;
    // Two decimals at most, and none that say nothing.
    let hundredths = (u128::from(bytes) * 100 + (1 << (10 * unit) >> 1)) >> (10 * unit);
    push_number(out, (hundredths / 100) as u64);
    match (hundredths % 100) as u8 {
        0 => {}
        n if n % 10 == 0 => append(out, &[b'.', b'0' + n / 10]),
        n => append(out, &[b'.', b'0' + n / 10, b'0' + n % 10]),
    }
    append(out, UNITS.get(unit as usize).copied().unwrap_or_default().as_bytes());
}

/// Lets a text be added to as bytes.
fn edit_as_bytes(text: &mut String, add: impl FnOnce(&mut Vec<u8>)) {
    let mut out = std::mem::take(text).into_bytes();
    add(&mut out);
    *text = String::from_utf8(out).unwrap_or_default();
}

/// A fraction of 1 as a percentage with one decimal: `12.3%`.
pub(crate) fn push_percent(out: &mut Vec<u8>, fraction: f64) {
    append(out, if fraction < 0.0 { b"-" } else { b"" });
    let tenths = (fraction.abs() * 1_000.0 + 0.5) as u64;
    push_number(out, tenths / 10);
    append(out, &[b'.', b'0' + (tenths % 10) as u8, b'%']);
}

/// A whole number.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start -= 1;
        if number == 0 {
            break;
        }
    }
    append(out, digits.get(start..).unwrap_or_default());
}

/// The two largest units of a duration in seconds: `12d3h`, `3h5m`, `40s`.
pub(crate) fn push_duration(text: &mut String, seconds: u64) {
    edit_as_bytes(text, |out| write_duration(out, seconds));
}

/// The same, added to bytes.
pub(crate) fn write_duration(out: &mut Vec<u8>, seconds: u64) {
    let (d, h, m) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let parts = match (d, h, m) {
        (0, 0, 0) => [(seconds, b's'), (0, b' ')],
        (0, 0, _) => [(m, b'm'), (0, b' ')],
        (0, ..) => [(h, b'h'), (m, b'm')],
        _ => [(d, b'd'), (h, b'h')],
    };
    for (n, unit) in parts.into_iter().filter(|(_, unit)| *unit != b' ') {
        push_number(out, n);
        out.push(unit);
    }
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
        assert_eq!([bytes(0.0), bytes(1023.0), bytes(536870912.0), bytes(1.5e15)], ["0", "1023B", "512MiB", "1.33PiB"]);
        let duration = |n| {
            let mut s = String::new();
            push_duration(&mut s, n);
            s
        };
        assert_eq!([duration(59), duration(60), duration(3_661), duration(90_000)], ["59s", "1m", "1h1m", "1d1h"]);
    }

    #[test]
    fn a_number_is_what_a_float_would_be() {
        for text in ["0", "7", "-5", "1e3", "+1", "0.25", "999999999999999", "9999999999999999", "18446744073709551616"]
        {
            assert_eq!(parse_number(text.as_bytes()), text.parse().ok(), "{text}");
        }
        for text in ["", "0x1", "inf", "NaN", "1 ", "é"] {
            assert_eq!(parse_number(text.as_bytes()), None, "{text}");
        }
    }
}
