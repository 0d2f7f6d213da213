//! The configuration in clusters.json.

use crate::config::load::parse;
use std::path::Path;

/// A secret in the form that Proxmox creates.
const SECRET: &str = "0f5e9c1a-3b7d-4e2f-8a6b-5c4d3e2f1a0b";

/// Checks a configuration, in which `$SECRET` becomes a secret. The errors of an invalid one do not show the secret. A
/// valid one is complete.
pub fn check_clusters(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).replace("$SECRET", SECRET);
    // No input may name a file of this machine.
    let directory = Path::new("/nonexistent");
    if text.contains("_file") && ["\"/", "..", "\\u"].iter().any(|part| text.contains(part)) {
        return false;
    }
    let read = || parse(text.as_bytes(), directory, None);
    match (read(), read()) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.clusters, second.clusters);
            let names: Vec<&str> = first.clusters.iter().map(|cluster| &*cluster.name).collect();
            assert!(!names.is_empty() && (1..names.len()).all(|n| !names[..n].contains(&names[n])));
            assert!(first.default.as_deref().is_none_or(|default| names.contains(&default)));
            for cluster in &first.clusters {
                assert!(!cluster.endpoints.is_empty() && !cluster.token_secret.is_empty());
                assert!(cluster.token_secret.expose().bytes().all(|b| b.is_ascii_graphic()));
                assert!((1..=600).contains(&cluster.timeout.as_secs()));
                // A token is never sent to another machine in clear text.
                assert!(cluster.endpoints.iter().all(|e| e.https || is_loopback(&e.host)), "{cluster:?}");
            }
            let clients: Vec<_> =
                first.clients.iter().map(|client| (&client.name, client.token_sha256.to_string())).collect();
            assert!(
                (1..clients.len()).all(|n| clients[..n].iter().all(|c| c.0 != clients[n].0 && c.1 != clients[n].1))
            );
            true
        }
        (Err(first), Err(second)) => {
            let errors = first.to_string();
            assert_eq!(errors, second.to_string());
            assert!(first.count() > 0 && !errors.is_empty() && !errors.contains(SECRET), "{errors}");
            assert!(!errors.contains(|c: char| c.is_control() && c != '\n'), "{errors:?}");
            false
        }
        _ => panic!("accepted once and rejected once"),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
