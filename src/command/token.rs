//! `token`: makes a client token.

use super::cli::{Cli, TokenArgs};
use super::client_setup::{client_setup, client_url};
use super::failure::Failure;
use super::output::print_stdout;
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{TOKEN_PREFIX, TokenHash};
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use std::fmt::Write;

/// Name of the client in examples.
const EXAMPLE_CLIENT: &str = "laptop";

/// Makes a token, and prints what to store and what to give to the client. Writes no file.
pub fn run(cli: &Cli, args: &TokenArgs) -> Result<(), Failure> {
    let token = generate()?;
    let name = args.name.as_deref().unwrap_or(EXAMPLE_CLIENT);
    let url = args.url.clone().unwrap_or_else(|| client_url(cli.http.scheme(), cli.http.listen));
    print_stdout(&match (args.env, args.json) {
        (true, _) => format!("{}\n", variable(&token)),
        (_, true) => as_json(name, &token, &url),
        _ => instructions(name, &token, &url),
    });
    Ok(())
}

/// Returns a new token of 256 random bits.
pub fn generate() -> Result<Secret, Failure> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failure::no_random_bytes())?;
    let mut token = String::with_capacity(TOKEN_PREFIX.len() + 2 * bytes.len());
    token.push_str(TOKEN_PREFIX);
    for byte in bytes {
        let _ = write!(token, "{byte:02x}");
    }
    Ok(Secret::new(token))
}

fn hash(token: &Secret) -> TokenHash {
    TokenHash::from_token(token.expose().as_bytes())
}

fn variable(token: &Secret) -> String {
    format!("MCP_AUTH_TOKEN={}", token.expose())
}

fn as_json(name: &str, token: &Secret, url: &str) -> String {
    let hash = hash(token).to_string();
    let clients = json!({name: {"token_sha256": hash, "access": "read"}});
    let all = json!({"name": name, "token": token.expose(), "token_sha256": hash, "url": url, "clients": clients});
    format!("{all:#}\n")
}

fn instructions(name: &str, token: &Secret, url: &str) -> String {
    let (hash, variable) = (hash(token), variable(token));
    let token = token.expose();
    let mut text = format!(
        "A new client token. It is shown once and is not stored.\n\n\
         For the server, in clusters.json next to \"clusters\" (the token's SHA-256, not the token itself):\n  \
         \"clients\": {{\"{name}\": {{\"token_sha256\": \"{hash}\", \"access\": \"read\"}}}}\n  \
         (\"read\" only reads, \"operate\" adds changes that can be undone, \"full\" adds the rest)\n\
         or, for a single client, in the server's environment (.env next to compose.yaml):\n  \
         {variable}\n\n\
         For the client:\n  {token}\n\
         It sends the token with each request:\n  Authorization: Bearer {token}\n\n"
    );
    text.push_str(&client_setup(url, Some(token)));
    text
}
