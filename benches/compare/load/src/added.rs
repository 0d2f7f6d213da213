//! The time that a call takes longer than the same request to the node.

use crate::Outcome;
use crate::http::{Connection, connect};
use crate::session::{Mode, Request, Session};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Calls list_nodes and asks the node for the same, in turns, each over a kept connection.
pub fn run(server: &str, node: &str, seconds: f64) -> Outcome {
    let mut session = Session::open(Mode::Modern, server, Request::call(Mode::Modern, "list_nodes", "{}"))?;
    let mut node = Connection::over(tls(node)?, node);
    let (mut calls, mut direct) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds {
        let at = Instant::now();
        session.ask()?;
        calls.push(at.elapsed());
        let at = Instant::now();
        node.ask("GET", "/api2/json/nodes", "", "")?;
        direct.push(at.elapsed());
    }
    let (call, direct) = (median(calls), median(direct));
    println!(r#"{{"call_us":{call:.1},"direct_us":{direct:.1}}}"#);
    Ok(())
}

/// Returns the median in microseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn tls(address: &str) -> Result<StreamOwned<ClientConnection, TcpStream>, Box<dyn std::error::Error>> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
    let stream = connect(address)?;
    let name = ServerName::from(stream.peer_addr()?.ip());
    Ok(StreamOwned::new(ClientConnection::new(Arc::new(config), name)?, stream))
}

/// Trusts every certificate: the node is a local process.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
