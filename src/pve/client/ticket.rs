//! Login of a person with a password, instead of an API token.

use crate::base::cancel::CancelToken;
use crate::base::hint::Hint;
use crate::base::json_scan::{find_member, find_string};
use crate::base::secret::Secret;
use crate::pve::client::cluster::Cluster;
use crate::pve::error::PveError;
use crate::pve::method::Method;
use crate::pve::params::ApiParams;
use crate::pve::path::ApiPath;
use std::borrow::Cow;
use thiserror::Error;
use ureq::http::{HeaderName, HeaderValue, header};

/// Proof of a login, valid for two hours (PVE).
pub struct LoginTicket {
    cookie: HeaderValue,
    csrf_token: HeaderValue,
}

impl LoginTicket {
    fn new(ticket: &str, csrf_token: &str) -> Option<Self> {
        let sensitive = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        let cookie = Secret::new(format!("PVEAuthCookie={ticket}"));
        Some(Self { cookie: sensitive(cookie.expose())?, csrf_token: sensitive(csrf_token)? })
    }

    /// Returns a client that sends this ticket instead of the API token.
    pub fn apply_to(&self, cluster: Cluster) -> Cluster {
        cluster.with_credentials(vec![
            (header::COOKIE, self.cookie.clone()),
            // Required for every method but GET (PVE).
            (HeaderName::from_static("csrfpreventiontoken"), self.csrf_token.clone()),
        ])
    }
}

/// Answer to a password.
pub enum LoginProgress {
    LoggedIn(LoginTicket),
    /// The user has a second factor. The text is its challenge.
    NeedsSecondFactor(Secret),
}

/// Failure of a login.
#[derive(Debug, Error)]
pub enum LoginError {
    #[error("Proxmox rejected the login of {user}")]
    Rejected { user: String },
    #[error(transparent)]
    Call(#[from] PveError),
    #[error("unexpected answer to POST /access/ticket")]
    UnexpectedAnswer,
}

impl Hint for LoginError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Rejected { .. } => Some("check the user, its realm, the password and the code".into()),
            Self::Call(error) => error.hint(),
            Self::UnexpectedAnswer => Some("check that this address is a Proxmox VE node".into()),
        }
    }
}

/// Sends a password. `cluster` must send no token.
pub fn log_in(cluster: &Cluster, user: &str, password: &Secret) -> Result<LoginProgress, LoginError> {
    request_ticket(cluster, user, password, None)
}

/// Answers a challenge with a code of an app, or with a recovery key.
pub fn answer_challenge(
    cluster: &Cluster,
    user: &str,
    challenge: &Secret,
    code: &Secret,
) -> Result<LoginProgress, LoginError> {
    let is_totp = code.expose().bytes().all(|b| b.is_ascii_digit());
    let kind = if is_totp { "totp" } else { "recovery" };
    let response = Secret::new(format!("{kind}:{}", code.expose()));
    request_ticket(cluster, user, &response, Some(challenge))
}

fn request_ticket(
    cluster: &Cluster,
    user: &str,
    password: &Secret,
    challenge: Option<&Secret>,
) -> Result<LoginProgress, LoginError> {
    let mut params = ApiParams::new();
    params.push("username", user);
    params.push("password", password.expose());
    if let Some(challenge) = challenge {
        params.push("tfa-challenge", challenge.expose());
    }
    let (path, _) = ApiPath::parse("/access/ticket").expect("the path is valid");
    let answer = cluster.call(Method::Post, &path, &params, &CancelToken::new()).map_err(|error| match error {
        PveError::Unauthorized { .. } => LoginError::Rejected { user: user.to_owned() },
        other => LoginError::Call(other),
    })?;
    let text = |name| find_string(answer.data(), name);
    let ticket = text("ticket").ok_or(LoginError::UnexpectedAnswer)?;
    if find_member(answer.data(), "NeedTFA").is_some_and(|flag| matches!(flag, "1" | "\"1\"" | "true")) {
        return Ok(LoginProgress::NeedsSecondFactor(Secret::new(ticket.into_owned())));
    }
    let csrf_token = text("CSRFPreventionToken").ok_or(LoginError::UnexpectedAnswer)?;
    LoginTicket::new(&ticket, &csrf_token).map(LoginProgress::LoggedIn).ok_or(LoginError::UnexpectedAnswer)
}
