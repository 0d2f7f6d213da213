//! The search for operations: the words of an administrator find the right one among the first five.

use proxmox_mcp::pve::schema::{Operation, Schema, embedded_schema};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The word for an operation that the API does not have. The search answers with a sentence.
const NONE: &str = "none";

/// Counts a file's questions with an accepted operation first, among the first three and among the first five. Returns
/// these counts, the number of questions, and the questions without one.
fn count_answered(file: &str) -> ([usize; 3], usize, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/search").join(file);
    let text = fs::read_to_string(path).expect("the file of questions");
    let (mut hits, mut missed) = ([0; 3], String::new());
    for line in text.lines() {
        let (question, accepted) = line.split_once('\t').expect("a question, a tab, operations");
        let accepted: Vec<&str> = accepted.split('|').collect();
        for operation in accepted.iter().filter(|operation| **operation != NONE) {
            assert!(
                embedded_schema().operations().any(|o| *operation == format!("{} {}", o.method(), o.template())),
                "{operation}"
            );
        }
        let found = embedded_schema().search_groups(question, 5);
        let name_group = |group: &Vec<Operation<'_>>| {
            group.iter().map(|o| format!("{} {}", o.method(), o.template())).collect::<Vec<_>>()
        };
        let names: Vec<Vec<String>> = found.iter().map(name_group).collect();
        let note = || Schema::find_search_note(question).filter(|_| accepted.contains(&NONE)).map(|_| 0);
        let place =
            names.iter().position(|group| group.iter().any(|name| accepted.contains(&name.as_str()))).or_else(note);
        for (hits, within) in hits.iter_mut().zip([1, 3, 5]) {
            *hits += usize::from(place.is_some_and(|place| place < within));
        }
        if place.is_none() {
            let lines: Vec<String> = names.iter().map(|group| group.join(", ")).collect();
            writeln!(missed, "{question}: wanted {}, found\n    {}", accepted.join(", "), lines.join("\n    "))
                .unwrap();
        }
    }
    let all = text.lines().count();
    println!("{file}: {all} questions, first {}, within three {}, within five {}", hits[0], hits[1], hits[2]);
    (hits, all, missed)
}

#[test]
fn search_finds_95_percent_of_questions_within_five() {
    let ([.., five], all, missed) = count_answered("questions.tsv");
    println!("{missed}");
    assert!(five * 100 >= all * 95, "{five} of {all}");
}

/// These questions were held out while the weights and words were chosen. In their first run, 37 of the first 40 and 44
/// of the next 50 were answered within five. After tuning with them, new questions are needed.
#[test]
fn search_finds_90_percent_of_held_out_questions_within_five() {
    let ([.., five], all, missed) = count_answered("held-out.tsv");
    println!("{missed}");
    assert!(five * 10 >= all * 9, "{five} of {all}");
}

#[test]
fn search_finds_95_percent_of_what_users_say_within_five() {
    let ([.., five], all, missed) = count_answered("users-tuning.tsv");
    println!("{missed}");
    assert!(five * 100 >= all * 95, "{five} of {all}");
}

#[test]
fn search_says_that_the_api_has_none_only_where_it_has_none() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/search/questions.tsv");
    let text = fs::read_to_string(path).expect("the file of questions");
    let questions = text.lines().map(|line| line.split_once('\t').expect("a question, a tab, operations").0);
    let with_note: Vec<&str> = questions.filter(|question| Schema::find_search_note(question).is_some()).collect();
    assert_eq!(
        with_note,
        [
            "run apt update",
            "shell on the node",
            "shrink disk",
            "upgrade the node",
            "install updates on node",
            "run command in container",
            "who logged in yesterday",
            "logins of alice last week, successful ones",
            "which volumes are not used by any guest",
            "is the firewall in effect for a vm"
        ]
    );
}

/// These questions were held out, one file after the other, while topics, words and phrasings were chosen. After the
/// first run of a file, the data was extended for its kinds too. `docs/dev/evals.md` has the first runs.
#[test]
fn search_finds_95_percent_of_once_held_out_words_of_users_within_five() {
    let files = [
        "users-held-out",
        "users-second",
        "users-third",
        "users-fourth",
        "users-fifth",
        "users-sixth",
        "users-seventh",
        "users-eighth",
        "users-ninth",
        "users-thirteenth",
    ];
    let counts = files.map(|file| count_answered(&format!("{file}.tsv")));
    for (file, ([.., five], all, missed)) in files.iter().zip(counts) {
        println!("{missed}");
        assert!(five * 100 >= all * 95, "{file}: {five} of {all}");
    }
}

/// No data was chosen with these files before their first runs, which count. Words for the kinds of the first three were
/// added after their runs. After tuning with them, new questions are needed.
#[test]
fn search_finds_90_percent_of_held_out_words_of_users_within_five() {
    for file in ["users-tenth.tsv", "users-eleventh.tsv", "users-twelfth.tsv", "users-fourteenth.tsv"] {
        let ([.., five], all, missed) = count_answered(file);
        println!("{missed}");
        assert!(five * 10 >= all * 9, "{file}: {five} of {all}");
    }
}

#[test]
fn search_shows_what_works_on_vms_and_containers_in_one_place() {
    let groups = |query: &str| {
        let name = |o: &Operation<'_>| format!("{} {}", o.method(), o.template());
        let found = embedded_schema().search_groups(query, 3);
        found.iter().map(|group| group.iter().map(name).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    let snapshot = ["POST /nodes/{node}/qemu/{vmid}/snapshot", "POST /nodes/{node}/lxc/{vmid}/snapshot"];
    assert_eq!(groups("take a snapshot of a vm")[0], snapshot);
    assert_eq!(groups("take a snapshot of a container")[0], [snapshot[1], snapshot[0]]);
    // The disk of a container is a volume, with a parameter of another name.
    assert_eq!(groups("POST /nodes/{node}/qemu/{vmid}/move_disk")[0], ["POST /nodes/{node}/qemu/{vmid}/move_disk"]);
}

#[test]
fn search_puts_reads_first_for_what_only_asks() {
    let methods = |query: &str| {
        let found = embedded_schema().search_groups(query, 6);
        found.iter().map(|group| format!("{} {}", group[0].method(), group[0].template())).collect::<Vec<_>>()
    };
    for question in ["which volumes are not used by any guest", "is the firewall in effect for a vm"] {
        let found = methods(question);
        let reads = found.iter().take_while(|name| name.starts_with("GET ")).count();
        assert!(reads >= 3 && found[reads..].iter().all(|name| !name.starts_with("GET ")), "{question}: {found:?}");
    }
    assert_eq!(
        methods("boot order of guests at node start, onboot, startup")[0],
        "GET /nodes/{node}/qemu/{vmid}/config"
    );
    assert_eq!(methods("set the boot order of a vm")[0], "PUT /nodes/{node}/qemu/{vmid}/config");
}

#[test]
fn search_knows_mistyped_words_and_commands() {
    for (query, expected) in [
        ("increse the harddisk of the fileserver from 500gb to 1tb", "PUT /nodes/{node}/qemu/{vmid}/resize"),
        ("qm list", "GET /nodes/{node}/qemu"),
        ("pvecm status", "GET /cluster/status"),
        ("lsusb", "GET /nodes/{node}/hardware/usb"),
        ("after the update the vm hangs, how do I kill it", "POST /nodes/{node}/qemu/{vmid}/status/stop"),
    ] {
        let found = embedded_schema().search_groups(query, 5);
        let names: Vec<String> = found.iter().flatten().map(|o| format!("{} {}", o.method(), o.template())).collect();
        assert!(names.iter().any(|name| name == expected), "{query}: {names:?}");
    }
}
