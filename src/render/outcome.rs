//! Notes beside the response of a call.

use std::fmt;

/// A fact that a response does not show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseNote {
    /// An empty list that Proxmox may have filtered.
    MaybeFiltered,
    /// An empty list from which Proxmox leaves out what the token may not see, with the privileges that would show more.
    Filtered(Vec<String>),
    /// A change of a guest that the HA manager makes later.
    HaRequest,
    /// A command inside a guest, which was started only.
    CommandStarted,
}

impl fmt::Display for ResponseNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Filtered(privileges) => {
                return write!(
                    f,
                    "the list is empty for this API token, which sees only a part: {} would show more, if there is more",
                    privileges.join(", or ")
                );
            }
            Self::HaRequest => {
                "this only asked the HA manager, which acts by itself some seconds later, or fails: GET …/status/current \
                 shows `ha` and `status`. With wait the call follows it"
            }
            Self::CommandStarted => {
                "the command was started only: GET …/agent/exec-status?pid= has its exit code and output. With wait the \
                 call follows it"
            }
            Self::MaybeFiltered => {
                "the list is empty: nothing is there, or the token may see none of it (GET /access/permissions shows its \
                 privileges)"
            }
        })
    }
}
