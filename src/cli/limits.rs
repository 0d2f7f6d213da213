//! A flag for each limit of the HTTP front and the clusters' clients: one row of [`FLAGS`] says all about it.

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, value_parser};
use proxmox_mcp::settings::Limits;
use std::fmt::Write;
use std::time::Duration;

/// The limits, as typed or by default.
pub struct LimitFlags(pub Limits);

struct Flag {
    name: &'static str,
    help: &'static str,
    kind: Kind,
}

/// Where the value goes and what it may be, both ends included.
enum Kind {
    Number(fn(&mut Limits) -> &mut usize, usize, usize),
    Seconds(fn(&mut Limits) -> &mut Duration, f64, f64),
}
use Kind::{Number, Seconds};

/// More threads or sockets than this no machine has for us.
const MANY: usize = 100_000;
const MIB: usize = 1 << 20;
/// Shorter is for tests only, but a test of a deadline must not last as long as the deadline people use.
const SHORTEST: f64 = 0.01;
const HOUR: f64 = 3600.0;

const FLAGS: [Flag; 21] = [
    flag("max-connections", "Open connections at once", Number(|l| &mut l.max_connections, 1, MANY)),
    flag(
        "max-connections-per-address",
        "Open connections at once from one address",
        Number(|l| &mut l.max_connections_per_address, 1, MANY),
    ),
    flag("max-sessions", "Open SSE sessions at once", Number(|l| &mut l.max_sessions, 1, MANY)),
    flag("max-calls", "Tool calls in flight at once, each transport", Number(|l| &mut l.max_calls, 1, MANY)),
    flag(
        "max-calls-per-session",
        "Tool calls in flight at once in one session",
        Number(|l| &mut l.max_calls_per_session, 1, MANY),
    ),
    flag(
        "max-calls-per-client",
        "Tool calls in flight at once of one client",
        Number(|l| &mut l.max_calls_per_client, 1, MANY),
    ),
    flag(
        "max-calls-per-minute",
        "Tool calls a minute of one client (0: any)",
        Number(|l| &mut l.max_calls_per_minute, 0, 10 * MANY),
    ),
    flag(
        "max-calls-per-cluster",
        "Calls in flight at once to one cluster",
        Number(|l| &mut l.max_calls_per_cluster, 1, MANY),
    ),
    flag("max-head-bytes", "Bytes of a request's head", Number(|l| &mut l.max_head_bytes, 1024, MIB)),
    flag("max-headers", "Headers of a request", Number(|l| &mut l.max_headers, 8, 1000)),
    flag("max-body-bytes", "Bytes of a request's body", Number(|l| &mut l.max_body_bytes, 1024, 1024 * MIB)),
    flag(
        "max-buffered-bytes",
        "Bytes of large request bodies together",
        Number(|l| &mut l.max_buffered_bytes, 1024, 1024 * MIB),
    ),
    flag("max-answer-bytes", "Bytes of a node's answer", Number(|l| &mut l.max_answer_bytes, 1024, 1024 * MIB)),
    flag(
        "max-result-bytes",
        "Bytes of an API answer at once (0: any)",
        Number(|l| &mut l.max_result_bytes, 0, 1024 * MIB),
    ),
    flag("head-timeout", "For a request's head to arrive", Seconds(|l| &mut l.head_timeout, SHORTEST, HOUR)),
    flag("body-timeout", "For a request's body to arrive", Seconds(|l| &mut l.body_timeout, SHORTEST, HOUR)),
    flag("idle-timeout", "Between two requests of a connection", Seconds(|l| &mut l.idle_timeout, SHORTEST, HOUR)),
    flag("write-timeout", "For a client to take an answer or event", Seconds(|l| &mut l.write_timeout, SHORTEST, HOUR)),
    flag("sse-keepalive", "Between keep-alive comments of a stream", Seconds(|l| &mut l.sse_keepalive, SHORTEST, HOUR)),
    flag("stop-timeout", "For calls in flight when told to stop", Seconds(|l| &mut l.stop_timeout, 0.0, HOUR)),
    flag("slow-call", "Before a tool call is logged as slow", Seconds(|l| &mut l.slow_call, SHORTEST, HOUR)),
];

const fn flag(name: &'static str, help: &'static str, kind: Kind) -> Flag {
    Flag { name, help, kind }
}

impl Flag {
    fn arg(&self) -> Arg {
        // clap borrows the name for good. It is made once, at the start.
        let env: &str = format!("PROXMOX_MCP_{}", self.name.replace('-', "_").to_uppercase()).leak();
        // Hidden, as `help` lists them in less space.
        let arg = Arg::new(self.name).long(self.name).env(env).value_name(self.value_name()).hide(true).global(true);
        match self.kind {
            Number(_, least, most) => arg.value_parser(value_parser!(u64).range(least as u64..=most as u64)),
            Seconds(_, least, most) => arg.value_parser(move |text: &str| seconds(text, least, most)),
        }
    }

    fn value_name(&self) -> &'static str {
        match self.kind {
            Number(..) => "N",
            Seconds(..) => "SECONDS",
        }
    }
}

/// The limits for `--help`, a line each; clap would take five.
pub fn help() -> String {
    let mut defaults = Limits::default();
    let mut text = String::from("Limits, each also as a variable: --max-calls is PROXMOX_MCP_MAX_CALLS\n");
    for flag in &FLAGS {
        let default = match flag.kind {
            Number(place, ..) => place(&mut defaults).to_string(),
            Seconds(place, ..) => place(&mut defaults).as_secs_f64().to_string(),
        };
        let typed = format!("--{} <{}>", flag.name, flag.value_name());
        let _ = writeln!(text, "      {typed:<33}  {} [default: {default}]", flag.help);
    }
    text
}

fn seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (least..=most).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("write seconds from {least} to {most}, fractions allowed")),
    }
}

impl Args for LimitFlags {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(Flag::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LimitFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self(Limits::default());
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for flag in &FLAGS {
            match flag.kind {
                Number(place, ..) => {
                    if let Some(number) = matches.get_one::<u64>(flag.name) {
                        *place(&mut self.0) = usize::try_from(*number).unwrap_or(usize::MAX);
                    }
                }
                Seconds(place, ..) => {
                    if let Some(time) = matches.get_one::<Duration>(flag.name) {
                        *place(&mut self.0) = *time;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(args: &[&str]) -> Result<Limits, clap::Error> {
        let command = LimitFlags::augment_args(Command::new("test")).mut_args(|arg| arg.env(None::<&str>));
        let matches = command.try_get_matches_from(std::iter::once("test").chain(args.iter().copied()))?;
        LimitFlags::from_arg_matches(&matches).map(|flags| flags.0)
    }

    #[test]
    fn every_limit_has_a_flag_that_changes_it_and_nothing_else() {
        let defaults = format!("{:#?}", Limits::default());
        let unchanged = format!("{:#?}", limits(&[]).expect("defaults are in range"));
        assert_eq!(unchanged, defaults);
        let fields: Vec<&str> = defaults.lines().filter_map(|line| line.trim().split_once(": ")).map(|f| f.0).collect();
        let names: Vec<String> = FLAGS.iter().map(|flag| flag.name.replace('-', "_")).collect();
        assert_eq!(names, fields);
        for (flag, field) in FLAGS.iter().zip(fields) {
            let changed = format!(
                "{:#?}",
                limits(&[&format!("--{}=1234", flag.name)])
                    .or_else(|_| limits(&[&format!("--{}=123", flag.name)]))
                    .expect(flag.name)
            );
            let different: Vec<_> = changed.lines().zip(defaults.lines()).filter(|(new, old)| new != old).collect();
            assert!(matches!(different[..], [(new, _)] if new.contains(field)), "{field}: {different:?}");
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for flag in &FLAGS {
            for value in ["-1", "x", "", "1e12", "NaN", "inf"] {
                assert!(limits(&[&format!("--{}={value}", flag.name)]).is_err(), "{} {value}", flag.name);
            }
        }
        assert_eq!(limits(&["--head-timeout=0.25"]).expect("a fraction").head_timeout, Duration::from_millis(250));
        let error = limits(&["--head-timeout=0"]).expect_err("too short").to_string();
        assert!(error.contains("seconds from 0.01 to 3600"), "{error}");
        let error = limits(&["--max-calls=0"]).expect_err("too few").to_string();
        assert!(error.contains("0 is not in 1..=100000"), "{error}");
    }
}
