//! A task's name: `UPID:node:pid:pstart:starttime:type:id:user:`, the numbers in hex.

use crate::pve::path::ApiPath;
use std::fmt;
use std::time::SystemTime;

/// Longer than any: a node name, a user with its token, and the name of a file being downloaded.
const MAX_BYTES: usize = 512;

/// The name of a task in its cluster, as Proxmox answers it to a call that starts one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upid {
    text: String,
    path: ApiPath,
    /// The node that does it.
    pub node: String,
    /// Its process there.
    pub pid: u64,
    /// When that process began, in the kernel's ticks since the node booted.
    pub pstart: u64,
    /// When it began: seconds since 1970 by the node's clock.
    pub started_at: u64,
    /// What it does: `qmstart`, `vzdump`, …
    pub kind: String,
    /// What it does it to, as the type has it: a guest's number, a storage, or nothing.
    pub id: String,
    /// Who began it: `root@pam`, or with a token `root@pam!name`.
    pub user: String,
}

impl Upid {
    /// Reads one, also with the quotes of a JSON answer around it or without its last colon. The error is a sentence.
    pub fn parse(typed: &str) -> Result<Self, String> {
        let text = typed.trim().trim_matches('"').trim();
        Self::parse_parts(text).ok_or_else(|| {
            let start: String = text.chars().take(80).flat_map(char::escape_debug).collect();
            format!(
                "`{start}` is not a task's UPID: give the whole text that the call answered, such as \
                 UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:"
            )
        })
    }

    fn parse_parts(text: &str) -> Option<Self> {
        // What a path would read otherwise than as part of one segment is in no UPID.
        let odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '/' | '\\' | '?' | '#' | '%');
        if text.len() > MAX_BYTES || text.contains(odd) {
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
        let (path, _) = ApiPath::parse(&format!("/nodes/{node}/tasks/{text}")).ok()?;
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

    /// Seconds since it began, as far as our clock and the node's agree.
    pub(super) fn age(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        now.as_secs().saturating_sub(self.started_at)
    }

    /// The API's path of one thing about it: `status` or `log`.
    pub fn path_to(&self, what: &'static str) -> ApiPath {
        self.path.join(what)
    }
}

/// At most 12 digits: Proxmox writes 8, and 9 for the ticks of a node that has been up for 16 months.
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
    use proptest::prelude::*;

    const REAL: &str = "UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!admin:";

    #[test]
    fn every_part_is_read_and_the_whole_is_written_as_it_was() {
        let upid = Upid::parse(REAL).unwrap();
        assert_eq!((upid.node.as_str(), upid.pid, upid.pstart, upid.started_at), ("pve1", 449, 142058, 1795331006));
        assert_eq!((upid.kind.as_str(), upid.id.as_str(), upid.user.as_str()), ("qmstart", "100", "root@pam!admin"));
        assert_eq!(upid.to_string(), REAL);
        assert_eq!(upid.path_to("log").as_str(), format!("/nodes/pve1/tasks/{REAL}/log"));
    }

    #[test]
    fn spellings_that_can_only_mean_one_are_taken() {
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
    fn what_is_no_upid_is_refused_with_an_example() {
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
            let why = Upid::parse(typed).unwrap_err();
            assert!(why.contains("UPID:pve1:000001C1") && why.len() < 400, "{typed}: {why}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_again(typed in "UPID(:[a-z0-9.%/ä]{0,9}){0,9}|.{0,80}") {
            if let Ok(upid) = Upid::parse(&typed) {
                prop_assert_eq!(Upid::parse(&upid.to_string()), Ok(upid));
            }
        }
    }
}
