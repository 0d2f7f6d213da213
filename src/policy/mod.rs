//! What may be done: how dangerous an operation is ([`Risk`]), how much a client and a cluster let through ([`Access`]),
//! and what an operator has ruled out ([`Rules`]).
//!
//! It knows neither clusters nor clients: it is handed what is about to be done, in words, and says whether that may be.
//! What nobody knows is taken for the worst there is.

mod pattern;
mod protect;
mod risk;

pub use pattern::Pattern;
pub use protect::{Protected, numbers_in, numbers_of};
pub use risk::{Kind, Risk};

use std::fmt;

/// How much may be done: from the strictest up, so that the lesser of two is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing changes, nothing secret is read.
    Read,
    /// Beside that, what can be undone: power, snapshots, backup, migration.
    Operate,
    /// All but what [`Rights::exec`] is for.
    Full,
}

/// What asks for a confirmation before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confirm {
    /// Nothing.
    Never,
    /// What can't be undone, or changes who may do what, or runs commands.
    Destructive,
    /// Every change.
    Writes,
}

impl Access {
    /// The words of clusters.json, from the strictest up.
    pub const WORDS: [(&str, Self); 3] = [("read", Self::Read), ("operate", Self::Operate), ("full", Self::Full)];
}

impl Confirm {
    /// The words of clusters.json.
    pub const WORDS: [(&str, Self); 3] =
        [("destructive", Self::Destructive), ("writes", Self::Writes), ("never", Self::Never)];
}

/// A word of clusters.json in this program's terms.
fn word<T: PartialEq>(words: [(&'static str, T); 3], value: &T) -> &'static str {
    words.iter().find(|(_, one)| one == value).map_or("", |(word, _)| word)
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(Self::WORDS, self))
    }
}

impl fmt::Display for Confirm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(word(Self::WORDS, self))
    }
}

/// How much is let through, on one side: a client's or a cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// How far.
    pub access: Access,
    /// Whether commands may be run on guests and nodes.
    pub exec: bool,
}

/// What an operator lets be done on one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whoever asks.
    pub rights: Rights,
    /// What has to be confirmed.
    pub confirm: Confirm,
    /// Operations that are refused.
    pub deny: Vec<Pattern>,
    /// The only operations that are not refused, if there is a list.
    pub allow: Option<Vec<Pattern>>,
    /// Guests that nothing may change.
    pub protect: Vec<Protected>,
}

impl Default for Rules {
    /// All but running commands; what can't be undone is to be confirmed.
    fn default() -> Self {
        let rights = Rights { access: Access::Full, exec: false };
        Self { rights, confirm: Confirm::Destructive, deny: Vec::new(), allow: None, protect: Vec::new() }
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.access, if self.exec { " and exec" } else { "" })
    }
}

impl fmt::Display for Rules {
    /// In a few words: how far, what is confirmed, how many operations and guests are named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "access {}, confirm {}", self.rights, self.confirm)?;
        let allowed = self.allow.as_ref().map(Vec::len);
        for (what, many) in [
            ("denied", Some(self.deny.len()).filter(|n| *n > 0)),
            ("allowed", allowed),
            ("protected", Some(self.protect.len()).filter(|n| *n > 0)),
        ] {
            if let Some(many) = many {
                write!(f, ", {many} {what}")?;
            }
        }
        Ok(())
    }
}

/// What is about to be done.
pub struct Deed<'a> {
    /// GET, POST, PUT or DELETE.
    pub method: &'a str,
    /// Of its path, decoded.
    pub segments: &'a [&'a str],
    /// The path of its operation, with placeholders, where that is known.
    pub template: Option<&'a str>,
    /// What it can do.
    pub risk: Risk,
}

impl Rules {
    /// Whether a client may do it here. The refusal is a clause that says what stands against it, and who can lift it.
    ///
    /// # Errors
    /// It may not be done.
    pub fn judge(&self, client: &str, rights: Rights, deed: &Deed<'_>) -> Result<(), String> {
        self.lets(client, rights, deed.risk)?;
        let fits = |pattern: &&Pattern| pattern.fits(deed.method, deed.segments, deed.template);
        if let Some(denied) = self.deny.iter().find(fits) {
            return Err(format!("the cluster's \"deny\" list has \"{denied}\"{LIFT}"));
        }
        if self.allow.as_ref().is_some_and(|allow| !allow.iter().any(|pattern| fits(&pattern))) {
            return Err(format!("the cluster has an \"allow\" list, and this is not on it{LIFT}"));
        }
        Ok(())
    }

    /// Whether as much as this may be done at all, on whatever path.
    ///
    /// # Errors
    /// It may not be done.
    pub fn lets(&self, client: &str, rights: Rights, risk: Risk) -> Result<(), String> {
        rights.judge(risk, &format_args!("client \"{client}\""))?;
        self.rights.judge(risk, &"this cluster")
    }

    /// Whether a call has to be confirmed before it is sent.
    pub fn asks(&self, risk: Risk) -> bool {
        match self.confirm {
            Confirm::Never => false,
            Confirm::Destructive => risk.lasting || risk.kind == Kind::Execute,
            Confirm::Writes => !risk.reads(),
        }
    }

    /// Whether a guest is protected.
    pub fn protects(&self, vmid: u32, pool: &str, tags: &[&str]) -> bool {
        self.protect.iter().any(|protected| protected.has(vmid, pool, tags))
    }
}

/// What ends every refusal: no other call helps.
pub const LIFT: &str = "; only whoever runs this server can change that, in clusters.json";

impl Rights {
    /// Whether this much lets it through.
    fn judge(self, risk: Risk, whose: &dyn fmt::Display) -> Result<(), String> {
        let needed = match risk.kind {
            Kind::Read => Access::Read,
            Kind::Operate => Access::Operate,
            Kind::ReadSecret | Kind::Change | Kind::Execute => Access::Full,
        };
        if self.access < needed {
            return Err(format!("it needs access \"{needed}\" ({risk}), but {whose} has \"{}\"{LIFT}", self.access));
        }
        if risk.kind == Kind::Execute && !self.exec {
            return Err(format!("it needs \"exec\" ({risk}), which {whose} has not{LIFT}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(rules: &Rules, rights: Rights, risk: &str) -> Result<(), String> {
        let deed = Deed {
            method: "POST",
            segments: &["nodes", "pve1", "qemu"],
            template: Some("/nodes/{node}/qemu"),
            risk: Risk::of_code(risk),
        };
        rules.judge("laptop", rights, &deed)
    }

    fn rights(access: Access, exec: bool) -> Rights {
        Rights { access, exec }
    }

    #[test]
    fn each_level_lets_through_what_the_stricter_does_and_more() {
        let all = Rules { rights: rights(Access::Full, true), ..Rules::default() };
        for (access, exec, codes) in [
            (Access::Read, true, "R"),
            (Access::Operate, true, "R O O!"),
            (Access::Full, false, "R O O! S F F!"),
            (Access::Full, true, "R O O! S F F! X ?"),
        ] {
            for code in ["R", "S", "O", "O!", "F", "F!", "X", "?"] {
                let may = codes.split(' ').any(|c| c == code);
                assert_eq!(judged(&all, rights(access, exec), code).is_ok(), may, "client {access} {exec} {code}");
                let cluster = Rules { rights: rights(access, exec), ..Rules::default() };
                assert_eq!(judged(&cluster, rights(Access::Full, true), code).is_ok(), may, "cluster {access} {code}");
            }
        }
    }

    #[test]
    fn the_stricter_of_client_and_cluster_wins() {
        let rules = Rules { rights: rights(Access::Operate, false), ..Rules::default() };
        assert!(judged(&rules, rights(Access::Full, true), "F").is_err_and(|why| why.contains("this cluster has")));
        assert!(judged(&rules, rights(Access::Read, true), "O").is_err_and(|why| why.contains("\"laptop\" has")));
    }

    #[test]
    fn deny_refuses_and_allow_refuses_the_rest() {
        let list = |text: &str| vec![Pattern::parse(text).expect(text)];
        let full = rights(Access::Full, true);
        let denied = Rules { deny: list("* /nodes/*/qemu"), ..Rules::default() };
        assert!(judged(&denied, full, "F").is_err_and(|why| why.contains("\"deny\" list has \"* /nodes/*/qemu\"")));
        let other = Rules { deny: list("* /nodes/*/lxc"), ..Rules::default() };
        assert_eq!(judged(&other, full, "F"), Ok(()));
        let allowed = Rules { allow: Some(list("POST /nodes/*/qemu")), ..Rules::default() };
        assert_eq!(judged(&allowed, full, "F"), Ok(()));
        assert!(judged(&allowed, full, "X").is_err(), "an allow list lifts nothing");
        let none = Rules { allow: Some(Vec::new()), ..Rules::default() };
        assert!(judged(&none, full, "R").is_err());
        let both = Rules { deny: list("POST /**"), allow: Some(list("POST /**")), ..Rules::default() };
        assert!(judged(&both, full, "F").is_err());
    }

    #[test]
    fn what_asks_for_a_confirmation() {
        for (confirm, codes) in
            [(Confirm::Never, ""), (Confirm::Destructive, "O! F! X ?"), (Confirm::Writes, "O O! F F! X ?")]
        {
            let rules = Rules { confirm, ..Rules::default() };
            for code in ["R", "S", "O", "O!", "F", "F!", "X", "?"] {
                assert_eq!(rules.asks(Risk::of_code(code)), codes.split(' ').any(|c| c == code), "{confirm} {code}");
            }
        }
    }
}
