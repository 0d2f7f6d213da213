//! Sizes and times as Proxmox writes them.

use jiff::Timestamp;

/// Bytes of a MiB.
pub(crate) const MIB: u64 = 1 << 20;
/// Bytes of a GiB.
pub(crate) const GIB: u64 = 1 << 30;
/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// Parses a size such as `32G` into bytes. A bare number is bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[number.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => MIB,
        "G" => GIB,
        "T" => 1 << 40,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * unit as f64;
    (0.0..1e18).contains(&bytes).then_some(bytes as u64)
}

/// Formats bytes as the size of a disk option: `32G`.
pub(crate) fn format_size(bytes: u64) -> String {
    match bytes {
        b if b >= GIB && b % GIB == 0 => format!("{}G", b / GIB),
        b if b % MIB == 0 => format!("{}M", b / MIB),
        b => format!("{}K", b >> 10),
    }
}

/// Formats bytes in GiB with one decimal: `12.3 GiB`.
pub(crate) fn format_gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

/// Formats seconds since 1970 as `2026-11-22 02:00:01`, in UTC, the time zone of the nodes.
pub(crate) fn format_time(seconds: i64) -> String {
    format_timestamp(seconds, "%Y-%m-%d %H:%M:%S")
}

/// Formats seconds since 1970 as in the name of a backup: `2026_11_22-02_00_01`.
pub(crate) fn format_archive_time(seconds: i64) -> String {
    format_timestamp(seconds, "%Y_%m_%d-%H_%M_%S")
}

/// Formats seconds since 1970 as an IMF-fixdate (RFC 9110, 5.6.7).
pub(crate) fn format_http_date(seconds: i64) -> String {
    format_timestamp(seconds, "%a, %d %b %Y %H:%M:%S GMT")
}

fn format_timestamp(seconds: i64, format: &str) -> String {
    Timestamp::from_second(seconds).expect("a time between the years -9999 and 9999").strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::{format_archive_time, format_http_date, format_size, format_time, parse_size};

    #[test]
    fn sizes_survive_a_round_trip() {
        for text in ["32G", "512M", "4K"] {
            assert_eq!(parse_size(text).map(format_size).as_deref(), Some(text));
        }
        assert_eq!(parse_size("1T").map(format_size).as_deref(), Some("1024G"));
        assert_eq!((parse_size("x"), parse_size("-1G"), parse_size("9e99G")), (None, None, None));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(format_time(1_795_331_296), "2026-11-22 07:08:16");
        assert_eq!(format_archive_time(1_795_331_296), "2026_11_22-07_08_16");
        assert_eq!(format_http_date(1_795_331_296), "Sun, 22 Nov 2026 07:08:16 GMT");
        assert_eq!(format_time(19_782 * 86_400), "2024-02-29 00:00:00");
    }
}
