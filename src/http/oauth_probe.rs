//! The paths that clients request when they look for OAuth, after a 401.
//!
//! Any status but 404 looks like broken OAuth. Clients show the description of the JSON body (RFC 7591, 3.2.2) to their
//! user, so it says what to do instead.

use super::response::HttpResponse;
use serde_json::json;

const DESCRIPTION: &str = "no OAuth here: give the client a token as Authorization: Bearer. \
                           hint: the server's operator makes one with `proxmox-mcp token`";

/// Returns true for the endpoints of an authorization server (MCP 2025-03-26, Authorization) and for the metadata of
/// OAuth and OpenID Connect, before or after the path of the resource (RFC 8414, 3.1 and RFC 9728, 3.1).
pub fn is_oauth_path(path: &str) -> bool {
    let mut segments = path.split('/').skip(1);
    let is_metadata = |name: &str| name.starts_with("oauth-") || name == "openid-configuration";
    let first = segments.clone().next();
    matches!(first, Some("register" | "authorize" | "token"))
        || segments.any(|segment| segment == ".well-known") && segments.next().is_some_and(is_metadata)
}

/// Returns the response to such a path.
pub fn not_found() -> HttpResponse {
    let body = json!({"error": "oauth_not_supported", "error_description": DESCRIPTION});
    HttpResponse::json(404, body.to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_of_oauth_are_known_with_any_suffix_and_prefix() {
        for path in [
            "/register",
            "/register/",
            "/register/mcp",
            "/authorize",
            "/token",
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-authorization-server",
            "/.well-known/oauth-authorization-server/prefix/sse",
            "/.well-known/oauth-client",
            "/.well-known/openid-configuration",
            "/.well-known/openid-configuration/mcp",
            "/mcp/.well-known/openid-configuration",
            "/prefix/mcp/.well-known/oauth-protected-resource",
        ] {
            assert!(is_oauth_path(path), "{path}");
        }
        for path in [
            "/",
            "/mcp",
            "/registered",
            "/x/register",
            "/.well-known",
            "/.well-known/",
            "/.well-known/security.txt",
            "/.well-known/openid-configurations",
            "/oauth-protected-resource",
            "/oauth-x/.well-known",
        ] {
            assert!(!is_oauth_path(path), "{path}");
        }
    }
}
