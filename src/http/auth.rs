//! Authentication: finds the client whose token a request carries in `Authorization: Bearer …` (RFC 6750, 2.1).
//!
//! The token is checked before the body is read. It is never logged and never sent to a cluster. A token in the query
//! is ignored, because logs contain queries.

use super::auth_failures::{AuthFailureLimiter, MISSING_TOKEN_WINDOW, WRONG_TOKEN_WINDOW};
use super::log_throttle::LogThrottle;
use super::proxy_sign::ProxySign;
use super::response::HttpResponse;
use crate::base::hint::{Hint, render_error};
use crate::config::{Client, TokenHash};
use crate::metrics::RefusalReason;
use serde_json::json;
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Next step of an operator whose server has no client token and a proxy in front of it.
pub const PROXY_CURE: &str = "the server's operator makes a token with `proxmox-mcp token` and sets MCP_AUTH_TOKEN, or, if \
                              the proxy authenticates its callers, sets --insecure-no-auth (MCP_INSECURE_NO_AUTH=1)";

/// Reason to reject a request for its Authorization header.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum AuthError {
    #[error("client token missing: the request has no Authorization header")]
    MissingToken,
    #[error("unknown client token in the Authorization header")]
    UnknownToken,
    #[error("client token revoked while the request arrived")]
    RevokedToken,
    #[error("invalid Authorization header")]
    InvalidHeader,
    #[error("too many wrong client tokens from this address")]
    TooManyFailures { retry_after: Duration },
    #[error("client token required: the request came through a proxy ({0}), and this server has no client token")]
    ProxyWithoutToken(ProxySign),
}

impl Hint for AuthError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(match self {
            Self::MissingToken => {
                "send one header `Authorization: Bearer TOKEN`; the server's operator creates a token with \
                 `proxmox-mcp token`"
            }
            Self::RevokedToken => "ask the server's operator for a new token (`proxmox-mcp token`)",
            Self::UnknownToken => {
                "check that it was copied completely, or ask the server's operator for a new one (`proxmox-mcp token`)"
            }
            Self::InvalidHeader => "send exactly one header `Authorization: Bearer TOKEN`",
            Self::ProxyWithoutToken(_) => PROXY_CURE,
            Self::TooManyFailures { .. } => "wait as long as Retry-After says, or send the right token",
        }))
    }
}

impl AuthError {
    pub fn refusal_reason(&self) -> RefusalReason {
        match self {
            Self::MissingToken
            | Self::UnknownToken
            | Self::RevokedToken
            | Self::InvalidHeader
            | Self::ProxyWithoutToken(_) => RefusalReason::Token,
            Self::TooManyFailures { .. } => RefusalReason::WrongTokens,
        }
    }

    /// Returns the response with its challenge (RFC 6750, 3) and the JSON body that OAuth clients expect.
    pub fn to_response(&self) -> HttpResponse {
        let (code, challenge) = match self {
            Self::MissingToken => ("unauthorized", r#"Bearer realm="proxmox-mcp""#),
            Self::UnknownToken | Self::RevokedToken => {
                ("invalid_token", r#"Bearer realm="proxmox-mcp", error="invalid_token""#)
            }
            Self::InvalidHeader => ("invalid_request", r#"Bearer realm="proxmox-mcp", error="invalid_request""#),
            // No token would help the client, so there is no challenge.
            Self::ProxyWithoutToken(_) => return HttpResponse::json(403, self.to_json("client_token_required")),
            Self::TooManyFailures { retry_after } => {
                // Each further guess costs the attacker a new connection.
                return HttpResponse::json(429, self.to_json("too_many_wrong_tokens"))
                    .with_header("Retry-After", retry_after.as_secs().saturating_add(1).to_string())
                    .with_close();
            }
        };
        HttpResponse::json(401, self.to_json(code)).with_header("WWW-Authenticate", challenge)
    }

    fn to_json(&self, code: &str) -> Vec<u8> {
        json!({"error": code, "error_description": render_error(self)}).to_string().into_bytes()
    }
}

/// The configured clients and the recent authentication failures.
pub struct Authenticator {
    clients: RwLock<Arc<[Arc<Client>]>>,
    /// The client of all requests if no client is configured.
    anonymous: Arc<Client>,
    /// True if a request that came through a proxy needs no token either.
    insecure_no_auth: bool,
    wrong_tokens: AuthFailureLimiter,
    /// Addresses whose missing token is logged.
    missing_tokens: AuthFailureLimiter,
    warnings: LogThrottle,
}

impl Authenticator {
    /// Creates an authenticator. Without clients it accepts every request that no proxy handled, and with
    /// `insecure_no_auth` the others too. The caller decides whether that is safe.
    pub fn new(clients: Vec<Client>, insecure_no_auth: bool) -> Self {
        Self {
            clients: RwLock::new(clients.into_iter().map(Arc::new).collect()),
            anonymous: Arc::new(Client::anonymous()),
            insecure_no_auth,
            wrong_tokens: AuthFailureLimiter::new(WRONG_TOKEN_WINDOW),
            missing_tokens: AuthFailureLimiter::new(MISSING_TOKEN_WINDOW),
            warnings: LogThrottle::default(),
        }
    }

    pub fn clients(&self) -> Arc<[Arc<Client>]> {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace_clients(&self, clients: Arc<[Arc<Client>]>) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
    }

    /// Returns true if a request with no token is refused, or the operator has waived tokens.
    pub fn is_protected_or_waived(&self) -> bool {
        self.insecure_no_auth || !self.clients().is_empty()
    }

    /// Returns the client of requests to routes that need no token.
    pub fn anonymous_client(&self) -> Arc<Client> {
        self.anonymous.clone()
    }

    /// Returns the client of a request from the values of its Authorization headers. `find_proxy_sign` looks for a sign
    /// that a proxy handled the request.
    pub fn authenticate<'a>(
        &self,
        mut headers: impl Iterator<Item = &'a [u8]>,
        peer: IpAddr,
        now: Instant,
        find_proxy_sign: impl FnOnce() -> Option<ProxySign>,
    ) -> Result<Arc<Client>, AuthError> {
        let clients = self.clients();
        if clients.is_empty() {
            return match find_proxy_sign() {
                Some(sign) if !self.insecure_no_auth => {
                    let error = AuthError::ProxyWithoutToken(sign);
                    self.warnings.warn(format_args!("refused a request from {peer}: {}", render_error(&error)));
                    Err(error)
                }
                _ => Ok(self.anonymous_client()),
            };
        }
        let token = match (headers.next(), headers.next()) {
            (None, _) => Err(AuthError::MissingToken),
            (Some(header), None) => parse_bearer(header).ok_or(AuthError::InvalidHeader),
            (Some(_), Some(_)) => Err(AuthError::InvalidHeader),
        };
        let token = token.inspect_err(|error| self.log_missing_token(error, peer, now))?;
        let hash = TokenHash::from_token(token);
        // Every client is compared, so the duration does not tell which one matched.
        let matching = clients.iter().fold(None, |matching, client| match hash.ct_eq(&client.token_sha256) {
            true => Some(client),
            false => matching,
        });
        matching.cloned().ok_or_else(|| self.record_failure(peer, now))
    }

    /// Returns the present entry of a client that was authenticated before. A reload may have replaced or removed it.
    pub fn find_present(&self, client: &Arc<Client>) -> Result<Arc<Client>, AuthError> {
        let clients = self.clients();
        if clients.is_empty() && !client.has_token() {
            return Ok(client.clone());
        }
        let present = clients.iter().find(|present| present.token_sha256.ct_eq(&client.token_sha256));
        present.cloned().ok_or(AuthError::RevokedToken)
    }

    /// Logs the first request of an address without a readable token. Clients and probes repeat such requests.
    fn log_missing_token(&self, error: &AuthError, peer: IpAddr, now: Instant) {
        if self.missing_tokens.record_failure(peer, now).first {
            let peer = peer.to_canonical();
            log::info!(
                target: "proxmox_mcp::http",
                "refused a request from {peer}: {error}; further ones within an hour are not logged. hint: give the \
                 client a token, `proxmox-mcp token` makes one and says how"
            );
        }
    }

    fn record_failure(&self, peer: IpAddr, now: Instant) -> AuthError {
        let outcome = self.wrong_tokens.record_failure(peer, now);
        if outcome.first {
            self.warnings.warn(format_args!(
                "refused a wrong client token from {}; further ones within a minute are not logged",
                peer.to_canonical()
            ));
        }
        match outcome.retry_after {
            None => AuthError::UnknownToken,
            Some(retry_after) => AuthError::TooManyFailures { retry_after },
        }
    }
}

/// Returns the token of a header: the scheme in any case, spaces, and one word of visible ASCII characters.
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
        Authenticator::new(vec![Client::from_env_token(TOKEN).unwrap()], false)
    }

    /// Returns the status of the response, or 200 for an accepted client.
    fn status(auth: &Authenticator, headers: &[&str]) -> u16 {
        let headers = headers.iter().map(|h| h.as_bytes());
        let sign = || Some(ProxySign::OldVersion);
        let client = auth.authenticate(headers, "192.0.2.1".parse().unwrap(), Instant::now(), sign);
        client.map_or_else(|error| error.to_response().status, |_| 200)
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
    fn without_configured_clients_every_request_is_accepted_that_no_proxy_handled() {
        let auth = |insecure_no_auth| Authenticator::new(Vec::new(), insecure_no_auth);
        let direct =
            |auth: &Authenticator| auth.authenticate([].into_iter(), [192, 0, 2, 1].into(), Instant::now(), || None);
        assert!(direct(&auth(false)).is_ok() && direct(&auth(true)).is_ok());
        for headers in [&[][..], &["Bearer x"]] {
            assert_eq!((status(&auth(false), headers), status(&auth(true), headers)), (403, 200), "through a proxy");
        }
    }

    #[test]
    fn a_refusal_is_json() {
        let too_many = AuthError::TooManyFailures { retry_after: Duration::ZERO };
        let through_proxy = AuthError::ProxyWithoutToken(ProxySign::ForeignHost);
        for error in [
            AuthError::MissingToken,
            AuthError::UnknownToken,
            AuthError::RevokedToken,
            AuthError::InvalidHeader,
            through_proxy,
            too_many,
        ] {
            let body: serde_json::Value = serde_json::from_slice(error.to_response().body()).unwrap();
            assert!(body["error"].is_string() && body["error_description"].is_string());
        }
    }
}
