//! Calendar events: the schedules of jobs, such as `02:00`, `sun 03:00` or `mon..fri 8..17:0/15`.

use crate::units::DAY;

const MINUTE: i64 = 60;
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Words for events that depend on the date.
const DATED_WORDS: [&str; 5] = ["monthly", "quarterly", "semiannually", "yearly", "annually"];

/// A calendar event, with a bit for each weekday, hour and minute.
pub(crate) struct CalendarEvent {
    weekdays: u64,
    hours: u64,
    minutes: u64,
    /// The next run depends on the date, and is not computed.
    is_dated: bool,
}

impl CalendarEvent {
    /// Parses weekdays, a date and a time, each of which may be missing.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = match text {
            "minutely" => "*:*",
            "hourly" => "*:0",
            "daily" => "0:0",
            "weekly" => "mon 0:0",
            text => text,
        };
        let mut event = Self { weekdays: parse_field("*", 6)?, hours: 1, minutes: 1, is_dated: false };
        text.split_whitespace().next()?;
        for word in text.split_whitespace() {
            if DATED_WORDS.contains(&word) {
                event.is_dated = true;
            } else if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
                event.weekdays = parse_weekdays(word)?;
            } else if word.contains('-') {
                word.split('-').try_for_each(|part| parse_numbers(part, 9999).map(drop))?;
                event.is_dated = true;
            } else {
                let mut parts = word.split(':');
                let (first, second) = (parts.next()?, parts.next());
                (event.hours, event.minutes) = match second {
                    Some(minutes) => (parse_field(first, 23)?, parse_field(minutes, 59)?),
                    None => (parse_field("*", 23)?, parse_field(first, 59)?),
                };
                parts.next().map_or(Some(0), |seconds| parse_field(seconds, 59))?;
                parts.next().is_none().then_some(())?;
            }
        }
        Some(event)
    }

    /// Returns the first time of the event after this one, in seconds since 1970.
    pub(crate) fn next_after(&self, now: i64) -> Option<i64> {
        let has = |bits: u64, number: i64| bits >> number & 1 == 1;
        let first = now - now.rem_euclid(MINUTE) + MINUTE;
        let mut times = (0..8 * DAY / MINUTE).map(|minutes| first + minutes * MINUTE);
        // 1970 began on a Thursday.
        let is_time = |time: &i64| {
            has(self.weekdays, (time.div_euclid(DAY) + 3).rem_euclid(7))
                && has(self.hours, time.rem_euclid(DAY) / 3600)
                && has(self.minutes, time.rem_euclid(3600) / MINUTE)
        };
        times.find(is_time).filter(|_| !self.is_dated)
    }
}

/// Returns the bits of a list of weekdays, such as `mon..wed,sun`.
fn parse_weekdays(word: &str) -> Option<u64> {
    let day = |name: &str| WEEKDAYS.iter().position(|known| *known == name.to_ascii_lowercase());
    word.split(',').try_fold(0, |bits, part| {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        (first <= last).then(|| (first..=last).fold(bits, |bits, day| bits | 1 << day))
    })
}

/// Returns the bits of a list of numbers up to 63.
fn parse_field(text: &str, max: u32) -> Option<u64> {
    Some(parse_numbers(text, max)?.into_iter().fold(0, |bits, number| bits | 1 << number))
}

/// Returns the numbers of a list, such as `*`, `0/15` or `8..17,22`.
fn parse_numbers(text: &str, max: u32) -> Option<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step: u32 = step.map_or(Some(1), |step| step.parse().ok()).filter(|step| *step > 0)?;
        let (first, last) = match range.split_once("..") {
            _ if range == "*" => (0, max),
            Some((first, last)) => (first.parse().ok()?, last.parse().ok()?),
            None => {
                let first = range.parse().ok()?;
                (first, if part.contains('/') { max } else { first })
            }
        };
        (first <= last && last <= max).then_some(())?;
        numbers.extend((first..=last).step_by(step as usize));
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::format_time;

    #[test]
    fn the_next_run_is_the_first_one_after_now() {
        // Sunday, 29 November 2026, 00:36:00.
        let now = 1_795_912_560;
        for (event, next) in [
            ("02:00", "2026-11-29 02:00:00"),
            ("0:36", "2026-11-30 00:36:00"),
            ("sun 03:00", "2026-11-29 03:00:00"),
            ("mon..fri 22:30", "2026-11-30 22:30:00"),
            ("sat *:0/15", "2026-12-05 00:00:00"),
            ("*/15", "2026-11-29 00:45:00"),
            ("8..17,22:0/15", "2026-11-29 08:00:00"),
            ("hourly", "2026-11-29 01:00:00"),
            ("weekly", "2026-11-30 00:00:00"),
        ] {
            let found = CalendarEvent::parse(event).and_then(|event| event.next_after(now));
            assert_eq!(found.map(format_time).as_deref(), Some(next), "{event}");
        }
        for dated in ["monthly", "2027-01-01 02:00", "*-1 02:00"] {
            assert_eq!(CalendarEvent::parse(dated).map(|event| event.next_after(now)), Some(None), "{dated}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_no_event() {
        for text in
            ["", "99:99", "24:00", "02:60", "02:00:60", "sometimes", "mon 02:00:00:00", "fri..mon 1:00", "*:0/0"]
        {
            assert!(CalendarEvent::parse(text).is_none(), "{text}");
        }
    }
}
