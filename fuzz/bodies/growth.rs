//! The work of every reader of untrusted input relative to the size of the input. Each reader gets inputs that repeat
//! one piece, and takes in proportion as long for an input of eight times the size.
//!
//! CPU time of the thread is measured, so the load of the machine does not matter. A reader that takes the square of the
//! length needs 64 times as long for the larger input, and one in proportion eight times.

use crate::audit::verify;
use crate::base::json_scan::{find_member, unquote, walk};
use crate::base::suggest::suggest_several;
use crate::base::tree_size::TreeSize;
use crate::config::load::parse;
use crate::mcp::message::{MAX_BATCH, Message, parse_message, split_batch};
use crate::policy::{for_each_vmid_in_list, for_each_vmid_in_name};
use crate::pve::guests::{Guest, GuestIndex, find_guest};
use crate::pve::path::ApiPath;
use crate::pve::schema::embedded_schema;
use crate::pve::task::Upid;
use crate::render::output::{AnswerFacts, AnswerTopic, OutputArguments, OutputFormat, OutputOptions};
use crate::render::table::{ListTable, SortKey};
use crate::sanitize::escape_invisible::{escape_json, escape_text};
use crate::sanitize::{LogRedactor, redact_json, redact_text};
use rustix::time::{ClockId, clock_gettime};
use std::io::BufReader;
use std::path::Path;
use std::time::Duration;

/// Bytes of the smaller input.
const SMALL: usize = 1 << 10;
/// Size of the larger input in multiples of the smaller one.
const FACTOR: usize = 8;
/// Most time for the larger input in multiples of the time for the smaller one.
const MAX_RATIO: u32 = 24;
/// Time below which the ratio says nothing.
const NOISE: Duration = Duration::from_millis(4);

/// A reader of untrusted text.
struct Reader {
    name: &'static str,
    read: fn(&str),
    /// Texts before the pieces that bring the reader to its inner loops.
    prefixes: &'static [&'static str],
}

const fn reader(name: &'static str, read: fn(&str), prefixes: &'static [&'static str]) -> Reader {
    Reader { name, read, prefixes }
}

const READERS: [Reader; 22] = [
    reader(
        "filter",
        |text| parse_options(OutputArguments { filter: Some(text), ..OutputArguments::default() }),
        FILTERS,
    ),
    reader("fields", |text| parse_options(OutputArguments { fields: Some(text), ..OutputArguments::default() }), TEXTS),
    reader("sort", |text| parse_options(OutputArguments { sort: Some(text), ..OutputArguments::default() }), TEXTS),
    reader("path", |text| drop(ApiPath::parse_template(text)), &["", "/", "/?", "/nodes?a="]),
    reader("upid", |text| drop(Upid::parse(text)), &["", "UPID:"]),
    reader("search query", |text| drop(embedded_schema().search(text, 8)), TEXTS),
    reader("suggestion", |text| drop(suggest_several(text, text.split(' '), 3)), TEXTS),
    reader("guest numbers in names", |text| for_each_vmid_in_name(text, &mut |_| ()), &["", "local:", "/content/1/"]),
    reader("guest numbers in lists", |text| for_each_vmid_in_list(text, &mut |_| ()), TEXTS),
    reader("message", read_message, JSON),
    reader("batch", |text| drop(split_batch(text.as_bytes(), MAX_BATCH)), JSON),
    reader("size of a tree", |text| assert!(TreeSize::measure(text).values > 0), JSON),
    reader("JSON members", read_members, JSON),
    reader("rows that are filtered", |text| render_rows(text, "a=1,b!=2", "", false), JSON),
    reader("rows that are sorted", |text| render_rows(text, "", "a,b", false), JSON),
    reader("rows of a table", |text| render_rows(text, "", "", true), JSON),
    reader("rows under columns", read_table, JSON),
    reader("redaction of text", |text| drop(redact_text(text)), TEXTS),
    reader("redaction of JSON", |text| drop(redact_json(text)), JSON),
    reader("redaction of a log", read_log, TEXTS),
    reader("escapes", |text| drop((escape_text(text).len(), escape_json(text.to_owned()))), JSON),
    reader("clusters.json and audit log", read_files, JSON),
];

const TEXTS: &[&str] = &["", "a", "\"", "'"];
const FILTERS: &[&str] = &["", "a=x", "a~\"", "a=1,b='", "a=1 and b=x"];
const JSON: &[&str] = &["", "[", "{\"a\":[", "\"", "{\"data\":\"", "[{\"key\":\"", "[{\"value\":\""];

/// Pieces that make a reader look ahead, look back, or search again.
const PIECES: [&str; 52] = [
    "curl -u \"a:b ",
    "echo a | sudo -S ",
    "a:b chpasswd ",
    "htpasswd -b a ",
    " ",
    "\t",
    "\n",
    ",",
    ",,\"",
    ":",
    "::",
    ";",
    "=",
    "/",
    "//",
    "|",
    "\"",
    "\\",
    "\\\"",
    "\\u202e",
    "'",
    "{",
    "[",
    "}",
    "]",
    "[]",
    "{}",
    "{},",
    "[],",
    "0,",
    "\"\",",
    "{\"\":0},",
    "{\"a\":1,\"b\":\"x\"},",
    "\"a\":1,",
    "a",
    "1",
    "é",
    "\u{202e}",
    "%41",
    "a=1 ",
    "a=1 and ",
    " and",
    " or ",
    "100,",
    "1:1/",
    ":1/1",
    "$a",
    "key=\"",
    "otp: ",
    "PVE:a:00000000::",
    "-----BEGIN ",
    "a://b:c@",
];

fn parse_options(arguments: OutputArguments<'_>) {
    drop(OutputOptions::parse(&arguments));
}

fn read_message(text: &str) {
    if let Ok(Message::Request(request)) = parse_message(text.as_bytes()) {
        drop(request.parse_params());
    }
    let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{text}}}}}"#);
    drop(parse_message(request.as_bytes()));
}

fn read_members(text: &str) {
    walk(text, &mut |key, value| {
        drop((unquote(key), unquote(value), find_member(value, "a")));
        true
    });
}

/// Closes the brackets and quotes of a text that a reader repeats, so that it is JSON where that is possible.
fn close(text: &str) -> String {
    let text = text.trim_end_matches(',');
    let end = ["", "]", "\"", "\"}", "\"}]", "]}", "}]"];
    end.iter()
        .map(|end| format!("{text}{end}"))
        .find(|text| walk(text, &mut |_, _| true))
        .unwrap_or_else(|| text.into())
}

fn render_rows(text: &str, filter: &str, sort: &str, table: bool) {
    let format = Some(if table { OutputFormat::Table } else { OutputFormat::Json });
    let arguments = OutputArguments { filter: Some(filter), sort: Some(sort), format, ..OutputArguments::default() };
    let options = OutputOptions::parse(&arguments).expect("valid arguments");
    drop(options.render(close(text), false, 4_096));
}

fn read_table(text: &str) {
    const COLUMNS: [&str; 2] = ["a", "b"];
    let rows = close(text);
    let mut table = ListTable::new(&COLUMNS);
    if table.read(&rows, &[]).is_ok() {
        let mut layout = table.layout(|row| SortKey { name: row.text("a"), ..SortKey::default() });
        layout.write_text(&mut String::new(), usize::MAX, None);
    }
}

fn read_log(text: &str) {
    let mut redactor = LogRedactor::default();
    text.lines().for_each(|line| drop(redactor.redact_line(line)));
    drop(redactor.redact_line(text));
}

fn read_files(text: &str) {
    drop(parse(close(text).as_bytes(), Path::new("/nonexistent"), None));
    drop(verify(&mut BufReader::new(text.as_bytes()), None));
}

/// Returns the least CPU time of some runs.
fn measure(runs: usize, run: &dyn Fn()) -> Duration {
    let cpu_time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time since the start");
    let times = (0..runs).map(|_| {
        let start = cpu_time();
        run();
        cpu_time() - start
    });
    times.min().expect("a run")
}

/// Fails if the work of `run` grows faster than its size.
fn assert_proportional(name: &str, run: &dyn Fn(usize)) {
    let larger = || run(SMALL * FACTOR);
    if measure(1, &larger) < NOISE {
        return;
    }
    let (small, large) = (measure(3, &|| run(SMALL)), measure(3, &larger));
    assert!(large < NOISE.max(small * MAX_RATIO), "{name}: {small:?}, and {large:?} for {FACTOR} times the size");
}

#[test]
fn no_reader_takes_longer_in_proportion_for_a_larger_input() {
    for Reader { name, read, prefixes } in &READERS {
        for prefix in *prefixes {
            for piece in PIECES {
                let input = |size: usize| format!("{prefix}{}x", piece.repeat(size / piece.len()));
                let inputs = [input(SMALL), input(SMALL * FACTOR)];
                assert_proportional(&format!("{name}: {prefix:?} {piece:?}"), &|size| {
                    read(&inputs[usize::from(size > SMALL)]);
                });
            }
        }
    }
}

fn guest(number: usize) -> Guest {
    let row = format!(r#"{{"id":"qemu/{number}","node":"pve1","name":"web-{number}"}}"#);
    Guest::from_row(&row).expect("a row of a guest")
}

#[test]
fn many_names_are_found_among_many_guests_in_proportion() {
    let guests: Vec<Guest> = (0..SMALL * FACTOR / 16).map(guest).collect();
    assert_proportional("names of guests", &|size| {
        let guests = &guests[..size / 16];
        let index = GuestIndex::new(guests);
        assert!(guests.iter().all(|guest| index.find(&guest.name.to_uppercase()).is_ok()));
    });
    assert_proportional("an unknown name", &|size| assert!(find_guest(&guests[..size / 16], "wbe-1").is_err()));
}

#[test]
fn short_forms_take_no_longer_in_proportion_for_a_longer_list() {
    let task = |number: usize, node: usize, status: &str| {
        format!(r#"{{"upid":"UPID:{number}:","node":"{node}","type":"a","status":"{status}","starttime":{number}}}"#)
    };
    type WriteRow<'a> = &'a dyn Fn(usize) -> String;
    let rows: [(&str, AnswerTopic, WriteRow<'_>); 7] = [
        ("tasks of one node", AnswerTopic::Tasks, &|number| task(number, 1, "OK")),
        ("tasks of many nodes", AnswerTopic::Tasks, &|number| task(number, number, "OK")),
        ("failed tasks", AnswerTopic::Tasks, &|number| task(number, 1, "error")),
        ("messages of many nodes", AnswerTopic::ClusterLog, &|number| {
            format!(r#"{{"time":{number},"node":"{number}","msg":"a"}}"#)
        }),
        ("lines with numbers", AnswerTopic::SystemLog, &|number| {
            format!(r#""2026-11-29 01:02:03 {number} a[{number}]: {number} of 1.{number}""#)
        }),
        ("failures", AnswerTopic::SystemLog, &|number| format!(r#""2026-11-29 01:02:03 a b: error {number}""#)),
        ("services", AnswerTopic::Services, &|number| format!(r#"{{"service":"a","state":"{number}"}}"#)),
    ];
    for (name, topic, write) in rows {
        let list = |size: usize| format!("[{}]", (0..size).map(write).collect::<Vec<_>>().join(","));
        let lists = [list(SMALL), list(SMALL * FACTOR)];
        let options = OutputOptions::parse(&OutputArguments::default()).expect("valid arguments");
        let options = options.for_answer(AnswerFacts { topic, ..AnswerFacts::default() });
        assert_proportional(name, &|size| {
            drop(options.render(lists[usize::from(size > SMALL)].clone(), false, 0).expect("an answer"));
        });
    }
}

#[test]
fn work_that_grows_with_the_square_is_noticed() {
    let quadratic = |size: usize| {
        let text = " ".repeat(size);
        let ends = text.char_indices().filter(|(at, _)| text[*at..].trim_start().starts_with('x'));
        assert_eq!(ends.count(), 0);
    };
    assert!(std::panic::catch_unwind(|| assert_proportional("a test", &quadratic)).is_err());
}
