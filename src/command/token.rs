//! `token`: makes a client token.

use super::cli::Cli;
use super::client_setup::client_setup;
use super::failure::Failure;
use super::output::print_stdout;
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::{TOKEN_PREFIX, TokenHash};
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write;

/// Makes a token, and prints what to store and what to give to the client. Writes no file.
pub fn run(cli: &Cli, name: Option<&str>) -> Result<(), Failure> {
    let token = generate()?;
    print_stdout(&instructions(cli, name.unwrap_or("laptop"), &token));
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

fn instructions(cli: &Cli, name: &str, token: &Secret) -> String {
    let hash = TokenHash::from_token(token.expose().as_bytes());
    let token = token.expose();
    let mut text = format!(
        "A new client token. It is shown once and is not stored.\n\n\
         For the server, in clusters.json next to \"clusters\" (the token's SHA-256, not the token itself):\n  \
         \"clients\": {{\"{name}\": {{\"token_sha256\": \"{hash}\", \"access\": \"read\"}}}}\n  \
         (\"read\" only reads, \"operate\" adds changes that can be undone, \"full\" adds the rest)\n\
         or, for a single client, in the server's environment (.env next to compose.yaml):\n  \
         MCP_AUTH_TOKEN={token}\n\n\
         For the client:\n  {token}\n\
         It sends the token with each request:\n  Authorization: Bearer {token}\n\n"
    );
    text.push_str(&client_setup(cli.http.scheme(), cli.http.listen, Some(token)));
    text
}
