//! Who calls: the client whose token a request carries in its one `Authorization: Bearer …` header (RFC 6750, 2.1).
//!
//! The token is looked at before the body is read and goes no further: neither into a log nor to a cluster. A token in
//! the query is none, since queries stand in logs.

use super::attempts::Attempts;
use super::reply::Reply;
use super::throttle::Throttle;
use crate::settings::{Client, TokenHash};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// What a refusal says (RFC 6750, 3, and what OAuth clients look for in the body).
struct Refusal {
    challenge: &'static str,
    body: &'static str,
}

const MISSING: Refusal = Refusal {
    challenge: r#"Bearer realm="proxmox-mcp""#,
    body: r#"{"error":"unauthorized","error_description":"This server asks for a client token: send it in one header, `Authorization: Bearer TOKEN`. Whoever runs the server makes one with `proxmox-mcp token`."}"#,
};
const WRONG: Refusal = Refusal {
    challenge: r#"Bearer realm="proxmox-mcp", error="invalid_token""#,
    body: r#"{"error":"invalid_token","error_description":"The client token in the Authorization header is none of this server's: copy it again, or ask whoever runs the server for a new one (`proxmox-mcp token`)."}"#,
};
const UNREADABLE: Refusal = Refusal {
    challenge: r#"Bearer realm="proxmox-mcp", error="invalid_request""#,
    body: r#"{"error":"invalid_request","error_description":"The Authorization header can't be read: send exactly one, `Authorization: Bearer TOKEN`."}"#,
};
const TOO_MANY: &str = r#"{"error":"too_many_wrong_tokens","error_description":"Too many wrong client tokens came from this address: wait as long as Retry-After says, or send the right one."}"#;

/// The clients, and the wrong tokens of late.
pub struct Auth {
    clients: RwLock<Arc<[Arc<Client>]>>,
    /// Who calls where no client is configured.
    anyone: Arc<Client>,
    attempts: Attempts,
    warnings: Throttle,
}

impl Auth {
    /// Without any client, whoever comes is let in: whether that may be is decided before.
    pub fn new(clients: Vec<Client>) -> Self {
        Self {
            clients: RwLock::new(clients.into_iter().map(Arc::new).collect()),
            anyone: Arc::new(Client::anyone()),
            attempts: Attempts::default(),
            warnings: Throttle::default(),
        }
    }

    /// All of them.
    pub fn clients(&self) -> Arc<[Arc<Client>]> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on these are all of them.
    pub fn replace(&self, clients: Arc<[Arc<Client>]>) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
    }

    /// Who anybody is on a route that asks for no token.
    pub fn anyone(&self) -> Arc<Client> {
        self.anyone.clone()
    }

    /// Whose request it is, by the values of its Authorization headers. `Err` is the answer: 401, or 429 where too many
    /// wrong tokens came from `peer` before `now`.
    pub fn client<'a>(
        &self,
        mut headers: impl Iterator<Item = &'a [u8]>,
        peer: IpAddr,
        now: Instant,
    ) -> Result<Arc<Client>, Reply> {
        let clients = self.clients();
        if clients.is_empty() {
            return Ok(self.anyone());
        }
        let token = match (headers.next(), headers.next()) {
            (None, _) => return Err(MISSING.reply()),
            (Some(header), None) => bearer(header).ok_or_else(|| UNREADABLE.reply())?,
            (Some(_), Some(_)) => return Err(UNREADABLE.reply()),
        };
        let hash = TokenHash::of(token);
        // Every client is compared: how long it takes tells nothing of which one it was.
        let found = clients.iter().fold(None, |found, client| match hash.is(&client.token_sha256) {
            true => Some(client),
            false => found,
        });
        found.cloned().ok_or_else(|| self.refuse(peer, now))
    }

    fn refuse(&self, peer: IpAddr, now: Instant) -> Reply {
        let verdict = self.attempts.wrong(peer, now);
        if verdict.first {
            self.warnings.warn(format_args!(
                "refused a wrong client token from {}; those that follow within a minute are not logged",
                peer.to_canonical()
            ));
        }
        match verdict.wait {
            None => WRONG.reply(),
            // The end of the connection makes each further guess cost its sender another one.
            Some(wait) => Reply::json(429, TOO_MANY.into())
                .with("Retry-After", wait.as_secs().saturating_add(1).to_string())
                .closing(),
        }
    }
}

impl Refusal {
    fn reply(&self) -> Reply {
        Reply::json(401, self.body.into()).with("WWW-Authenticate", self.challenge)
    }
}

/// The token of a header's value: the scheme in any case, spaces, and one word of visible characters.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked("Bearer".len())?;
    let token = rest.trim_ascii();
    let one_word = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    (scheme.eq_ignore_ascii_case(b"Bearer") && rest.first() == Some(&b' ') && one_word).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sixteen_letters_";

    fn auth() -> Auth {
        Auth::new(vec![Client::of_variable(TOKEN).unwrap()])
    }

    /// The status of the answer; 200 for a client that is let in.
    fn status(auth: &Auth, headers: &[&str]) -> u16 {
        let headers = headers.iter().map(|h| h.as_bytes());
        let client = auth.client(headers, "192.0.2.1".parse().unwrap(), Instant::now());
        client.map_or_else(|reply| reply.status, |_| 200)
    }

    #[test]
    fn the_scheme_is_taken_in_any_case_and_the_token_as_it_stands() {
        for header in ["Bearer TOKEN", "bearer TOKEN", "BEARER   TOKEN", "Bearer TOKEN "] {
            assert_eq!(status(&auth(), &[&header.replace("TOKEN", TOKEN)]), 200, "{header}");
        }
        for header in ["Bearer token", "Bearer TOKENx", "Bearer x", "Bearer TOKEN,TOKEN", "Bearer \"TOKEN\""] {
            assert_eq!(status(&auth(), &[&header.replace("TOKEN", TOKEN)]), 401, "{header}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_no_guess() {
        let auth = auth();
        for _ in 0..20 {
            for header in ["", "Bearer", "Bearer ", "BearerTOKEN", "Basic TOKEN", "TOKEN", "Bearer TOKEN x", "Béarer x"]
            {
                assert_eq!(status(&auth, &[&header.replace("TOKEN", TOKEN)]), 401, "{header}");
            }
            let right = format!("Bearer {TOKEN}");
            assert_eq!(status(&auth, &[&right, &right]), 401);
            assert_eq!(status(&auth, &[]), 401);
        }
        assert_eq!(status(&auth, &["Bearer x"]), 401, "not 429");
    }

    #[test]
    fn without_clients_everybody_is_let_in() {
        let auth = Auth::new(Vec::new());
        assert_eq!((status(&auth, &[]), status(&auth, &["Bearer x"])), (200, 200));
    }

    #[test]
    fn a_refusal_is_json() {
        for text in [MISSING.body, WRONG.body, UNREADABLE.body, TOO_MANY] {
            let body: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(body["error"].is_string() && body["error_description"].is_string());
        }
    }
}
