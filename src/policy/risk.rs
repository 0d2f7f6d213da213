//! What an operation can do to a cluster.

use super::protect::words;
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
    /// That of what only looks.
    pub const READ: Self = Self { kind: Kind::Read, lasting: false };

    /// That of an operation nobody knows.
    pub const UNKNOWN: Self = Self { kind: Kind::Execute, lasting: true };

    /// Of one of the codes of `summaries.tsv`: `R`, `S`, `O`, `O!`, `F`, `F!`, `X`.
    pub fn of_code(code: &str) -> Self {
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

    /// That of a call with these parameters (names and values), which can make it worse and never better:
    /// - what runs commands on a node (`args`, `hookscript`, a backup's `script`) or in a guest (`entrypoint`, `cicustom`);
    /// - what makes of a thing that could be undone one that can't: a restore over a guest that is there (`force`), a
    ///   shutdown that ends in a stop (`forceStop`), a disk that is removed and not only taken off (`delete=unused0`, or
    ///   with `force`), a source that is gone after the copy (`delete=1`), older backups (`prune-backups`, `remove`), the
    ///   key of backups (`encryption-key`), the mark that keeps one (`protected=0`), the jobs of others (`stop`).
    pub fn with<'p>(self, params: impl Iterator<Item = (&'p str, &'p str)>) -> Self {
        if self.reads() {
            return self;
        }
        let mut risk = self;
        for (name, value) in params {
            let on = !matches!(value, "" | "0");
            let (kind, lasting) = match name {
                "args" | "hookscript" | "script" | "entrypoint" | "cicustom" if on => (Kind::Execute, false),
                // Of a backup: it ends the jobs that run.
                "stop" => (risk.kind, value == "1"),
                "protected" => (Kind::Change, value == "0"),
                "forceStop" | "force-stop" => (risk.kind, on),
                "force" | "purge" | "prune-backups" | "maxfiles" | "encryption-key" => (Kind::Change, on),
                "remove" => (Kind::Change, value == "1"),
                "delete" => {
                    let lost = |word: &str| word.starts_with("unused") || word == "encryption-key";
                    (Kind::Change, value == "1" || words(value).any(lost))
                }
                _ => continue,
            };
            risk.lasting |= lasting;
            if lasting || kind == Kind::Execute {
                risk.kind = risk.kind.max(kind);
            }
        }
        risk
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
        let with = |code, name, value| Risk::of_code(code).with([(name, value)].into_iter());
        for (name, value) in
            [("force", "1"), ("forceStop", "1"), ("delete", "tags,unused0"), ("delete", "a\tunused0"), ("delete", "1")]
        {
            assert!(with("F", name, value).lasting && with("O", name, value).lasting, "{name}={value}");
            assert!(!with("R", name, value).lasting, "{name}={value}");
        }
        for (name, value) in [("force", "0"), ("delete", "tags"), ("memory", "1"), ("args", ""), ("remove", "0")] {
            let (plain, worse) = (Risk::of_code("F"), with("F", name, value));
            assert!(worse == plain && with("F!", name, value).lasting, "{name}={value}");
        }
        assert_eq!(with("O", "forceStop", "1"), Risk::of_code("O!"), "still power");
        assert_eq!(with("O", "delete", "1"), Risk::of_code("F!"), "no longer what can be undone");
        for name in ["args", "hookscript", "script"] {
            assert_eq!(with("F", name, "x").kind, Kind::Execute, "{name}");
            assert_eq!(with("F!", name, "x"), Risk { kind: Kind::Execute, lasting: true }, "{name}");
        }
    }
}
