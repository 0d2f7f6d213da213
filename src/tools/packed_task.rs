//! The state in the id of a task. It is packed, since clients limit the length of ids.

use crate::pve::task::Upid;
use ring::digest;

/// Kinds of tasks that are a single byte. Later kinds are added at the end.
const KINDS: [&str; 40] = [
    "vzdump",
    "qmstart",
    "qmstop",
    "qmshutdown",
    "qmreboot",
    "qmreset",
    "qmsuspend",
    "qmresume",
    "qmpause",
    "qmcreate",
    "qmdestroy",
    "qmclone",
    "qmmove",
    "qmtemplate",
    "qmigrate",
    "qmrestore",
    "qmsnapshot",
    "qmdelsnapshot",
    "qmrollback",
    "qmconfig",
    "qmresize",
    "vzstart",
    "vzstop",
    "vzshutdown",
    "vzreboot",
    "vzcreate",
    "vzdestroy",
    "vzclone",
    "vzmigrate",
    "vzrestore",
    "vzsnapshot",
    "vzdelsnapshot",
    "vzrollback",
    "aptupdate",
    "download",
    "imgcopy",
    "imgdel",
    "startall",
    "stopall",
    "migrateall",
];

/// Parts of texts that are a single byte: the control characters from 3 on. The first two are the id and the node of
/// the task. Later parts are added at the end.
const PHRASES: [&str; 10] = [
    " is qemu/",
    " is lxc/",
    " on ",
    ", so it was asked for there",
    "root@pam!",
    "@pam!",
    "@pve!",
    "@pam",
    "@pve",
    "proxmox",
];

/// The bytes of a digest that identify a cluster among those of the configuration.
const DIGEST_BYTES: usize = 4;

/// The content of a state.
#[derive(Debug, PartialEq)]
pub(super) struct PackedTask {
    /// See [`digest_name`].
    pub(super) cluster: [u8; DIGEST_BYTES],
    pub(super) upid: Upid,
    pub(super) notes: Vec<String>,
    /// The client's own call started the task.
    pub(super) is_own: bool,
}

/// Marks the kind of a task that the client's own call started.
const OWN_TASK: u8 = 0x80;

/// Returns the digest of a cluster's name.
pub(super) fn digest_name(name: &str) -> [u8; DIGEST_BYTES] {
    *digest::digest(&digest::SHA256, name.as_bytes()).as_ref().first_chunk().expect("a digest of 32 bytes")
}

/// Packs a task. Returns `None` for a UPID that Proxmox would write in another way, and for a text that is too long or
/// has control characters.
pub(super) fn pack_task(cluster: &str, upid: &Upid, notes: &[String], is_own: bool) -> Option<Vec<u8>> {
    let mut out = digest_name(cluster).to_vec();
    for number in [upid.pid, upid.pstart, upid.started_at] {
        push_number(&mut out, number);
    }
    let kind = KINDS.iter().position(|kind| *kind == upid.kind);
    out.push(kind.map_or(0, |index| index as u8 + 1) | if is_own { OWN_TASK } else { 0 });
    if kind.is_none() {
        push_text(&mut out, &upid.kind, &[])?;
    }
    push_text(&mut out, &upid.id, &[])?;
    push_text(&mut out, &upid.node, &[])?;
    push_text(&mut out, &upid.user, &[])?;
    for note in notes {
        push_text(&mut out, note, &[&upid.id, &upid.node])?;
    }
    unpack_task(&out).filter(|task| task.upid == *upid && task.notes == notes)?;
    Some(out)
}

/// Unpacks a state of [`pack_task`].
pub(super) fn unpack_task(state: &[u8]) -> Option<PackedTask> {
    let (cluster, mut rest) = state.split_first_chunk()?;
    let rest = &mut rest;
    let (pid, pstart, started) = (read_number(rest)?, read_number(rest)?, read_number(rest)?);
    let marked_kind = read_byte(rest)?;
    let kind = match marked_kind & !OWN_TASK {
        0 => read_text(rest, &[])?,
        number => (*KINDS.get(usize::from(number) - 1)?).to_owned(),
    };
    let (id, node, user) = (read_text(rest, &[])?, read_text(rest, &[])?, read_text(rest, &[])?);
    // (PVE: the numbers have at least eight digits.)
    let upid = Upid::parse(&format!("UPID:{node}:{pid:08X}:{pstart:08X}:{started:08X}:{kind}:{id}:{user}:")).ok()?;
    let mut notes = Vec::new();
    while !rest.is_empty() {
        notes.push(read_text(rest, &[&id, &node])?);
    }
    Some(PackedTask { cluster: *cluster, upid, notes, is_own: marked_kind & OWN_TASK != 0 })
}

/// Appends a number in groups of seven bits, the lowest first. All groups but the last have the highest bit.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let byte = read_byte(rest)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Appends the length of a text and its bytes. Phrases become control characters, and so do the `known` texts.
fn push_text(out: &mut Vec<u8>, text: &str, known: &[&str]) -> Option<()> {
    if text.bytes().any(|byte| byte < 0x20) {
        return None;
    }
    let mut short = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let phrases = PHRASES.iter().enumerate().map(|(index, phrase)| (index + 3, *phrase));
        let known = known.iter().enumerate().map(|(index, text)| (index + 1, *text));
        let found = known.chain(phrases).find(|(_, phrase)| phrase.len() > 1 && rest.starts_with(phrase));
        let length = match found {
            Some((code, phrase)) => {
                short.push(code as u8);
                phrase.len()
            }
            None => {
                short.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    out.push(u8::try_from(short.len()).ok()?);
    out.extend_from_slice(&short);
    Some(())
}

fn read_text(rest: &mut &[u8], known: &[&str]) -> Option<String> {
    let length = usize::from(read_byte(rest)?);
    let (short, after) = rest.split_at_checked(length)?;
    *rest = after;
    let mut bytes = Vec::new();
    for byte in short {
        let phrase = match usize::from(*byte) {
            0x20.. => None,
            code @ 3.. => Some(PHRASES.get(code - 3)?),
            code => Some(known.get(code.checked_sub(1)?)?),
        };
        match phrase {
            Some(phrase) => bytes.extend_from_slice(phrase.as_bytes()),
            None => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

fn read_byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::MAX_TASK_STATE_BYTES;
    use proptest::prelude::*;

    fn upid(text: &str) -> Upid {
        Upid::parse(text).expect(text)
    }

    #[test]
    fn packed_task_is_unpacked_and_short() {
        let note = |text: &str| vec![text.to_owned()];
        for (text, notes, longest) in [
            ("UPID:pve1:000001C1:00022AEA:6B0293BE:vzdump:100:root@pam!mcp:", Vec::new(), 40),
            ("UPID:pve1:000001C1:00022AEA:6B0293BE:qmstart:100:root@pam!mcp:", note("web01 is qemu/100 on pve1"), 48),
            (
                "UPID:pve-node-07:0023F1C1:1FEDCBA98:6B0293BE:qmigrate:104217:mcp@pve!proxmox-mcp:",
                note("mail-relay-02 is qemu/104217 on pve-node-07, so it was asked for there"),
                MAX_TASK_STATE_BYTES,
            ),
            ("UPID:pve1:000001C1:00022AEA:6B0293BE:srvreload:networking:root@pam:", Vec::new(), 50),
            ("UPID:pve1:000001C1:00022AEA:6B0293BE:aptupdate::root@pam:", note("größe is lxc/200 on pve2"), 64),
            ("UPID:pve1:00000000:00000000:00000000:vzdump::a:", vec!["one".into(), "two".into(), String::new()], 40),
        ] {
            let state = pack_task("lab", &upid(text), &notes, true).expect(text);
            let task = PackedTask { cluster: digest_name("lab"), upid: upid(text), notes, is_own: true };
            assert_eq!(unpack_task(&state), Some(task));
            assert!(state.len() <= longest, "{text}: {} bytes", state.len());
        }
        assert_ne!(digest_name("lab"), digest_name("prod"));
    }

    #[test]
    fn task_that_would_change_is_not_packed() {
        let plain = upid("UPID:pve1:000001C1:00022AEA:6B0293BE:vzdump:100:root@pam:");
        for text in [
            "UPID:pve1:000001c1:00022AEA:6B0293BE:vzdump:100:root@pam:",
            "UPID:pve1:1C1:00022AEA:6B0293BE:vzdump:100:root@pam:",
            &format!("UPID:pve1:000001C1:00022AEA:6B0293BE:download:{}:root@pam:", "x".repeat(300)),
        ] {
            assert_eq!(pack_task("lab", &upid(text), &[], false), None, "{text}");
        }
        assert_eq!(pack_task("lab", &plain, &["a\nb".into()], false), None);
        assert_eq!(pack_task("lab", &plain, &["x".repeat(256)], false), None);
    }

    proptest! {
        #[test]
        fn no_state_panics_and_an_unpacked_one_packs_again(
            state in prop::collection::vec(any::<u8>(), 0..90),
            cut in 0_usize..60,
        ) {
            let _ = unpack_task(&state);
            let valid = pack_task("lab", &upid("UPID:pve1:000001C1:00022AEA:6B0293BE:vzdump:100:root@pam!mcp:"), &[], false);
            let valid = valid.expect("a state");
            let mixed = [&valid[..cut.min(valid.len())], &state].concat();
            if let Some(task) = unpack_task(&mixed) {
                let again = pack_task("lab", &task.upid, &task.notes, task.is_own);
                prop_assert!(again.is_none_or(|again| unpack_task(&again).is_some_and(|t| t.upid == task.upid)));
            }
        }
    }
}
