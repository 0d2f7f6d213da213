//! The page for people, as data: the files of `page/` as one document.

use crate::mcp::catalog::Page;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const HTML: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/page.css"),
    "</style>\n",
    include_str!("page/body.html"),
    "<script>",
    include_str!("page/page.js"),
    "</script>\n</html>\n",
);

/// Returns the page. Its script and style are the only ones that a browser runs, by their hashes.
pub(super) fn build_page() -> Page {
    let source = |text: &str| format!("'sha256-{}'", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())));
    Page {
        uri: "ui://proxmox/overview",
        html: HTML,
        script_source: source(SCRIPT),
        style_source: source(STYLE),
        tools: &["get_cluster_resources"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_asks_for_nothing_else() {
        assert!(HTML.len() <= 80 << 10, "{} bytes", HTML.len());
        for forbidden in
            ["http:", "https:", "src=", "href=\"/", "href=\"h", "@import", "url(", "innerHTML", "eval(", " style="]
        {
            assert!(!HTML.contains(forbidden), "{forbidden}");
        }
        assert_eq!((HTML.matches("<script>").count(), HTML.matches("<style>").count()), (1, 1));
    }
}
