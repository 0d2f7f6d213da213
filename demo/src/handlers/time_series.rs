//! The times for which `rrddata` has rows.

/// Number of rows of a time series.
const ROWS: u32 = 70;

/// Returns the times of a time series, in seconds since 1970. The last one is now.
pub(crate) fn sample_times(now: f64, timeframe: &str) -> impl Iterator<Item = f64> + use<> {
    let step = match timeframe {
        "hour" => 60.0,
        "day" => 1800.0,
        "week" => 10_800.0,
        "month" => 43_200.0,
        "year" => 604_800.0,
        "decade" => 6_048_000.0,
        other => unreachable!("the routes accept no timeframe '{other}'"),
    };
    let last = (now / step).floor() * step;
    (0..ROWS).rev().map(move |n| last - f64::from(n) * step)
}
