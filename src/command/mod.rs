//! The program: parses the command line, starts the log and runs the subcommand.

mod approval_source;
mod approvals;
mod audit;
mod banner;
mod check;
mod cli;
mod client_setup;
mod cluster_identity;
mod config;
mod core_dumps;
mod deadline_socket;
mod describe;
mod failure;
mod file_stamps;
mod generate;
mod health;
mod health_sources;
mod keeper;
mod listeners;
mod log_queue;
mod logging;
mod notify;
mod output;
mod reload;
mod serve;
mod server;
mod setup;
mod signals;
mod stdio;
mod systemd;
mod terminal;
mod token;
mod web_request;

use cli::{AuditAction, Cli, Command, ParseOutcome};
use failure::Failure;
use std::process::ExitCode;

/// Runs what the command line asks for. Returns 0 after success, 1 after a failure, 2 for invalid usage or
/// configuration.
pub fn run() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        ParseOutcome::Run(cli) => cli,
        ParseOutcome::Print(text) => {
            output::print_stdout(&text);
            return ExitCode::SUCCESS;
        }
        ParseOutcome::Reject(text) => {
            output::print_stderr(&text);
            return ExitCode::from(Failure::USAGE);
        }
    };
    let start = || {
        // The attempts of setup to verify a certificate are no news for the log.
        let default_level = if matches!(cli.command, Some(Command::Setup(_))) { "error" } else { "info" };
        logging::start(cli.log.as_deref(), default_level, cli.log_format)?;
        signals::catch_file_size_signal()
    };
    let result = start().and_then(|()| run_command(&cli));
    match result {
        Ok(()) => {
            logging::flush();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            logging::write_last(&format!("error: {failure}\n"));
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run_command(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        None | Some(Command::Serve) => {
            core_dumps::disable();
            serve::run(cli)
        }
        Some(Command::Stdio) => {
            core_dumps::disable();
            stdio::run(cli)
        }
        Some(Command::Setup(args)) => {
            core_dumps::disable();
            setup::run(cli, args)
        }
        Some(Command::Check) => check::run(cli),
        Some(Command::Token(args)) => token::run(cli, args),
        Some(Command::Audit(audit)) => match &audit.action {
            AuditAction::Verify { file } => audit::verify(file, audit.expect.as_deref()),
        },
        Some(Command::Approvals(args)) => {
            let listen = listeners::connect_address(cli.http.listen);
            approvals::run(args, &format!("{}://{listen}", cli.http.scheme()))
        }
        Some(Command::Health) => health::run(cli.http.listen),
        Some(Command::Completions { shell }) => {
            generate::print_completions(*shell);
            Ok(())
        }
        Some(Command::Man { command }) => generate::print_man_page(command.as_deref()),
    }
}
