//! Who calls: the client whose token a request carries in its one `Authorization: Bearer …` header (RFC 6750, 2.1).
//!
//! The token is looked at before the body is read and goes no further: neither into a log nor to a cluster. A token in
//! the query is none, since queries stand in logs.

use super::auth_failures::AuthFailureLimiter;
use super::log_throttle::LogThrottle;
use super::response::HttpResponse;
use crate::config::{Client, TokenHash};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// What a refusal says (RFC 6750, 3, and what OAuth clients look for in the body).
struct AuthChallenge {
    challenge: &'static str,
    body: &'static str,
}

const TOKEN_MISSING: AuthChallenge = AuthChallenge {
    challenge: r#"Bearer realm="proxmox-mcp""#,
    body: r#"{"error":"unauthorized","error_description":"This server asks for a client token: send it in one header, `Authorization: Bearer TOKEN`. Whoever runs the server makes one with `proxmox-mcp token`."}"#,
};
const TOKEN_INVALID: AuthChallenge = AuthChallenge {
    challenge: r#"Bearer realm="proxmox-mcp", error="invalid_token""#,
    body: r#"{"error":"invalid_token","error_description":"The client token in the Authorization header is none of this server's: copy it again, or ask whoever runs the server for a new one (`proxmox-mcp token`)."}"#,
};
const HEADER_MALFORMED: AuthChallenge = AuthChallenge {
    challenge: r#"Bearer realm="proxmox-mcp", error="invalid_request""#,
    body: r#"{"error":"invalid_request","error_description":"The Authorization header can't be read: send exactly one, `Authorization: Bearer TOKEN`."}"#,
};
const TOO_MANY_FAILURES: &str = r#"{"error":"too_many_wrong_tokens","error_description":"Too many wrong client tokens came from this address: wait as long as Retry-After says, or send the right one."}"#;

/// The clients, and the wrong tokens of late.
pub struct Authenticator {
    clients: RwLock<Arc<[Arc<Client>]>>,
    /// Who calls where no client is configured.
    anonymous: Arc<Client>,
    failures: AuthFailureLimiter,
    warnings: LogThrottle,
}

impl Authenticator {
    /// Without any client, whoever comes is let in: whether that may be is decided before.
    pub fn new(clients: Vec<Client>) -> Self {
        Self {
            clients: RwLock::new(clients.into_iter().map(Arc::new).collect()),
            anonymous: Arc::new(Client::anonymous()),
            failures: AuthFailureLimiter::default(),
            warnings: LogThrottle::default(),
        }
    }

    /// All of them.
    pub fn clients(&self) -> Arc<[Arc<Client>]> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From here on these are all of them.
    pub fn replace_clients(&self, clients: Arc<[Arc<Client>]>) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
    }

    /// Who anybody is on a route that asks for no token.
    pub fn anonymous_client(&self) -> Arc<Client> {
        self.anonymous.clone()
    }

    /// Whose request it is, by the values of its Authorization headers. `Err` is the answer: 401, or 429 where too many
    /// wrong tokens came from `peer` before `now`.
    pub fn authenticate<'a>(
        &self,
        mut headers: impl Iterator<Item = &'a [u8]>,
        peer: IpAddr,
        now: Instant,
    ) -> Result<Arc<Client>, HttpResponse> {
        let clients = self.clients();
        if clients.is_empty() {
            return Ok(self.anonymous_client());
        }
        let token = match (headers.next(), headers.next()) {
            (None, _) => return Err(TOKEN_MISSING.to_response()),
            (Some(header), None) => parse_bearer(header).ok_or_else(|| HEADER_MALFORMED.to_response())?,
            (Some(_), Some(_)) => return Err(HEADER_MALFORMED.to_response()),
        };
        let hash = TokenHash::from_token(token);
        // Every client is compared: how long it takes tells nothing of which one it was.
        let found = clients.iter().fold(None, |found, client| match hash.ct_eq(&client.token_sha256) {
            true => Some(client),
            false => found,
        });
        found.cloned().ok_or_else(|| self.reject(peer, now))
    }

    fn reject(&self, peer: IpAddr, now: Instant) -> HttpResponse {
        let verdict = self.failures.record_failure(peer, now);
        if verdict.first {
            self.warnings.warn(format_args!(
                "refused a wrong client token from {}; those that follow within a minute are not logged",
                peer.to_canonical()
            ));
        }
        match verdict.retry_after {
            None => TOKEN_INVALID.to_response(),
            // The end of the connection makes each further guess cost its sender another one.
            Some(wait) => HttpResponse::json(429, TOO_MANY_FAILURES.into())
                .with_header("Retry-After", wait.as_secs().saturating_add(1).to_string())
                .with_close(),
        }
    }
}

impl AuthChallenge {
    fn to_response(&self) -> HttpResponse {
        HttpResponse::json(401, self.body.into()).with_header("WWW-Authenticate", self.challenge)
    }
}

/// The token of a header's value: the scheme in any case, spaces, and one word of visible characters.
fn parse_bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked("Bearer".len())?;
    let token = rest.trim_ascii();
    let one_word = !token.is_empty() && token.iter().all(u8::is_ascii_graphic);
    (scheme.eq_ignore_ascii_case(b"Bearer") && rest.first() == Some(&b' ') && one_word).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "sixteen_letters_";

    fn authenticator() -> Authenticator {
        Authenticator::new(vec![Client::from_env_token(TOKEN).unwrap()])
    }

    /// The status of the answer; 200 for a client that is let in.
    fn status(auth: &Authenticator, headers: &[&str]) -> u16 {
        let headers = headers.iter().map(|h| h.as_bytes());
        let client = auth.authenticate(headers, "192.0.2.1".parse().unwrap(), Instant::now());
        client.map_or_else(|reply| reply.status, |_| 200)
    }

    #[test]
    fn the_scheme_matches_in_any_case_and_the_token_exactly() {
        for header in ["Bearer TOKEN", "bearer TOKEN", "BEARER   TOKEN", "Bearer TOKEN "] {
            assert_eq!(status(&authenticator(), &[&header.replace("TOKEN", TOKEN)]), 200, "{header}");
        }
        for header in ["Bearer token", "Bearer TOKENx", "Bearer x", "Bearer TOKEN,TOKEN", "Bearer \"TOKEN\""] {
            assert_eq!(status(&authenticator(), &[&header.replace("TOKEN", TOKEN)]), 401, "{header}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_no_guess() {
        let auth = authenticator();
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
    fn without_configured_clients_every_request_is_accepted() {
        let auth = Authenticator::new(Vec::new());
        assert_eq!((status(&auth, &[]), status(&auth, &["Bearer x"])), (200, 200));
    }

    #[test]
    fn a_refusal_is_json() {
        for text in [TOKEN_MISSING.body, TOKEN_INVALID.body, HEADER_MALFORMED.body, TOO_MANY_FAILURES] {
            let body: serde_json::Value = serde_json::from_str(text).unwrap();
            assert!(body["error"].is_string() && body["error_description"].is_string());
        }
    }
}
