//! Errors about parameters that cannot be sent as given.

use crate::base::shorten::shorten;
use std::fmt;
use thiserror::Error;

/// Number of problems after which a check ends. Each costs a comparison with all names, and the model's tokens.
pub(super) const MAX_PROBLEMS: usize = 10;

/// Longest list of accepted names that an error contains.
const MAX_ACCEPTED_NAMES: usize = 25;

/// Problems with the parameters of one call.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ParameterErrors {
    pub errors: Vec<ParameterError>,
    /// True if the check ended early.
    pub may_have_more: bool,
}

impl ParameterErrors {
    /// Returns the names of the parameters, if the only problem is that the description does not have them.
    pub fn unknown_names(&self) -> Option<Vec<&str>> {
        // A name that resembles a known one is misspelt.
        let is_unknown =
            |error: &ParameterError| matches!(error.kind, ParameterErrorKind::Unknown { suggestion: None, .. });
        (!self.may_have_more && self.errors.iter().all(is_unknown))
            .then(|| self.errors.iter().map(|error| error.name.as_str()).collect())
    }
}

impl fmt::Display for ParameterErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "; " })?;
        }
        f.write_str(if self.may_have_more { "; there may be more problems" } else { "" })
    }
}

/// A parameter that cannot be sent as given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ParameterError {
    pub name: String,
    /// True if the value is part of the path.
    pub in_path: bool,
    pub kind: ParameterErrorKind,
}

impl fmt::Display for ParameterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ParameterErrorKind::Unnamed {
            return self.kind.fmt(f);
        }
        write!(f, "`{}`{} {}", shorten(&self.name), if self.in_path { " in the path" } else { "" }, self.kind)
    }
}

/// Reason for rejecting a parameter. Its text continues a sentence that starts with the parameter's name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParameterErrorKind {
    #[error("a parameter has no name: give each value under the name Proxmox knows it by")]
    Unnamed,
    #[error("is null: leave it out; to unset an option pass its name in `delete`")]
    Null,
    #[error("is an empty list, which can't be sent: leave it out, or to unset an option pass its name in `delete`")]
    EmptyList,
    #[error("has a list inside a list: Proxmox takes lists of plain values only")]
    NestedList,
    #[error("is an object: Proxmox wants a property string such as \"virtio,bridge=vmbr0\" (key=value, with commas)")]
    Object,
    #[error("is no parameter of {operation}{}", match is_newer {
        true => " on this cluster, whose release of Proxmox VE is older than the one that has it".to_owned(),
        false => describe_accepted_parameters(.suggestion, .accepted),
    })]
    Unknown {
        operation: String,
        /// A newer release of Proxmox VE has the parameter.
        is_newer: bool,
        suggestion: Option<String>,
        accepted: Vec<String>,
    },
    #[error("belongs to {type_property} {} alone", .types.join(" or "))]
    OtherType { type_property: String, types: Vec<String> },
    #[error("is already set by the path, as `{value}`")]
    AlreadyInPath { value: String },
    #[error("is missing: it must be given ({expected})")]
    Missing { expected: String },
    #[error("is for root@pam with a password only: a node refuses it from every API token, so leave it out")]
    NeedsRoot,
    #[error("needs `{other}` too")]
    RequiresOther { other: String },
    #[error("must be {expected}, not {actual}")]
    WrongValue { expected: String, actual: String },
    /// An element of a list, whose place is counted from 0.
    #[error("has a list that can't be sent: element {index} (counted from 0) is {actual}")]
    WrongElement { index: usize, actual: String },
    #[error("has a comma in element {index} (counted from 0) of its list: write each part as an element of its own")]
    CommaInElement { index: usize },
    #[error("is longer than {max} characters")]
    TooLong { max: String },
    #[error("is shorter than {min} characters")]
    TooShort { min: String },
    #[error("has no key `{}`{}", shorten(.key), describe_accepted_keys(.suggestion, .accepted))]
    UnknownKey { key: String, suggestion: Option<String>, accepted: Vec<String> },
    /// A value of an object, which is written as a property string.
    #[error("`{}` {kind}", shorten(.key))]
    Key { key: String, kind: Box<ParameterErrorKind> },
    #[error("can't hold `{}` in an object: write the property string yourself", shorten(.key))]
    UnwritableKey { key: String },
}

fn describe_accepted_parameters(suggestion: &Option<String>, accepted: &[String]) -> String {
    match (suggestion, accepted) {
        (Some(suggestion), _) => format!(" (did you mean `{suggestion}`?)"),
        (None, []) => ", which takes none".to_owned(),
        (None, names) if names.len() <= MAX_ACCEPTED_NAMES => format!(", which takes {}", names.join(", ")),
        (None, _) => String::new(),
    }
}

fn describe_accepted_keys(suggestion: &Option<String>, accepted: &[String]) -> String {
    match suggestion {
        Some(suggestion) => format!(" (did you mean `{suggestion}`?)"),
        None => format!(", only {}", accepted.join(", ")),
    }
}
