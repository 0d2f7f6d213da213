//! Parsers of flag values. Their errors say which values are valid and never repeat the value.

use crate::command::web_request::with_target;
use clap::builder::{PathBufValueParser, TypedValueParser};
use proxmox_mcp::base::hint::Hint;
use proxmox_mcp::config::{self, Client, Endpoint, Fingerprint};
use proxmox_mcp::policy::AccessLevel;
use proxmox_mcp::sanitize::looks_like_content;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;
use ureq::http::Uri;
use ureq::http::uri::{Authority, PathAndQuery, Scheme};

/// A list of strings, one flag's worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StringList(pub Vec<String>);

/// A time in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_secs_f64().fmt(f)
    }
}

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl LogFormat {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected text or json".into()),
        }
    }
}

/// Parses `a,b` or `["a", "b"]`.
pub fn string_list(text: &str) -> Result<StringList, String> {
    let items = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|_| "expected a comma list, or a JSON list of strings such as [\"a\", \"b\"]")?
    } else {
        text.split(',').map(str::to_owned).collect::<Vec<String>>()
    };
    Ok(StringList(items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
}

/// Returns a parser of paths. It rejects the contents of a file: a missing file would be reported, or an audit log
/// created, under a name that holds secrets.
pub fn file_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match looks_like_content(path.as_os_str().as_bytes()) {
        true => Err("expected the path of a file, not its contents or an address"),
        false => Ok(path),
    })
}

/// Parses the name of a client by the rules of clusters.json.
pub fn client_name(text: &str) -> Result<String, String> {
    const FORM: &str = "expected 1 to 64 letters, digits, \".\", \"_\" or \"-\"";
    if Client::is_valid_name(text) { Ok(text.to_owned()) } else { Err(FORM.into()) }
}

/// Parses the name of a cluster by the rules of clusters.json.
pub fn cluster_name(text: &str) -> Result<String, String> {
    const FORM: &str = "expected 1 to 64 letters, digits, \".\", \"_\" or \"-\"";
    if config::is_valid_name(text) { Ok(text.to_owned()) } else { Err(FORM.into()) }
}

/// Parses the address of a node as clusters.json has it.
pub fn node_address(text: &str) -> Result<Endpoint, String> {
    config::parse_endpoint(text).map_err(|error| field_error("the address", &error))
}

/// Checks the URL of an MCP server, and adds the path of Streamable HTTP if it has none.
pub fn server_url(text: &str) -> Result<String, String> {
    const FORM: &str = "expected a URL such as https://mcp.example.com or http://192.0.2.5:8000/mcp";
    let (_, rest) = text.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https")).ok_or(FORM)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty()
        || !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\`$<>".contains(&b))
        || host.contains('@')
    {
        return Err(FORM.into());
    }
    let separator = if rest.contains('/') { "" } else { "/" };
    Ok(if path.is_empty() { format!("{text}{separator}mcp") } else { text.to_owned() })
}

/// Parses an http or https URL of another program, without user and fragment.
pub fn http_url(text: &str) -> Result<Uri, String> {
    let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\`<>#".contains(&b));
    let url = text.parse::<Uri>().ok().filter(|url| {
        let is_web = url.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        is_web && url.authority().is_some_and(|authority| !authority.as_str().contains('@') && has_port(authority))
    });
    let url = url.filter(|_| is_plain).ok_or_else(|| "expected a URL such as https://example.com/path".to_owned())?;
    // A query may follow the host, but no request can begin with it.
    let target = url.path_and_query().map_or("/", PathAndQuery::as_str);
    Ok(if target.starts_with('/') { url } else { with_target(&url, &format!("/{target}")) })
}

/// Returns whether the text after the host, if there is one, is a port.
fn has_port(authority: &Authority) -> bool {
    let after_host = authority.as_str().strip_prefix(authority.host());
    after_host.is_some_and(|rest| rest.is_empty() || authority.port_u16().is_some())
}

/// Checks the URL of the page, and ends its path with a slash.
pub fn page_url(text: &str) -> Result<String, String> {
    match http_url(text) {
        Ok(url) if url.query().is_none() => Ok(format!("{}/", text.trim_end_matches('/'))),
        _ => Err("expected a URL such as https://mcp.example.com/".into()),
    }
}

/// Parses the SHA-256 of a certificate.
pub fn fingerprint(text: &str) -> Result<Fingerprint, String> {
    config::parse_fingerprint(text).map_err(|error| field_error("it", &error))
}

/// Parses a word for an access level.
pub fn access_level(text: &str) -> Result<AccessLevel, String> {
    let level = AccessLevel::WORDS.into_iter().find(|(word, _)| *word == text);
    level.map(|(_, level)| level).ok_or_else(|| "expected read, operate or full".to_owned())
}

/// Renders an error that continues a sentence about a field.
fn field_error(field: &str, error: &dyn Hint) -> String {
    match error.hint() {
        Some(hint) => format!("{field} {error}. hint: {hint}"),
        None => format!("{field} {error}"),
    }
}

/// Parses an address to listen on and looks up a host name.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    const FORM: &str = "expected host:port, such as 127.0.0.1:8000, or :8000 for every IPv4 address";
    let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
    let port: u16 = port.parse().map_err(|_| format!("the port must be a number from 0 to 65535: {FORM}"))?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("an IPv6 address needs brackets: [::1]:{port}"));
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| format!("no such host: {FORM}"))?.collect();
    // `localhost` is both; most clients try 127.0.0.1.
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(|| FORM.to_owned())
}

/// Checks a log filter. env_logger itself only warns about an invalid filter, and takes a mistyped level for the name of
/// a module, which turns all logging off.
pub fn log_filter(text: &str) -> Result<String, String> {
    const FORM: &str =
        "expected a level (off, error, warn, info, debug, trace) or module=level pairs with commas between";
    let is_level = |word: &str| word.parse::<log::LevelFilter>().is_ok();
    let (directives, pattern) = text.split_once('/').unwrap_or((text, ""));
    let valid = directives.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        Some((module, level)) => !module.is_empty() && is_level(level.trim()),
        None => directive.is_empty() || is_level(directive) || directive.starts_with("proxmox_mcp"),
    });
    if valid && !pattern.contains('/') { Ok(text.to_owned()) } else { Err(FORM.into()) }
}

/// Returns a parser of whole numbers from `min` to `max`.
pub fn number(min: usize, max: usize) -> impl Fn(&str) -> Result<usize, String> + Clone {
    move |text| match text.parse::<usize>() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {min} to {max}")),
    }
}

/// Returns a parser of seconds from `min` to `max`.
pub fn seconds(min: f64, max: f64) -> impl Fn(&str) -> Result<Seconds, String> + Clone {
    move |text| match text.parse::<f64>() {
        Ok(seconds) if (min..=max).contains(&seconds) => Ok(Seconds(Duration::from_secs_f64(seconds))),
        _ => Err(format!("expected seconds from {min} to {max}, fractions allowed")),
    }
}

/// Parses the variable of a flag that takes no value.
pub fn flag_variable(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_addresses_are_parsed() {
        for (text, address) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            (":8000", "0.0.0.0:8000"),
            ("[::1]:8000", "[::1]:8000"),
            ("localhost:8000", "127.0.0.1:8000"),
        ] {
            assert_eq!(listen_address(text).map(|a| a.to_string()).as_deref(), Ok(address), "{text}");
        }
        for (text, hint) in [
            ("8000", "expected host:port"),
            ("127.0.0.1:http", "a number from 0"),
            ("::1:8000", "[::1]:8000"),
            ("", "expected"),
        ] {
            assert!(listen_address(text).is_err_and(|e| e.contains(hint)), "{text}");
        }
    }

    #[test]
    fn a_mistyped_log_filter_is_rejected() {
        for text in ["info", "WARN", "off", "info,proxmox_mcp::http=trace", "proxmox_mcp::pve", "debug/cluster", ""] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
        for text in ["verbose", "debgu", "ureq=loud", "a=b=info", "=info", "info/a/b"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls_of_other_programs_are_parsed() {
        for (text, host, port, target) in [
            ("http://127.0.0.1:8000", "127.0.0.1", Some(8000), "/"),
            ("https://ntfy.sh/topic", "ntfy.sh", None, "/topic"),
            ("https://[::1]:9/a?b=c", "[::1]", Some(9), "/a?b=c"),
            ("http://[::1]", "[::1]", None, "/"),
            ("HTTP://host?token=x", "host", None, "/?token=x"),
        ] {
            let url = http_url(text).expect(text);
            let target_of = url.path_and_query().map(|target| target.as_str());
            assert_eq!((url.host(), url.port_u16(), target_of), (Some(host), port, Some(target)), "{text}");
        }
        for text in [
            "",
            "ntfy.sh",
            "/path",
            "ftp://x",
            "https://",
            "https://u:p@h/",
            "http://h:x/",
            "http://h:/",
            "http://h:99999/",
            "http://h/\r\nA: b",
            "http://h/#x",
        ] {
            assert!(http_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_flag_variable_is_a_boolean() {
        for (text, value) in [("1", true), ("TRUE", true), ("on", true), ("off", false), ("no", false)] {
            assert_eq!(flag_variable(text), Ok(value), "{text}");
        }
        assert!(flag_variable("maybe").is_err_and(|e| e.contains("expected true or false")));
    }
}
