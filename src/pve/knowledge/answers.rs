//! Answers whose form needs a correction before a caller reads them.

use crate::base::json_scan::{find_string, walk};
use crate::pve::client::cluster::ApiResponse;
use crate::pve::knowledge::text::decode_json_strings;
use serde_json::Value;
use std::borrow::Cow;

/// Kind of an answer, by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownAnswer {
    /// The answer is shown as it is.
    Plain,
    /// Text that the node sends with each byte of UTF-8 as a character.
    TwiceEncoded,
    /// An answer of the guest agent, which is text of the same kind, and may hold an error.
    GuestAgent,
    /// An object with an image.
    Image,
    /// The list of all resources, of which only networks are wanted.
    Networks,
}

impl KnownAnswer {
    /// Returns the kind of the answer of a path.
    pub(crate) fn of_path(path: &str, is_sdn_list: bool) -> Self {
        let ends = |names: &[&str]| names.iter().any(|name| path.ends_with(name));
        match path {
            _ if is_sdn_list => Self::Networks,
            _ if path.contains("/agent/") => Self::GuestAgent,
            _ if ends(&["/rrd"]) => Self::Image,
            _ if path.contains("/tasks/") || ends(&["/tasks", "/syslog", "/journal", "/log"]) => Self::TwiceEncoded,
            _ => Self::Plain,
        }
    }

    /// Returns the answer as a caller may read it.
    pub(crate) fn correct(self, response: ApiResponse) -> ApiResponse {
        match self {
            Self::Plain => response,
            Self::TwiceEncoded | Self::GuestAgent => response.map_body(decode_json_strings),
            Self::Image => response.map_body(|body| name_image(body).map_or(body.into(), Cow::Owned)),
            Self::Networks => response.map_body(|body| keep_networks(body).into()),
        }
    }
}

/// Replaces the image of an answer by its size.
fn name_image(body: &str) -> Option<String> {
    let mut answer: Value = serde_json::from_str(body).ok()?;
    let image = answer.get_mut("data")?.get_mut("image")?;
    let text = image.as_str()?;
    // (PVE: each byte of the image is a character.)
    let size = text.chars().count();
    *image = format!("an image of {size} bytes, which is not shown").into();
    Some(answer.to_string())
}

/// Keeps the rows of networks.
fn keep_networks(body: &str) -> String {
    let mut rows: Vec<&str> = Vec::new();
    walk(body, &mut |_, data| {
        walk(data, &mut |_, row| {
            if find_string(row, "type").is_some_and(|kind| kind == "sdn" || kind == "network") {
                rows.push(row);
            }
            true
        });
        true
    });
    format!("{{\"data\":[{}]}}", rows.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_tells_the_kind_of_an_answer() {
        for (path, kind) in [
            ("/nodes/pve1/qemu/100/config", KnownAnswer::Plain),
            ("/nodes/pve1/tasks/UPID:x:/log", KnownAnswer::TwiceEncoded),
            ("/nodes/pve1/syslog", KnownAnswer::TwiceEncoded),
            ("/nodes/pve1/qemu/100/firewall/log", KnownAnswer::TwiceEncoded),
            ("/cluster/log", KnownAnswer::TwiceEncoded),
            ("/nodes/pve1/qemu/100/agent/file-read", KnownAnswer::GuestAgent),
            ("/nodes/pve1/qemu/100/rrd", KnownAnswer::Image),
            ("/nodes/pve1/qemu/100/rrddata", KnownAnswer::Plain),
        ] {
            assert_eq!(KnownAnswer::of_path(path, false), kind, "{path}");
        }
    }

    #[test]
    fn an_image_is_named_by_its_size() {
        let body = r#"{"data":{"filename":"/x.png","image":"\u0089PNG"}}"#;
        let named = name_image(body).unwrap();
        assert!(named.contains("an image of 4 bytes") && named.contains("/x.png"), "{named}");
    }

    #[test]
    fn only_rows_of_networks_are_kept() {
        let body = r#"{"data":[{"type":"qemu","id":"a"},{"type":"network","id":"b"},{"type":"sdn","id":"c"}]}"#;
        assert_eq!(keep_networks(body), r#"{"data":[{"type":"network","id":"b"},{"type":"sdn","id":"c"}]}"#);
    }
}
