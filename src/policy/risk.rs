//! The risk of an operation.

use super::vmids::split_list;
use std::fmt;

/// The kinds of operations, from the harmless to the dangerous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RiskKind {
    /// Changes nothing and returns no secret.
    Read,
    /// Starts, stops, saves or moves an existing object: power, snapshots, backup, migration, services.
    Operate,
    /// Changes nothing, but may return a secret.
    ReadSecret,
    /// Creates, configures or removes.
    Change,
    /// Runs commands in a guest or on a node, or opens a way to run them.
    Execute,
}

/// The risk of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Risk {
    pub kind: RiskKind,
    /// The operation can't be undone, or changes permissions.
    pub irreversible: bool,
}

impl Risk {
    pub const READ: Self = Self { kind: RiskKind::Read, irreversible: false };

    /// The risk of an operation that neither the facts nor the cluster describes.
    pub const UNKNOWN: Self = Self { kind: RiskKind::Execute, irreversible: true };

    /// Parses a code of `summaries.tsv`: `R`, `S`, `O`, `O!`, `F`, `F!`, `X`. Any other code is [`Risk::UNKNOWN`].
    pub fn from_code(code: &str) -> Self {
        let (kind, irreversible) = match code {
            "R" => (RiskKind::Read, false),
            "S" => (RiskKind::ReadSecret, false),
            "O" => (RiskKind::Operate, false),
            "O!" => (RiskKind::Operate, true),
            "F" => (RiskKind::Change, false),
            "F!" => (RiskKind::Change, true),
            "X" => (RiskKind::Execute, false),
            _ => return Self::UNKNOWN,
        };
        Self { kind, irreversible }
    }

    /// Returns the risk of a call with these parameters (names and values). A parameter only ever raises the risk:
    /// - Commands on a node (`args`, `hookscript`, a backup's `script`) or in a guest (`entrypoint`, `cicustom`).
    /// - A restore over an existing guest (`force`), or a shutdown that ends in a stop (`forceStop`).
    /// - A disk that is removed instead of detached (`delete=unused0`, or with `force`).
    /// - A source that is removed after the copy (`delete=1`), or older backups (`prune-backups`, `remove`).
    /// - The key of backups (`encryption-key`), or the flag that keeps a backup (`protected=0`).
    /// - The end of other users' jobs (`stop`).
    pub fn with_parameters<'p>(self, params: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        if self.is_read_only() {
            return self;
        }
        let mut risk = self;
        for (name, value) in params {
            let on = !matches!(value, "" | "0");
            let (kind, irreversible) = match name {
                "args" | "hookscript" | "script" | "entrypoint" | "cicustom" if on => (RiskKind::Execute, false),
                // A backup with `stop` ends the running jobs.
                "stop" => (risk.kind, value == "1"),
                "protected" => (RiskKind::Change, value == "0"),
                "forceStop" | "force-stop" => (risk.kind, on),
                "force" | "purge" | "prune-backups" | "maxfiles" | "encryption-key" => (RiskKind::Change, on),
                "remove" => (RiskKind::Change, value == "1"),
                "delete" => {
                    let is_final = |word: &str| word.starts_with("unused") || word == "encryption-key";
                    (RiskKind::Change, value == "1" || split_list(value).any(is_final))
                }
                _ => continue,
            };
            risk.irreversible |= irreversible;
            if irreversible || kind == RiskKind::Execute {
                risk.kind = risk.kind.max(kind);
            }
        }
        risk
    }

    /// Returns whether the call changes nothing.
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
    fn parameters_raise_the_risk_and_never_lower_it() {
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
