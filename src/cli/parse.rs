//! Reads what was typed, then the variables of the flags that were not. The first thing that is wrong ends it.

use super::flags::{AUDIT, COMMON, Flag, HTTP, LIMITS};
use super::{Cli, TASKS, Task, help, value};
use proxmox_mcp::suggest::suggest;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What a command line asks for.
pub enum Typed {
    /// To run.
    Run(Box<Cli>),
    /// To print this and end.
    Print(String),
}

/// The arguments so far.
#[derive(Default)]
struct Reader {
    cli: Cli,
    /// The subcommand, by its place in [`TASKS`].
    task: Option<usize>,
    /// What follows the subcommand and is no flag.
    words: Vec<OsString>,
    /// The flags that were typed.
    seen: Vec<&'static str>,
}

/// All flags but those of a subcommand.
pub fn flags() -> impl Iterator<Item = &'static Flag> {
    COMMON.iter().chain(&HTTP).chain(&LIMITS)
}

/// Reads `args`, which come after the program's name, and `variable`, which gives the environment's. The error is for
/// the person who typed.
pub fn read(args: Vec<OsString>, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Typed, String> {
    let mut reader = Reader::default();
    let mut args = args.into_iter();
    let mut only_words = false;
    while let Some(arg) = args.next() {
        if only_words || arg.len() < 2 || !arg.as_bytes().starts_with(b"-") {
            if arg == "help" && reader.task.is_none() {
                if let Some(command) = args.next() {
                    reader.word(command)?;
                }
                return Ok(Typed::Print(help::of(reader.task, true)));
            }
            reader.word(arg)?;
            continue;
        }
        match arg.to_str() {
            Some("--") => only_words = true,
            Some("-h") => return Ok(Typed::Print(help::of(reader.task, false))),
            Some("--help") => return Ok(Typed::Print(help::of(reader.task, true))),
            Some("-V" | "--version") if reader.task.is_none() => return Ok(Typed::Print(help::version())),
            _ => reader.flag(&arg, &mut args)?,
        }
    }
    reader.finish(variable).map(|cli| Typed::Run(Box::new(cli)))
}

impl Reader {
    /// A subcommand, or a word that follows it.
    fn word(&mut self, word: OsString) -> Result<(), String> {
        if self.task.is_some() {
            self.words.push(word);
            return Ok(());
        }
        let name = word.to_string_lossy();
        self.task = TASKS.iter().position(|task| task.name == name);
        if self.task.is_some() {
            return Ok(());
        }
        let near = suggest(&name, TASKS.iter().map(|task| task.name));
        Err(format!("unrecognized subcommand '{name}'{}", meant(near.map(str::to_owned))))
    }

    /// A flag, whose value may be the next argument.
    fn flag(&mut self, arg: &OsStr, rest: &mut dyn Iterator<Item = OsString>) -> Result<(), String> {
        let bytes = arg.as_bytes();
        let (typed, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(at) => (bytes.get(..at).unwrap_or_default(), bytes.get(at + 1..).map(<[u8]>::to_vec)),
            None => (bytes, None),
        };
        let typed = String::from_utf8_lossy(typed);
        let of_task: &[Flag] = if self.is_audit() { &AUDIT } else { &[] };
        let after_task = self.task.is_some();
        let known = || flags().chain(of_task).filter(|flag| flag.after_task || !after_task);
        let name = typed.strip_prefix("--").unwrap_or_default();
        let Some(flag) = known().find(|flag| flag.name == name) else {
            let near = suggest(name, known().map(|flag| flag.name)).map(|name| format!("--{name}"));
            return Err(format!("unexpected argument '{typed}' found{}", meant(near)));
        };
        if self.seen.contains(&flag.name) && !flag.repeats() {
            return Err(format!("the argument '{}' cannot be used multiple times", flag.usage()));
        }
        self.seen.push(flag.name);
        let value = match (flag.takes, value) {
            ("", None) => "true".into(),
            ("", Some(_)) => return Err(format!("'--{name}' takes no value")),
            (_, Some(value)) => OsString::from_vec(value),
            (_, None) => match rest.next() {
                // A dash begins the next flag, mostly, and the value was forgotten.
                Some(next) if next.len() > 1 && next.as_bytes().starts_with(b"-") => {
                    let (usage, next) = (flag.usage(), next.to_string_lossy());
                    return Err(format!(
                        "a value is required for '{usage}' but '{next}' follows: a value with a dash before it is \
                         written --{name}={next}"
                    ));
                }
                Some(next) => next,
                None => return Err(format!("a value is required for '{}' but none was supplied", flag.usage())),
            },
        };
        self.set(flag, &value, &format!("'{}'", flag.usage()))
    }

    /// Hands a value on. `place` is what was typed, or the variable.
    fn set(&mut self, flag: &Flag, value: &OsStr, place: &str) -> Result<(), String> {
        flag.set(&mut self.cli, value).map_err(|problem| match value.to_string_lossy() {
            value if value.is_empty() => format!("a value is required for {place} but none was supplied: {problem}"),
            value => format!("invalid value '{value}' for {place}: {problem}"),
        })
    }

    fn is_audit(&self) -> bool {
        self.task.and_then(|at| TASKS.get(at)).is_some_and(|task| task.name == "audit")
    }

    fn finish(mut self, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Cli, String> {
        for flag in flags().filter(|flag| !self.seen.contains(&flag.name)).collect::<Vec<_>>() {
            let Some(name) = flag.variable() else { continue };
            // compose files hand `VAR=${VAR:-}` on as an empty text, which means that nobody set it.
            let Some(value) = variable(&name).filter(|value| !value.is_empty()) else { continue };
            self.set(flag, &value, &format!("'{}' ({name})", flag.usage()))?;
        }
        // Only a typed --config is a contradiction: a container image may well set the variable for its usual run.
        if self.cli.demo && self.seen.contains(&"config") {
            return Err("--demo needs no configuration: write either --demo or --config".into());
        }
        self.cli.task = self.task()?;
        Ok(self.cli)
    }

    /// The subcommand with its words.
    fn task(&mut self) -> Result<Option<Task>, String> {
        let Some(described) = self.task.and_then(|at| TASKS.get(at)) else { return Ok(None) };
        let mut words = std::mem::take(&mut self.words).into_iter();
        let required = |name: &str| format!("'{name}' is missing: proxmox-mcp {}{}", described.name, described.words);
        let task = match described.name {
            "stdio" => Task::Stdio,
            "check" => Task::Check,
            "token" => {
                let name = words.next().map(|word| word.to_string_lossy().into_owned());
                let bad = |name: &str, problem| format!("invalid value '{name}' for '[NAME]': {problem}");
                let name = name.map(|name| value::client_name(&name).map_err(|problem| bad(&name, problem)));
                Task::Token { name: name.transpose()? }
            }
            "audit" => {
                let action = words.next().ok_or_else(|| required("<ACTION>"))?;
                if action != "verify" {
                    return Err(format!("invalid value '{}' for '<ACTION>': write verify", action.to_string_lossy()));
                }
                let file: PathBuf = words.next().ok_or_else(|| required("<FILE>"))?.into();
                Task::Audit { file, expect: self.cli.expect.take() }
            }
            _ => Task::Health,
        };
        match words.next() {
            None => Ok(Some(task)),
            Some(word) => Err(format!("unexpected argument '{}' found", word.to_string_lossy())),
        }
    }
}

/// `: did you mean …`, if there is something near.
fn meant(near: Option<String>) -> String {
    near.map(|near| format!(": did you mean '{near}'?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;
    use std::time::Duration;

    /// Without the environment, so that the test does not depend on it.
    fn parsed(args: &[&str]) -> Result<Cli, String> {
        with(args, &[])
    }

    fn with(args: &[&str], variables: &[(&str, &str)]) -> Result<Cli, String> {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        match read(args.iter().map(Into::into).collect(), &variable)? {
            Typed::Run(cli) => Ok(*cli),
            Typed::Print(text) => Err(text),
        }
    }

    fn shown(value: &dyn Debug) -> String {
        format!("{value:#?}")
    }

    #[test]
    fn each_flag_has_a_name_of_its_own() {
        let mut names: Vec<_> = flags().chain(&AUDIT).map(|flag| flag.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn every_limit_has_a_flag_that_changes_it_and_nothing_else() {
        let limits = |args: &[&str]| parsed(args).map(|cli| shown(cli.limits()));
        let defaults = shown(&proxmox_mcp::settings::Limits::default());
        assert_eq!(limits(&[]).as_ref(), Ok(&defaults));
        let fields: Vec<&str> = defaults.lines().filter_map(|line| line.trim().split_once(": ")).map(|f| f.0).collect();
        let names: Vec<String> = LIMITS.iter().map(|flag| flag.name.replace('-', "_")).collect();
        assert_eq!(names, fields);
        for (flag, field) in LIMITS.iter().zip(fields) {
            let changed = limits(&[&format!("--{}=1234", flag.name)])
                .or_else(|_| limits(&[&format!("--{}=123", flag.name)]))
                .expect(flag.name);
            let different: Vec<_> = changed.lines().zip(defaults.lines()).filter(|(new, old)| new != old).collect();
            assert!(matches!(different[..], [(new, _)] if new.contains(field)), "{field}: {different:?}");
        }
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        for flag in &LIMITS {
            for value in ["-1", "x", "", "1e12", "NaN", "inf"] {
                assert!(parsed(&[&format!("--{}={value}", flag.name)]).is_err(), "{} {value}", flag.name);
            }
        }
        let cli = parsed(&["--head-timeout=0.25"]).expect("a fraction");
        assert_eq!(cli.limits().head_timeout, Duration::from_millis(250));
    }

    #[test]
    fn lists_come_with_commas_or_as_json() {
        let cli = parsed(&["--allowed-hosts", "a, b:*,", "--allowed-hosts", r#"["c"]"#, "--allowed-origins", "[]"]);
        let cli = cli.expect("valid");
        assert_eq!(cli.allowed_hosts(), ["a", "b:*", "c"]);
        assert!(cli.allowed_origins().is_empty());
        assert!(parsed(&["--allowed-hosts", "[1]"]).is_err());
    }

    #[test]
    fn flags_may_stand_after_the_subcommand_but_those_of_serving_alone() {
        let cli = parsed(&["check", "--config", "x.json", "--log", "debug"]).expect("valid");
        assert_eq!(cli.config, Some("x.json".into()));
        assert_eq!(cli.log(), Some("debug"));
        assert!(parsed(&["--demo", "check", "--config", "x.json"]).is_err());
        for flag in ["--allowed-hosts=a", "--insecure-no-auth", "--expect=h"] {
            assert!(parsed(&["check", flag]).is_err_and(|e| e.contains("unexpected argument")), "{flag}");
        }
    }

    #[test]
    fn a_typed_flag_counts_more_than_its_variable() {
        let variables = [("PROXMOX_MCP_MAX_CALLS", "7"), ("PROXMOX_MCP_LOG", "loud"), ("MCP_ALLOWED_HOSTS", "b")];
        let cli = with(&["--log", "warn", "--allowed-hosts=a"], &variables).expect("valid");
        assert_eq!((cli.log(), cli.limits().max_calls), (Some("warn"), 7));
        assert_eq!(cli.allowed_hosts(), ["a"]);
        assert!(with(&[], &variables).is_err_and(|e| e.contains("(PROXMOX_MCP_LOG): write a level")));
    }

    #[test]
    fn a_switch_has_a_value_only_in_its_variable() {
        for (value, on) in [("1", true), ("TRUE", true), ("on", true), ("off", false), ("no", false), ("", false)] {
            let cli = with(&[], &[("MCP_INSECURE_NO_AUTH", value)]).expect(value);
            assert_eq!(cli.insecure_no_auth, on, "{value}");
        }
        assert!(with(&[], &[("MCP_INSECURE_NO_AUTH", "maybe")]).is_err_and(|e| e.contains("write true or false")));
        assert!(parsed(&["--insecure-no-auth=1"]).is_err_and(|e| e.contains("takes no value")));
        assert!(parsed(&["--insecure-no-auth"]).is_ok_and(|cli| cli.insecure_no_auth));
    }

    #[test]
    fn a_value_that_was_forgotten_is_asked_for() {
        for args in [&["--config"][..], &["--config="], &["--config", "--demo"], &["--log", "-x"], &["--max-calls"]] {
            assert!(parsed(args).is_err_and(|e| e.contains("a value is required for '--")), "{args:?}");
        }
        assert!(parsed(&["--audit-log", "-"]).is_ok_and(|cli| cli.audit_log == Some("-".into())));
        assert!(parsed(&["--max-calls=-1"]).is_err_and(|e| e.contains("write a number from 1 to 100000")));
    }

    #[test]
    fn the_same_flag_twice_is_refused_unless_it_makes_a_list() {
        for args in [["--demo", "--demo"], ["--listen=:0", "--listen=:1"]] {
            assert!(parsed(&args).is_err_and(|e| e.contains("multiple times")), "{args:?}");
        }
    }

    #[test]
    fn a_path_may_be_no_text_and_other_values_may_not() {
        let arg = |bytes: &[u8]| vec![OsString::from_vec(bytes.to_vec())];
        let Ok(Typed::Run(cli)) = read(arg(b"--config=a\xff"), &|_| None) else { panic!("a path") };
        assert_eq!(cli.config.map(|path| path.into_os_string().into_vec()).as_deref(), Some(&b"a\xff"[..]));
        for bytes in [&b"--log=\xff"[..], b"\xff", b"--\xff=", b"-\xff", b"--listen=\xff:0"] {
            assert!(read(arg(bytes), &|_| None).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn subcommands_take_their_words_and_no_more() {
        let task = |args: &[&str]| parsed(args).map(|cli| cli.task);
        assert!(matches!(task(&[]), Ok(None)));
        assert!(matches!(task(&["token"]), Ok(Some(Task::Token { name: None }))));
        assert!(matches!(task(&["token", "--", "a-b"]), Ok(Some(Task::Token { name: Some(name) })) if name == "a-b"));
        let Ok(Some(Task::Audit { file, expect })) = task(&["audit", "verify", "x", "--expect", "h"]) else {
            panic!("an audit")
        };
        assert_eq!((file, expect.as_deref()), ("x".into(), Some("h")));
        for (args, told) in [
            (&["audit"][..], "'<ACTION>' is missing: proxmox-mcp audit verify <FILE>"),
            (&["audit", "verify"], "'<FILE>' is missing"),
            (&["audit", "burn", "x"], "write verify"),
            (&["audit", "verify", "x", "y"], "unexpected argument 'y'"),
            (&["token", "a b"], "write 1 to 64"),
            (&["check", "check"], "unexpected argument 'check'"),
            (&["halth"], "did you mean 'health'?"),
            (&["check", "--confg=x"], "did you mean '--config'?"),
            (&["-x"], "unexpected argument '-x'"),
            (&["check", "--version"], "unexpected argument '--version'"),
        ] {
            assert!(task(args).is_err_and(|e| e.contains(told)), "{args:?}");
        }
    }
}
