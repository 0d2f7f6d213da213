//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write};

/// Label of values that have no name of their own.
pub const OTHER_LABEL: &str = "other";

/// Writes the HELP and TYPE lines of a metric. `kind` is `counter`, `gauge` or `histogram`.
pub fn write_header(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Writes one sample.
pub fn write_sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    out.push_str(name);
    for (number, (key, text)) in labels.iter().enumerate() {
        out.push(if number == 0 { '{' } else { ',' });
        write_label(out, key, text);
    }
    if !labels.is_empty() {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

/// Writes a gauge with one sample.
pub fn write_gauge(out: &mut String, name: &str, help: &str, value: u64) {
    write_header(out, name, "gauge", help);
    write_sample(out, name, &[], value);
}

/// Writes `key="text"` with special characters escaped.
pub fn write_label(out: &mut String, key: &str, text: &str) {
    out.push_str(key);
    out.push_str("=\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Formats microseconds as seconds without trailing zeros.
pub(super) fn format_seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds() {
        for (micros, text) in [(0, "0"), (1, "0.000001"), (2_500_000, "2.5"), (60_000_000, "60"), (10, "0.00001")] {
            assert_eq!(format_seconds(micros), text);
        }
    }

    #[test]
    fn a_label_ends_where_it_ends() {
        let mut out = String::new();
        write_sample(&mut out, "x", &[("a", "q\"\\\n"), ("b", "é")], 1);
        assert_eq!(out, "x{a=\"q\\\"\\\\\\n\",b=\"é\"} 1\n");
    }
}
