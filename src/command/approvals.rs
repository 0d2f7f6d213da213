//! `approvals`: lists the calls of a running server that wait for a person, and decides on them.

use super::cli::{ApprovalsAction, ApprovalsArgs};
use super::failure::Failure;
use super::output::{Mark, print_stdout, printable};
use super::web_request::{WebAnswer, WebRequest, with_target};
use proxmox_mcp::base::secret::Secret;
use proxmox_mcp::config::is_loopback_host;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};
use ureq::http::uri::Scheme;
use ureq::http::{Method, Uri};

/// The variable with the token of the person who decides.
const TOKEN_VARIABLE: &str = "MCP_APPROVER_TOKEN";

/// Runs the command against the server at `default_url`, or at `--url`.
pub fn run(args: &ApprovalsArgs, default_url: &str) -> Result<(), Failure> {
    let url = match &args.url {
        Some(url) if is_exposed(url) && !args.insecure_http => {
            return Err(Failure::Usage(
                "--url would send the token in clear text: http:// is for loopback addresses only. hint: use https://, or \
                 --insecure-http on a trusted network"
                    .into(),
            ));
        }
        Some(url) => url.clone(),
        None => default_url.parse().expect("the address of a listener is a URL"),
    };
    let base = url.path().trim_end_matches('/');
    let url = with_target(&url, &format!("{}/approvals", base.strip_suffix("/mcp").unwrap_or(base)));
    let server = ApprovalServer { url, token: read_token(args)?, authorities: read_authorities(args)? };
    match &args.action {
        None | Some(ApprovalsAction::List) => server.print_list(),
        Some(ApprovalsAction::Approve { id }) => server.decide(id, "approve"),
        Some(ApprovalsAction::Deny { id }) => server.decide(id, "deny"),
    }
}

/// Returns whether others on the network can read what is sent to a URL.
fn is_exposed(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    url.scheme() != Some(&Scheme::HTTPS) && !is_loopback_host(host)
}

fn read_token(args: &ApprovalsArgs) -> Result<Secret, Failure> {
    let text = match &args.token_file {
        Some(path) => fs::read_to_string(path)
            .map_err(|error| Failure::Usage(format!("--token-file names a file that can't be read: {error}")))?,
        None => env::var(TOKEN_VARIABLE).map_err(|_| {
            Failure::Usage(format!(
                "the token of a client with \"approve\": true is missing. hint: set {TOKEN_VARIABLE}, or name a file \
                 with it: --token-file FILE"
            ))
        })?,
    };
    let token = text.trim();
    match !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(Secret::new(token.to_owned())),
        false => Err(Failure::Usage(format!("{TOKEN_VARIABLE} or --token-file has no client token"))),
    }
}

fn read_authorities(args: &ApprovalsArgs) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let read = |path: &Path| {
        let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let failed = |cause: String| Failure::Usage(format!("--ca-file has no certificate: {cause}"));
        let certificates = certificates.map_err(|error| failed(error.to_string()))?;
        if certificates.is_empty() { Err(failed("it is empty".into())) } else { Ok(certificates) }
    };
    args.ca_file.as_deref().map_or(Ok(Vec::new()), read)
}

/// A running server.
struct ApprovalServer {
    url: Uri,
    token: Secret,
    authorities: Vec<CertificateDer<'static>>,
}

impl ApprovalServer {
    fn print_list(&self) -> Result<(), Failure> {
        let answer = self.request(Method::GET, None)?;
        let answer: Value = serde_json::from_str(&answer.body)
            .map_err(|_| Failure::Runtime("cannot read the approvals: the answer is not JSON".into()))?;
        let rows = answer["approvals"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut text = String::new();
        for row in rows {
            let member = |name: &str| printable(row[name].as_str().unwrap_or_default()).to_string();
            let minutes = row["expires_in_seconds"].as_u64().unwrap_or_default().div_ceil(60);
            let state = match row["approved_by"].as_str() {
                Some(by) => format!("approved by {}", printable(by)),
                None if row["own"] == true => "waits for another client".to_owned(),
                None => "waits".to_owned(),
            };
            let _ = writeln!(
                text,
                "{}  {state}, for {minutes} more min  client {} over {}",
                member("id"),
                member("client"),
                member("transport")
            );
            for line in row["plan"].as_str().unwrap_or_default().lines() {
                let _ = writeln!(text, "    {}", printable(line));
            }
        }
        print_stdout(if text.is_empty() { "no call waits\n" } else { &text });
        Ok(())
    }

    fn decide(&self, id: &str, decision: &str) -> Result<(), Failure> {
        self.request(Method::POST, Some(json!({"id": id, "decision": decision}).to_string()))?;
        let done = if decision == "approve" { "approved" } else { "denied" };
        print_stdout(&format!("{} {done} {}\n", Mark::Fine, printable(id)));
        Ok(())
    }

    fn request(&self, method: Method, body: Option<String>) -> Result<WebAnswer, Failure> {
        let bearer = format!("Bearer {}", self.token.expose());
        let (url, authorities) = (&self.url, self.authorities.as_slice());
        let request = WebRequest { method, url, authorization: Some(&bearer), body, authorities };
        let answer = request.send().map_err(|error| {
            Failure::Runtime(format!("cannot reach the server: {error}. hint: --url names it, --ca-file its authority"))
        })?;
        match answer.status {
            200 => Ok(answer),
            401 => Err(Failure::Runtime("the server does not know the token. hint: check that it is complete".into())),
            status => {
                Err(Failure::Runtime(format!("the server refused with status {status}: {}", printable(&answer.body))))
            }
        }
    }
}
