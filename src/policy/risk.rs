//! The risk of an operation.

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
    /// Runs commands in a guest or on a node, or opens a way to run them or to reach the node's own files and devices.
    Execute,
}

/// The risk of one operation, or of one call with its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Risk {
    pub kind: RiskKind,
    /// Data, a secret or a state is lost for good.
    pub irreversible: bool,
    /// Interrupts guests, or takes away an access or a protection, until it is set back.
    pub disruptive: bool,
    /// Carries words of the caller to an address of the caller's choice.
    pub outbound: bool,
}

impl Risk {
    pub const READ: Self = Self::plain(RiskKind::Read);

    /// The risk of an operation that neither the facts nor the cluster describes.
    pub const UNKNOWN: Self = Self { kind: RiskKind::Execute, irreversible: true, disruptive: true, outbound: true };

    const fn plain(kind: RiskKind) -> Self {
        Self { kind, irreversible: false, disruptive: false, outbound: false }
    }

    /// Parses a code of the risk tables: the letter of the kind (R, O, S, F, X), then `!` (irreversible), `~`
    /// (disruptive) and `>` (outbound). Any other code is [`Risk::UNKNOWN`].
    pub fn from_code(code: &str) -> Self {
        let mut letters = code.chars();
        let kind = match letters.next() {
            Some('R') => RiskKind::Read,
            Some('S') => RiskKind::ReadSecret,
            Some('O') => RiskKind::Operate,
            Some('F') => RiskKind::Change,
            Some('X') => RiskKind::Execute,
            _ => return Self::UNKNOWN,
        };
        let mut risk = Self::plain(kind);
        for flag in letters {
            match flag {
                '!' => risk.irreversible = true,
                '~' => risk.disruptive = true,
                '>' => risk.outbound = true,
                _ => return Self::UNKNOWN,
            }
        }
        risk
    }

    /// Returns the worse of two risks in every respect.
    pub fn max(self, other: Self) -> Self {
        Self {
            kind: self.kind.max(other.kind),
            irreversible: self.irreversible || other.irreversible,
            disruptive: self.disruptive || other.disruptive,
            outbound: self.outbound || other.outbound,
        }
    }

    /// Returns whether the call changes nothing and contacts no address of the caller's choice.
    pub fn is_read_only(self) -> bool {
        matches!(self.kind, RiskKind::Read | RiskKind::ReadSecret) && !self.outbound
    }

    /// Returns whether the call can't be undone easily, leaves the cluster or runs commands.
    pub fn is_sensitive(self) -> bool {
        self.irreversible || self.disruptive || self.outbound || self.kind == RiskKind::Execute
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
        for (applies, text) in [
            (self.irreversible, ", can't be undone"),
            (self.disruptive && !self.irreversible, ", interrupts or takes away something"),
            (self.outbound, ", contacts an address that the caller names"),
        ] {
            if applies {
                f.write_str(text)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_a_kind_and_its_flags() {
        let risk = Risk::from_code("F!>");
        assert_eq!(
            (risk.kind, risk.irreversible, risk.disruptive, risk.outbound),
            (RiskKind::Change, true, false, true)
        );
        for odd in ["", "?", "F?", "!F", "f", "FX"] {
            assert_eq!(Risk::from_code(odd), Risk::UNKNOWN, "{odd}");
        }
        assert!(Risk::from_code("S").is_read_only() && !Risk::from_code("R>").is_read_only());
        assert_eq!(Risk::from_code("O~").max(Risk::from_code("F>")), Risk::from_code("F~>"));
    }
}
