//! Who may call: the clients of clusters.json, and the single one of `MCP_AUTH_TOKEN` or `--auth-token-file`.
//!
//! A client is known by its token, of which only the SHA-256 is kept. A token has 256 random bits, so that neither salt
//! nor stretching would make its hash any harder to turn back.

use super::entry_reader::{ACCESS_VALUES, EntryReader, parse_choice};
use super::load::join_quoted;
use super::ordered_json::OrderedJson;
use super::{ConfigErrors, field_parsers, files};
use crate::base::secret::constant_time_eq;
use crate::base::suggest::suggest;
use crate::policy::{AccessLevel, Permissions};
pub use crate::sanitize::TOKEN_PREFIX;
use ring::digest;
use std::fmt;
use std::path::Path;

/// Fewer characters than this can be guessed.
const MIN_TOKEN_LEN: usize = 16;

const CLIENT_FIELDS: [&str; 4] = ["token_sha256", "access", "exec", "clusters"];
const CLIENTS_EXAMPLE: &str = r#"{"clients": {"laptop": {"token_sha256": "…", "access": "full"}}}"#;

/// One who may call.
#[derive(Clone, Debug)]
pub struct Client {
    /// Its name in clusters.json, or the setting that its token comes from.
    pub name: String,
    /// What its token is known by.
    pub token_sha256: TokenHash,
    /// How much it may do, wherever a cluster does not let through less.
    pub permissions: Permissions,
    /// The clusters it may use; `None` is all of them.
    pub clusters: Option<Vec<String>>,
}

/// The SHA-256 of a client's token.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// That of a token.
    pub fn from_token(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        let digest = digest::digest(&digest::SHA256, token);
        bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self(bytes)
    }

    /// Whether both are of the same token. It looks at every byte, so that its time does not tell how many are right.
    pub fn ct_eq(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl fmt::Display for TokenHash {
    /// As `token_sha256` has it: 64 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for TokenHash {
    /// Not shown: a token that somebody thought up can be guessed from its hash.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

impl Client {
    /// Whoever calls where no client is configured. No token has its hash.
    pub fn anonymous() -> Self {
        Self::with_full_access("anyone", TokenHash([0; 32]))
    }

    /// The client of `MCP_AUTH_TOKEN`, `text`. Errors: it can't be a token; the text does not show it.
    pub fn from_env_token(text: &str) -> Result<Self, String> {
        hash_token(text)
            .map(|hash| Self::with_full_access("MCP_AUTH_TOKEN", hash))
            .map_err(|why| format!("MCP_AUTH_TOKEN {why}"))
    }

    /// The client whose token stands in the file of `--auth-token-file`. Errors: it can't be read or holds no token; the
    /// text shows neither the token nor the path, which may be a token in the wrong place.
    pub fn from_token_file(path: &Path) -> Result<Self, String> {
        let hash = files::read_secret(path)
            .and_then(|text| hash_token(&text).map_err(|why| format!("names a file that {why}")));
        hash.map(|hash| Self::with_full_access("auth-token-file", hash))
            .map_err(|why| format!("--auth-token-file {why}"))
    }

    /// Whoever speaks on this process's own stdin. No token has its hash.
    pub fn stdio() -> Self {
        Self::with_full_access("stdio", TokenHash([0; 32]))
    }

    /// Clusters alone say what one may do that clusters.json says nothing of.
    fn with_full_access(name: &str, token_sha256: TokenHash) -> Self {
        let rights = Permissions { access: AccessLevel::Full, exec: true };
        Self { name: name.into(), token_sha256, permissions: rights, clusters: None }
    }

    /// Whether both are the same client, if maybe with other rights: it has its name and its token still.
    pub fn is_same_client(&self, other: &Self) -> bool {
        self.name == other.name && self.token_sha256.ct_eq(&other.token_sha256)
    }

    /// Whether a client may be called this: 1 to 64 letters, digits, ".", "_" or "-", and not a token.
    pub fn is_valid_name(text: &str) -> bool {
        field_parsers::is_valid_name(text) && !field_parsers::looks_like_secret(text)
    }
}

/// The error goes on after the name of what holds `text`.
fn hash_token(text: &str) -> Result<TokenHash, String> {
    if text.len() < MIN_TOKEN_LEN {
        return Err(format!(
            "holds fewer than {MIN_TOKEN_LEN} characters, which can be guessed: make a token with `proxmox-mcp token`"
        ));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("holds a space or another character that can't stand in a token: write the token alone, such as \
                    `proxmox-mcp token` makes"
            .into());
    }
    Ok(TokenHash::from_token(text.as_bytes()))
}

/// The file's clients that are right. `names` are those of its clusters.
pub(super) fn read_clients(value: Option<OrderedJson>, names: &[String], problems: &mut ConfigErrors) -> Vec<Client> {
    let entries = match value {
        Some(OrderedJson::Object(entries)) => entries,
        Some(OrderedJson::Null) | None => return Vec::new(),
        Some(other) => {
            problems.add_top_level_error(
                "clients",
                format!("is {}: write an object with a name for each, {CLIENTS_EXAMPLE}", other.kind()),
            );
            return Vec::new();
        }
    };
    let (mut clients, mut seen) = (Vec::<Client>::new(), Vec::new());
    for (name, value) in entries {
        let fields = match value {
            OrderedJson::Object(fields) => fields,
            _ if name.starts_with('_') => continue,
            other => {
                problems.add_entry_error(
                    "client",
                    &name,
                    format!("is {}: write an object, {CLIENTS_EXAMPLE}", other.kind()),
                );
                continue;
            }
        };
        if !Client::is_valid_name(&name) {
            let text = "has no valid name: write 1 to 64 letters, digits, \".\", \"_\" or \"-\", and no token";
            problems.add_entry_error("client", &name, text);
        }
        if seen.contains(&name) {
            problems.add_entry_error("client", &name, "stands twice: give each client a name of its own");
        }
        let client =
            EntryReader::new("client", &name, fields, &CLIENT_FIELDS, Path::new(""), problems).read_client(names);
        if let Some(client) = client {
            if clients.iter().any(|other| other.token_sha256.ct_eq(&client.token_sha256)) {
                let text = "is another client's too: make one for each with `proxmox-mcp token`";
                problems.add_field_error("client", &name, "token_sha256", text);
            }
            clients.push(client);
        }
        seen.push(name);
    }
    clients
}

impl EntryReader<'_> {
    fn read_client(mut self, clusters: &[String]) -> Option<Client> {
        let token_sha256 = self.read_required("token_sha256", "as `proxmox-mcp token` prints it", parse_token_sha256);
        let access =
            self.read_required("access", ACCESS_VALUES, |text| parse_choice(&AccessLevel::WORDS, ACCESS_VALUES, text));
        let exec = self.read_bool("exec");
        let restricted = self.has("clusters");
        let only = self.read_clusters(clusters);
        Some(Client {
            name: self.name.to_owned(),
            token_sha256: token_sha256?,
            permissions: Permissions { access: access?, exec: exec? },
            // A list with something wrong in it is not all clusters.
            clusters: if restricted { Some(only?) } else { None },
        })
    }

    fn read_clusters(&mut self, known: &[String]) -> Option<Vec<String>> {
        const FORM: &str = "a cluster's name";
        match self.take("clusters")? {
            OrderedJson::List(list) if !list.is_empty() => self.read_list("clusters", FORM, list, |name| {
                if known.iter().any(|known| known == name) {
                    return Ok(name.to_owned());
                }
                let known = known.iter().map(String::as_str).filter(|name| field_parsers::is_valid_name(name));
                Err(match suggest(name, known.clone()) {
                    Some(near) => format!("names no cluster of this file: did you mean \"{near}\"?"),
                    None => format!("names no cluster of this file: write one of {}", join_quoted(known)),
                })
            }),
            other => {
                let what = if matches!(other, OrderedJson::List(_)) { "an empty list" } else { other.kind() };
                self.add_error("clusters", format!("is {what}: write a list of clusters' names, or remove it for all"));
                None
            }
        }
    }
}

fn parse_token_sha256(text: &str) -> Result<TokenHash, String> {
    if text.starts_with(TOKEN_PREFIX) {
        return Err(format!(
            "holds the token itself: write its SHA-256, \"{}\"",
            TokenHash::from_token(text.as_bytes())
        ));
    }
    let hash = field_parsers::decode_hex_32(text.as_bytes()).map(TokenHash);
    hash.ok_or_else(|| "is no SHA-256: write the 64 hex digits that `proxmox-mcp token` prints".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_sha256_alone() {
        let hash = TokenHash::from_token(b"abc");
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), hex);
        assert!(parse_token_sha256(hex).is_ok_and(|read| read.ct_eq(&hash)));
        assert!(parse_token_sha256(&hex.to_uppercase()).is_ok_and(|read| read.ct_eq(&hash)));
        assert_eq!(format!("{hash:?}"), "TokenHash(…)");
        assert!(!hash.ct_eq(&TokenHash::from_token(b"abd")) && !hash.ct_eq(&Client::anonymous().token_sha256));
    }

    #[test]
    fn one_wrong_bit_anywhere_is_another_hash() {
        let hash = TokenHash::from_token(b"abc");
        for i in 0..32 {
            let mut other = hash;
            other.0[i] ^= 1;
            assert!(!hash.ct_eq(&other), "byte {i}");
        }
    }

    #[test]
    fn what_can_be_guessed_is_no_token() {
        for short in ["", "hunter2", "fifteen_letters"] {
            assert!(Client::from_env_token(short).is_err_and(|e| e.contains("fewer than 16") && e.contains("token`")));
        }
        for odd in ["sixteen letters!", "sixteen_letters\n", "sixteen_létters"] {
            assert!(
                Client::from_env_token(odd).is_err_and(|e| e.contains("the token alone") && !e.contains("sixteen"))
            );
        }
        let client = Client::from_env_token("sixteen_letters_").expect("a token");
        assert!(client.token_sha256.ct_eq(&TokenHash::from_token(b"sixteen_letters_")));
        assert_eq!((client.name.as_str(), client.permissions.access), ("MCP_AUTH_TOKEN", AccessLevel::Full));
    }
}
