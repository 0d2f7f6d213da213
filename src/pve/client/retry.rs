//! The rule for repeating a request, as a state machine without I/O.
//!
//! A node that no connection can be made to got nothing, so every request moves on to the next node. A request that
//! changes nothing may be sent a second time after it was lost. A request that changes something is never sent again
//! once it was sent: its outcome is unknown. The exception is an answer by which the node says that it can't act, or another
//! server that it takes no such request.

use crate::pve::method::Method;

/// End of one attempt to send a request to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) enum AttemptEnd {
    /// A complete answer came, whatever its status.
    Answered,
    /// There is no connection or no TLS. Nothing was sent.
    ConnectFailed,
    /// The connection was lost before an answer came.
    LostBeforeAnswer,
    /// The connection was lost in the middle of an answer.
    LostInAnswer,
    /// No complete answer came in time.
    TimedOut,
    /// The answer is unreadable.
    Malformed,
    /// The server does not speak HTTP, or not as Proxmox does.
    Unintelligible,
    /// The node passed the request on and lost the connection to the other node (596 to 599).
    PeerLost,
    /// The node said that it can't act at all: its cluster file system is down, or it is cut off. Nothing was done.
    NodeDisabled,
    /// The server is another one than Proxmox VE, and rejected the request. Nothing was done.
    OtherServer,
    /// A proxy before the node answered in its place.
    ProxyAnswered,
    /// The node did not accept the token, which the cluster accepted before. Nothing was done.
    TokenRejected,
    /// The call was cancelled before the request was sent.
    CancelledBeforeSending,
    /// The call was cancelled after the request was sent.
    CancelledAfterSending,
}

/// Circumstances of an attempt.
#[derive(Clone, Copy, Debug)]
pub(in crate::pve) struct Attempt {
    /// The node that was tried.
    pub(in crate::pve) node: usize,
    /// The attempt was a probe, which gets less time than the call has.
    pub(in crate::pve) is_probe: bool,
    /// A node is left that was not tried.
    pub(in crate::pve) has_other_node: bool,
    /// The call has time left.
    pub(in crate::pve) has_time: bool,
}

/// Next step of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pve) enum Decision {
    /// Hand the answer to the caller.
    Return,
    /// Send the request to the next node that was not tried.
    TryNextNode,
    /// Send the request to this node again.
    RetryNode(usize),
    /// Fail: the request may have taken effect.
    ReportUnknownOutcome,
    /// Fail: the request was not sent, changes nothing, or was rejected.
    Fail,
}

/// Decides the next step of one call after each of its attempts.
pub(in crate::pve) struct RetryPolicy {
    method: Method,
    /// The body of a lost answer can be discarded, because it was not streamed to the caller.
    can_discard_answer: bool,
    /// The request may be sent once more after it was sent.
    may_resend: bool,
    /// The node that lost the request, to be asked again after all others failed to connect.
    fallback: Option<usize>,
}

impl RetryPolicy {
    pub(in crate::pve) fn new(method: Method, can_discard_answer: bool) -> Self {
        Self { method, can_discard_answer, may_resend: method == Method::Get, fallback: None }
    }

    /// Returns whether an attempt may be cut short, because the request can still be sent once more.
    pub(in crate::pve) fn can_cut_short(&self) -> bool {
        self.may_resend && self.can_discard_answer
    }

    /// Returns the next step after an attempt.
    pub(in crate::pve) fn decide(&mut self, end: AttemptEnd, attempt: Attempt) -> Decision {
        let Attempt { node, is_probe, has_other_node, has_time } = attempt;
        let is_lost = match end {
            AttemptEnd::ConnectFailed if has_time && has_other_node => return Decision::TryNextNode,
            AttemptEnd::ConnectFailed if has_time => {
                return self.fallback.take().map_or(Decision::Fail, Decision::RetryNode);
            }
            AttemptEnd::NodeDisabled | AttemptEnd::OtherServer if has_time && has_other_node => {
                return Decision::TryNextNode;
            }
            AttemptEnd::LostBeforeAnswer => true,
            AttemptEnd::ProxyAnswered | AttemptEnd::TokenRejected => self.can_discard_answer && has_other_node,
            // The same node would cut its answer again.
            AttemptEnd::LostInAnswer | AttemptEnd::Unintelligible => self.can_discard_answer && has_other_node,
            // Only a probe leaves time for another attempt.
            AttemptEnd::TimedOut => self.can_discard_answer && is_probe,
            _ => false,
        };
        if !(is_lost && self.may_resend && has_time) {
            return settle(self.method, end);
        }
        self.may_resend = false;
        if has_other_node {
            self.fallback = Some(node);
            Decision::TryNextNode
        } else {
            Decision::RetryNode(node)
        }
    }
}

/// Returns the step that ends a call after its last attempt.
pub(in crate::pve) fn settle(method: Method, end: AttemptEnd) -> Decision {
    match end {
        AttemptEnd::Answered
        | AttemptEnd::NodeDisabled
        | AttemptEnd::OtherServer
        | AttemptEnd::ProxyAnswered
        | AttemptEnd::TokenRejected => Decision::Return,
        AttemptEnd::ConnectFailed | AttemptEnd::CancelledBeforeSending => Decision::Fail,
        _ if method == Method::Get => Decision::Fail,
        _ => Decision::ReportUnknownOutcome,
    }
}

#[cfg(test)]
mod tests {
    use super::AttemptEnd::*;
    use super::Decision::*;
    use super::*;

    const NODE: usize = 7;

    /// Each end of a first attempt, and the decision: with another node left, and without.
    #[rustfmt::skip]
    const READ: [(AttemptEnd, Decision, Decision); 14] = [
        (Answered, Return, Return),
        (ConnectFailed, TryNextNode, Fail),
        (LostBeforeAnswer, TryNextNode, RetryNode(NODE)),
        (LostInAnswer, TryNextNode, Fail),
        (TimedOut, Fail, Fail),
        (Malformed, Fail, Fail),
        (Unintelligible, TryNextNode, Fail),
        (PeerLost, Fail, Fail),
        (NodeDisabled, TryNextNode, Return),
        (OtherServer, TryNextNode, Return),
        (ProxyAnswered, TryNextNode, Return),
        (TokenRejected, TryNextNode, Return),
        (CancelledBeforeSending, Fail, Fail),
        (CancelledAfterSending, Fail, Fail),
    ];

    #[rustfmt::skip]
    const WRITE: [(AttemptEnd, Decision, Decision); 14] = [
        (Answered, Return, Return),
        (ConnectFailed, TryNextNode, Fail),
        (LostBeforeAnswer, ReportUnknownOutcome, ReportUnknownOutcome),
        (LostInAnswer, ReportUnknownOutcome, ReportUnknownOutcome),
        (TimedOut, ReportUnknownOutcome, ReportUnknownOutcome),
        (Malformed, ReportUnknownOutcome, ReportUnknownOutcome),
        (Unintelligible, ReportUnknownOutcome, ReportUnknownOutcome),
        (PeerLost, ReportUnknownOutcome, ReportUnknownOutcome),
        (NodeDisabled, TryNextNode, Return),
        (OtherServer, TryNextNode, Return),
        (ProxyAnswered, Return, Return),
        (TokenRejected, Return, Return),
        (CancelledBeforeSending, Fail, Fail),
        (CancelledAfterSending, ReportUnknownOutcome, ReportUnknownOutcome),
    ];

    fn attempt(has_other_node: bool) -> Attempt {
        Attempt { node: NODE, is_probe: false, has_other_node, has_time: true }
    }

    fn decide(method: Method, end: AttemptEnd, attempt: Attempt) -> Decision {
        RetryPolicy::new(method, true).decide(end, attempt)
    }

    #[test]
    fn a_first_attempt_is_decided_by_the_table() {
        for method in Method::ALL {
            for (end, with_other, alone) in if method == Method::Get { READ } else { WRITE } {
                assert_eq!(decide(method, end, attempt(true)), with_other, "{method} {end:?}");
                assert_eq!(decide(method, end, attempt(false)), alone, "{method} {end:?} without another node");
            }
        }
    }

    #[test]
    fn without_time_no_attempt_follows() {
        for method in Method::ALL {
            for (end, ..) in READ {
                let late = Attempt { has_time: false, is_probe: true, ..attempt(true) };
                assert_eq!(decide(method, end, late), settle(method, end), "{method} {end:?}");
            }
        }
    }

    #[test]
    fn a_write_is_never_sent_again_once_it_may_have_been_executed() {
        for method in [Method::Post, Method::Put, Method::Delete] {
            for (end, ..) in WRITE {
                for (is_probe, has_other_node) in [(false, false), (false, true), (true, false), (true, true)] {
                    let decision = decide(method, end, Attempt { is_probe, ..attempt(has_other_node) });
                    let is_sent = !matches!(end, ConnectFailed | CancelledBeforeSending | NodeDisabled | OtherServer);
                    let is_repeated = matches!(decision, TryNextNode | RetryNode(_));
                    assert!(!(is_sent && is_repeated), "{method} {end:?}: {decision:?}");
                }
            }
        }
    }

    #[test]
    fn a_read_is_sent_twice_at_most() {
        let mut policy = RetryPolicy::new(Method::Get, true);
        assert!(policy.can_cut_short());
        assert_eq!(policy.decide(LostBeforeAnswer, attempt(true)), TryNextNode);
        assert!(!policy.can_cut_short());
        for end in [LostBeforeAnswer, LostInAnswer, TimedOut] {
            assert_eq!(policy.decide(end, Attempt { is_probe: true, ..attempt(true) }), Fail, "{end:?}");
        }
    }

    #[test]
    fn a_probe_that_times_out_leaves_a_read_to_another_node_or_the_same() {
        let probe = |has_other_node| Attempt { is_probe: true, ..attempt(has_other_node) };
        assert_eq!(decide(Method::Get, TimedOut, probe(true)), TryNextNode);
        assert_eq!(decide(Method::Get, TimedOut, probe(false)), RetryNode(NODE));
        assert_eq!(decide(Method::Post, TimedOut, probe(true)), ReportUnknownOutcome);
    }

    #[test]
    fn the_node_that_lost_a_read_is_asked_again_once_after_the_others_failed_to_connect() {
        let mut policy = RetryPolicy::new(Method::Get, true);
        let other = |node, has_other_node| Attempt { node, ..attempt(has_other_node) };
        assert_eq!(policy.decide(LostBeforeAnswer, other(0, true)), TryNextNode);
        assert_eq!(policy.decide(ConnectFailed, other(1, true)), TryNextNode);
        assert_eq!(policy.decide(ConnectFailed, other(2, false)), RetryNode(0));
        assert_eq!(policy.decide(ConnectFailed, other(0, false)), Fail);
    }

    #[test]
    fn an_answer_that_was_streamed_is_not_requested_again() {
        let streamed =
            |end, is_probe| RetryPolicy::new(Method::Get, false).decide(end, Attempt { is_probe, ..attempt(true) });
        assert_eq!(streamed(LostInAnswer, false), Fail);
        assert_eq!(streamed(TimedOut, true), Fail);
        assert_eq!(streamed(LostBeforeAnswer, false), TryNextNode, "nothing came");
    }
}
