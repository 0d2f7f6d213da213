//! The texts of single fields: what each may be, and what to write instead. Every error continues the sentence
//! `field "url": …`. None of them shows what it was given, for that may be a secret in the wrong place; a suggestion
//! shows only parts that are what they should be.

use super::{Endpoint, Fingerprint};
use crate::sanitize::{TOKEN_PREFIX, find_uuid, is_uuid};
use std::net::{Ipv4Addr, Ipv6Addr};

const DEFAULT_PVE_PORT: u16 = 8006;
const MISPLACED_SECRET: &str = "holds what looks like a token's secret: that belongs in \"token_secret\"";

/// A node's address: `host`, `host:port`, `[::1]:8006`; a leading `https://` and a trailing `/` are tolerated, and
/// `http://` where it stays on this machine.
pub(super) fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err("has a scheme other than https: write \"host:port\"".into()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if looks_like_uuid(rest) {
        return Err(MISPLACED_SECRET.into());
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err("names a user: write only \"host:port\"; the user and the token have fields of their own".into());
    }
    let (host, port) = parse_authority(authority)?;
    let endpoint = Endpoint { https, host, port };
    if !path.is_empty() {
        return Err(format!("has something after host and port: write only \"{endpoint}\""));
    }
    if !https && !is_loopback(&endpoint.host) {
        return Err(format!(
            "would send the token in clear text: http:// is for loopback addresses only, write \"{endpoint}\""
        ));
    }
    Ok(endpoint)
}

fn parse_authority(authority: &str) -> Result<(String, u16), String> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']').ok_or("lacks a closing bracket: write \"[2001:db8::1]:8006\"")?;
        let host: Ipv6Addr = host.parse().map_err(|_| "has no IPv6 address in its brackets")?;
        let port = match port.strip_prefix(':') {
            Some(port) => self::parse_port(port)?,
            None if port.is_empty() => DEFAULT_PVE_PORT,
            None => return Err("has something between bracket and port: write \"[2001:db8::1]:8006\"".into()),
        };
        return Ok((host.to_string(), port));
    }
    if let Ok(bare) = authority.parse::<Ipv6Addr>() {
        return Err(format!("is an IPv6 address without brackets: write \"[{bare}]:{DEFAULT_PVE_PORT}\""));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, self::parse_port(port)?),
        None => (authority, DEFAULT_PVE_PORT),
    };
    if host.is_empty() {
        return Err("names no host: write \"host:port\", such as \"pve1.example:8006\"".into());
    }
    if !host.is_ascii() {
        return Err("has a host name that is not ASCII: write its xn-- form".into());
    }
    let label =
        |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if host.len() > 253 || !host.split('.').all(label) {
        return Err("has no valid host name: write \"host:port\", such as \"pve1.example:8006\"".into());
    }
    // No top-level domain is a number, so that this can only be a mistyped address (192.168.1.300).
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_err() {
        return Err("has no valid IPv4 address: write four numbers from 0 to 255, such as \"192.0.2.10:8006\"".into());
    }
    Ok((host.to_owned(), port))
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        // `parse` also takes "+8006".
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(format!(
            "has no valid port: write a number from 1 to 65535 after the colon; Proxmox has {DEFAULT_PVE_PORT}"
        )),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// `user@realm`, as Proxmox has it: the realm starts after the last `@`.
pub(super) fn parse_user(text: &str) -> Result<String, String> {
    if looks_like_uuid(text) {
        return Err(MISPLACED_SECRET.into());
    }
    if let Some((user, token)) = text.split_once('!') {
        let token = token.split('=').next().unwrap_or_default();
        return Err(if is_valid_user(user) && !user.contains('=') && is_valid_token_id(token) {
            format!("holds a token's name too: write \"{user}\" here and \"{token}\" in \"token_id\"")
        } else {
            "holds a token's name too: write only what stands before the \"!\"".into()
        });
    }
    if !text.contains('@') {
        return Err("lacks the realm: write user@realm as Proxmox shows it, such as \"mcp@pve\" or \"root@pam\"".into());
    }
    if !is_valid_user(text) {
        return Err("is no Proxmox user: write user@realm, such as \"mcp@pve\", without spaces, : or /".into());
    }
    Ok(text.to_owned())
}

/// The token's name alone, without the user before it.
pub(super) fn parse_token_id(text: &str) -> Result<String, String> {
    if looks_like_uuid(text) {
        return Err(MISPLACED_SECRET.into());
    }
    if let Some((_, token)) = text.split_once('!') {
        let token = token.split('=').next().unwrap_or_default();
        return Err(if is_valid_token_id(token) {
            format!("holds more than the token's name: write only \"{token}\"")
        } else {
            "holds more than the token's name: write only what stands after the \"!\"".into()
        });
    }
    if !is_valid_token_id(text) {
        return Err("is no token's name: write letters, digits, \".\", \"_\" and \"-\" only".into());
    }
    Ok(text.to_owned())
}

/// The token's secret: anything that can stand in a header and is not obviously more than the secret.
pub(super) fn check_secret(text: &str) -> Result<(), String> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("has a space, a line break or another character that no token's secret has: copy it again".into());
    }
    if text.contains('!') && text.contains('=') {
        return Err("holds more than the secret: write only what stands after the \"=\"".into());
    }
    Ok(())
}

/// 32 hex pairs with or without colons, as Proxmox and openssl print them.
pub(super) fn parse_fingerprint(text: &str) -> Result<Fingerprint, String> {
    const WRONG: &str = "is no SHA-256 fingerprint: write the 32 hex pairs that `pvenode cert info` prints on the node";
    let digits: Vec<u8> = if text.contains(':') {
        let pairs: Vec<&str> = text.split(':').collect();
        if pairs.iter().any(|pair| pair.len() != 2) {
            return Err(WRONG.into());
        }
        pairs.concat().into_bytes()
    } else {
        text.as_bytes().to_vec()
    };
    if digits.len() == 40 {
        return Err("looks like a SHA-1 fingerprint: write the SHA-256 one, 32 hex pairs".into());
    }
    decode_hex_32(&digits).map(Fingerprint).ok_or_else(|| WRONG.into())
}

/// 64 hex digits as the bytes they stand for.
pub(super) fn decode_hex_32(digits: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        let [high, low] = pair else { return None };
        *byte = (value(high)? * 16 + value(low)?) as u8;
    }
    Some(bytes)
}

/// A cluster's or a client's name: what is easy to type in a call and harmless in every text that shows it.
pub(super) fn is_valid_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && is_plain_word(text)
}

fn is_valid_user(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(name, realm)| {
        let allowed = |b: u8| b.is_ascii_graphic() && !b":/!".contains(&b);
        !name.is_empty() && name.bytes().all(allowed) && is_plain_word(realm) && !looks_like_uuid(name)
    })
}

fn is_valid_token_id(text: &str) -> bool {
    is_plain_word(text) && !looks_like_uuid(text)
}

fn is_plain_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// Whether it may be a secret: one of Proxmox's, or a client's token.
pub(super) fn looks_like_secret(text: &str) -> bool {
    looks_like_uuid(text) || text.starts_with(TOKEN_PREFIX)
}

/// Whether a secret stands in it, whatever is around it.
pub(super) fn contains_secret(text: &str) -> bool {
    find_uuid(text).is_some() || text.contains(TOKEN_PREFIX)
}

/// Every secret that Proxmox makes for a token is a UUID.
fn looks_like_uuid(text: &str) -> bool {
    is_uuid(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_tolerated_form() {
        for (text, shown) in [
            ("pve1", "pve1:8006"),
            ("pve1.example:443", "pve1.example:443"),
            ("192.0.2.10", "192.0.2.10:8006"),
            ("https://pve1.example:8006/", "pve1.example:8006"),
            ("HTTPS://pve1/", "pve1:8006"),
            ("[::1]:8007", "[::1]:8007"),
            ("[2001:DB8::1]", "[2001:db8::1]:8006"),
        ] {
            let endpoint = parse_endpoint(text).expect(text);
            assert_eq!((endpoint.to_string().as_str(), endpoint.https), (shown, true), "{text}");
        }
        for text in ["http://127.0.0.1:80", "http://127.9.9.9", "http://[::1]:80", "http://LocalHost:80/"] {
            assert!(!parse_endpoint(text).expect(text).https);
        }
    }

    #[test]
    fn other_addresses_are_told_what_to_write() {
        for (text, told) in [
            ("2001:db8::1", "write \"[2001:db8::1]:8006\""),
            ("[2001:db8::1", "closing bracket"),
            ("[pve1]:8006", "no IPv6 address"),
            ("[::1]8006", "between bracket and port"),
            ("[fe80::1%eth0]", "no IPv6 address"),
            ("pve1:0", "from 1 to 65535"),
            ("pve1:65536", "from 1 to 65535"),
            ("pve1:", "from 1 to 65535"),
            ("pve1:+1", "from 1 to 65535"),
            ("pve1:8006:8006", "from 1 to 65535"),
            ("https://pve1:8006/api2/json", "write only \"pve1:8006\""),
            ("pve1/#v1:0:18", "write only \"pve1:8006\""),
            ("pve1?x", "write only \"pve1:8006\""),
            ("pve1//", "write only \"pve1:8006\""),
            ("https://root@pve1:8006", "names a user"),
            ("ftp://pve1", "scheme"),
            ("http://pve1:8006", "in clear text"),
            ("http://127.0.0.1.example", "in clear text"),
            ("https://", "names no host"),
            (":8006", "names no host"),
            ("pve 1", "no valid host name"),
            ("pve1.", "no valid host name"),
            ("pve1\n", "no valid host name"),
            ("192.168.1.300", "IPv4"),
            ("192.168.1", "IPv4"),
            ("pvé1", "xn--"),
        ] {
            let error = parse_endpoint(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn users_and_tokens_are_told_apart() {
        assert_eq!(parse_user("mcp@pve").as_deref(), Ok("mcp@pve"));
        assert_eq!(parse_user("j.doe@corp.example@ad").as_deref(), Ok("j.doe@corp.example@ad"));
        assert!(parse_user("mcp@pve!ro").is_err_and(|e| e.contains("write \"mcp@pve\" here and \"ro\" in")));
        assert!(parse_user("root").is_err_and(|e| e.contains("lacks the realm")));
        for bad in ["@pve", "mcp@", "m c@pve", "mcp@pve\n", "mcp@pve=s3cret", "mçp@pve", "a/b@pve"] {
            assert!(parse_user(bad).is_err_and(|e| e.contains("is no Proxmox user")), "{bad}");
        }
        assert_eq!(parse_token_id("ro-1.x_Y").as_deref(), Ok("ro-1.x_Y"));
        assert!(parse_token_id("mcp@pve!ro").is_err_and(|e| e.contains("write only \"ro\"")));
        assert!(parse_token_id("ro=s3cret").is_err_and(|e| e.contains("no token's name") && !e.contains("s3cret")));
    }

    #[test]
    fn a_secret_in_the_wrong_field_is_not_repeated() {
        const SECRET: &str = "0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b";
        for text in [SECRET.to_owned(), format!("mcp@pve!ro={SECRET}"), format!("mcp@pve!{SECRET}")] {
            for error in [parse_user(&text).err(), parse_token_id(&text).err()] {
                let error = error.expect(&text);
                assert!(!error.contains(SECRET), "{error}");
            }
        }
        for text in [SECRET.to_owned(), format!("https://mcp:{SECRET}@pve1"), format!("pve1:8006/?token={SECRET}")] {
            let error = parse_endpoint(&text).expect_err(&text);
            assert!(!error.contains(SECRET), "{error}");
        }
        assert!(check_secret(&format!("mcp@pve!ro={SECRET}")).is_err_and(|e| e.contains("after the \"=\"")));
        assert!(check_secret("two words").is_err() && check_secret("line\n").is_err() && check_secret(SECRET).is_ok());
    }

    #[test]
    fn fingerprints_are_read_in_any_case() {
        let pairs: Vec<String> = (0..32).map(|i| format!("{:02X}", i * 8 + 7)).collect();
        let proxmox = pairs.join(":");
        let read = parse_fingerprint(&proxmox).expect("colons");
        assert_eq!(read.to_string(), proxmox);
        assert_eq!(parse_fingerprint(&pairs.concat().to_lowercase()), Ok(read));
        for bad in [&proxmox[..93], "zz", &"g".repeat(64), &pairs[..31].join(":"), &format!("+{}", "a".repeat(63))] {
            assert!(parse_fingerprint(bad).is_err_and(|e| e.contains("32 hex pairs")), "{bad}");
        }
        assert!(parse_fingerprint(&"ab".repeat(20)).is_err_and(|e| e.contains("SHA-1")));
    }
}
