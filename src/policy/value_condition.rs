//! Conditions on the values of parameters, as the tables of the policy write them.

use crate::base::list_text::split_list;

/// The values for which a line of a table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ValueCondition {
    Given,
    Absent,
    /// The path alone decides. The name is that of a value in the path.
    Always,
    /// Anything but a clear no.
    On,
    /// Anything but a clear yes.
    Off,
    /// One of the words of the list that the value is. A word that ends in `*` is a prefix, and `!` before it is any other
    /// start.
    Word(Vec<&'static str>),
    Value(Vec<&'static str>),
    /// A value that is not empty, beside these.
    Not(Vec<&'static str>),
    /// A part of the value is an absolute path.
    AbsolutePath,
    AbsolutePathOrDash,
    /// The volume of a mount point is an absolute path. The path in the container is one always.
    AbsoluteVolume,
    /// A path outside of these folders.
    Outside(Vec<&'static str>),
    /// A property string with a key or a first word beside these.
    OtherThan(Vec<&'static str>),
    /// A property string without this key, or with it off.
    Lacks(&'static str),
    /// A calendar event that is over after some time, or never comes.
    Dated,
    /// A list of settings that are set back to a default, one of which has a risk of its own.
    Resets,
}

impl ValueCondition {
    pub(super) fn parse(text: &'static str) -> Self {
        let (word, list) = text.split_once(':').unwrap_or((text, ""));
        let list = || list.split(',').filter(|item| !item.is_empty()).collect();
        match word {
            "given" => Self::Given,
            "absent" => Self::Absent,
            "on" => Self::On,
            "off" => Self::Off,
            "word" => Self::Word(list()),
            "value" => Self::Value(list()),
            "not" => Self::Not(list()),
            "abspath" => Self::AbsolutePath,
            "abspath-or-dash" => Self::AbsolutePathOrDash,
            "volume-abspath" => Self::AbsoluteVolume,
            "outside" => Self::Outside(list()),
            "other-than" => Self::OtherThan(list()),
            "always" => Self::Always,
            "lacks" => Self::Lacks(text.split_once(':').map_or("", |(_, key)| key)),
            "dated" => Self::Dated,
            "resets" => Self::Resets,
            _ => panic!("a table has an unknown condition: {text}"),
        }
    }

    /// Returns whether a value meets the condition. `resets` tells whether the loss of a parameter's value has a risk of its
    /// own.
    pub(super) fn holds(&self, value: &str, resets: &dyn Fn(&str) -> bool) -> bool {
        let value = value.trim();
        let is_one_of = |list: &[&str]| list.iter().any(|item| item.eq_ignore_ascii_case(value));
        match self {
            Self::Given => true,
            Self::Absent | Self::Always => false,
            Self::Dated => !fires_again_and_again(value),
            Self::On => !is_clear_no(value),
            Self::Off => !is_clear_yes(value),
            Self::Word(words) => split_list(value).any(|word| {
                words.iter().any(|wanted| match wanted.strip_suffix('*') {
                    Some(_) if wanted.starts_with('!') => matches_segment(wanted, word),
                    Some(prefix) => word.starts_with(prefix),
                    None => word.eq_ignore_ascii_case(wanted),
                })
            }),
            Self::Value(values) => is_one_of(values),
            Self::Not(values) => !value.is_empty() && !is_one_of(values),
            Self::AbsolutePath => split_properties(value).any(|(_, value)| is_node_path(value)),
            Self::AbsolutePathOrDash => value == "-" || split_properties(value).any(|(_, value)| is_node_path(value)),
            Self::AbsoluteVolume => {
                split_properties(value).any(|(key, value)| matches!(key, "" | "volume" | "file") && is_node_path(value))
            }
            Self::Outside(folders) => split_properties(value).any(|(_, value)| {
                is_node_path(value)
                    && (has_parent_folder(value)
                        || !folders.iter().any(|folder| {
                            if folder.ends_with('/') { value.starts_with(folder) } else { value == *folder }
                        }))
            }),
            Self::OtherThan(known) => split_properties(value).any(|(key, value)| {
                let is_known = |word: &str| known.contains(&word);
                !(is_known(key) || (matches!(key, "" | "host") && is_known(value)))
            }),
            Self::Lacks(key) => !split_properties(value).any(|(given, value)| given == *key && is_clear_yes(value)),
            Self::Resets => split_list(value).any(resets),
        }
    }
}

/// Returns whether a segment of a path fits that of a line: one of its words (`stop|reload`), `!PREFIX*` for any other
/// start.
pub(super) fn matches_segment(wanted: &str, given: &str) -> bool {
    match wanted.strip_prefix('!').and_then(|wanted| wanted.strip_suffix('*')) {
        Some(prefix) => !given.starts_with(prefix),
        None => wanted.split('|').any(|word| word == given),
    }
}

/// Returns whether a calendar event of Proxmox fires without an end: its date has no year (`2099-01-01` is over some day), and
/// some year has its day (no year has `*-02-30`). Proxmox refuses what is not such an event.
fn fires_again_and_again(event: &str) -> bool {
    event.split_whitespace().all(|part| {
        let date: Vec<&str> = part.split('-').collect();
        match date[..] {
            ["*", month, day] => has_day(month, day),
            [_, _, _] => false,
            [month, day] if part.starts_with(|c: char| c.is_ascii_digit() || c == '*') => has_day(month, day),
            _ => true,
        }
    })
}

/// Returns whether some year has one of these days in one of these months. A list that can't be read counts as one that fits.
fn has_day(months: &str, days: &str) -> bool {
    const LONGEST: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let longest = (1..).zip(LONGEST).filter(|(month, _)| list_has(months, *month)).map(|(_, days)| days).max();
    let first = (1..=31).find(|day| list_has(days, *day));
    longest.zip(first).is_none_or(|(longest, first)| first <= longest)
}

/// Returns whether a list of numbers, ranges and steps (`1,5..7,*/2`) has a value.
fn list_has(list: &str, value: u32) -> bool {
    let has = |item: &str| {
        let (range, step) = item.split_once('/').unwrap_or((item, ""));
        let (start, end) = match range.split_once("..") {
            Some((start, end)) => (start, end),
            None if range == "*" => ("1", ""),
            None => (range, if step.is_empty() { range } else { "" }),
        };
        let step = step.parse().unwrap_or(1).max(1);
        start.parse().is_ok_and(|start: u32| {
            value >= start
                && end.parse().ok().is_none_or(|end: u32| value <= end)
                && (value - start).is_multiple_of(step)
        })
    };
    list.split(',').any(has)
}

/// Splits a property string (`key=value,…`). A first value may have no key.
fn split_properties(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split([',', ';']).map(|part| {
        let (key, value) = part.split_once('=').unwrap_or(("", part));
        (key.trim(), value.trim())
    })
}

/// Returns whether a value names a file of the node itself.
fn is_node_path(value: &str) -> bool {
    value.starts_with('/') || has_parent_folder(value)
}

fn has_parent_folder(value: &str) -> bool {
    value.split('/').any(|folder| folder == "..")
}

/// Returns whether Proxmox reads a value as false.
pub(super) fn is_clear_no(value: &str) -> bool {
    ["0", "no", "off", "false"].iter().any(|word| word.eq_ignore_ascii_case(value.trim()))
}

/// Returns whether Proxmox reads a value as true.
fn is_clear_yes(value: &str) -> bool {
    ["1", "yes", "on", "true"].iter().any(|word| word.eq_ignore_ascii_case(value.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_that_is_over_or_never_comes_is_found() {
        for event in
            ["2020-01-01", "2099-1-1 02:00", "2020..2024-*-*", "mon 2026-02-*", "*-02-30", "02-31", "*-2,4,6-31 3:00"]
        {
            assert!(ValueCondition::Dated.holds(event, &|_| false), "{event}");
        }
        for event in [
            "*:0/15",
            "daily",
            "02:30",
            "mon..fri 21:00",
            "sat *-1..7 02:00",
            "*-*-*",
            "*-02-29",
            "01-31",
            "*-1/3-31",
            "*-*-28..31 0:0",
        ] {
            assert!(!ValueCondition::Dated.holds(event, &|_| false), "{event}");
        }
    }
}
