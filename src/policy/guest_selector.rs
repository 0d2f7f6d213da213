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
}

impl GuestSelector {
    /// Reads `100`, `pool:prod` or `tag:critical`.
    pub fn parse(text: &str) -> Result<Self, GuestSelectorError> {
        let parse_name = |name: &str| match name.trim() {
            "" => Err(GuestSelectorError::EmptyName),
            name => Ok(name.to_owned()),
        };
        match text.split_once(':') {
            Some(("pool", name)) => parse_name(name).map(Self::Pool),
            Some(("tag", name)) => parse_name(name).map(Self::Tag),
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
        for what in ["", "web01", "99", "pool:", "tag: ", "-100", "node:pve1", "1e3"] {
            assert!(GuestSelector::parse(what).is_err(), "{what}");
        }
    }
}
