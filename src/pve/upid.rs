//! Task identifiers: `UPID:node:pid:pstart:starttime:type:id:user:`, with numbers in hex.

use crate::base::hint::Hint;
use crate::pve::path::ApiPath;
use std::borrow::Cow;
use std::fmt;
use std::time::SystemTime;
use thiserror::Error;

/// Longer than any UPID: a node name, a user with its token, and the name of a file being downloaded.
const MAX_BYTES: usize = 512;

/// Identifier of a task in its cluster, the answer to a call that starts one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upid {
    text: String,
    path: ApiPath,
    /// The node that runs the task.
    pub node: String,
    /// The process on the node.
    pub pid: u64,
    /// The start of the process, in the kernel's ticks since the node booted.
    pub pstart: u64,
    /// The start of the task, in seconds since 1970 by the node's clock.
    pub started_at: u64,
    /// The type of the task: `qmstart`, `vzdump`, …
    pub kind: String,
    /// The object of the task, depending on the type: a guest's number, a storage, or empty.
    pub id: String,
    /// The user that started it: `root@pam`, or with a token `root@pam!name`.
    pub user: String,
}

/// Text that is not a UPID.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{start}` is {}", match is_backup_server {
    true => "the UPID of a task of Proxmox Backup Server, and this server reaches Proxmox VE only",
    false => "not a task's UPID",
})]
pub struct ParseUpidError {
    /// The start of the text, escaped.
    pub start: String,
    /// The text has the ten fields of a Proxmox Backup Server.
    pub is_backup_server: bool,
}

impl Hint for ParseUpidError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        if self.is_backup_server {
            return Some(
                "its log is on the backup server itself; the task of Proxmox VE is in GET /cluster/tasks".into(),
            );
        }
        Some(
            "give the whole text that the call answered, such as \
             UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:"
                .into(),
        )
    }
}

impl Upid {
    /// Parses a UPID, also with the quotes of a JSON answer around it or without its last colon.
    pub fn parse(typed: &str) -> Result<Self, ParseUpidError> {
        let text = typed.trim().trim_matches('"').trim();
        Self::parse_parts(text).ok_or_else(|| ParseUpidError {
            start: text.chars().take(80).flat_map(char::escape_debug).collect(),
            is_backup_server: is_backup_server_upid(text),
        })
    }

    fn parse_parts(text: &str) -> Option<Self> {
        // (PVE: ids and users are any text without colons, blanks and slashes, such as `DOM\user@ad`.)
        let is_invalid = |c: char| c.is_control() || c.is_whitespace() || c == '/';
        if text.len() > MAX_BYTES || text.contains(is_invalid) {
            return None;
        }
        let mut parts = text.strip_suffix(':').unwrap_or(text).split(':');
        let mut next = || parts.next();
        let (tag, node, pid, pstart, started) = (next()?, next()?, next()?, next()?, next()?);
        let (kind, id, user) = (next()?, next()?, next()?);
        let is_name = node.starts_with(|c: char| c.is_ascii_alphanumeric())
            && node.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if tag != "UPID" || parts.next().is_some() || !is_name || kind.is_empty() || user.is_empty() {
            return None;
        }
        let text = format!("UPID:{node}:{pid}:{pstart}:{started}:{kind}:{id}:{user}:");
        let path = ApiPath::from_segments(&["nodes", node, "tasks", &text]).ok()?;
        Some(Self {
            path,
            node: node.into(),
            pid: parse_hex(pid)?,
            pstart: parse_hex(pstart)?,
            started_at: parse_hex(started)?,
            kind: kind.into(),
            id: id.into(),
            user: user.into(),
            text,
        })
    }

    /// Returns the seconds since the start, as far as the local clock and the node's agree.
    pub(in crate::pve) fn age(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.as_secs().saturating_sub(self.started_at)
    }

    /// Returns whether the task only asks the HA manager, which acts later by a task of its own.
    pub fn is_ha_request(&self) -> bool {
        matches!(self.kind.as_str(), "hastart" | "hastop" | "hashutdown" | "hamigrate" | "harelocate")
    }

    /// Returns the API path of the task.
    pub fn path(&self) -> &ApiPath {
        &self.path
    }

    /// Returns the API path of the task's `status` or `log`.
    pub fn path_to(&self, name: &'static str) -> ApiPath {
        self.path.join(name)
    }
}

/// Returns whether a text is `UPID:node:pid:pstart:task:starttime:type:id:user:`, with a number more than Proxmox VE.
fn is_backup_server_upid(text: &str) -> bool {
    if text.len() > MAX_BYTES {
        return false;
    }
    let parts: Vec<&str> = text.strip_suffix(':').unwrap_or(text).split(':').collect();
    let numbers = parts.get(2..6).unwrap_or(&[]);
    parts.first() == Some(&"UPID") && parts.len() == 9 && numbers.iter().all(|number| parse_hex(number).is_some())
}

/// Parses at most 12 hex digits. Proxmox writes 8, and 9 for the ticks of a node that has been up for 16 months.
fn parse_hex(digits: &str) -> Option<u64> {
    let plain = (1..=12).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    u64::from_str_radix(digits, 16).ok().filter(|_| plain)
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use proptest::prelude::*;

    const REAL: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!admin:";

    #[test]
    fn every_part_is_parsed_and_the_text_is_preserved() {
        let upid = Upid::parse(REAL).unwrap();
        assert_eq!((upid.node.as_str(), upid.pid, upid.pstart, upid.started_at), ("pve1", 449, 142058, 1795331006));
        assert_eq!((upid.kind.as_str(), upid.id.as_str(), upid.user.as_str()), ("qmstart", "100", "root@pam!admin"));
        assert_eq!(upid.to_string(), REAL);
        assert_eq!(upid.path_to("log").as_str(), format!("/nodes/pve1/tasks/{REAL}/log"));
    }

    #[test]
    fn unambiguous_spellings_are_accepted() {
        for typed in [
            format!("\"{REAL}\"\n"),
            format!("  {REAL} "),
            REAL.trim_end_matches(':').to_owned(),
            REAL.replace("00022AEA", "022AEA001"),
        ] {
            assert_eq!(Upid::parse(&typed).unwrap().kind, "qmstart", "{typed}");
        }
        let update = Upid::parse("UPID:pve-1:000001C1:00022AEA:6B0293BE:aptupdate::root@pam:").unwrap();
        assert_eq!((update.id.as_str(), update.node.as_str()), ("", "pve-1"));
        let odd = Upid::parse("UPID:pve1:000001C1:00022AEA:6B0293BE:imgdel:100@räid+x:root@pam:").unwrap();
        assert!(odd.path_to("status").as_str().ends_with(":imgdel:100@r%C3%A4id%2Bx:root@pam:/status"));
    }

    #[test]
    fn users_of_every_realm_are_accepted() {
        for user in ["DOM\\user@ad", "first.last%ext@oidc", "a#b@pve", "who?@ldap", "ö@ad!tok"] {
            let text = format!("UPID:pve1:000001C1:022AEA001:6B0293BE:vzdump:a@b:{user}:");
            let upid = Upid::parse(&text).expect(user);
            assert_eq!((upid.user.as_str(), upid.to_string()), (user, text));
            let segments: Vec<_> = upid.path_to("log").segments().map(|s| s.into_owned()).collect();
            assert_eq!((segments[3].as_str(), segments.len()), (upid.to_string().as_str(), 5));
        }
    }

    #[test]
    fn a_upid_of_a_backup_server_is_named_as_one() {
        let typed = "UPID:pbs:000001C1:00022AEA:00000001:6B0293BE:backup:store\\x3avm-100:root@pam:";
        let error = render_error(&Upid::parse(typed).unwrap_err());
        assert!(error.contains("Proxmox Backup Server"), "{error}");
    }

    #[test]
    fn a_text_that_is_not_a_upid_is_rejected_with_an_example() {
        let long = REAL.replace("100", &"1".repeat(600));
        for typed in [
            "",
            "100",
            "UPID:pve1",
            "UPID:../x:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:",
            "UPID:..:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:",
            "UPID:pve1.lan:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:",
            "UPID:pve1:xyz:00022AEA:6B0293BE:qmstart:100:root@pam:",
            "UPID:pve1:+1C1:00022AEA:6B0293BE:qmstart:100:root@pam:",
            "UPID:pve1:000001C1:00022AEA:6B0293BE::100:root@pam:",
            "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:a/../b:root@pam:",
            "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:x:",
            "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam:/status",
            long.as_str(),
        ] {
            let error = render_error(&Upid::parse(typed).unwrap_err());
            assert!(error.contains("UPID:pve1:000001C1") && error.len() < 400, "{typed}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_a_parsed_upid_parses_again(typed in "UPID(:[a-z0-9.%/ä]{0,9}){0,9}|.{0,80}") {
            if let Ok(upid) = Upid::parse(&typed) {
                prop_assert_eq!(Upid::parse(&upid.to_string()), Ok(upid));
            }
        }
    }
}
