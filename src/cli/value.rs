//! What may be written as a flag's value. Each error says what to write instead.

use proxmox_mcp::settings::Client;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// A list on the command line: `a,b` or `["a", "b"]`.
pub fn list(text: &str) -> Result<Vec<String>, String> {
    let items = if text.trim_start().starts_with('[') {
        serde_json::from_str(text)
            .map_err(|_| "write a comma list, or a JSON list of strings such as [\"a\", \"b\"]")?
    } else {
        text.split(',').map(str::to_owned).collect::<Vec<String>>()
    };
    Ok(items.iter().map(|item| item.trim()).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

/// The name of a client, as the configuration has it.
pub fn client_name(text: &str) -> Result<String, String> {
    const FORM: &str = "write 1 to 64 letters, digits, \".\", \"_\" or \"-\"";
    if Client::is_name(text) { Ok(text.to_owned()) } else { Err(FORM.into()) }
}

/// An address to listen on; a name is looked up.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    const FORM: &str = "write host:port, such as 127.0.0.1:8000, or :8000 for every IPv4 address";
    let (host, port) = text.rsplit_once(':').ok_or(FORM)?;
    let port: u16 = port.parse().map_err(|_| format!("the port must be a number from 0 to 65535: {FORM}"))?;
    if host.is_empty() {
        return Ok((Ipv4Addr::UNSPECIFIED, port).into());
    }
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("an IPv6 address stands in brackets: [::1]:{port}"));
    }
    let found: Vec<SocketAddr> = text.to_socket_addrs().map_err(|_| format!("no such host: {FORM}"))?.collect();
    // `localhost` is both; most clients try 127.0.0.1.
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(|| FORM.to_owned())
}

/// env_logger itself only prints a warning about a filter that it can't read, and takes a mistyped level for the name
/// of a module, so that all logging is off.
pub fn log_filter(text: &str) -> Result<String, String> {
    const FORM: &str = "write a level (off, error, warn, info, debug, trace) or module=level pairs with commas between";
    let is_level = |word: &str| word.parse::<log::LevelFilter>().is_ok();
    let (directives, pattern) = text.split_once('/').unwrap_or((text, ""));
    let right = directives.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        Some((module, level)) => !module.is_empty() && is_level(level.trim()),
        None => directive.is_empty() || is_level(directive) || directive.starts_with("proxmox_mcp"),
    });
    if right && !pattern.contains('/') { Ok(text.to_owned()) } else { Err(FORM.into()) }
}

/// Whether the log is to be JSON.
pub fn is_json(text: &str) -> Result<bool, String> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err("write text or json".into()),
    }
}

/// A whole number, both ends included.
pub fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(number) => Err(format!("{number} is not in {least}..={most}")),
        Err(_) => Err(format!("write a number from {least} to {most}")),
    }
}

/// A time in seconds, both ends included.
pub fn seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("write seconds from {least} to {most}, fractions allowed")),
    }
}

/// Yes or no, as people write it in a variable.
pub fn truth(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err("write true or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_to_listen_on() {
        for (text, address) in [
            ("127.0.0.1:0", "127.0.0.1:0"),
            (":8000", "0.0.0.0:8000"),
            ("[::1]:8000", "[::1]:8000"),
            ("localhost:8000", "127.0.0.1:8000"),
        ] {
            assert_eq!(listen(text).map(|a| a.to_string()).as_deref(), Ok(address), "{text}");
        }
        for (text, told) in [
            ("8000", "write host:port"),
            ("127.0.0.1:http", "a number from 0"),
            ("::1:8000", "[::1]:8000"),
            ("", "write"),
        ] {
            assert!(listen(text).is_err_and(|e| e.contains(told)), "{text}");
        }
    }

    #[test]
    fn a_mistyped_log_filter_is_refused() {
        for text in ["info", "WARN", "off", "info,proxmox_mcp::http=trace", "proxmox_mcp::pve", "debug/cluster", ""] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
        for text in ["verbose", "debgu", "ureq=loud", "a=b=info", "=info", "info/a/b"] {
            assert!(log_filter(text).is_err(), "{text}");
        }
    }
}
