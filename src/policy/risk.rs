//! What an operation can do to a cluster.

use super::guest_selector::split_list;
use std::fmt;

/// The kinds of operations, from the harmless to the dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RiskKind {
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
    pub kind: RiskKind,
    /// Whether it can't be undone, or changes who may do what.
    pub irreversible: bool,
}

impl Risk {
    /// That of what only looks.
    pub const READ: Self = Self { kind: RiskKind::Read, irreversible: false };

    /// That of an operation nobody knows.
    pub const UNKNOWN: Self = Self { kind: RiskKind::Execute, irreversible: true };

    /// Of one of the codes of `summaries.tsv`: `R`, `S`, `O`, `O!`, `F`, `F!`, `X`.
    pub fn from_code(code: &str) -> Self {
        let (kind, lasting) = match code {
            "R" => (RiskKind::Read, false),
            "S" => (RiskKind::ReadSecret, false),
            "O" => (RiskKind::Operate, false),
            "O!" => (RiskKind::Operate, true),
            "F" => (RiskKind::Change, false),
            "F!" => (RiskKind::Change, true),
            "X" => (RiskKind::Execute, false),
            _ => return Self::UNKNOWN,
        };
        Self { kind, irreversible: lasting }
    }

    /// That of a call with these parameters (names and values), which can make it worse and never better:
    /// - what runs commands on a node (`args`, `hookscript`, a backup's `script`) or in a guest (`entrypoint`, `cicustom`);
    /// - what makes of a thing that could be undone one that can't: a restore over a guest that is there (`force`), a
    ///   shutdown that ends in a stop (`forceStop`), a disk that is removed and not only taken off (`delete=unused0`, or
    ///   with `force`), a source that is gone after the copy (`delete=1`), older backups (`prune-backups`, `remove`), the
    ///   key of backups (`encryption-key`), the mark that keeps one (`protected=0`), the jobs of others (`stop`).
    pub fn with_parameters<'p>(self, params: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        if self.is_read_only() {
            return self;
        }
        let mut risk = self;
        for (name, value) in params {
            let on = !matches!(value, "" | "0");
            let (kind, lasting) = match name {
                "args" | "hookscript" | "script" | "entrypoint" | "cicustom" if on => (RiskKind::Execute, false),
                // Of a backup: it ends the jobs that run.
                "stop" => (risk.kind, value == "1"),
                "protected" => (RiskKind::Change, value == "0"),
                "forceStop" | "force-stop" => (risk.kind, on),
                "force" | "purge" | "prune-backups" | "maxfiles" | "encryption-key" => (RiskKind::Change, on),
                "remove" => (RiskKind::Change, value == "1"),
                "delete" => {
                    let lost = |word: &str| word.starts_with("unused") || word == "encryption-key";
                    (RiskKind::Change, value == "1" || split_list(value).any(lost))
                }
                _ => continue,
            };
            risk.irreversible |= lasting;
            if lasting || kind == RiskKind::Execute {
                risk.kind = risk.kind.max(kind);
            }
        }
        risk
    }

    /// Whether nothing is changed.
    pub fn is_read_only(self) -> bool {
        matches!(self.kind, RiskKind::Read | RiskKind::ReadSecret)
    }
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNKNOWN {
            return f.write_str("unknown, may do anything");
        }
        f.write_str(match self.kind {
            RiskKind::Read => "reads",
            RiskKind::ReadSecret => "reads what may be secret",
            RiskKind::Operate => "operates",
            RiskKind::Change => "changes",
            RiskKind::Execute => "runs commands",
        })?;
        if self.irreversible { f.write_str(", can't be undone") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_can_make_a_call_worse_and_never_better() {
        let with = |code, name, value| Risk::from_code(code).with_parameters([(name, value)].into_iter());
        for (name, value) in
            [("force", "1"), ("forceStop", "1"), ("delete", "tags,unused0"), ("delete", "a\tunused0"), ("delete", "1")]
        {
            assert!(with("F", name, value).irreversible && with("O", name, value).irreversible, "{name}={value}");
            assert!(!with("R", name, value).irreversible, "{name}={value}");
        }
        for (name, value) in [("force", "0"), ("delete", "tags"), ("memory", "1"), ("args", ""), ("remove", "0")] {
            let (plain, worse) = (Risk::from_code("F"), with("F", name, value));
            assert!(worse == plain && with("F!", name, value).irreversible, "{name}={value}");
        }
        assert_eq!(with("O", "forceStop", "1"), Risk::from_code("O!"), "still power");
        assert_eq!(with("O", "delete", "1"), Risk::from_code("F!"), "no longer what can be undone");
        for name in ["args", "hookscript", "script"] {
            assert_eq!(with("F", name, "x").kind, RiskKind::Execute, "{name}");
            assert_eq!(with("F!", name, "x"), Risk { kind: RiskKind::Execute, irreversible: true }, "{name}");
        }
    }
}
