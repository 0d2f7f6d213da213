//! Answers as models ask for them, and hostile ones.

use super::json_path;
use super::json_path::find;
use super::names::push_name;
use super::options::{AnswerTopic, OutputArguments, OutputFormat, OutputOptions};
use crate::base::hint::render_error;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const GUESTS: &str = r#"[{"vmid":100,"name":"web1","status":"running","mem":2147483648,"cpu":0.5,"tags":"prod;web","ha":{"state":"started"}},
 {"vmid":"101","name":"db","status":"stopped","mem":0,"template":1},
 {"vmid":102,"name":"Web2","status":"running","mem":9663676416,"cpu":0.01,"net":[{"ip":"10.0.0.1"}]}]"#;

fn parse_options(arguments: Value) -> Result<OutputOptions, String> {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let count = |name: &str| arguments.get(name).and_then(Value::as_u64);
    OutputOptions::parse(&OutputArguments {
        fields: text("fields"),
        filter: text("filter"),
        sort: text("sort"),
        limit: count("limit"),
        offset: count("offset"),
        format: Some(if text("format") == Some("table") { OutputFormat::Table } else { OutputFormat::Json }),
    })
    .map_err(|error| render_error(&error))
}

fn render(arguments: Value, data: &str, cap: usize) -> Result<(String, String), String> {
    let rendered = parse_options(arguments)?.render_data(data, None, cap).map_err(|error| render_error(&error))?;
    Ok((rendered.text, rendered.note.unwrap_or_default()))
}

fn render_with_default_cap(arguments: Value, data: &str) -> (String, String) {
    render(arguments, data, 32 << 10).expect("a valid request")
}

fn parse_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn an_answer_that_fits_keeps_its_memory_and_its_envelope() {
    for cap in [0, 100] {
        let verbatim = String::from(r#"{"data":[1, 2],"total":2}"#);
        let memory = verbatim.as_ptr();
        let rendered = OutputOptions::default().render(verbatim, true, cap).unwrap();
        assert_eq!((rendered.text.as_str(), rendered.note), (r#"{"data":[1, 2],"total":2}"#, None));
        assert_eq!(rendered.text.as_ptr(), memory);
    }
    assert!(parse_options(json!({"fields": "*", "format": "json", "filter": ""})).unwrap().is_plain());
    for arguments in [json!({"limit": 1}), json!({"offset": 1}), json!({"fields": "a"}), json!({"format": "table"})] {
        assert!(!parse_options(arguments).unwrap().is_plain());
    }
}

#[test]
fn user_of_a_task_is_its_token_wherever_it_is_shown() {
    let tasks = r#"[{"upid":"UPID:a:1:1:1:qmstop:1:root@pam!ci:","type":"qmstop","id":"1","user":"root@pam","tokenid": "ci",
        "starttime":1795829000,"endtime":1795829001,"status":"OK"},
        {"upid":"UPID:a:2:2:2:qmstart:1:root@pam:","type":"qmstart","id":"1","user":"root@pam","starttime":1795829002}]"#;
    for (arguments, expected) in [
        (json!({"format": "table", "fields": "type,user"}), "type\tuser\nqmstop\troot@pam!ci\nqmstart\troot@pam\n"),
        (json!({"format": "table", "fields": "type", "filter": "user=root@pam!ci"}), "type\nqmstop\n"),
        (json!({"format": "table", "fields": "type", "filter": "user!=root@pam!ci"}), "type\nqmstart\n"),
        (json!({"format": "table", "fields": "type", "sort": "-user"}), "type\nqmstop\nqmstart\n"),
        (json!({"format": "json", "fields": "user"}), r#"[{"user":"root@pam"},{"user":"root@pam"}]"#),
    ] {
        for topic in [AnswerTopic::Tasks, AnswerTopic::NewestTasks] {
            let options = OutputOptions { topic, ..parse_options(arguments.clone()).unwrap() };
            let rendered = options.render_data(tasks, None, 0).map(|rendered| rendered.text);
            assert_eq!(rendered.ok().as_deref(), Some(expected));
        }
    }
}

#[test]
fn pages_of_a_time_series_are_of_its_rows_with_data() {
    let rows: Vec<String> = (0..60)
        .map(|at| if at < 57 { format!(r#"{{"time":{at}}}"#) } else { format!(r#"{{"time":{at},"cpu":0.5}}"#) })
        .collect();
    let rows = format!("[{}]", rows.join(","));
    for (page, times) in [(json!({"limit": 2}), "57 58"), (json!({"limit": 2, "offset": 2}), "59")] {
        let mut arguments = json!({"format": "table", "fields": "time,cpu"});
        arguments.as_object_mut().unwrap().extend(page.as_object().unwrap().clone());
        let options = OutputOptions { is_series: true, ..parse_options(arguments).unwrap() };
        let rendered = options.render_data(&rows, None, 0).unwrap_or_else(|error| panic!("{}", render_error(&error)));
        let times: Vec<_> = times.split(' ').map(|second| format!("{second}\t50.0%")).collect();
        assert_eq!(rendered.text, format!("time\tcpu\n{}\n", times.join("\n")));
        let note = rendered.note.expect("a note");
        assert!(note.contains("57 rows without data left out"), "{note}");
    }
}

#[test]
fn fields_come_in_their_order_and_from_below() {
    let (text, note) = render_with_default_cap(json!({"fields": "name, vmid,ha.state,net.0.ip"}), GUESTS);
    assert_eq!(
        text,
        r#"[{"name":"web1","vmid":100,"ha.state":"started"},{"name":"db","vmid":"101"},{"name":"Web2","vmid":102,"net.0.ip":"10.0.0.1"}]"#
    );
    assert_eq!(note, "");
}

#[test]
fn rows_are_filtered_sorted_and_counted() {
    for (arguments, names, expected) in [
        (json!({"filter": "status=running"}), "web1 Web2", "2 of 3 rows match"),
        (json!({"filter": "name~WEB and mem>2G"}), "Web2", "1 of 3 rows match"),
        (
            json!({"filter": "template!=1", "limit": 1}),
            "web1",
            "2 of 3 rows match; rows 1..1 of 2 shown: offset=1 gives the next",
        ),
        (json!({"filter": "ha.state=started"}), "web1", "1 of 3 rows match"),
        (json!({"sort": "-vmid"}), "Web2 db web1", ""),
        (json!({"sort": "-cpu"}), "web1 Web2 db", ""),
        (json!({"sort": "status,-mem"}), "Web2 web1 db", ""),
        (json!({"sort": "name", "offset": 1, "limit": 1}), "db", "rows 2..2 of 3 shown: offset=2 gives the next"),
        (json!({"limit": 0, "sort": "mem desc"}), "Web2 web1 db", ""),
        (json!({"offset": 9}), "", "none of 3 rows shown"),
    ] {
        let (text, note) = render_with_default_cap(arguments.clone(), GUESTS);
        let rows = parse_json(&text);
        let found: Vec<_> = rows.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
        assert_eq!((found.join(" ").as_str(), note.as_str()), (names, expected), "{arguments}");
    }
}

#[test]
fn rows_without_fields_keep_their_raw_json() {
    let (text, _) =
        render_with_default_cap(json!({"filter": "vmid=7"}), r#"[ {"vmid" : 7.0,"a":"\u00fc"} , {"vmid":8} ]"#);
    assert_eq!(text, r#"[{"vmid" : 7.0,"a":"\u00fc"}]"#);
}

#[test]
fn a_key_that_no_row_has_is_reported_with_the_existing_keys() {
    let expected = "no row has the key \"nmae\", did you mean name? (keys: vmid, name, status";
    let error = render(json!({"fields": "nmae"}), GUESTS, 0).unwrap_err();
    assert!(error.contains(expected), "{error}");
    // Proxmox leaves out keys that are not set, so such a key may be right.
    for (arguments, rows) in [
        (json!({"fields": "vmid,nmae"}), 3),
        (json!({"filter": "nmae=x"}), 0),
        (json!({"filter": "nmae!=x"}), 3),
        (json!({"sort": "-nmae"}), 3),
    ] {
        let (text, note) = render_with_default_cap(arguments, GUESTS);
        assert_eq!(parse_json(&text).as_array().unwrap().len(), rows, "{text}");
        assert!(note.contains(expected), "{note}");
    }
    assert_eq!(
        render_with_default_cap(json!({"fields": "vmid", "filter": "x=1", "sort": "y"}), "[]"),
        ("[]".into(), "0 of 0 rows match".into())
    );
}

#[test]
fn a_value_without_rows_is_neither_filtered_nor_sorted() {
    for (data, part) in [
        ("{\"a\":1}", "this is an object"),
        ("\"UPID:x\"", "this is a text"),
        ("null", "this is null"),
        ("[{},3]", "row 1 is a number"),
    ] {
        for arguments in [json!({"filter": "a=1"}), json!({"sort": "a"})] {
            let error = render(arguments, data, 0).unwrap_err();
            assert!(error.contains(part) && error.contains("a list of objects"), "{error}");
        }
    }
    assert!(render(json!({"fields": "a"}), "\"x\"", 0).unwrap_err().contains("the answer is a text"));
}

#[test]
fn lines_are_filtered_by_their_text() {
    let journal = r#"["a auth failed","b started","c AUTH ok"]"#;
    let log = r#"[{"n":1,"t":"a auth failed"},{"n":2,"t":"b started"},{"n":3,"t":"c AUTH ok"}]"#;
    for (data, key) in [(journal, "text"), (journal, "t"), (journal, "msg"), (log, "t"), (log, "text"), (log, "line")] {
        let arguments = json!({"format": "table", "filter": format!("{key}~auth")});
        let (text, note) = render_with_default_cap(arguments, data);
        assert_eq!((text.as_str(), note.as_str()), ("a auth failed\nc AUTH ok\n", "2 of 3 rows match"), "{key}");
    }
    let json = render_with_default_cap(json!({"filter": "text~started"}), journal).0;
    assert_eq!(parse_json(&json), json!(["b started"]));
    for data in [journal, log] {
        let (text, _) = render_with_default_cap(json!({"format": "table", "sort": "-text", "limit": 1}), data);
        assert_eq!(text, "c AUTH ok\n");
    }
    let error = render(json!({"filter": "level=3"}), journal, 0).unwrap_err();
    assert!(error.contains("row 0 is a text") && error.contains("filter: text~word"), "{error}");
    let messages = r#"[{"msg":"a","x":1},{"msg":"b","x":2}]"#;
    assert_eq!(render_with_default_cap(json!({"filter": "text=b"}), messages).0, r#"[{"msg":"b","x":2}]"#);
}

#[test]
fn an_invalid_filter_is_an_error_with_the_syntax() {
    let error = parse_options(json!({"filter": "running"})).unwrap_err();
    assert!(error.starts_with("filter: \"running\" is not a condition. hint: write key=value, with"), "{error}");
}

#[test]
fn scalars_have_pages_too() {
    assert_eq!(render_with_default_cap(json!({"offset": 1, "limit": 2}), "[1,\"b\",3,4]").0, "[\"b\",3]");
}

#[test]
fn fields_of_an_object_are_shown_and_missing_ones_noted() {
    let config = r#"{"name":"web1","memory":"512","net0":{"bridge":"vmbr0"}}"#;
    let (text, note) = render_with_default_cap(json!({"fields": "memory,onboot,net0.bridge"}), config);
    assert_eq!((text.as_str(), note.as_str()), (r#"{"memory":"512","net0.bridge":"vmbr0"}"#, "not there: onboot"));
    assert!(render(json!({"fields": "memry"}), config, 0).unwrap_err().contains("did you mean memory?"));
    assert_eq!(render_with_default_cap(json!({"fields": "net0.bridge"}), config).0, r#"{"net0.bridge":"vmbr0"}"#);
}

#[test]
fn a_list_inside_an_object_is_a_list_like_any_other() {
    let data = r#"{"result":[{"n":"eth0","x":1},{"n":"lo","x":2}]}"#;
    let (text, note) = render_with_default_cap(json!({"fields": "result", "filter": "n=lo"}), data);
    assert_eq!((text.as_str(), note.as_str()), (r#"{"result":[{"n":"lo","x":2}]}"#, "1 of 2 rows match"));
    assert_eq!(
        render_with_default_cap(json!({"fields": "result", "format": "table"}), data).0,
        "n\tx\neth0\t1\nlo\t2\n"
    );
    assert_eq!(render_with_default_cap(json!({"fields": "0.n"}), r#"[{"n":"a"}]"#).0, r#"{"0.n":"a"}"#);
    assert!(render(json!({"fields": "7.n"}), r#"[{"n":"a"}]"#, 0).unwrap_err().contains("nothing is at 7.n"));
}

#[test]
fn a_long_value_that_several_members_have_is_written_once() {
    let rights = json!({"Datastore.Allocate": 1, "Datastore.AllocateSpace": 1, "Sys.Audit": 1, "VM.Allocate": 1, "VM.Audit": 0,
        "VM.Backup": 1});
    let data =
        json!({"/": rights, "/pool/prod": {"VM.Audit": 1}, "/vms": rights, "/vms/1": {"VM.Audit": 1}}).to_string();
    let (text, _) = render_with_default_cap(json!({"format": "table"}), &data);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("/: Datastore.Allocate, "), "{text}");
    assert_eq!(lines[1..], ["/pool/prod: VM.Audit", "/vms/1: VM.Audit", "the same as /: /vms"]);
}

#[test]
fn tables_have_a_header_and_a_line_per_row() {
    let (text, note) = render_with_default_cap(json!({"format": "table"}), GUESTS);
    assert_eq!(
        text,
        "vmid\tname\tstatus\tcpu\tmem\ttags\tha\tnet\ttemplate\n\
         100\tweb1\trunning\t50.0%\t2GiB\tprod;web\tstate started\t-\t-\n\
         101\tdb\tstopped\t-\t0\t-\t-\t-\tyes\n\
         102\tWeb2\trunning\t1.0%\t9GiB\t-\t-\t{ip 10.0.0.1}\t-\n"
    );
    assert_eq!(note, "all 3 rows");
    assert_eq!(
        render_with_default_cap(json!({"format": "table", "fields": "name,vmid", "limit": 1}), GUESTS).0,
        "name\tvmid\nweb1\t100\n"
    );
    assert_eq!(render_with_default_cap(json!({"format": "table"}), "[7,{\"k\":1}]").0, "k\tvalue\n-\t7\n1\t-\n");
    assert_eq!(render_with_default_cap(json!({"format": "table"}), r#"{"a":1,"b":[2]}"#).0, "a: 1\nb: 2\n");
    assert_eq!(render_with_default_cap(json!({"format": "table"}), "[\"s=a;i=1\",\"a\\tb\"]").0, "a\\tb\n");
    assert_eq!(render_with_default_cap(json!({"format": "table"}), r#"[{"n":1,"t":"x"},{"n":2,"t":"y"}]"#).0, "x\ny\n");
    assert_eq!(
        render_with_default_cap(json!({"format": "table"}), r#"[{"upid":"U","digest":"d"}]"#).0,
        "status\tupid\nrunning\tU\n"
    );
    let long = format!("[{{\"a\":\"{}\"}}]", "x".repeat(500));
    assert!(render_with_default_cap(json!({"format": "table"}), &long).1.contains("cells are cut at 300 characters"));
}

#[test]
fn envelope_members_are_noted_and_can_be_requested() {
    let diff = "x".repeat(200);
    let body = format!(r#"{{"total":7,"data":[{{"n":1}},{{"n":2}}],"changes":"{diff}"}}"#);
    let ask = |arguments| parse_options(arguments).unwrap().render(body.clone(), true, 64 << 10);
    let rendered = ask(json!({"limit": 1})).unwrap();
    assert_eq!(rendered.text, r#"[{"n":1}]"#);
    let note = rendered.note.unwrap();
    assert!(
        note.starts_with(
            "2 of 7 rows were sent: limit=7 without params start and limit shows all; params start and limit select \
             others, start=5 the last; rows 1..1 of 2 shown"
        ),
        "{note}"
    );
    assert!(note.ends_with("beside the data: changes (202 bytes, fields=changes shows it)"), "{note}");
    assert_eq!(ask(json!({"fields": "total"})).unwrap().text, r#"{"total":7}"#);
    assert_eq!(parse_json(&ask(json!({"fields": "changes"})).unwrap().text)["changes"], diff.as_str());
    assert!(ask(json!({"fields": "nope"})).unwrap_err().to_string().contains("no row has the key"));
}

#[test]
fn a_list_over_the_cap_keeps_whole_rows_and_names_the_next() {
    let rows: Vec<_> = (0..350).map(|n| json!({"vmid": n, "name": format!("guest-{n}")})).collect();
    let (text, note) = render(json!({}), &json!(rows).to_string(), 1000).unwrap();
    let count = parse_json(&text).as_array().unwrap().len();
    assert!(text.len() <= 1000 && text.len() > 950, "{}", text.len());
    let expected = format!("rows 1..{count} of 350 shown (cut at 1000 bytes): offset={count} gives the next");
    assert_eq!(note, format!("{expected}; fields=… (name, vmid) makes rows smaller, filter=… leaves fewer"));
}

#[test]
fn an_object_over_the_cap_keeps_the_members_that_fit_and_names_the_others() {
    let data = json!({"a": "x".repeat(600), "code": 0, "err data": "y".repeat(700), "z": 1}).to_string();
    let (text, note) = render(json!({}), &data, 300).unwrap();
    assert_eq!(text, r#"{"code":0,"z":1}"#);
    assert_eq!(note, "left out for want of room: a (602 bytes), \"err data\" (702 bytes): fields=a gives one");
}

#[test]
fn a_text_over_the_cap_is_cut_between_lines_and_the_next_lines_can_be_had() {
    let log: String = (0..500).map(|n| format!("line {n}\n")).collect();
    let data = json!({"out-data": log, "exitcode": 0}).to_string();
    let (text, note) = render(json!({}), &data, 1000).unwrap();
    assert_eq!(text, r#"{"exitcode":0}"#);
    assert!(note.contains("fields=out-data gives one"), "{note}");
    let (text, note) = render(json!({"fields": "out-data"}), &data, 1000).unwrap();
    let part = parse_json(&text)["out-data"].as_str().unwrap().to_owned();
    let lines = part.lines().count();
    assert!(log.starts_with(&part) && part.ends_with('\n') && text.len() > 950, "{text}");
    assert!(note.contains(&format!("lines 1..{lines} of 500 shown, {} of {} bytes", part.len(), log.len())), "{note}");
    assert!(note.contains(&format!("fields=out-data offset={lines} gives the next")), "{note}");
    let (text, _) = render(json!({"fields": "out-data", "offset": lines, "limit": 1}), &data, 1000).unwrap();
    assert_eq!(parse_json(&text)["out-data"], format!("line {lines}\n"));
}

#[test]
fn a_row_over_the_cap_shows_what_fits_and_leads_to_the_rest() {
    let data = json!([{"n": 1, "log": "x".repeat(900)}, {"n": 2, "log": "y"}]).to_string();
    let (text, note) = render(json!({"sort": "-n", "offset": 1}), &data, 200).unwrap();
    assert_eq!(text, r#"[{"n":1}]"#);
    assert!(note.contains("without filter and sort") && note.contains("fields=0.log gives one"), "{note}");
    let (text, note) = render(json!({"fields": "log"}), &data, 200).unwrap();
    assert!(text.starts_with(r#"[{"log":"xxx"#) && text.len() == 200, "{text}");
    let from = 200 - r#"[{"log":""}]"#.len();
    assert!(note.contains(&format!("fields=0.log offset={from} gives the next")), "{note}");
    let (text, _) = render(json!({"fields": "0.log", "offset": from, "limit": 3}), &data, 200).unwrap();
    assert_eq!(text, r#"{"0.log":"xxx"}"#);
}

#[test]
fn deep_nesting_is_shown_as_text() {
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    let (text, note) = render(json!({}), &deep, 1000).unwrap();
    parse_json(&text);
    assert!(text.len() <= 1000 && note.contains("offset="), "{note}");
    let path = ["0"; json_path::MAX_DEPTH].join(".");
    let (text, _) = render(json!({"fields": path, "offset": 3, "limit": 4}), &deep, 1000).unwrap();
    assert_eq!(parse_json(&text)[&path], "[[[[");
    let (text, _) = render(json!({}), &"7".repeat(5000), 1000).unwrap();
    assert_eq!(parse_json(&text).as_str().unwrap().len(), 998);
}

#[test]
fn a_million_rows_are_counted() {
    let data = format!("[{}{{}}]", "{},".repeat(1_000_000));
    let (text, note) = render(json!({}), &data, 100).unwrap();
    assert!(text.len() <= 100 && note.contains("of 1000001 shown"), "{note}");
    assert!(render(json!({"format": "table"}), &data, 100).unwrap().0.len() <= 100);
    assert_eq!(render(json!({"format": "table"}), &data, 0).unwrap().0.len(), 100_001);
    let data = data.replace("{}", r#"{"a":1}"#);
    assert!(render(json!({"sort": "a"}), &data, 100).unwrap_err().contains("sort takes at most 100000 rows"));
}

#[test]
fn a_table_of_rows_with_different_keys_is_bounded() {
    let rows: Vec<_> = (0..20_000).map(|n| format!("{{\"k{n}\":1}}")).collect();
    let data = format!("[{}]", rows.join(","));
    let (text, note) = render(json!({"format": "table"}), &data, 0).unwrap();
    assert!(text.len() <= 2 * data.len() + (1 << 20) && note.contains("have no column"), "{note}");
    assert!(render(json!({"fields": "x"}), &data, 0).unwrap_err().len() < 1000);
}

/// Generates small answers of any shape.
fn any_answer() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        r#"[a-zé"\\]{0,40}"#.prop_map(Value::from),
        "([a-z\t]{0,12}\n){0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 80, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
            prop::collection::btree_map("[a-d.é]{1,3}", inner.clone(), 0..6)
                .prop_map(|m| Value::Object(m.into_iter().collect::<Map<_, _>>())),
            prop::collection::vec(prop::collection::btree_map("[a-d]", inner, 0..4), 0..12)
                .prop_map(|rows| json!(rows)),
        ]
    })
}

/// Returns the fields and the offset of the first pointer to a next part in a note.
fn parse_next_arguments(note: &str) -> Option<(Option<String>, usize)> {
    let lead = note.rsplit(": ").find(|part| part.contains(" gives the next"))?;
    let lead = lead.split(" gives the next").next()?;
    let (fields, offset) = lead.split_once("offset=")?;
    Some((fields.trim().strip_prefix("fields=").map(str::to_owned), offset.parse().ok()?))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_output_is_bounded_json(
        answer in any_answer(), cap in 60usize..400, fields in "([a-d0.]{0,3},?){0,3}", filter in "([a-d](=|~|>)[a-z0-9]{0,2})?",
        sort in "(-?[a-d])?", limit in prop::option::of(0u64..9), offset in 0u64..9, table in any::<bool>(),
    ) {
        let format = if table { "table" } else { "json" };
        let arguments = json!({"fields": fields, "filter": filter, "sort": sort, "limit": limit, "offset": offset, "format": format});
        if let Ok((text, note)) = render(arguments, &answer.to_string(), cap) {
            // The keys on the way to a part, and one line or character, are not counted.
            prop_assert!(text.len() <= cap + 100, "{} {cap} {text}", text.len());
            prop_assert!(note.len() < 2_000, "{note}");
            if !table {
                serde_json::from_str::<Value>(&text).unwrap();
            }
        }
    }

    #[test]
    fn the_pages_of_a_list_add_up_to_it(rows in prop::collection::vec("[a-zé\"]{0,20}", 0..60), cap in 60usize..200, table in any::<bool>()) {
        let data = json!(rows.iter().map(|r| json!({"k": r})).collect::<Vec<_>>()).to_string();
        let (mut all, mut offset) = (Vec::new(), 0);
        loop {
            let format = if table { "table" } else { "json" };
            let (text, note) = render(json!({"offset": offset, "format": format}), &data, cap).unwrap();
            match table {
                true => all.extend(text.lines().skip(1).map(|l| if l == "-" { String::new() } else { l.to_owned() })),
                false => all.extend(parse_json(&text).as_array().unwrap().iter().map(|r| r["k"].as_str().unwrap().to_owned())),
            }
            match parse_next_arguments(&note) {
                Some((None, next)) if next > offset => offset = next,
                other => { prop_assert!(other.is_none(), "{note}"); break }
            }
        }
        prop_assert_eq!(all, rows);
    }

    #[test]
    fn the_parts_of_a_text_add_up_to_it(text in "([a-zé\"\n\u{1b}]|[a-z]{9}){0,200}", cap in 60usize..300) {
        let data = json!({"a": {"out.put": text}}).to_string();
        let (mut all, mut offset) = (String::new(), 0);
        loop {
            let (page, note) = render(json!({"fields": "a.out.put", "offset": offset}), &data, cap).unwrap();
            prop_assert!(page.len() <= cap.max(100), "{page}");
            all.push_str(parse_json(&page)["a.out.put"].as_str().unwrap());
            match parse_next_arguments(&note) {
                Some((Some(path), next)) if next > offset && path == "a.out.put" => offset = next,
                other => { prop_assert!(other.is_none(), "{note}"); break }
            }
        }
        prop_assert_eq!(all, text);
    }

    #[test]
    fn every_leaf_of_an_answer_can_be_reached(answer in any_answer(), cap in 100usize..300) {
        let mut leaves = vec![(String::new(), answer.clone())];
        while let Some((path, value)) = leaves.pop() {
            let under = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
            match value {
                Value::Object(members) => leaves.extend(members.into_iter().map(|(k, v)| (under(&k), v))),
                Value::Array(items) => leaves.extend(items.into_iter().enumerate().map(|(n, v)| (under(&n.to_string()), v))),
                leaf if path.is_empty() => drop(leaf),
                leaf => {
                    // A generated key with dots may hide the value at the same path.
                    let data = answer.to_string();
                    let hidden = find(&data, &path, 1).is_none_or(|(raw, _)| parse_json(raw) != leaf);
                    let mut fields = String::new();
                    push_name(&mut fields, &path);
                    if !hidden {
                        let (text, note) = render(json!({"fields": fields}), &data, cap).unwrap();
                        let shown = parse_json(&text)[&path].clone();
                        match leaf {
                            Value::String(whole) => {
                                let part = shown.as_str().unwrap();
                                prop_assert!(whole.starts_with(part) && (part == whole) == parse_next_arguments(&note).is_none(), "{note}");
                            }
                            leaf => prop_assert_eq!(shown, leaf),
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn equal_cells_are_written_once_and_columns_of_little_use_are_named() {
    let row = |n: u64, node: &str, tag: &str| json!({"node": node, "n": n, "user": "a@pve", "tag": tag, "msg": format!("m{n}"), "pri": 6, "text": "a b"});
    let log = json!([row(1, "a", "x"), row(2, "b", "x"), row(3, "a", "x")]).to_string();
    let (text, note) = render_with_default_cap(json!({"format": "table"}), &log);
    let expected = "in each row: user a@pve, tag x\n\
                    n\tnode\tmsg\ttext\n1\ta\tm1\ta b\n2\tb\tm2\ta b\n3\ta\tm3\ta b\n";
    assert_eq!((text.as_str(), note.as_str()), (expected, "not shown: pri; all 3 rows"));
    let (text, _) = render_with_default_cap(json!({"format": "table", "sort": "-pri"}), &log);
    assert!(text.starts_with("in each row: user a@pve, pri 6, tag x\n"), "{text}");
    let (text, _) = render_with_default_cap(json!({"format": "table", "fields": "n,user,pri"}), &log);
    assert!(text.starts_with("n\tuser\tpri\n1\ta@pve\t6\n"), "{text}");
    // Two rows are short enough. A row without the value, or one that is no object, keeps the column.
    for rows in [json!([{"a": 1}, {"a": 1}]), json!([{"a": 1}, {"a": 1}, {"b": 2}]), json!([{"a": 1}, {"a": 1}, 5])] {
        let (text, _) = render_with_default_cap(json!({"format": "table"}), &rows.to_string());
        assert!(text.starts_with('a'), "{text}");
    }
    // A table is never without a column.
    let (text, _) = render_with_default_cap(json!({"format": "table"}), r#"[{"a":1},{"a":1},{"a":1}]"#);
    assert_eq!(text, "a\n1\n1\n1\n");
}

#[test]
fn a_long_list_of_tasks_has_the_upids_of_those_that_did_not_end_well() {
    let task = |n: u64| {
        let status = if n.is_multiple_of(5) { "job errors" } else { "OK" };
        json!({"upid": format!("UPID:pve1:{n}:"), "id": n, "starttime": n, "status": status})
    };
    let tasks = |count: u64| Value::from((1..=count).map(task).collect::<Vec<_>>()).to_string();
    let (text, note) = render_with_default_cap(json!({"format": "table"}), &tasks(11));
    assert!(text.contains("\n4\tOK\t4\t…\n5\tjob errors\t5\tUPID:pve1:5:\n"), "{text}");
    assert!(note.starts_with("upid … for status OK"), "{note}");
    for (arguments, count) in [
        (json!({"format": "table"}), 10),
        (json!({"format": "table", "fields": "upid,status"}), 11),
        (json!({"format": "table", "filter": "upid~pve1"}), 11),
    ] {
        let (text, note) = render_with_default_cap(arguments, &tasks(count));
        assert!(text.contains("UPID:pve1:4:") && !note.contains('…'), "{text}{note}");
    }
}
