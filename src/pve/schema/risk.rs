//! What an operation can do to a cluster.

use std::fmt;

/// The kinds of operations, from the harmless to the dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Changes nothing and gives no secret.
    Read,
    /// Starts, stops, saves or moves what is there: power, snapshots, backup, migration, services.
    Operate,
    /// Changes nothing, but what it gives is a secret or may hold one.
    ReadSecret,
    /// Creates, configures or removes.
    Change,
    /// Runs commands, or opens a way to run them, in a guest or on a node.
    Execute,
}

/// The risk of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Risk {
    /// What it does.
    pub kind: Kind,
    /// Whether it can't be undone, or changes who may do what.
    pub lasting: bool,
}

impl Risk {
    /// That of an operation nobody knows.
    pub const UNKNOWN: Self = Self { kind: Kind::Execute, lasting: true };

    /// Of one of the codes of `summaries.tsv`: `R`, `S`, `O`, `O!`, `F`, `F!`, `X`.
    pub(super) fn of_code(code: &str) -> Self {
        let (kind, lasting) = match code {
            "R" => (Kind::Read, false),
            "S" => (Kind::ReadSecret, false),
            "O" => (Kind::Operate, false),
            "O!" => (Kind::Operate, true),
            "F" => (Kind::Change, false),
            "F!" => (Kind::Change, true),
            "X" => (Kind::Execute, false),
            _ => return Self::UNKNOWN,
        };
        Self { kind, lasting }
    }

    /// Whether nothing is changed.
    pub fn reads(self) -> bool {
        matches!(self.kind, Kind::Read | Kind::ReadSecret)
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNKNOWN {
            return f.write_str("unknown, may do anything");
        }
        f.write_str(match self.kind {
            Kind::Read => "reads",
            Kind::ReadSecret => "reads what may be secret",
            Kind::Operate => "operates",
            Kind::Change => "changes",
            Kind::Execute => "runs commands",
        })?;
        if self.lasting { f.write_str(", can't be undone") } else { Ok(()) }
    }
}
