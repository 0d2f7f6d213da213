//! What an operation can do to a cluster.

use crate::pve::params::Params;
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

    /// That of a call with these parameters: some make of what could be undone what can't. A restore over a guest that is
    /// there (`force`), a shutdown that ends in a stop (`forceStop`), a disk that is removed and not only taken off
    /// (`delete=unused0`, or with `force`), a source that is gone after the copy (`delete=1`).
    pub fn with(self, params: &Params) -> Self {
        let lasting = params.iter().any(|(name, value)| match name {
            "force" | "forceStop" | "force-stop" | "purge" => value != "0",
            "delete" => value == "1" || value.split(',').any(|what| what.trim().starts_with("unused")),
            _ => false,
        });
        Self { lasting: self.lasting || lasting && !self.reads(), ..self }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_can_make_a_call_worse_and_never_better() {
        let with = |code, name, value| {
            let mut params = Params::new();
            params.push(name, value);
            Risk::of_code(code).with(&params)
        };
        for (name, value) in [("force", "1"), ("forceStop", "1"), ("delete", "tags,unused0"), ("delete", "1")] {
            assert!(with("F", name, value).lasting && with("O", name, value).lasting, "{name}={value}");
            assert!(!with("R", name, value).lasting, "{name}={value}");
        }
        for (name, value) in [("force", "0"), ("delete", "tags"), ("memory", "1")] {
            assert!(!with("F", name, value).lasting && with("F!", name, value).lasting, "{name}={value}");
        }
    }
}
