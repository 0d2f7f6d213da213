//! Selectors of protected guests, as the operator writes them.

use std::fmt;

/// A selector of guests that calls must not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestSelector {
    Vmid(u32),
    /// The guests of a pool and of the pools within it.
    Pool(String),
    Tag(String),
}

/// The reason why a text is not a [`GuestSelector`]. It continues a sentence about the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestSelectorError {
    #[error("has no name: write a guest's number, \"pool:NAME\" or \"tag:NAME\"")]
    EmptyName,
    #[error("names no guests: write a guest's number, \"pool:NAME\" or \"tag:NAME\"")]
    UnknownForm,
    #[error("has a name that no pool of Proxmox can have: letters, digits, `.`, `-`, `_`, and `/` between pools")]
    InvalidPool,
    #[error(
        "has a name that no tag of Proxmox can have: letters, digits, `_`, `-`, `+` and `.`. hint: one tag per entry"
    )]
    InvalidTag,
}

impl GuestSelector {
    /// Reads `100`, `pool:prod` or `tag:critical`.
    pub fn parse(text: &str) -> Result<Self, GuestSelectorError> {
        let parse_name = |name: &str, is_valid: fn(&str) -> bool, error| match name.trim() {
            "" => Err(GuestSelectorError::EmptyName),
            name if is_valid(name) => Ok(name.to_owned()),
            _ => Err(error),
        };
        match text.split_once(':') {
            Some(("pool", name)) => parse_name(name, is_pool_name, GuestSelectorError::InvalidPool).map(Self::Pool),
            Some(("tag", name)) => parse_name(name, is_tag, GuestSelectorError::InvalidTag).map(Self::Tag),
            _ => match text.trim().parse() {
                Ok(vmid @ 100..=999_999_999) => Ok(Self::Vmid(vmid)),
                _ => Err(GuestSelectorError::UnknownForm),
            },
        }
    }

    /// Returns whether the selector covers a guest. Tags are compared without case, pool names exactly.
    pub fn matches(&self, vmid: u32, pool: &str, tags: &[&str]) -> bool {
        match self {
            Self::Vmid(number) => *number == vmid,
            Self::Pool(_) => self.covers_pool(pool),
            Self::Tag(name) => tags.iter().any(|tag| tag.eq_ignore_ascii_case(name)),
        }
    }

    /// Returns whether the selector covers every guest of a pool.
    pub fn covers_pool(&self, pool: &str) -> bool {
        matches!(self, Self::Pool(name) if is_in_pool(pool, name))
    }
}

/// Returns whether a pool can have this name. (PVE: pve-poolid, at most three pools within each other.)
fn is_pool_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    name.split('/').all(is_part) && name.split('/').count() <= 3
}

/// Returns whether a guest can have this tag. (PVE: pve-tag.)
fn is_tag(name: &str) -> bool {
    let is_first = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.bytes().enumerate().all(|(at, b)| is_first(b) || at > 0 && matches!(b, b'-' | b'+' | b'.'))
}

/// Returns whether `pool` is `outer` or a pool within it (PVE: `prod/web` is a pool within `prod`).
pub fn is_in_pool(pool: &str, outer: &str) -> bool {
    pool.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl fmt::Display for GuestSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vmid(number) => write!(f, "{number}"),
            Self::Pool(name) => write!(f, "pool:{name}"),
            Self::Tag(name) => write!(f, "tag:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_named_by_number_pool_or_tag() {
        let has = |what: &str| GuestSelector::parse(what).expect(what).matches(100, "prod/web", &["Critical", "db"]);
        for what in ["100", "pool:prod", "pool:prod/web", "tag:critical", "tag:DB", " 100 "] {
            assert!(has(what), "{what}");
        }
        for what in ["101", "pool:pro", "pool:web", "tag:crit"] {
            assert!(!has(what), "{what}");
        }
        for what in ["", "web01", "99", "pool:", "tag: ", "-100", "node:pve1", "1e3"].into_iter().chain([
            "pool:*",
            "pool:prod/",
            "pool:a/b/c/d",
            "pool:a b",
            "tag:a b",
            "tag:web;db",
            "tag:*",
            "tag:-x",
        ]) {
            assert!(GuestSelector::parse(what).is_err(), "{what}");
        }
    }
}
