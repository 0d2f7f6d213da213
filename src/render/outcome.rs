//! Notes beside the response of a call.

use std::fmt;

/// A fact that a response does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseNote {
    /// An empty list that Proxmox may have filtered.
    MaybeFiltered,
    Done,
    /// A change that a running guest may apply later.
    DonePending,
    /// The first page of a list.
    FirstPage,
}

impl fmt::Display for ResponseNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MaybeFiltered => {
                "the list is empty: nothing is there, or the token may see none of it (GET /access/permissions shows its \
                 privileges)"
            }
            Self::Done => "done",
            Self::DonePending => {
                "done. A running guest applies some changes at its next restart: GET …/pending shows them"
            }
            Self::FirstPage => "Proxmox sends such a list in pages: the parameters limit and start select another page",
        })
    }
}
