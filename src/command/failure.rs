//! Failures that end the program.

use proxmox_mcp::base::hint::{Hint, render_error};
use std::fmt;

/// A failure with its text for the operator. Its kind decides the exit code.
pub enum Failure {
    /// A failure at run time.
    Runtime(String),
    /// Invalid usage or configuration.
    Usage(String),
}

impl Failure {
    /// Exit code for invalid usage or configuration.
    pub const USAGE: u8 = 2;
    const RUNTIME: u8 = 1;

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Runtime(_) => Self::RUNTIME,
            Self::Usage(_) => Self::USAGE,
        }
    }

    /// Makes the failure of invalid usage or configuration.
    pub fn usage(error: impl Hint) -> Self {
        Self::Usage(render_error(&error))
    }

    /// Makes a failure at run time.
    pub fn runtime(error: impl Hint) -> Self {
        Self::Runtime(render_error(&error))
    }

    /// Makes the failure of a system without random bytes.
    pub fn no_random_bytes() -> Self {
        Self::Runtime("the system gives no random bytes. hint: try again".into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runtime(text) | Self::Usage(text) => f.write_str(text),
        }
    }
}
