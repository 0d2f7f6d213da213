//! Which names stand for secrets, in Proxmox's API and in the configuration that texts quote.

/// How the name of a secret ends, in the API and anywhere else; `_` counts as `-`, capitals don't, nor do digits behind.
///
/// - `password`: logins, `cipassword` (cloud-init), `confirmation-password`, SMTP, CIFS and PBS storages, the console's
///   of a SPICE answer.
/// - `secret`: of a webhook, of an OpenID client, of a token; `-token`: gotify, InfluxDB, IPAM, the name of an API token
///   being `tokenid`; `CSRFPreventionToken`.
/// - `ticket`: a login, `vncticket`; PVEAuthCookie holds one.
/// - `-key`: `client-key` (OpenID), `eab-hmac-key` (ACME), `encryption-key` (PBS; an answer has the key itself where
///   Proxmox made it), and what plugins call `api_key`, `private-key`.
const SECRET_SUFFIXES: [&str; 18] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "ticket",
    "-key",
    "apikey",
    "privatekey",
    "secretkey",
    "accesskey",
    "presharedkey",
    "authkey",
    "cookie",
    "authorization",
    // What programs in containers are told.
    "-pass",
    "-pwd",
    "-key-base",
];

/// What ends like a secret and is none.
///
/// - `generate-password`: a switch. `lock-token`: whose turn it is to change the network (SDN), no right.
/// - Keys that are public. (`master-pubkey`, `sshkeys` and `ssh-public-keys` don't end like a secret.)
const HARMLESS_SUFFIXES: [&str; 6] =
    ["generate-password", "lock-token", "public-key", "pub-key", "ssh-key", "host-key"];

/// Further names of the API, wherever they stand.
///
/// - `otp`, `totp`, `recovery`, `challenge`: the second factor. `keys`: a user's, for it.
/// - `env`: what a container's program is told, where images take passwords.
/// - `keyring`: of Ceph. `header`, `otel-headers`: of a webhook and a metric server, where they log in.
const SECRET_NAMES: [&str; 8] = ["otp", "totp", "recovery", "challenge", "keys", "keyring", "header", "env"];
const OTEL_HEADERS: &str = "otel-headers";

/// Of answers alone: a VM's process may have secrets among its arguments, but who is to confirm some must see them.
const COMMAND_LINE_ARGS: &str = "args";

/// Further names of parameters; in answers they are harmless, or known otherwise.
///
/// - `key`: of a certificate, a DNS server, a subscription (and which key to press).
/// - `data`: an ACME plugin's credentials. `value`: what answers a second factor. `code`: of an OpenID login.
/// - `tfa-challenge`: a half-open login.
/// - `content`: of a file in a guest (and the kinds of content of a storage). `input-data`: what a program in it reads.
/// - `http_proxy`: with a login of its own. `target-endpoint`: with the other cluster's API token.
const SECRET_PARAMETERS: [&str; 9] =
    ["key", "data", "value", "code", "tfa-challenge", "content", "input-data", "http-proxy", "target-endpoint"];

/// The longest name that is looked at; of a longer one its end.
const MAX_NAME_LEN: usize = 40;

/// What a name of an answer's member says about its value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldClass {
    /// Nothing.
    Plain,
    /// It is secret.
    Secret,
    /// `key`: a DNS server's API key, or the name of an option.
    Key,
    /// `value`: a new API token's secret, or an option's value.
    Value,
    /// `data`: an ACME plugin's credentials, or anything.
    Data,
    /// `t`: a line of a log, which may go on with what the line before began.
    LogLine,
}

/// A name as it is compared: small letters, `-`, without the digits behind.
struct NormalizedName {
    buffer: [u8; MAX_NAME_LEN],
    len: usize,
}

impl NormalizedName {
    fn new(name: &str) -> Self {
        let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).as_bytes();
        let end = name.get(name.len().saturating_sub(MAX_NAME_LEN)..).unwrap_or_default();
        let mut normal = Self { buffer: [0; MAX_NAME_LEN], len: end.len() };
        for (to, from) in normal.buffer.iter_mut().zip(end) {
            *to = if *from == b'_' { b'-' } else { from.to_ascii_lowercase() };
        }
        normal
    }

    fn as_bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    fn is_one_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| name.as_bytes() == self.as_bytes())
    }

    fn ends_with_any(&self, ends: &[&str]) -> bool {
        ends.iter().any(|end| self.as_bytes().ends_with(end.as_bytes()))
    }

    fn is_secret(&self) -> bool {
        self.ends_with_any(&SECRET_SUFFIXES) && !self.ends_with_any(&HARMLESS_SUFFIXES)
    }
}

/// Whether a parameter of the API of this name holds a secret.
pub fn is_secret_parameter(name: &str) -> bool {
    let name = NormalizedName::new(name);
    name.is_secret()
        || name.is_one_of(&SECRET_NAMES)
        || name.is_one_of(&[OTEL_HEADERS])
        || name.is_one_of(&SECRET_PARAMETERS)
}

/// Whether a member of this name in an answer of the API is secret. Not told by its name alone are `key`, `value`,
/// `data` and `t`, of which [`mod@super::redact_json`] knows more.
pub fn is_secret_field(name: &str) -> bool {
    classify_field(name) == FieldClass::Secret
}

/// Whether a name ends like one of those above, whatever is before that: tells most others at a fraction of the cost.
#[inline]
pub(super) fn may_be_secret(mut name: &[u8]) -> bool {
    while let [before @ .., b'0'..=b'9'] = name {
        name = before;
    }
    let [.., a, b, c] = name else { return false };
    match c | 0x20 {
        b'd' | b'e' | b't' | b'n' | b'y' | b'p' | b's' | b'g' | b'r' | b'v' => matches!(
            &[a | 0x20, b | 0x20, c | 0x20],
            b"ord"
                | b"swd"
                | b"ase"
                | b"ret"
                | b"ken"
                | b"ket"
                | b"key"
                | b"kie"
                | b"ion"
                | b"otp"
                | b"ery"
                | b"nge"
                | b"eys"
                | b"ing"
                | b"der"
                | b"ers"
                | b"ass"
                | b"pwd"
                | b"env"
                | b"rgs"
        ),
        _ => false,
    }
}

/// What the name of a member says.
pub(super) fn classify_field(name: &str) -> FieldClass {
    match name {
        "key" => return FieldClass::Key,
        "value" | "pending" => return FieldClass::Value,
        "data" => return FieldClass::Data,
        "t" => return FieldClass::LogLine,
        _ if !may_be_secret(name.as_bytes()) => return FieldClass::Plain,
        _ => {}
    }
    let name = NormalizedName::new(name);
    let secret =
        name.is_secret() || name.is_one_of(&SECRET_NAMES) || name.is_one_of(&[OTEL_HEADERS, COMMAND_LINE_ARGS]);
    if secret { FieldClass::Secret } else { FieldClass::Plain }
}

/// How sure a name in a text is about what follows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SecretWord {
    /// Not the name of a secret.
    NotSecret,
    /// Of a secret, wherever it stands: `password`.
    Always,
    /// Of a secret where it is set (`token=…`); in a sentence, what follows must look like one.
    IfAssigned,
    /// `key`: what follows must look like one.
    Key,
    /// All of the line is secret: a header of HTTP.
    WholeLine,
}

/// What a name in a text says about what follows it.
pub(super) fn classify_word(name: &str) -> SecretWord {
    if name.len() < 3 {
        return SecretWord::NotSecret;
    }
    let name = NormalizedName::new(name);
    if name.is_one_of(&["key"]) {
        return SecretWord::Key;
    }
    if !name.is_secret() {
        return if name.is_one_of(&["otp", "pass", "keyring"]) {
            SecretWord::IfAssigned
        } else {
            SecretWord::NotSecret
        };
    }
    match name.as_bytes() {
        [.., b'i', b'o', b'n'] => SecretWord::WholeLine,
        _ if name.ends_with_any(&["token", "ticket", "cookie", "-key"]) => SecretWord::IfAssigned,
        _ => SecretWord::Always,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::collections::BTreeSet;
    use std::io::Read;

    /// The names of all parameters of the API: those of an object that has `properties`.
    fn load_parameter_names() -> BTreeSet<String> {
        let mut text = String::new();
        GzDecoder::new(crate::pve::schema::facts::APIDOC).read_to_string(&mut text).expect("the packed facts");
        let start = text.find('[').expect("a list");
        let tree: serde_json::Value =
            serde_json::Deserializer::from_str(&text[start..]).into_iter().next().expect("a value").expect("JSON");
        let (mut all, mut left) = (BTreeSet::new(), vec![&tree]);
        while let Some(one) = left.pop() {
            match one {
                serde_json::Value::Array(list) => left.extend(list),
                serde_json::Value::Object(members) => {
                    if let Some(properties) = members.get("properties").and_then(|p| p.as_object()) {
                        all.extend(properties.keys().cloned());
                    }
                    left.extend(members.values());
                }
                _ => {}
            }
        }
        all
    }

    /// A parameter that a new version of the API brings belongs here, or not: decide, and say why at its list above.
    #[test]
    fn these_parameters_of_the_api_are_secret_and_no_others() {
        let all = load_parameter_names();
        assert!(all.len() > 600, "{} names", all.len());
        let secret: Vec<&str> = all.iter().map(String::as_str).filter(|name| is_secret_parameter(name)).collect();
        assert_eq!(
            secret.join(" "),
            "challenge cipassword client-key code confirmation-password content data eab-hmac-key encryption-key env \
             header http_proxy input-data key keyring keys otel-headers otp password secret target-endpoint \
             tfa-challenge ticket token totp value vncticket"
        );
    }

    /// What a new version of the API brings that sounds like a secret must have been looked at.
    #[test]
    fn these_parameters_sound_like_secrets_and_are_none() {
        let sounds =
            ["pass", "secret", "token", "ticket", "key", "auth", "private", "cred", "otp", "tfa", "cert", "crypt"];
        let all = load_parameter_names();
        let harmless: Vec<&str> = all
            .iter()
            .map(String::as_str)
            .filter(|name| sounds.iter().any(|sound| name.contains(sound)) && !is_secret_parameter(name))
            .collect();
        assert_eq!(
            harmless.join(" "),
            "authid author authsupported cert certificates certkey config-keys crypted encrypted generate-password \
             hotplug keyboard lock-token master-pubkey skip-cert-verification ssh-public-keys sshkeys tfa \
             token-coefficient tokenid tokens verify-certificate verify-certificates webauthn"
        );
    }

    #[test]
    fn capitals_underscores_and_digits_make_no_difference() {
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
    fn every_secret_name_of_the_tables_is_one_in_answers_too() {
        for name in
            SECRET_SUFFIXES.iter().map(|end| format!("x{end}")).chain(SECRET_NAMES.iter().map(|n| (*n).to_owned()))
        {
            assert!(is_secret_field(&name) && is_secret_field(&name.to_uppercase()), "{name}");
        }
        assert!(is_secret_field(OTEL_HEADERS));
        assert!(HARMLESS_SUFFIXES.iter().all(|name| !is_secret_field(name)));
        assert!(["key", "value", "data", "content", "code"].iter().all(|name| !is_secret_field(name)));
    }
}
