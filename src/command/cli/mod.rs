//! The command line: flags, their environment variables and the subcommands.

mod args;
mod limits;
mod parse;
mod values;

pub use args::{
    ApprovalsAction, ApprovalsArgs, AuditAction, Cli, Command, PersonArgs, SetupArgs, TokenArgs, auth_token,
};
pub use parse::{ParseOutcome, definition_for_help, parse};
pub use values::LogFormat;
