//! One HTTP request of the program itself: to a running server, or to a service for notifications.
//!
//! The whole request has a time limit, the answer a size limit, and TLS is verified. Redirects are not followed and
//! variables of proxies are not used: both could carry a token elsewhere. No error contains the URL, which may hold a
//! secret.

use rustls_pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;
use ureq::http::{Method, Request, Uri, header};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// The time of a whole request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

/// A request.
pub struct WebRequest<'a> {
    pub method: Method,
    pub url: &'a Uri,
    /// The value of the Authorization header.
    pub authorization: Option<&'a str>,
    /// JSON.
    pub body: Option<String>,
    /// Authorities instead of the public ones; empty for those.
    pub authorities: &'a [CertificateDer<'static>],
}

/// Status and body of an answer.
pub struct WebAnswer {
    pub status: u16,
    pub body: String,
}

impl WebRequest<'_> {
    /// Sends the request and reads the answer.
    pub fn send(self) -> Result<WebAnswer, ureq::Error> {
        let mut request =
            Request::builder().method(self.method).uri(self.url).header(header::ACCEPT, "application/json, */*");
        if let Some(authorization) = self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let agent = build_agent(self.authorities);
        let mut answer = match self.body {
            Some(body) => agent.run(request.header(header::CONTENT_TYPE, "application/json").body(body)?)?,
            None => agent.run(request.body(())?)?,
        };
        let body = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).lossy_utf8(true).read_to_string()?;
        Ok(WebAnswer { status: answer.status().as_u16(), body })
    }
}

/// Returns a URL with another path and query.
pub fn with_target(url: &Uri, target: &str) -> Uri {
    let mut parts = url.clone().into_parts();
    parts.path_and_query = Some(target.parse().expect("parts of a path and a query are a path and a query"));
    Uri::from_parts(parts).expect("scheme and authority are those of a URL")
}

fn build_agent(authorities: &[CertificateDer<'static>]) -> ureq::Agent {
    let roots = match authorities {
        [] => RootCerts::WebPki,
        own => {
            RootCerts::new_with_certs(&own.iter().map(|der| Certificate::from_der(der).to_owned()).collect::<Vec<_>>())
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .max_redirects(0)
        .http_status_as_error(false)
        .proxy(None)
        .tls_config(tls)
        .build()
        .new_agent()
}
