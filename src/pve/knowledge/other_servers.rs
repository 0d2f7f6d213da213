//! Servers that are not Proxmox VE and answer at an address of clusters.json, and the signs by which they are recognized.

use self::Sign::{Authentication, Greeting, MissingPath, Name};

/// Server that is not Proxmox VE.
#[derive(Debug, PartialEq, Eq)]
pub struct OtherServer {
    /// With its article.
    pub name: &'static str,
    /// The next step for the operator.
    pub hint: &'static str,
}

/// Sign of a server in what it sends.
enum Sign {
    /// The title of its page, a message or its certificate names the product.
    Name(&'static str),
    /// It rejects a request without credentials of its own kind with this start.
    Authentication(&'static str),
    /// It answers an unknown path with this start and end.
    MissingPath(&'static str, &'static str),
    /// It sends this before or in place of an HTTP answer.
    Greeting(&'static str),
}

const ADDRESS: &str = "put the address of a Proxmox VE node (port 8006) into clusters.json";
const BACKUP_ADDRESS: &str = "put the address of a Proxmox VE node (port 8006) into clusters.json: a node that uses the backup server \
                              shows it as a storage (GET /storage)";
const PORT: &str = "correct the port in clusters.json: Proxmox VE's API listens on 8006";

/// The first sign that matches counts.
#[rustfmt::skip]
static SERVERS: &[(Sign, OtherServer)] = &[
    (Name("Proxmox Backup Server"), OtherServer { name: "a Proxmox Backup Server", hint: BACKUP_ADDRESS }),
    (Name("Proxmox Mail Gateway"), OtherServer { name: "a Proxmox Mail Gateway", hint: ADDRESS }),
    (Name("Proxmox Datacenter Manager"), OtherServer { name: "a Proxmox Datacenter Manager", hint: ADDRESS }),
    // (Proxmox's servers in Rust: Proxmox VE has no such texts.)
    (Authentication("authentication failed - "), OtherServer { name: "a Proxmox Backup Server or Datacenter Manager", hint: BACKUP_ADDRESS }),
    (MissingPath("Path '", "not found."), OtherServer { name: "a Proxmox Backup Server or Datacenter Manager", hint: BACKUP_ADDRESS }),
    (Name("VMware ESX"), OtherServer { name: "a VMware ESXi host", hint: ADDRESS }),
    (Name("FRITZ!Box"), OtherServer { name: "a router (FRITZ!Box)", hint: ADDRESS }),
    (Name("OpenWrt"), OtherServer { name: "a router (OpenWrt)", hint: ADDRESS }),
    (Name("LuCI"), OtherServer { name: "a router (OpenWrt)", hint: ADDRESS }),
    (Name("RouterOS"), OtherServer { name: "a router (MikroTik)", hint: ADDRESS }),
    (Name("pfSense"), OtherServer { name: "a firewall (pfSense)", hint: ADDRESS }),
    (Name("OPNsense"), OtherServer { name: "a firewall (OPNsense)", hint: ADDRESS }),
    (Name("Synology"), OtherServer { name: "a network storage (Synology)", hint: ADDRESS }),
    (Name("TrueNAS"), OtherServer { name: "a network storage (TrueNAS)", hint: ADDRESS }),
    (Greeting("SSH-"), OtherServer { name: "an SSH server", hint: PORT }),
    (Greeting("220 "), OtherServer { name: "a mail or FTP server", hint: PORT }),
    (Greeting("220-"), OtherServer { name: "a mail or FTP server", hint: PORT }),
    (Greeting("* OK"), OtherServer { name: "a mail server (IMAP)", hint: PORT }),
    (Greeting("+OK"), OtherServer { name: "a mail server (POP3)", hint: PORT }),
    (Greeting("RFB "), OtherServer { name: "a VNC server", hint: PORT }),
    (Greeting("-ERR "), OtherServer { name: "a database (Redis)", hint: PORT }),
    (Greeting("-DENIED"), OtherServer { name: "a database (Redis)", hint: PORT }),
];

/// Ports of Proxmox's other products.
static PORTS: [(&str, &str); 2] = [
    (":8007", "8007 is the port of Proxmox Backup Server: Proxmox VE's API listens on 8006"),
    (":8443", "8443 is the port of Proxmox Datacenter Manager: Proxmox VE's API listens on 8006"),
];

fn find(is_sign: impl Fn(&Sign) -> bool) -> Option<&'static OtherServer> {
    SERVERS.iter().find(|(sign, _)| is_sign(sign)).map(|(_, server)| server)
}

/// Recognizes the server whose error answer has this text.
pub(in crate::pve) fn recognize_refusal(status: u16, text: &str) -> Option<&'static OtherServer> {
    let text = text.trim();
    find(|sign| match sign {
        Authentication(start) => status == 401 && text.starts_with(start),
        MissingPath(start, end) => status == 404 && text.starts_with(start) && text.ends_with(end),
        Name(_) | Greeting(_) => false,
    })
}

/// Recognizes the server that a title or a certificate names.
pub(in crate::pve) fn recognize_name(text: &[u8]) -> Option<&'static OtherServer> {
    find(|sign| matches!(sign, Name(name) if text.windows(name.len()).any(|part| part == name.as_bytes())))
}

/// Recognizes the server that sends these bytes first.
pub(in crate::pve) fn recognize_greeting(bytes: &str) -> Option<&'static OtherServer> {
    find(|sign| matches!(sign, Greeting(start) if bytes.starts_with(start)))
}

/// Recognizes Proxmox Backup Server by its answer to `/version`. (PBS: `release` is a plain number there.)
pub fn recognize_version(release: &str) -> Option<&'static OtherServer> {
    let is_plain = !release.is_empty() && release.bytes().all(|b| b.is_ascii_digit());
    recognize_name(b"Proxmox Backup Server").filter(|_| is_plain)
}

/// Returns the note on a port of another product, for the address of a node that can't be used.
pub(in crate::pve) fn describe_port(address: &str) -> Option<&'static str> {
    PORTS.iter().find(|(port, _)| address.ends_with(port)).map(|(_, note)| *note)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(server: Option<&OtherServer>) -> &str {
        server.map_or("", |server| server.name)
    }

    #[test]
    fn servers_are_recognized_by_what_they_send() {
        let missing = "Path '/api2/json/nope' not found.";
        for (status, text, expected) in [
            (401, "authentication failed - no authentication credentials provided.", "Backup Server"),
            (401, "authentication failure", ""),
            (404, missing, "Backup Server"),
            (500, missing, ""),
        ] {
            let found = name(recognize_refusal(status, text));
            assert!(found.contains(expected) && found.is_empty() == expected.is_empty(), "{text}: {found}");
        }
        assert!(name(recognize_name(b"mail - Proxmox Mail Gateway")).contains("Mail Gateway"));
        assert_eq!(recognize_name(b"pve1 - Proxmox Virtual Environment"), None);
        assert!(name(recognize_greeting("SSH-2.0-OpenSSH_9.6")).contains("SSH"));
        assert_eq!(recognize_greeting("HTTP/1.1 200"), None);
        assert!(
            recognize_version("7").is_some() && recognize_version("9.2").is_none() && recognize_version("").is_none()
        );
        assert!(describe_port("backup:8007").is_some() && describe_port("pve1:8006").is_none());
    }
}
