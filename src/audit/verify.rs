//! Whether the lines of a file are still those that were written, read once and in bounded memory.

use super::chain::{LONGEST, Stored, ZEROS, begins_as_record, hex};
use ring::digest::{Context, SHA256, digest};
use std::fmt;
use std::io::{self, BufRead, ErrorKind};

/// How many findings are told of, of each kind.
const SHOWN: usize = 20;

/// What was found in a file.
#[derive(Debug, Default)]
pub struct Report {
    /// Whole records.
    pub records: u64,
    /// The time of the first one and that of the last, as they stand there.
    pub times: Option<(String, String)>,
    /// The hash of the last one: 64 hex digits.
    pub hash: Option<String>,
    /// What is not as it was written.
    pub problems: Findings,
    /// What is not as it should be, and yet no sign that somebody touched it.
    pub warnings: Findings,
}

/// Sentences, each with the number of a line.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first 20.
    pub shown: Vec<String>,
    /// How many there are in all.
    pub count: u64,
}

impl Findings {
    fn add(&mut self, text: fmt::Arguments<'_>) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(text.to_string());
        }
    }
}

/// Looks at all lines. `expect`: a hash that one of them must have, in lower case. Errors: it can't be read to its end.
pub fn verify(reader: &mut dyn BufRead, expect: Option<&str>) -> io::Result<Report> {
    let mut state = State { expect, due: 1, ..State::default() };
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut ended = read_piece(reader, &mut line)?;
        if line.is_empty() && !ended {
            break;
        }
        state.line += 1;
        if let Some(record) = Stored::of(&line) {
            state.record(&record, &line);
            continue;
        }
        state.torn(&line);
        // What is longer than a record can be goes by in pieces.
        while !ended {
            line.clear();
            ended = read_piece(reader, &mut line)?;
            if line.is_empty() {
                break;
            }
            state.hash_on(&line);
        }
        state.torn.ended = ended;
    }
    Ok(state.end())
}

/// What is known after some lines.
#[derive(Default)]
struct State<'a> {
    report: Report,
    /// The number of the line.
    line: u64,
    /// The number that the next record must have.
    due: u64,
    /// What makes the hash that the next record must hold; `None` at the beginning of the file.
    since: Option<Context>,
    torn: Torn,
    /// The hash that no line had yet.
    expect: Option<&'a str>,
}

/// The lines since the last record, which are none.
#[derive(Default)]
struct Torn {
    count: u64,
    /// Whether one can't be what a crash left.
    odd: bool,
    /// Whether the last of them has its newline.
    ended: bool,
}

impl State<'_> {
    fn record(&mut self, record: &Stored<'_>, line: &[u8]) {
        let follows = match self.since.take() {
            Some(since) => record.prev == hex(since.finish()),
            None => record.prev == ZEROS,
        };
        let torn = std::mem::take(&mut self.torn).count;
        let (n, before, seq, due) = (self.line, self.line.saturating_sub(1), record.seq, self.due.saturating_add(torn));
        let first_torn = n.saturating_sub(torn);
        let problems = &mut self.report.problems;
        if follows && seq == due {
            self.report.cut_off(first_torn, torn);
        } else if n == 1 && seq > 1 {
            problems.add(format_args!("line 1 has the number {seq}: the lines before it are missing"));
        } else if n == 1 {
            problems
                .add(format_args!("line 1 does not begin a chain: it was changed, or is not the first one written"));
        } else if torn > 0 && !follows {
            problems.add(format_args!(
                "line {first_torn} is no record, and line {n} does not follow from it: it was changed or put in"
            ));
        } else if seq > due {
            let missing = seq - due;
            problems.add(format_args!(
                "line {n} has the number {seq} where {due} is due: {missing} missing after line {before}, or it was changed"
            ));
        } else if seq < due {
            problems.add(format_args!(
                "line {n} has the number {seq} where {due} is due: it is out of order, was put in or changed"
            ));
        } else {
            problems.add(format_args!("line {n} does not follow from line {before}: one of the two was changed"));
        }
        self.due = seq.saturating_add(1);
        self.hash_on(line);
        let hash = hex(digest(&SHA256, line));
        self.expect = self.expect.filter(|expected| *expected != hash);
        let report = &mut self.report;
        report.records += 1;
        report.hash = Some(hash);
        match &mut report.times {
            Some((_, last)) => record.time.clone_into(last),
            None => report.times = Some((record.time.to_owned(), record.time.to_owned())),
        }
    }

    /// A line that is no record. It goes into the hash of the next one.
    fn torn(&mut self, line: &[u8]) {
        self.torn.count += 1;
        self.torn.odd |= !begins_as_record(line) && line.iter().any(|b| *b != 0);
        if self.since.is_some() {
            self.hash_on(b"\n");
        }
        self.hash_on(line);
    }

    fn hash_on(&mut self, bytes: &[u8]) {
        self.since.get_or_insert_with(|| Context::new(&SHA256)).update(bytes);
    }

    fn end(mut self) -> Report {
        let Torn { count, odd, ended } = self.torn;
        let first = self.line.saturating_sub(count).saturating_add(1);
        if odd || ended {
            self.report.problems.add(format_args!("line {first} is no record: it was changed or put in"));
        } else {
            self.report.cut_off(first, count);
        }
        if let Some(hash) = self.expect {
            self.report.problems.add(format_args!(
                "no line has the hash {hash}: the end was cut off, or the line was changed, or it is another file"
            ));
        }
        self.report
    }
}

impl Report {
    fn cut_off(&mut self, first: u64, count: u64) {
        for line in first..first.saturating_add(count) {
            self.warnings.add(format_args!("line {line} was cut off (a crash or a full disk), the chain goes on"));
        }
    }
}

/// Adds to `line` up to the next newline, which is passed and left out, or [`LONGEST`] bytes. Whether that newline came.
fn read_piece(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let room = LONGEST - line.len();
        let newline = bytes.iter().take(room).position(|b| *b == b'\n');
        let taken = newline.unwrap_or(bytes.len().min(room));
        line.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        reader.consume(taken + usize::from(newline.is_some()));
        if newline.is_some() || taken == 0 {
            return Ok(newline.is_some());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::Chain;
    use super::*;

    const TIME: &str = "2026-08-01T12:00:00.123Z";

    fn log(lines: usize) -> Vec<String> {
        let mut chain = Chain::new();
        let line = |place| {
            let line = chain.line(TIME, &format!(",\"id\":\"{place}\""));
            chain = chain.next(&line);
            line
        };
        (0..lines).map(line).collect()
    }

    fn look(lines: &[impl AsRef<[u8]>]) -> Report {
        let bytes = lines.iter().flat_map(|line| line.as_ref().iter().copied()).collect::<Vec<_>>();
        // A small buffer, so that lines come in pieces.
        verify(&mut io::BufReader::with_capacity(7, bytes.as_slice()), None).unwrap()
    }

    fn only(report: &Report) -> &str {
        assert_eq!((report.problems.count, report.warnings.count), (1, 0), "{report:?}");
        &report.problems.shown[0]
    }

    #[test]
    fn a_clock_that_is_set_back_breaks_no_chain() {
        let (mut chain, mut lines) = (Chain::new(), Vec::new());
        let times = [TIME, "2038-01-19T03:14:08.000Z", "1970-01-01T00:00:00.000Z", TIME];
        for time in times {
            lines.push(chain.line(time, ",\"id\":\"a\""));
            chain = chain.next(&lines[lines.len() - 1]);
        }
        let report = look(&lines);
        assert_eq!((report.records, report.problems.count, report.warnings.count), (4, 0, 0));
        // It goes on from there, too.
        assert_eq!(Chain::after(lines[2].as_bytes(), false).map(|chain| chain.seq), Some(3));
    }

    #[test]
    fn what_was_written_is_whole() {
        let lines = log(3);
        let report = look(&lines);
        assert_eq!((report.records, report.problems.count, report.warnings.count), (3, 0, 0));
        assert_eq!(report.times, Some((TIME.into(), TIME.into())));
        assert_eq!(report.hash, Some(hex(digest(&SHA256, lines[2].trim_end().as_bytes()))));
        let nothing = look(&[""]);
        assert_eq!((nothing.records, nothing.problems.count, nothing.hash), (0, 0, None));
    }

    #[test]
    fn each_wrong_is_named_with_its_line() {
        let lines = log(6);
        let [a, b, c, d, e, f] = lines.iter().map(String::as_str).collect::<Vec<_>>()[..] else { panic!() };
        let changed = b.replace("\"id\":\"1\"", "\"id\":\"7\"");
        let junk = b.replace("\"id\"", "id");
        for (lines, told) in [
            (vec![a, &changed, c, d], "line 3 does not follow from line 2: one of the two was changed"),
            (vec![a, &junk, c, d], "line 2 is no record, and line 3 does not follow from it: it was changed or put in"),
            (vec![a, b, "x\n", c], "line 3 is no record, and line 4 does not follow from it: it was changed or put in"),
            (vec![a, d, e], "line 2 has the number 4 where 2 is due: 2 missing after line 1, or it was changed"),
            (vec![a, b, b, c], "line 3 has the number 2 where 3 is due: it is out of order, was put in or changed"),
            (vec![c, d], "line 1 has the number 3: the lines before it are missing"),
            (vec![a, b, "x"], "line 3 is no record: it was changed or put in"),
            (vec![a, b, "{\"seq\":3\n"], "line 3 is no record: it was changed or put in"),
        ] {
            assert_eq!(only(&look(&lines)), told);
        }
        let other = a.replace(ZEROS, &"1".repeat(64));
        assert_eq!(
            look(&[&other, b]).problems.shown[0],
            "line 1 does not begin a chain: it was changed, or is not the first one written"
        );
        assert_eq!(look(&[a, c, b, d, e, f]).problems.count, 3);
    }

    #[test]
    fn a_torn_line_that_was_gone_on_from_is_no_problem() {
        for (before, torn) in [(0, "{\"seq\":1,\"t"), (2, "{\"se"), (2, "\0\0"), (2, "{\"seq\":3\n{"), (1, "")] {
            let mut text = log(before).concat() + torn;
            let lines = torn.split('\n').count() as u64;
            if !torn.is_empty() {
                let early = look(&[&text]);
                assert_eq!((early.problems.count, early.warnings.count), (0, lines), "{torn}");
            } else {
                text.push('\n');
            }
            let mut chain = Chain::after(text.as_bytes(), true).unwrap();
            for _ in 0..2 {
                let line = chain.line(TIME, "");
                chain = chain.next(&line);
                text += &line;
            }
            let report = look(&[&text]);
            assert_eq!((report.problems.count, report.warnings.count), (0, lines), "{torn} {report:?}");
            assert!(report.warnings.shown[0].ends_with("was cut off (a crash or a full disk), the chain goes on"));
            // The record before it is hashed with it.
            let report = look(&[text.replacen("\"id\":\"0\"", "\"id\":\"8\"", 1)]);
            assert_eq!(report.problems.count, u64::from(before > 0), "{torn} {report:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let lines = log(2);
        let long = "x".repeat(3 * LONGEST);
        for long in [&long, &long[..LONGEST], &long[..LONGEST + 1], &long[..LONGEST - 1]] {
            let told = look(&[&lines[0], long, "\n", &lines[1]]);
            assert!(only(&told).starts_with("line 2 is no record"));
            assert_eq!(only(&look(&[&lines[0], long])), "line 2 is no record: it was changed or put in");
        }
    }

    #[test]
    fn the_first_twenty_are_told_of() {
        let lines = log(100);
        let report = look(&lines.iter().step_by(2).collect::<Vec<_>>());
        assert_eq!((report.problems.count, report.problems.shown.len()), (49, 20));
    }

    #[test]
    fn a_hash_kept_elsewhere_shows_that_the_end_is_gone() {
        let lines = log(3);
        let look = |count: usize, hash: &str| {
            let text = lines[..count].concat();
            verify(&mut text.as_bytes(), Some(hash)).unwrap().problems
        };
        let second = hex(digest(&SHA256, lines[1].trim_end().as_bytes()));
        assert_eq!((look(3, &second).count, look(2, &second).count), (0, 0));
        assert!(look(1, &second).shown[0].starts_with(&format!("no line has the hash {second}: the end was cut off")));
    }
}
