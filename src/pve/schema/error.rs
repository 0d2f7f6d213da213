//! Errors of reading an API description.

use std::io;
use thiserror::Error;

/// Reason for rejecting an API description.
#[derive(Debug, Error)]
pub enum SchemaError {
    #[error("the API description has no list of operations")]
    NoList,
    #[error("the API description is invalid: {0}")]
    Json(serde_json::Error),
    #[error("cannot read the API description: {0}")]
    Io(io::Error),
    #[error("the API description is too large: it has {0}")]
    TooLarge(SchemaLimit),
    #[error("the API description has no operations")]
    NoOperations,
    #[error("it is not the API description of Proxmox VE: it has {known} of the {expected} known operations")]
    NotProxmox { known: usize, expected: usize },
    #[error("the API description contains the secret of the API token, so the host that sent it may be malicious")]
    ContainsSecret,
    #[error("the API description did not arrive")]
    Incomplete,
    #[error("the API description did not arrive completely in time")]
    TimedOut,
}

impl From<serde_json::Error> for SchemaError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_io() { Self::Io(error.into()) } else { Self::Json(error) }
    }
}

/// Limit of what is read or kept of an API description. Real descriptions stay below all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SchemaLimit {
    /// Bytes of the decompressed description.
    #[error("more than {} MiB", .0 >> 20)]
    Description(u64),
    /// Bytes of the description, compressed.
    #[error("more than {} MiB, compressed", .0 >> 20)]
    Compressed(u64),
    /// Bytes of the description of one path, without the paths below it.
    #[error("a path of more than {} MiB", .0 >> 20)]
    Path(u64),
    /// Bytes of memory for the parsed methods of one path.
    #[error("a path that takes more than {} MiB of memory", .0 >> 20)]
    PathMemory(usize),
    /// Bytes of all texts.
    #[error("more than {} MiB of texts", .0 >> 20)]
    Texts(usize),
    #[error("more than {0} parameters")]
    Parameters(usize),
    /// Length of all lists of parameters together.
    #[error("lists of more than {0} parameters")]
    ParameterLists(usize),
    #[error("more than {0} operations")]
    Operations(usize),
    #[error("paths of more than {0} different segments")]
    PathNodes(usize),
    /// Bytes of memory for the schema.
    #[error("content that takes more than {} MiB of memory", .0 >> 20)]
    Memory(usize),
}
