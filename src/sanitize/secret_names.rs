//! The names of secrets in Proxmox's API and in the configuration files that texts quote.

use WordClass::{Always, IfAssigned, IfRandom, NotSecret, WholeLine};

/// Meaning of a name in plain text for the value after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WordClass {
    /// The value is not secret.
    NotSecret,
    /// The value is secret: `password`.
    Always,
    /// The value is secret after `=` (`token=…`). In a sentence it must look random.
    IfAssigned,
    /// The value is secret if it looks random: `key`.
    IfRandom,
    /// The rest of the line is secret: an HTTP header.
    WholeLine,
}

/// A name of secrets, or the end of such names.
struct SecretName {
    /// In normalized form, see [`NormalizedName`].
    text: &'static str,
    is_suffix: bool,
    /// A parameter of the API with this name is secret.
    in_parameters: bool,
    /// A field of an API response with this name is secret.
    in_fields: bool,
    in_text: WordClass,
}

const fn suffix(text: &'static str, in_text: WordClass) -> SecretName {
    SecretName { text, is_suffix: true, in_parameters: true, in_fields: true, in_text }
}

const fn name(text: &'static str, in_text: WordClass) -> SecretName {
    SecretName { is_suffix: false, ..suffix(text, in_text) }
}

const fn parameter(text: &'static str, in_text: WordClass) -> SecretName {
    SecretName { in_fields: false, ..name(text, in_text) }
}

const SECRET_NAMES: [SecretName; 45] = [
    // Logins, `cipassword` (cloud-init), `confirmation-password`, SMTP, CIFS and PBS storages, the console password of
    // a SPICE response.
    suffix("password", Always),
    suffix("passwd", Always),
    suffix("passphrase", Always),
    // Of a webhook, of an OpenID client, of an API token.
    suffix("secret", Always),
    // The header of a request.
    suffix("auth-token", Always),
    // `CSRFPreventionToken`, gotify, InfluxDB, IPAM. The name of an API token is `tokenid`.
    suffix("token", IfAssigned),
    // A login, `vncticket`. The cookie PVEAuthCookie holds a ticket.
    suffix("ticket", IfAssigned),
    suffix("cookie", IfAssigned),
    // `client-key` (OpenID), `eab-hmac-key` (ACME), `encryption-key` (PBS, in a response if Proxmox created the key),
    // The header of a request.
    suffix("api-key", Always),
    // and `api_key` and `private-key` of plugins.
    suffix("-key", IfAssigned),
    suffix("apikey", Always),
    suffix("privatekey", Always),
    suffix("secretkey", Always),
    suffix("accesskey", Always),
    suffix("presharedkey", Always),
    suffix("authkey", Always),
    suffix("authorization", WholeLine),
    // Environment variables of programs in containers.
    suffix("-pass", Always),
    suffix("-pwd", Always),
    suffix("-key-base", Always),
    // The second factor, and the keys of a user for it.
    name("otp", IfAssigned),
    name("totp", NotSecret),
    name("recovery", NotSecret),
    name("challenge", NotSecret),
    name("keys", NotSecret),
    // Of Ceph.
    name("keyring", IfAssigned),
    // Of a webhook and of a metric server, with their logins.
    name("header", NotSecret),
    name("otel-headers", NotSecret),
    // The environment of a container, where images expect passwords.
    name("env", NotSecret),
    name("environment", NotSecret),
    SecretName { in_parameters: false, ..name("lxc.environment", NotSecret) },
    // The command of a container, which may have secrets among its arguments.
    SecretName { in_parameters: false, ..name("entrypoint", NotSecret) },
    SecretName { in_parameters: false, ..name("lxc.init.cmd", NotSecret) },
    // Of a wireless network, of a tunnel.
    suffix("psk", Always),
    // The process of a VM may have secrets among its arguments. As a parameter they are shown, because a person who
    // confirms a call must see them.
    SecretName { in_parameters: false, ..name("args", NotSecret) },
    SecretName { in_parameters: false, in_fields: false, ..name("pass", IfAssigned) },
    // Of a certificate, a DNS server, a subscription, and the key to press. In a response see [`FieldClass::Key`].
    parameter("key", IfRandom),
    // The credentials of an ACME plugin.
    parameter("data", NotSecret),
    // The response to a second factor.
    parameter("value", NotSecret),
    // Of an OpenID login.
    parameter("code", NotSecret),
    // A login that still lacks the second factor.
    parameter("tfa-challenge", NotSecret),
    // The content of a file in a guest (and the kinds of content of a storage), and the input of a program in it.
    parameter("content", NotSecret),
    parameter("input-data", NotSecret),
    // May hold a login, and the API token of the other cluster.
    parameter("http-proxy", NotSecret),
    parameter("target-endpoint", NotSecret),
];

/// The ends of names that look like secrets and are not.
///
/// - `generate-password` is a switch. `lock-token` tells which client may change the network (SDN) and grants no right.
/// - The other keys are public. (`master-pubkey`, `sshkeys` and `ssh-public-keys` do not end like a secret.)
const HARMLESS_SUFFIXES: [&str; 6] =
    ["generate-password", "lock-token", "public-key", "pub-key", "ssh-key", "host-key"];

/// The longest name that is read. Of a longer name, its end is read.
pub(super) const MAX_NAME_LEN: usize = 40;

/// Meaning of the name of a field in an API response for its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldClass {
    Plain,
    Secret,
    /// `key`: the API key of a DNS server, or the name of an option.
    Key,
    /// `value`: the secret of a new API token, or the value of an option.
    Value,
    /// `data`: the credentials of an ACME plugin, or anything else.
    Data,
    /// `body`: the base64 of what a webhook sends, or any other text.
    Encoded,
    /// `t`: a line of a log, which may continue the line before.
    LogLine,
}

/// A name in lower case with `-` for `_`, without the digits at its end.
struct NormalizedName {
    buffer: [u8; MAX_NAME_LEN],
    len: usize,
}

impl NormalizedName {
    fn new(name: &str) -> Self {
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).as_bytes();
        let end = &name[name.len().saturating_sub(MAX_NAME_LEN)..];
        let mut normalized = Self { buffer: [0; MAX_NAME_LEN], len: end.len() };
        for (to, from) in normalized.buffer.iter_mut().zip(end) {
            *to = if *from == b'_' { b'-' } else { from.to_ascii_lowercase() };
        }
        normalized
    }

    fn as_bytes(&self) -> &[u8] {
        &self.buffer[..self.len]
    }

    /// Returns the entry of [`SECRET_NAMES`] that this name matches and `context` accepts.
    fn find(&self, context: impl Fn(&SecretName) -> bool) -> Option<&'static SecretName> {
        let name = self.as_bytes();
        let is_harmless = || HARMLESS_SUFFIXES.iter().any(|harmless| name.ends_with(harmless.as_bytes()));
        SECRET_NAMES.iter().filter(|secret| context(secret)).find(|secret| match secret.is_suffix {
            true => name.ends_with(secret.text.as_bytes()) && !is_harmless(),
            false => name == secret.text.as_bytes(),
        })
    }
}

/// Returns true if a parameter of the API with this name holds a secret.
pub fn is_secret_parameter(name: &str) -> bool {
    NormalizedName::new(name).find(|secret| secret.in_parameters).is_some()
}

/// Returns true if a field with this name in an API response holds a secret. The names `key`, `value`, `data` and `t`
/// are not enough. [`super::redact_json()`] looks at their context.
pub fn is_secret_field(name: &str) -> bool {
    classify_field(name) == FieldClass::Secret
}

/// Bit sets of the third-last and second-last letter of the secret names in fields and texts, by the last letter.
const LAST_LETTERS: [[u32; 2]; 32] = {
    let mut letters = [[0; 2]; 32];
    let mut n = 0;
    while n < SECRET_NAMES.len() {
        let secret = &SECRET_NAMES[n];
        let text = secret.text.as_bytes();
        if secret.in_fields || !matches!(secret.in_text, NotSecret) {
            let last = letter_index(text[text.len() - 1]);
            letters[last][0] |= 1 << letter_index(text[text.len() - 3]);
            letters[last][1] |= 1 << letter_index(text[text.len() - 2]);
        }
        n += 1;
    }
    letters
};

/// Returns a number below 32 that is the same for both cases of a letter.
const fn letter_index(letter: u8) -> usize {
    (letter & 0x1f) as usize
}

/// Returns false for most names that are not secret, at a fraction of the cost of an exact look.
#[inline]
pub(super) fn may_be_secret(mut name: &[u8]) -> bool {
    while let [before @ .., b'0'..=b'9'] = name {
        name = before;
    }
    let [.., a, b, last] = name else { return false };
    let [third_last, second_last] = LAST_LETTERS[letter_index(*last)];
    third_last >> letter_index(*a) & second_last >> letter_index(*b) & 1 != 0
}

/// Classifies the name of a field in an API response.
pub(super) fn classify_field(name: &str) -> FieldClass {
    match name {
        "key" => FieldClass::Key,
        "value" | "pending" => FieldClass::Value,
        "data" => FieldClass::Data,
        "body" => FieldClass::Encoded,
        "t" => FieldClass::LogLine,
        _ if !may_be_secret(name.as_bytes()) => FieldClass::Plain,
        _ if NormalizedName::new(name).find(|secret| secret.in_fields).is_some() => FieldClass::Secret,
        _ => FieldClass::Plain,
    }
}

/// Classifies a name in plain text.
pub(super) fn classify_word(name: &str) -> WordClass {
    if name.len() < 3 {
        return NotSecret;
    }
    NormalizedName::new(name).find(|secret| secret.in_text != NotSecret).map_or(NotSecret, |secret| secret.in_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_underscores_and_digits_make_no_difference() {
        for name in [
            "PASSWORD",
            "Client_Key",
            "CSRFPreventionToken",
            "api_key",
            "password2",
            "AWS_SECRET_ACCESS_KEY",
            "X-Api-Key",
        ] {
            assert!(is_secret_parameter(name) && is_secret_field(name), "{name}");
        }
        for name in [
            "tokenid",
            "digest",
            "sshkeys",
            "master-pubkey",
            "lock-token",
            "public_key",
            "keyboard",
            "ssl_fingerprint",
            "é",
            "",
        ] {
            assert!(!is_secret_parameter(name) && !is_secret_field(name), "{name}");
        }
    }

    #[test]
    fn every_entry_of_the_table_is_found_in_its_contexts() {
        for secret in SECRET_NAMES {
            let name = if secret.is_suffix { format!("x{}", secret.text) } else { secret.text.to_owned() };
            let variants = [name.clone(), name.to_uppercase(), name.replace('-', "_"), format!("{name}7")];
            for name in variants.iter().filter(|_| secret.in_fields) {
                assert!(is_secret_field(name), "{name}");
            }
            for name in variants.iter().filter(|_| secret.in_text != NotSecret) {
                assert!(may_be_secret(name.as_bytes()) && classify_word(name) == secret.in_text, "{name}");
            }
            assert_eq!(is_secret_parameter(&name), secret.in_parameters, "{name}");
        }
        assert!(HARMLESS_SUFFIXES.iter().all(|name| !is_secret_field(name)));
        assert!(["key", "value", "data", "content", "code"].iter().all(|name| !is_secret_field(name)));
    }
}
