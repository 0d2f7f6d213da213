//! Parsing of the command line and the environment.

use super::args::Cli;
use super::limits;
use crate::command::output::printable;
use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, CommandFactory, FromArgMatches};
use proxmox_mcp::sanitize::{NOT_SHOWN, hide_uuids, looks_like_content};
use std::env;
use std::ffi::OsString;

/// Result of parsing a command line.
pub enum ParseOutcome {
    Run(Box<Cli>),
    /// Help or version to print.
    Print(String),
    /// Text of an error, with untrusted input escaped.
    Reject(String),
}

/// Parses `args`, the name of the program first, and the variables.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> ParseOutcome {
    let args = remove_serve(args.into_iter().collect());
    match parse_typed(&args).and_then(|typed| parse_with_variables(&args, &typed)) {
        Ok(cli) => ParseOutcome::Run(Box::new(cli)),
        Err(error) if !error.use_stderr() => ParseOutcome::Print(error.to_string()),
        Err(error) => ParseOutcome::Reject(escape_context(error).to_string()),
    }
}

/// The flags of other commands that a command uses. Its help and its man page show no others.
const USED_FLAGS: [(&str, &[&str]); 9] = [
    ("setup", &["config", "log", "log_format", "listen", "tls_cert"]),
    ("check", &["config", "demo", "log", "log_format", "state_key_file", "auth_token_file", "tls_cert", "tls_key"]),
    ("token", &["listen", "tls_cert"]),
    ("audit", &[]),
    ("health", &["listen", "tls_cert"]),
    ("approvals", &["listen", "tls_cert", "url", "token_file", "ca_file"]),
    ("completions", &[]),
    ("man", &[]),
    ("help", &[]),
];

/// Returns the definition of the command line with help for people: each command shows what it uses.
pub fn definition_for_help() -> clap::Command {
    let mut definition = definition();
    // Flags that every command accepts are copied to the commands.
    definition.build();
    let shared: Vec<_> = definition.get_arguments().map(|arg| arg.get_id().clone()).collect();
    for (name, used) in USED_FLAGS {
        let hide = |arg: Arg| {
            let is_used = arg.get_id() == "help" || used.contains(&arg.get_id().as_str());
            if is_used || !shared.contains(arg.get_id()) { arg } else { arg.hide(true) }
        };
        definition = definition.mut_subcommand(name, |command| hide_in(command, &hide));
    }
    let is_http = |arg: &Arg| arg.get_help_heading() == Some("HTTP");
    definition
        .mut_subcommand("stdio", |command| command.mut_args(|arg| if is_http(&arg) { arg.hide(true) } else { arg }))
}

/// Changes the arguments of a command and of those below it.
fn hide_in(command: clap::Command, hide: &dyn Fn(Arg) -> Arg) -> clap::Command {
    let names: Vec<_> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = command.mut_args(hide);
    names.iter().fold(command, |command, name| command.mut_subcommand(name, |inner| hide_in(inner, hide)))
}

/// Removes the word `serve` before the command line is read: the flags of the server belong to the program itself, and may
/// follow the word.
fn remove_serve(args: Vec<OsString>) -> Vec<OsString> {
    let without = |at: usize| [&args[..at], &args[at + 1..]].concat();
    let places = (1..args.len()).filter(|at| args[*at] == "serve");
    for at in places {
        let serves = match definition_without_variables(|_| true).try_get_matches_from(without(at)) {
            Ok(matches) => matches.subcommand_name().is_none(),
            // An error in the flags is better explained without the word.
            Err(_) => at == 1,
        };
        if serves {
            return without(at);
        }
    }
    args
}

/// Returns the definition of the command line.
fn definition() -> clap::Command {
    Cli::command().mut_args(|arg| {
        let is_limit = arg.get_help_heading() == Some(limits::HEADING);
        // A variable may hold a path or name that does not belong on a screen.
        let arg = arg.hide_env_values(true);
        if is_limit { arg.global(true).hide_short_help(true) } else { arg }
    })
}

/// Returns the definition without the variables of the arguments that `is_ignored` names.
fn definition_without_variables(is_ignored: impl Fn(&Arg) -> bool) -> clap::Command {
    definition().mut_args(|arg| if is_ignored(&arg) { arg.env(Resettable::Reset) } else { arg })
}

/// Parses the arguments alone.
fn parse_typed(args: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let mut definition = definition_without_variables(|_| true);
    let typed = definition.try_get_matches_from_mut(args).map_err(|error| {
        if error.use_stderr() {
            return error;
        }
        // The help names the variables.
        definition_for_help().try_get_matches_from(args).err().unwrap_or(error)
    })?;
    // A container image may set the variable of --config for its usual run, so only the flag contradicts --demo.
    if is_typed(&typed, "demo") && is_typed(&typed, "config") {
        let text = "--demo needs no configuration: set either --demo or --config, not both";
        return Err(definition.error(ErrorKind::ArgumentConflict, text));
    }
    Ok(typed)
}

/// Parses the arguments, and the variables of those that were not typed. An empty variable counts as unset: compose files
/// pass `VAR=${VAR:-}` on as an empty text.
fn parse_with_variables(args: &[OsString], typed: &ArgMatches) -> Result<Cli, clap::Error> {
    let is_used = |arg: &Arg| {
        let is_set = arg.get_env().and_then(env::var_os).is_some_and(|value| !value.is_empty());
        is_set && !is_typed(typed, arg.get_id().as_str())
    };
    // Most starts have no variable, and a second parse would double the time of the command line.
    if !definition().get_arguments().any(is_used) {
        return Cli::from_arg_matches(typed);
    }
    let mut definition = definition_without_variables(|arg| !is_used(arg));
    match definition.try_get_matches_from_mut(args) {
        Ok(matches) => Cli::from_arg_matches(&matches),
        Err(error) => Err(name_variable(error, &definition)),
    }
}

fn is_typed(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Names the variable in an error about its value.
fn name_variable(mut error: clap::Error, definition: &clap::Command) -> clap::Error {
    let named = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(invalid)) => definition.get_arguments().find(|arg| arg.to_string() == *invalid),
        _ => None,
    };
    if let Some(arg) = named
        && let Some(variable) = arg.get_env()
    {
        let name = format!("{} ({arg})", variable.to_string_lossy());
        error.insert(ContextKind::InvalidArg, ContextValue::String(name));
    }
    error
}

/// Escapes what an error repeats of the command line and the environment, and hides secrets in it. The contents of a file
/// are not repeated at all.
fn escape_context(mut error: clap::Error) -> clap::Error {
    let context: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    let is_unknown_argument = error.kind() == ErrorKind::UnknownArgument;
    let is_untrusted = |kind| match kind {
        ContextKind::InvalidValue | ContextKind::InvalidSubcommand => true,
        // The name of a known argument has a form that looks like contents.
        ContextKind::InvalidArg => is_unknown_argument,
        _ => false,
    };
    let is_content = |(kind, value): &(ContextKind, ContextValue)| match value {
        ContextValue::String(text) => is_untrusted(*kind) && looks_like_content(text.as_bytes()),
        _ => false,
    };
    let has_content = context.iter().any(is_content);
    let escape = |text: &str| printable(&hide_uuids(text.to_owned()));
    for (kind, value) in context {
        let escaped = match value {
            ContextValue::String(_) if has_content && is_untrusted(kind) => ContextValue::String(NOT_SHOWN.into()),
            // Tips repeat the argument.
            ContextValue::StyledStrs(_) if has_content => ContextValue::StyledStrs(Vec::new()),
            ContextValue::String(text) => ContextValue::String(escape(&text)),
            ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(|text| escape(text)).collect()),
            ContextValue::StyledStrs(texts) => {
                ContextValue::StyledStrs(texts.iter().map(|text| escape(&text.to_string()).into()).collect())
            }
            trusted => trusted,
        };
        error.insert(kind, escaped);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::cli::{AuditAction, Command, TokenArgs};
    use proxmox_mcp::config::Limits;
    use std::fmt::Debug;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::time::Duration;

    /// Parses arguments without the environment, so that no test depends on it.
    fn parse_args(args: &[&str]) -> Result<Cli, String> {
        parse_raw(args.iter().map(OsString::from))
    }

    fn parse_raw(args: impl IntoIterator<Item = OsString>) -> Result<Cli, String> {
        let args = remove_serve([OsString::from("proxmox-mcp")].into_iter().chain(args).collect());
        let text = |error| escape_context(error).to_string();
        parse_typed(&args).and_then(|matches| Cli::from_arg_matches(&matches)).map_err(text)
    }

    fn debug(value: &dyn Debug) -> String {
        format!("{value:#?}")
    }

    /// Returns the flags of the limits.
    fn limit_flags() -> Vec<Arg> {
        let definition = definition();
        let is_limit = |arg: &&Arg| arg.get_help_heading() == Some(limits::HEADING);
        definition.get_arguments().filter(is_limit).cloned().collect()
    }

    fn long(flag: &Arg) -> &str {
        flag.get_long().expect("a long name")
    }

    #[test]
    fn the_definition_is_valid() {
        definition().debug_assert();
    }

    #[test]
    fn every_limit_has_a_flag_that_changes_it_and_nothing_else() {
        let limits = |args: &[&str]| parse_args(args).map(|cli| debug(&cli.limits()));
        let defaults = debug(&Limits::default());
        assert_eq!(limits(&[]).as_ref(), Ok(&defaults));
        let fields: Vec<&str> = defaults.lines().filter_map(|line| line.trim().split_once(": ")).map(|f| f.0).collect();
        let flags = limit_flags();
        let names: Vec<String> = flags.iter().map(|flag| long(flag).replace('-', "_")).collect();
        assert_eq!(names, fields);
        for (flag, field) in flags.iter().zip(fields) {
            let changed = limits(&[&format!("--{}=1234", long(flag))])
                .or_else(|_| limits(&[&format!("--{}=123", long(flag))]))
                .or_else(|_| limits(&[&format!("--{}=1234567", long(flag))]))
                .unwrap_or_else(|error| panic!("{field}: {error}"));
            let different: Vec<_> = changed.lines().zip(defaults.lines()).filter(|(new, old)| new != old).collect();
            assert!(matches!(different[..], [(new, _)] if new.contains(field)), "{field}: {different:?}");
        }
    }

    #[test]
    fn every_limit_has_a_variable_of_its_name() {
        for flag in limit_flags() {
            let variable = format!("PROXMOX_MCP_{}", long(&flag).replace('-', "_").to_uppercase());
            assert_eq!(flag.get_env(), Some(variable.as_ref()), "{flag}");
        }
    }

    #[test]
    fn limits_out_of_range_are_rejected() {
        for flag in limit_flags() {
            for value in ["-1", "x", "", "1e12", "NaN", "inf"] {
                assert!(parse_args(&[&format!("--{}={value}", long(&flag))]).is_err(), "{flag} {value}");
            }
        }
        let cli = parse_args(&["--head-timeout=0.25"]).expect("a fraction");
        assert_eq!(cli.limits().head_timeout, Duration::from_millis(250));
    }

    #[test]
    fn lists_come_with_commas_or_as_json() {
        let cli = parse_args(&["--allowed-hosts", "a, b:*,", "--allowed-hosts", r#"["c"]"#, "--allowed-origins", "[]"]);
        let http = cli.expect("valid").http;
        assert_eq!(http.allowed_hosts(), ["a", "b:*", "c"]);
        assert!(http.allowed_origins().is_empty());
        assert!(parse_args(&["--allowed-hosts", "[1]"]).is_err());
    }

    #[test]
    fn common_flags_may_follow_the_subcommand_and_those_of_serving_may_not() {
        let cli = parse_args(&["check", "--config", "x.json", "--log", "debug", "--max-calls", "7"]).expect("valid");
        assert_eq!((cli.config.clone(), cli.log.as_deref()), (Some("x.json".into()), Some("debug")));
        assert_eq!(cli.limits().max_calls, 7);
        assert!(parse_args(&["--demo", "check", "--config", "x.json"]).is_err());
        assert!(parse_args(&["--metrics", "check"]).is_ok());
        for flag in ["--allowed-hosts=a", "--insecure-no-auth", "--expect=h"] {
            assert!(parse_args(&["check", flag]).is_err_and(|e| e.contains("unexpected argument")), "{flag}");
        }
    }

    #[test]
    fn serve_is_the_program_without_a_command() {
        for args in [
            &["serve"][..],
            &["serve", "--allowed-hosts", "a"],
            &["--demo", "serve", "--insecure-no-auth"],
            &["--config", "serve", "serve"],
        ] {
            assert!(parse_args(args).is_ok_and(|cli| cli.command.is_none()), "{args:?}");
        }
        let cli = parse_args(&["serve", "--config", "serve", "--allowed-hosts=a"]).expect("valid");
        assert_eq!((cli.config.clone(), cli.http.allowed_hosts()), (Some("serve".into()), vec!["a".to_owned()]));
        for (args, text) in [
            (&["serve", "check"][..], "unexpected argument 'check'"),
            (&["check", "serve"], "unexpected argument 'serve'"),
            (&["serve", "serve"], "unexpected argument 'serve'"),
            (&["serve", "--max-calls=0"], "expected a number from 1"),
            (&["serve", "--allowed-hosts=[1]"], "a JSON list of strings"),
        ] {
            assert!(parse_args(args).is_err_and(|error| error.contains(text)), "{args:?}");
        }
        // The word is a name or a file of other commands.
        assert!(parse_args(&["token", "serve"]).is_ok_and(|cli| matches!(cli.command, Some(Command::Token(_)))));
        assert!(
            parse_args(&["audit", "verify", "serve"]).is_ok_and(|cli| matches!(cli.command, Some(Command::Audit(_))))
        );
    }

    #[test]
    fn help_of_a_command_shows_what_it_uses() {
        let help = |args: &[&str]| match parse(["proxmox-mcp"].iter().chain(args).map(OsString::from)) {
            ParseOutcome::Print(text) => text,
            _ => panic!("{args:?} has no help"),
        };
        let text = help(&["token", "--help"]);
        assert!(text.find("--json") < text.find("--listen") && text.contains("--listen"), "{text}");
        assert!(!text.contains("--max-calls") && !text.contains("--audit-log"), "{text}");
        for command in ["stdio", "setup", "check", "token", "audit", "health", "completions", "man", "serve"] {
            let text = help(&[command, "--help"]);
            assert!(text.contains("Examples:\n  proxmox-mcp "), "{text}");
        }
        assert!(!help(&["audit", "verify", "--help"]).contains("--demo"));
        assert!(help(&["stdio", "--help"]).contains("--max-calls"));
    }

    #[test]
    fn a_flag_without_its_value_is_rejected() {
        for args in [&["--config"][..], &["--config="], &["--config", "--demo"], &["--max-calls"]] {
            assert!(parse_args(args).is_err_and(|e| e.contains("a value is required for '--")), "{args:?}");
        }
        assert!(parse_args(&["--log", "-x"]).is_err_and(|e| e.contains("unexpected argument '-x'")));
        assert!(parse_args(&["--audit-log", "-"]).is_ok_and(|cli| cli.audit_log == Some("-".into())));
        assert!(parse_args(&["--max-calls=-1"]).is_err_and(|e| e.contains("expected a number from 1 to 100000")));
        assert!(parse_args(&["--insecure-no-auth=1"]).is_err_and(|e| e.contains("unexpected value")));
        assert!(parse_args(&["--insecure-no-auth"]).is_ok_and(|cli| cli.http.insecure_no_auth));
    }

    #[test]
    fn the_same_flag_twice_is_rejected_unless_it_makes_a_list() {
        for args in [["--demo", "--demo"], ["--listen=:0", "--listen=:1"]] {
            assert!(parse_args(&args).is_err_and(|e| e.contains("multiple times")), "{args:?}");
        }
    }

    #[test]
    fn a_path_may_be_no_text_and_other_values_may_not() {
        let parse_bytes = |bytes: &[u8]| parse_raw([OsString::from_vec(bytes.to_vec())]);
        let path = parse_bytes(b"--config=a\xff").expect("a path").config.expect("a path");
        assert_eq!(path.as_os_str().as_bytes(), b"a\xff");
        for bytes in [&b"--log=\xff"[..], b"\xff", b"--\xff=", b"-\xff", b"--listen=\xff:0"] {
            assert!(parse_bytes(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn subcommands_take_their_words_and_no_more() {
        let command = |args: &[&str]| parse_args(args).map(|cli| cli.command);
        assert!(matches!(command(&[]), Ok(None)));
        assert!(matches!(command(&["token"]), Ok(Some(Command::Token(TokenArgs { name: None, .. })))));
        assert!(
            matches!(command(&["token", "--", "a-b"]), Ok(Some(Command::Token(TokenArgs { name: Some(name), .. }))) if name == "a-b")
        );
        for args in [["audit", "verify", "x", "--expect", "h"], ["audit", "--expect", "h", "verify", "x"]] {
            let Ok(Some(Command::Audit(audit))) = command(&args) else { panic!("{args:?}") };
            let AuditAction::Verify { file } = audit.action;
            assert_eq!((file, audit.expect.as_deref()), ("x".into(), Some("h")));
        }
        for (args, text) in [
            (&["audit"][..], "requires a subcommand"),
            (&["audit", "verify"], "<FILE>"),
            (&["audit", "burn", "x"], "unrecognized subcommand 'burn'"),
            (&["audit", "verify", "x", "y"], "unexpected argument 'y'"),
            (&["token", "a b"], "expected 1 to 64"),
            (&["check", "check"], "unexpected argument 'check'"),
            (&["completions", "csh"], "[possible values: bash,"),
            (&["halth"], "a similar subcommand exists: 'health'"),
            (&["check", "--confg=x"], "a similar argument exists: '--config'"),
            (&["-x"], "unexpected argument '-x'"),
            (&["check", "--version"], "unexpected argument '--version'"),
        ] {
            let Err(error) = command(args) else { panic!("{args:?} are accepted") };
            assert!(error.starts_with("error: ") && error.contains(text), "{args:?}: {error}");
        }
    }

    #[test]
    fn errors_escape_untrusted_input_and_hide_secrets() {
        const ESCAPES: &str = "\u{1b}[31m\u{202e}\nerror: two\r";
        let secret = "PVEAPIToken=mcp@pve!ro=c4a4a4a4-dead-4bee-8f00-5ec4e7000002";
        for args in [&["check"][..], &["token"], &["audit", "verify", "x"], &[]] {
            for prefix in ["", "--", "-x", "--listen=", "--max-calls=", "--log-format=", "--demo=", "--lisen="] {
                for untrusted in [ESCAPES, secret] {
                    let word = format!("{prefix}{untrusted}");
                    let Err(error) = parse_args(&[args, &[&word]].concat()) else { continue };
                    assert!(!error.contains(['\u{1b}', '\u{202e}', '\r']), "{word:?}: {error:?}");
                    assert!(!error.contains("\nerror: two") && !error.contains("5ec4e7000002"), "{word:?}: {error:?}");
                }
            }
        }
    }
}
