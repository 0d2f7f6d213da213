//! The calls of older versions of the protocol that run on `POST /mcp`, for `notifications/cancelled`. There are no
//! sessions, so a client names its call by its request id alone.

use crate::config::Client;
use crate::mcp::context::Caller;
use crate::mcp::in_flight::{CallGuard, InFlightCalls};
use crate::mcp::message::RpcNotification;
use std::net::IpAddr;
use std::sync::Arc;

/// The running calls of all clients.
#[derive(Default)]
pub struct PostedCalls(Arc<InFlightCalls<PostedCallKey>>);

/// The key of a call. Only the same request id of the same client is equal.
pub struct PostedCallKey {
    client: Arc<Client>,
    /// Without tokens every address is a client of its own.
    address: Option<IpAddr>,
    /// Request id as JSON text.
    id: Box<str>,
}

impl PostedCalls {
    /// Registers a call by its client and its request id, as JSON text.
    pub fn register(&self, caller: &Caller, id: &str) -> CallGuard<PostedCallKey> {
        self.0.register(PostedCallKey {
            client: caller.client.clone(),
            address: find_client_address(caller),
            id: id.into(),
        })
    }

    /// Cancels the call that a notification names, if exactly one running call of its client fits. Several programs may
    /// share a token and use the same ids.
    pub fn handle_notification(&self, caller: &Caller, notification: &RpcNotification<'_>) {
        if let Some(id) = notification.cancelled_request() {
            let address = find_client_address(caller);
            self.0.cancel_unique(|key| {
                *key.id == *id && key.address == address && key.client.is_same_client(&caller.client)
            });
        }
    }
}

/// Returns the address of a caller that has no token.
fn find_client_address(caller: &Caller) -> Option<IpAddr> {
    caller.address.filter(|_| !caller.client.has_token()).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::message::{Message, parse_message};

    fn caller(client: Client, address: &str) -> Caller {
        let address = Some(address.parse().unwrap());
        Caller { client: Arc::new(client), address, transport: "http", trace: None }
    }

    fn cancel(calls: &PostedCalls, caller: &Caller, id: &str) {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#);
        let Ok(Message::Notification(notification)) = parse_message(text.as_bytes()) else { panic!("{text}") };
        calls.handle_notification(caller, &notification);
    }

    #[test]
    fn a_notification_cancels_the_only_call_of_its_client_that_fits() {
        let calls = PostedCalls::default();
        let token = |text| Client::from_env_token(text).unwrap();
        let ada = caller(token("sixteen_letters_"), "192.0.2.1");
        let (moved, other) =
            (caller(token("sixteen_letters_"), "192.0.2.2"), caller(token("sixteen_letters0"), "192.0.2.1"));
        let [one, two, text] = ["1", "2", "\"1\""].map(|id| calls.register(&ada, id));
        cancel(&calls, &other, "1");
        assert!(!one.cancel.is_cancelled(), "a call of another token");
        cancel(&calls, &moved, "1");
        assert!(one.cancel.is_client_gone(), "the same token from another address");
        assert!(!two.cancel.is_cancelled() && !text.cancel.is_cancelled());
        let _twice = calls.register(&moved, "2");
        cancel(&calls, &ada, "2");
        assert!(!two.cancel.is_cancelled(), "two calls fit");
    }

    #[test]
    fn callers_without_a_token_are_told_apart_by_their_address() {
        let calls = PostedCalls::default();
        let anyone = |address| caller(Client::anonymous(), address);
        let call = calls.register(&anyone("192.0.2.1"), "1");
        cancel(&calls, &anyone("192.0.2.2"), "1");
        assert!(!call.cancel.is_cancelled());
        cancel(&calls, &anyone("::ffff:192.0.2.1"), "1");
        assert!(call.cancel.is_client_gone());
    }
}
