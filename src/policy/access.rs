//! Access levels and confirmation, with the words of clusters.json.

use std::fmt;

/// The access of a client or a cluster, from the strictest up: the lesser of two levels is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// Reads that return no secret.
    Read,
    /// Also operations that can be undone: power, snapshots, backup, migration.
    Operate,
    /// All operations except those that need [`Permissions::exec`].
    Full,
}

/// The calls that need a confirmation before they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfirmationPolicy {
    Never,
    /// Calls that can't be undone easily, contact an address of the caller's choice, or run commands.
    Destructive,
    /// Every change.
    Writes,
}

/// The side that confirms calls, the stricter last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirmer {
    /// The client's user: by a dialog of the client, or by a code that the model repeats.
    Client,
    /// A person outside of the chat, with the token of another client.
    Operator,
}

impl Confirmer {
    /// The words of clusters.json.
    pub const WORDS: [(&str, Self); 2] = [("client", Self::Client), ("operator", Self::Operator)];
}

impl fmt::Display for Confirmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(f, Self::WORDS, self)
    }
}

impl AccessLevel {
    /// The words of clusters.json, from the strictest up.
    pub const WORDS: [(&str, Self); 3] = [("read", Self::Read), ("operate", Self::Operate), ("full", Self::Full)];
}

impl ConfirmationPolicy {
    /// The words of clusters.json.
    pub const WORDS: [(&str, Self); 3] =
        [("destructive", Self::Destructive), ("writes", Self::Writes), ("never", Self::Never)];
}

impl fmt::Display for AccessLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(f, Self::WORDS, self)
    }
}

impl fmt::Display for ConfirmationPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(f, Self::WORDS, self)
    }
}

fn write_word<T: PartialEq, const N: usize>(
    f: &mut fmt::Formatter<'_>,
    words: [(&str, T); N],
    value: &T,
) -> fmt::Result {
    let (word, _) = words.iter().find(|(_, one)| one == value).expect("every value has a word");
    f.write_str(word)
}

/// The permissions of one side: a client or a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub access: AccessLevel,
    /// Commands may be run on guests and nodes.
    pub exec: bool,
}

impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access, if self.exec { " and exec" } else { "" })
    }
}
