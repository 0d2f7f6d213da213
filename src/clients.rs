//! Who may call: `token` makes a client's token; the clients that are configured are gathered, and a server that other
//! machines could reach is not started without one.

use crate::cli::Cli;
use crate::ports::{Port, Ports};
use crate::serve::reachable;
use crate::{Failure, say};
use proxmox_mcp::secret::Secret;
use proxmox_mcp::settings::{Client, Clusters, TOKEN_PREFIX, TokenHash};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write;
use std::net::SocketAddr;

/// What stands for a token where none can be shown.
pub const PLACEHOLDER: &str = "TOKEN";

/// `token`: makes one, and prints what to store and what to hand over. Nothing is written.
pub fn token(cli: &Cli, name: Option<&str>) -> Result<(), Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::Runtime("the system gives no random bytes: try again".into()))?;
    let mut token = String::with_capacity(TOKEN_PREFIX.len() + 2 * bytes.len());
    token.push_str(TOKEN_PREFIX);
    for byte in bytes {
        let _ = write!(token, "{byte:02x}");
    }
    say(&handed_over(&Secret::new(token), name.unwrap_or("laptop"), cli.scheme(), cli.listen));
    Ok(())
}

/// The text of `token`.
fn handed_over(token: &Secret, name: &str, scheme: &str, listen: SocketAddr) -> String {
    let hash = TokenHash::of(token.expose().as_bytes());
    let token = token.expose();
    let mut text = format!(
        "A new client token. It is shown this once and kept nowhere.\n\n\
         To store, in clusters.json beside \"clusters\" (it holds the token's SHA-256, not the token):\n  \
         \"clients\": {{\"{name}\": {{\"token_sha256\": \"{hash}\", \"access\": \"read\"}}}}\n  \
         (\"read\" only looks; \"operate\" also does what can be undone; \"full\" does all)\n\
         or, for a single client, the token itself in the server's environment (.env beside compose.yaml):\n  \
         MCP_AUTH_TOKEN={token}\n\n\
         To hand over:\n  {token}\n\
         The client sends it with each request:\n  Authorization: Bearer {token}\n\n"
    );
    text.push_str(&client_configuration(scheme, listen, Some(token)));
    text
}

/// How two usual clients are told of a server at `address`, with the token where one is needed.
pub fn client_configuration(scheme: &str, address: SocketAddr, token: Option<&str>) -> String {
    let url = format!("{scheme}://{}/mcp", reachable(address));
    let (json, flag) = match token {
        None => (String::new(), String::new()),
        Some(token) => (
            format!(", \"headers\": {{\"Authorization\": \"Bearer {token}\"}}"),
            format!(" --header \"Authorization: Bearer {token}\""),
        ),
    };
    format!(
        "Gemini CLI, in ~/.gemini/settings.json:\n  \
         {{\"mcpServers\": {{\"proxmox\": {{\"url\": \"{url}\", \"type\": \"http\"{json}}}}}}}\n\
         Claude Code:\n  claude mcp add --transport http proxmox {url}{flag}\n"
    )
}

/// The clients of clusters.json and the one of the environment or a file.
pub fn configured(cli: &Cli, clusters: &Clusters) -> Result<Vec<Client>, Failure> {
    let mut clients = clusters.clients.clone();
    let single = match (cli.auth_token().map_err(Failure::Usage)?, cli.auth_token_file.as_deref()) {
        (Some(_), Some(_)) => Err("MCP_AUTH_TOKEN stands beside --auth-token-file: keep one of them".to_owned()),
        (Some(token), None) => Client::of_variable(token.expose()).map(Some),
        (None, Some(file)) => Client::of_file(file).map(Some),
        (None, None) => Ok(None),
    };
    if let Some(single) = single.map_err(Failure::Usage)? {
        let same =
            clients.iter().find(|other| other.name == single.name || other.token_sha256.is(&single.token_sha256));
        if let Some(other) = same {
            return Err(Failure::Usage(format!(
                "the client \"{}\" of clusters.json has the name or the token of {}: keep one of them",
                other.name, single.name
            )));
        }
        clients.push(single);
    }
    Ok(clients)
}

/// Their names and what they may do, for a line of text.
pub fn names(clients: &[Client]) -> String {
    let mut text = String::new();
    for client in clients {
        let Client { name, rights, clusters, .. } = client;
        let _ = write!(text, "{}{name} ({rights}", if text.is_empty() { "" } else { ", " });
        if let Some(clusters) = clusters {
            let _ = write!(text, " on {}", clusters.join(" and "));
        }
        text.push(')');
    }
    text
}

/// Whether a server for these clients may listen there: where other machines could reach it, it needs at least one,
/// unless that is waived. To be asked before it listens.
pub fn may_listen(ports: &Ports, clients: &[Client], insecure: bool) -> Result<(), Failure> {
    let open = ports.all().find(|port| !is_loopback(port.address));
    match (clients.is_empty(), insecure, open) {
        (false, true, _) => Err(Failure::Usage(
            "--insecure-no-auth (MCP_INSECURE_NO_AUTH) contradicts the client tokens that are configured: remove it, or \
             them"
                .into(),
        )),
        (true, false, Some(Port { address, choice, lets })) => Err(Failure::Usage(format!(
            "listening on {address} without a client token would let whoever reaches it {lets}: make a token with \
             `proxmox-mcp token` and set MCP_AUTH_TOKEN, --auth-token-file or \"clients\" in clusters.json; or listen on \
             loopback ({choice}127.0.0.1:{}); or, behind a proxy that authenticates, start it with --insecure-no-auth \
             (MCP_INSECURE_NO_AUTH=1)",
            address.port()
        ))),
        _ => Ok(()),
    }
}

/// What is still open to others at a port, once it is listened on, with TLS or without.
pub fn warn(port: &Port, clients: &[Client], tls: bool) {
    let Port { address, lets, .. } = port;
    if is_loopback(*address) {
        return;
    }
    if clients.is_empty() {
        log::warn!(
            "listening on {address} and asking for no client token (--insecure-no-auth): whoever reaches this port may \
             {lets}; let only a proxy that authenticates reach it"
        );
    } else if !tls {
        log::warn!(
            "listening on {address} without TLS: client tokens and answers cross the network in clear text; name a \
             certificate and its key (--tls-cert and --tls-key, or MCP_TLS_CERT and MCP_TLS_KEY), or let a proxy that \
             speaks TLS stand in front of it"
        );
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(listen: &str, clients: &[Client], insecure: bool) -> Option<String> {
        let address = listen.parse().expect("an address");
        let main = refused(&Ports::at(address, None), clients, insecure);
        let watch = refused(&Ports::at(([127, 0, 0, 1], 8000).into(), Some(address)), clients, insecure);
        assert_eq!(watch.is_some(), main.is_some(), "the metrics on {listen}");
        main
    }

    fn refused(ports: &Ports, clients: &[Client], insecure: bool) -> Option<String> {
        match may_listen(ports, clients, insecure) {
            Ok(()) => None,
            Err(Failure::Usage(text)) => Some(text),
            Err(Failure::Runtime(text)) => panic!("{text}"),
        }
    }

    #[test]
    fn off_loopback_a_token_is_needed() {
        let clients = [Client::of_variable("sixteen_letters_").expect("a token")];
        for listen in ["0.0.0.0:8000", "[::]:8000", "192.0.2.1:8000", "[::ffff:192.0.2.1]:8000", "[2001:db8::1]:0"] {
            let text = refusal(listen, &[], false).expect(listen);
            for remedy in ["`proxmox-mcp token`", "MCP_AUTH_TOKEN", "--insecure-no-auth", "MCP_INSECURE_NO_AUTH=1"] {
                assert!(text.contains(remedy), "{text}");
            }
            assert_eq!(refusal(listen, &clients, false), None);
            assert_eq!(refusal(listen, &[], true), None);
        }
        for listen in ["127.0.0.1:8000", "127.9.9.9:0", "[::1]:8000", "[::ffff:127.0.0.1]:8000"] {
            assert_eq!(refusal(listen, &[], false), None, "{listen}");
        }
    }

    #[test]
    fn tokens_are_not_waived_by_a_setting_that_was_left_behind() {
        let clients = [Client::of_variable("sixteen_letters_").expect("a token")];
        assert!(refusal("127.0.0.1:8000", &clients, true).is_some_and(|text| text.contains("contradicts")));
    }
}
