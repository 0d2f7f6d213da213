//! Parsers of single fields. Their errors continue a sentence about the field. They do not contain the value, which may be
//! a secret in the wrong field. A suggestion contains only parts that are valid.

use super::cluster::{Endpoint, Fingerprint};
use super::token::decode_hex_32;
use crate::base::hint::Hint;
use crate::sanitize::is_uuid;
use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;

const DEFAULT_PVE_PORT: u16 = 8006;
const MOVE_SECRET: &str = "move it to \"token_secret\"";

/// The reason why a text is not the address of a node.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    #[error("has a scheme other than https")]
    UnsupportedScheme,
    #[error("holds what looks like a token's secret")]
    MisplacedSecret,
    #[error("names a user")]
    ContainsUser,
    #[error("has something after host and port")]
    TrailingPath(Endpoint),
    #[error("would send the token in clear text: http:// is for loopback addresses only")]
    PlaintextRemote(Endpoint),
    #[error("lacks a closing bracket")]
    UnclosedBracket,
    #[error("has no IPv6 address in its brackets")]
    InvalidIpv6,
    #[error("has something between bracket and port")]
    TextAfterBracket,
    #[error("is an IPv6 address without brackets")]
    UnbracketedIpv6(Ipv6Addr),
    #[error("names no host")]
    MissingHost,
    #[error("has a host name that is not ASCII")]
    NonAsciiHost,
    #[error("has no valid host name")]
    InvalidHost,
    #[error("has no valid IPv4 address")]
    InvalidIpv4,
    #[error("has no valid port")]
    InvalidPort,
}

impl Hint for EndpointError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::UnsupportedScheme => "write \"host:port\"".into(),
            Self::MisplacedSecret => MOVE_SECRET.into(),
            Self::ContainsUser => "write only \"host:port\"; the user and the token have fields of their own".into(),
            Self::TrailingPath(endpoint) => format!("write only \"{endpoint}\"").into(),
            Self::PlaintextRemote(endpoint) => format!("write \"{endpoint}\"").into(),
            Self::UnclosedBracket | Self::InvalidIpv6 | Self::TextAfterBracket => "write \"[2001:db8::1]:8006\"".into(),
            Self::UnbracketedIpv6(address) => format!("write \"[{address}]:{DEFAULT_PVE_PORT}\"").into(),
            Self::MissingHost | Self::InvalidHost => "write \"host:port\", such as \"pve1.example:8006\"".into(),
            Self::NonAsciiHost => "write its xn-- form".into(),
            Self::InvalidIpv4 => "write four numbers from 0 to 255, such as \"192.0.2.10:8006\"".into(),
            Self::InvalidPort => {
                format!("write a number from 1 to 65535 after the colon; Proxmox has {DEFAULT_PVE_PORT}").into()
            }
        })
    }
}

/// Parses the address of a node: `host`, `host:port`, `[::1]:8006`. A leading `https://` and a trailing `/` are ignored.
/// `http://` is accepted for loopback addresses.
pub fn parse_endpoint(text: &str) -> Result<Endpoint, EndpointError> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let https = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err(EndpointError::UnsupportedScheme),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if is_uuid(rest.as_bytes()) {
        return Err(EndpointError::MisplacedSecret);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(EndpointError::ContainsUser);
    }
    let (host, port) = parse_authority(authority)?;
    let endpoint = Endpoint { https, host, port };
    if !path.is_empty() {
        return Err(EndpointError::TrailingPath(endpoint));
    }
    if !https && !is_loopback_host(&endpoint.host) {
        return Err(EndpointError::PlaintextRemote(endpoint));
    }
    Ok(endpoint)
}

fn parse_authority(authority: &str) -> Result<(String, u16), EndpointError> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']').ok_or(EndpointError::UnclosedBracket)?;
        let host: Ipv6Addr = host.parse().map_err(|_| EndpointError::InvalidIpv6)?;
        let port = match port.strip_prefix(':') {
            Some(port) => parse_port(port)?,
            None if port.is_empty() => DEFAULT_PVE_PORT,
            None => return Err(EndpointError::TextAfterBracket),
        };
        return Ok((host.to_string(), port));
    }
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Err(EndpointError::UnbracketedIpv6(address));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, parse_port(port)?),
        None => (authority, DEFAULT_PVE_PORT),
    };
    if host.is_empty() {
        return Err(EndpointError::MissingHost);
    }
    if !host.is_ascii() {
        return Err(EndpointError::NonAsciiHost);
    }
    let is_label =
        |l: &str| (1..=63).contains(&l.len()) && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err(EndpointError::InvalidHost);
    }
    // No top-level domain is a number, so this is a mistyped address such as 192.168.1.300.
    let is_number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if is_number && host.parse::<Ipv4Addr>().is_err() {
        return Err(EndpointError::InvalidIpv4);
    }
    Ok((host.to_owned(), port))
}

fn parse_port(text: &str) -> Result<u16, EndpointError> {
    match text.parse() {
        // `parse` accepts "+8006" too.
        Ok(port) if port > 0 && !text.starts_with('+') => Ok(port),
        _ => Err(EndpointError::InvalidPort),
    }
}

/// Returns whether a host, without brackets, is this machine.
pub fn is_loopback_host(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

/// The reason why a text is not a Proxmox user.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum UserError {
    #[error("holds what looks like a token's secret")]
    MisplacedSecret,
    #[error("holds a token's name too")]
    ContainsToken { parts: Option<UserAndToken> },
    #[error("lacks the realm")]
    MissingRealm,
    #[error("is no Proxmox user")]
    Invalid,
}

/// The valid parts of `user@realm!token`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UserAndToken {
    user: String,
    token_id: String,
}

impl Hint for UserError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::MisplacedSecret => MOVE_SECRET.into(),
            Self::ContainsToken { parts: Some(UserAndToken { user, token_id }) } => {
                format!("write \"{user}\" here and \"{token_id}\" in \"token_id\"").into()
            }
            Self::ContainsToken { parts: None } => "write only the part before the \"!\"".into(),
            Self::MissingRealm => "write user@realm as Proxmox shows it, such as \"mcp@pve\" or \"root@pam\"".into(),
            Self::Invalid => "write user@realm, such as \"mcp@pve\", without spaces, : or /".into(),
        })
    }
}

/// Parses `user@realm`. As in Proxmox, the realm starts after the last `@`.
pub(super) fn parse_user(text: &str) -> Result<String, UserError> {
    if is_uuid(text.as_bytes()) {
        return Err(UserError::MisplacedSecret);
    }
    if let Some((user, token)) = split_token_id(text) {
        let token_id = token.filter(|_| is_valid_user(user) && !user.contains('='));
        return Err(UserError::ContainsToken {
            parts: token_id.map(|token_id| UserAndToken { user: user.to_owned(), token_id }),
        });
    }
    if !text.contains('@') {
        return Err(UserError::MissingRealm);
    }
    if !is_valid_user(text) {
        return Err(UserError::Invalid);
    }
    Ok(text.to_owned())
}

/// The reason why a text is not the name of an API token.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum TokenIdError {
    #[error("holds what looks like a token's secret")]
    MisplacedSecret,
    #[error("holds more than the token's name")]
    ContainsMore { token_id: Option<String> },
    #[error("is no token's name")]
    Invalid,
}

impl Hint for TokenIdError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::MisplacedSecret => MOVE_SECRET.into(),
            Self::ContainsMore { token_id: Some(token_id) } => format!("write only \"{token_id}\"").into(),
            Self::ContainsMore { token_id: None } => "write only the part after the \"!\"".into(),
            Self::Invalid => "write letters, digits, \".\", \"_\" and \"-\" only".into(),
        })
    }
}

/// Parses the name of an API token, without its user.
pub(super) fn parse_token_id(text: &str) -> Result<String, TokenIdError> {
    if is_uuid(text.as_bytes()) {
        return Err(TokenIdError::MisplacedSecret);
    }
    if let Some((_, token_id)) = split_token_id(text) {
        return Err(TokenIdError::ContainsMore { token_id });
    }
    if !is_valid_token_id(text) {
        return Err(TokenIdError::Invalid);
    }
    Ok(text.to_owned())
}

/// Splits `user!token=secret` into the user and the token's name if that is valid.
fn split_token_id(text: &str) -> Option<(&str, Option<String>)> {
    let (user, token) = text.split_once('!')?;
    let token_id = token.split_once('=').map_or(token, |(token_id, _)| token_id);
    Some((user, is_valid_token_id(token_id).then(|| token_id.to_owned())))
}

/// The reason why a text is not the secret of an API token.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum SecretFormatError {
    #[error("has a space, a line break or another character that no token's secret has")]
    InvalidCharacter,
    #[error("holds more than the secret")]
    ContainsMore,
}

impl Hint for SecretFormatError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::InvalidCharacter => "copy it again",
            Self::ContainsMore => "write only the part after the \"=\"",
        }))
    }
}

/// Checks the secret of an API token: it can be sent in a header and does not contain the token's name.
pub(super) fn check_secret(text: &str) -> Result<(), SecretFormatError> {
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(SecretFormatError::InvalidCharacter);
    }
    if text.contains('!') && text.contains('=') {
        return Err(SecretFormatError::ContainsMore);
    }
    Ok(())
}

/// The reason why a text is not the fingerprint of a certificate.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FingerprintError {
    #[error("is no SHA-256 fingerprint")]
    Invalid,
    #[error("looks like a SHA-1 fingerprint")]
    Sha1,
}

impl Hint for FingerprintError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::Invalid => "write the 32 hex pairs that `pvenode cert info` prints on the node",
            Self::Sha1 => "write the SHA-256 one, 32 hex pairs",
        }))
    }
}

/// Parses 32 hex pairs with or without colons, as Proxmox and openssl print them.
pub fn parse_fingerprint(text: &str) -> Result<Fingerprint, FingerprintError> {
    let mut digits = text.to_owned();
    if text.contains(':') {
        if text.split(':').any(|pair| pair.len() != 2) {
            return Err(FingerprintError::Invalid);
        }
        digits.retain(|c| c != ':');
    }
    if digits.len() == 40 {
        return Err(FingerprintError::Sha1);
    }
    decode_hex_32(digits.as_bytes()).map(Fingerprint).ok_or(FingerprintError::Invalid)
}

/// Returns whether a cluster or client may have this name. Such a name is easy to write in a call and needs no escape in
/// any text.
pub fn is_valid_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && is_plain_word(text)
}

fn is_valid_user(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(name, realm)| {
        let is_allowed = |b: u8| b.is_ascii_graphic() && !b":/!".contains(&b);
        !name.is_empty() && name.bytes().all(is_allowed) && is_plain_word(realm) && !is_uuid(name.as_bytes())
    })
}

fn is_valid_token_id(text: &str) -> bool {
    is_plain_word(text) && !is_uuid(text.as_bytes())
}

fn is_plain_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use std::fmt::Debug;

    /// Returns the rendered error of a parser.
    fn error_of<T: Debug, E: Hint>(result: Result<T, E>) -> String {
        render_error(&result.expect_err("an error"))
    }

    #[test]
    fn addresses_are_read_in_every_tolerated_form() {
        for (text, expected) in [
            ("pve1", "pve1:8006"),
            ("pve1.example:443", "pve1.example:443"),
            ("192.0.2.10", "192.0.2.10:8006"),
            ("https://pve1.example:8006/", "pve1.example:8006"),
            ("HTTPS://pve1/", "pve1:8006"),
            ("[::1]:8007", "[::1]:8007"),
            ("[2001:DB8::1]", "[2001:db8::1]:8006"),
        ] {
            let endpoint = parse_endpoint(text).expect(text);
            assert_eq!((endpoint.to_string().as_str(), endpoint.https), (expected, true), "{text}");
        }
        for text in ["http://127.0.0.1:80", "http://127.9.9.9", "http://[::1]:80", "http://LocalHost:80/"] {
            assert!(!parse_endpoint(text).expect(text).https);
        }
    }

    #[test]
    fn the_error_of_an_invalid_address_names_the_right_form() {
        for (text, expected) in [
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
            let error = error_of(parse_endpoint(text));
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn users_and_tokens_are_distinguished() {
        assert_eq!(parse_user("mcp@pve").as_deref(), Ok("mcp@pve"));
        assert_eq!(parse_user("j.doe@corp.example@ad").as_deref(), Ok("j.doe@corp.example@ad"));
        assert!(error_of(parse_user("mcp@pve!ro")).contains("write \"mcp@pve\" here and \"ro\" in"));
        assert_eq!(parse_user("root"), Err(UserError::MissingRealm));
        for bad in ["@pve", "mcp@", "m c@pve", "mcp@pve\n", "mcp@pve=s3cret", "mçp@pve", "a/b@pve"] {
            assert_eq!(parse_user(bad), Err(UserError::Invalid), "{bad}");
        }
        assert_eq!(parse_token_id("ro-1.x_Y").as_deref(), Ok("ro-1.x_Y"));
        assert!(error_of(parse_token_id("mcp@pve!ro")).contains("write only \"ro\""));
        assert_eq!(parse_token_id("ro=s3cret"), Err(TokenIdError::Invalid));
    }

    #[test]
    fn a_secret_in_the_wrong_field_is_not_repeated() {
        const SECRET: &str = "0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b";
        for text in [SECRET.to_owned(), format!("mcp@pve!ro={SECRET}"), format!("mcp@pve!{SECRET}")] {
            for error in [error_of(parse_user(&text)), error_of(parse_token_id(&text))] {
                assert!(!error.contains(SECRET), "{error}");
            }
        }
        for text in [SECRET.to_owned(), format!("https://mcp:{SECRET}@pve1"), format!("pve1:8006/?token={SECRET}")] {
            let error = error_of(parse_endpoint(&text));
            assert!(!error.contains(SECRET), "{error}");
        }
        assert!(error_of(check_secret(&format!("mcp@pve!ro={SECRET}"))).contains("after the \"=\""));
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
            assert!(error_of(parse_fingerprint(bad)).contains("32 hex pairs"), "{bad}");
        }
        assert_eq!(parse_fingerprint(&"ab".repeat(20)), Err(FingerprintError::Sha1));
    }
}
