//! Notifications of calls that wait for a person, by a thread of its own. A call never waits for one.
//!
//! The URL may hold a secret, so no log line has it. The text has no value of a parameter.

use super::failure::Failure;
use super::web_request::{WebRequest, with_target};
use proxmox_mcp::call::{ApprovalNotice, NoticeSink};
use serde_json::json;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread;
use ureq::http::{Method, Uri};

/// The most notices that wait. Further ones are dropped with a warning.
const MAX_QUEUED: usize = 32;
/// The most operations that a text names.
const MAX_OPERATIONS: usize = 5;

/// The form in which a service expects a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyFormat {
    Ntfy,
    Gotify,
    Slack,
    /// A JSON object with every fact as a member.
    Json,
}

impl NotifyFormat {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "ntfy" => Ok(Self::Ntfy),
            "gotify" => Ok(Self::Gotify),
            "slack" => Ok(Self::Slack),
            "json" => Ok(Self::Json),
            _ => Err("expected ntfy, gotify, slack or json".into()),
        }
    }

    /// Returns the form of the service at a URL.
    fn guess(url: &Uri) -> Self {
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        let path = url.path();
        if host.contains("ntfy") {
            Self::Ntfy
        } else if host.contains("gotify") || path == "/message" {
            Self::Gotify
        } else if host == "hooks.slack.com" || path.starts_with("/services/") || path.starts_with("/hooks/") {
            Self::Slack
        } else {
            Self::Json
        }
    }

    /// Returns the body of the request and where it goes. ntfy accepts JSON at its root only, with the topic in it.
    fn encode(self, notice: &ApprovalNotice, url: &Uri) -> (Uri, String) {
        let ApprovalNotice { id, client, cluster, operations, page } = notice;
        let title = format!("Approval {id}: {client} on {cluster}");
        let mut text = operations.iter().take(MAX_OPERATIONS).cloned().collect::<Vec<_>>().join("\n");
        if let Some(more @ 1..) = operations.len().checked_sub(MAX_OPERATIONS) {
            text.push_str(&format!("\nand {more} more"));
        }
        let command = format!("proxmox-mcp approvals approve {id}");
        let place = page.as_deref().unwrap_or(&command);
        let mut target = url.clone();
        let body = match self {
            Self::Ntfy => {
                let (root, topic) = url.path().trim_end_matches('/').rsplit_once('/').unwrap_or_default();
                let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
                target = with_target(url, &format!("{root}/{query}"));
                let mut body = json!({"topic": topic, "title": title, "message": text, "tags": ["raised_hand"]});
                if let Some(page) = page {
                    body["click"] = page.as_str().into();
                }
                body
            }
            Self::Gotify => json!({"title": title, "message": format!("{text}\n{place}"), "priority": 5}),
            // Slack reads `<…>` and `&` as markup.
            Self::Slack => {
                let text = format!("{title}\n{text}\n{place}");
                json!({"text": text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")})
            }
            Self::Json => json!({
                "event": "approval_requested",
                "id": id,
                "client": client,
                "cluster": cluster,
                "operations": operations,
                "url": page,
                "text": format!("{title}\n{text}\n{place}"),
            }),
        };
        (target, body.to_string())
    }
}

/// Starts the thread that sends notices, and returns the way to it.
pub fn start_notifier(url: &Uri, format: Option<NotifyFormat>) -> Result<NoticeSink, Failure> {
    let (sender, receiver) = sync_channel(MAX_QUEUED);
    let (url, format) = (url.clone(), format.unwrap_or_else(|| NotifyFormat::guess(url)));
    let thread = thread::Builder::new().name("notify".into());
    thread
        .spawn(move || send_notices(&receiver, &url, format))
        .map_err(|error| Failure::Runtime(format!("cannot start the thread for notifications: {error}")))?;
    Ok(Box::new(move |notice: ApprovalNotice| match sender.try_send(notice) {
        Ok(()) => {}
        Err(TrySendError::Full(notice) | TrySendError::Disconnected(notice)) => {
            log::warn!("cannot notify about approval {}: too many notifications wait", notice.id);
        }
    }))
}

fn send_notices(notices: &Receiver<ApprovalNotice>, url: &Uri, format: NotifyFormat) {
    for notice in notices {
        let (url, body) = format.encode(&notice, url);
        let (authorization, body) = (None, Some(body));
        let request = WebRequest { method: Method::POST, url: &url, authorization, body, authorities: &[] };
        match request.send() {
            Ok(answer) if (200..300).contains(&answer.status) => {
                log::debug!("notified about approval {}", notice.id);
            }
            Ok(answer) => {
                log::warn!(
                    "cannot notify about approval {}: the service of --notify-url answered with status {}",
                    notice.id,
                    answer.status
                );
            }
            Err(error) => log::warn!(
                "cannot notify about approval {}: {error}. hint: check --notify-url (MCP_NOTIFY_URL)",
                notice.id
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn notice(page: Option<&str>) -> ApprovalNotice {
        ApprovalNotice {
            id: "00c0ffee".into(),
            client: "ada".into(),
            cluster: "prod".into(),
            operations: vec!["DELETE /nodes/pve1/qemu/100".into()],
            page: page.map(str::to_owned),
        }
    }

    fn encode(url: &str, page: Option<&str>) -> (NotifyFormat, Uri, Value) {
        let url = url.parse().expect("a URL");
        let format = NotifyFormat::guess(&url);
        let (target, body) = format.encode(&notice(page), &url);
        (format, target, serde_json::from_str(&body).expect("JSON"))
    }

    #[test]
    fn each_service_gets_its_form() {
        let (format, url, body) = encode("https://ntfy.sh/my-topic", Some("https://mcp/#approvals"));
        assert_eq!((format, url.path_and_query().expect("a path").as_str()), (NotifyFormat::Ntfy, "/"));
        assert_eq!((&body["topic"], &body["click"]), (&json!("my-topic"), &json!("https://mcp/#approvals")));
        let (format, url, body) = encode("https://push.example/message?token=x", None);
        assert_eq!(
            (format, url.path_and_query().expect("a path").as_str()),
            (NotifyFormat::Gotify, "/message?token=x")
        );
        let command = "DELETE /nodes/pve1/qemu/100\nproxmox-mcp approvals approve 00c0ffee";
        assert_eq!(body["message"], command);
        let (format, _, body) = encode("https://hooks.slack.com/services/T/B/x", None);
        assert_eq!(format, NotifyFormat::Slack);
        assert_eq!(body["text"], format!("Approval 00c0ffee: ada on prod\n{command}"));
        let (format, _, body) = encode("https://example.com/hook", None);
        assert_eq!((format, &body["id"]), (NotifyFormat::Json, &json!("00c0ffee")));
    }
}
