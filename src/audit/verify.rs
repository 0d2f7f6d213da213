//! Whether the lines of a file are still those that were written, read once and in bounded memory.

use super::chain::{MAX_LINE_BYTES, StoredLine, ZERO_HASH, may_begin_record, to_hex};
use ring::digest::{Context, SHA256, digest};
use std::fmt;
use std::io::{self, BufRead, ErrorKind};

/// How many findings are told of, of each kind.
const MAX_MESSAGES: usize = 20;

/// What was found in a file.
#[derive(Debug, Default)]
pub struct VerificationReport {
    /// Whole records.
    pub record_count: u64,
    /// The time of the first one and that of the last, as they stand there.
    pub time_range: Option<(String, String)>,
    /// The hash of the last one: 64 hex digits.
    pub last_hash: Option<String>,
    /// What is not as it was written.
    pub problems: Findings,
    /// What is not as it should be, and yet no sign that somebody touched it.
    pub warnings: Findings,
}

/// Sentences, each with the number of a line.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first 20.
    pub messages: Vec<String>,
    /// How many there are in all.
    pub count: u64,
}

impl Findings {
    fn add(&mut self, text: fmt::Arguments<'_>) {
        self.count += 1;
        if self.messages.len() < MAX_MESSAGES {
            self.messages.push(text.to_string());
        }
    }
}

/// Looks at all lines. `expect`: a hash that one of them must have, in lower case. Errors: it can't be read to its end.
pub fn verify(reader: &mut dyn BufRead, wanted_hash: Option<&str>) -> io::Result<VerificationReport> {
    let mut state = VerifierState { wanted_hash, expected_seq: 1, ..VerifierState::default() };
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut ended = read_piece(reader, &mut line)?;
        if line.is_empty() && !ended {
            break;
        }
        state.line += 1;
        if let Some(record) = StoredLine::parse(&line) {
            state.add_record(&record, &line);
            continue;
        }
        state.add_torn_line(&line);
        // What is longer than a record can be goes by in pieces.
        while !ended {
            line.clear();
            ended = read_piece(reader, &mut line)?;
            if line.is_empty() {
                break;
            }
            state.update_hash(&line);
        }
        state.torn.has_newline = ended;
    }
    Ok(state.finish())
}

/// What is known after some lines.
#[derive(Default)]
struct VerifierState<'a> {
    report: VerificationReport,
    /// The number of the line.
    line: u64,
    /// The number that the next record must have.
    expected_seq: u64,
    /// What makes the hash that the next record must hold; `None` at the beginning of the file.
    hash_input: Option<Context>,
    torn: TornTail,
    /// The hash that no line had yet.
    wanted_hash: Option<&'a str>,
}

/// The lines since the last record, which are none.
#[derive(Default)]
struct TornTail {
    count: u64,
    /// Whether one can't be what a crash left.
    not_from_crash: bool,
    /// Whether the last of them has its newline.
    has_newline: bool,
}

impl VerifierState<'_> {
    fn add_record(&mut self, record: &StoredLine<'_>, line: &[u8]) {
        let follows = match self.hash_input.take() {
            Some(since) => record.prev_hash == to_hex(since.finish()),
            None => record.prev_hash == ZERO_HASH,
        };
        let torn = std::mem::take(&mut self.torn).count;
        let (n, before, seq, due) =
            (self.line, self.line.saturating_sub(1), record.seq, self.expected_seq.saturating_add(torn));
        let first_torn = n.saturating_sub(torn);
        let problems = &mut self.report.problems;
        if follows && seq == due {
            self.report.warn_cut_off(first_torn, torn);
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
        self.expected_seq = seq.saturating_add(1);
        self.update_hash(line);
        let hash = to_hex(digest(&SHA256, line));
        self.wanted_hash = self.wanted_hash.filter(|expected| *expected != hash);
        let report = &mut self.report;
        report.record_count += 1;
        report.last_hash = Some(hash);
        match &mut report.time_range {
            Some((_, last)) => record.time.clone_into(last),
            None => report.time_range = Some((record.time.to_owned(), record.time.to_owned())),
        }
    }

    /// A line that is no record. It goes into the hash of the next one.
    fn add_torn_line(&mut self, line: &[u8]) {
        self.torn.count += 1;
        self.torn.not_from_crash |= !may_begin_record(line) && line.iter().any(|b| *b != 0);
        if self.hash_input.is_some() {
            self.update_hash(b"\n");
        }
        self.update_hash(line);
    }

    fn update_hash(&mut self, bytes: &[u8]) {
        self.hash_input.get_or_insert_with(|| Context::new(&SHA256)).update(bytes);
    }

    fn finish(mut self) -> VerificationReport {
        let TornTail { count, not_from_crash: odd, has_newline: ended } = self.torn;
        let first = self.line.saturating_sub(count).saturating_add(1);
        if odd || ended {
            self.report.problems.add(format_args!("line {first} is no record: it was changed or put in"));
        } else {
            self.report.warn_cut_off(first, count);
        }
        if let Some(hash) = self.wanted_hash {
            self.report.problems.add(format_args!(
                "no line has the hash {hash}: the end was cut off, or the line was changed, or it is another file"
            ));
        }
        self.report
    }
}

impl VerificationReport {
    fn warn_cut_off(&mut self, first: u64, count: u64) {
        for line in first..first.saturating_add(count) {
            self.warnings.add(format_args!("line {line} was cut off (a crash or a full disk), the chain goes on"));
        }
    }
}

/// Adds to `line` up to the next newline, which is passed and left out, or [`MAX_LINE_BYTES`] bytes. Whether that newline came.
fn read_piece(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let room = MAX_LINE_BYTES - line.len();
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
    use super::super::chain::HashChain;
    use super::*;

    const TIME: &str = "2026-08-01T12:00:00.123Z";

    fn write_log(lines: usize) -> Vec<String> {
        let mut chain = HashChain::new();
        let line = |place| {
            let line = chain.format_line(TIME, &format!(",\"id\":\"{place}\""));
            chain = chain.advance(&line);
            line
        };
        (0..lines).map(line).collect()
    }

    fn verify_lines(lines: &[impl AsRef<[u8]>]) -> VerificationReport {
        let bytes = lines.iter().flat_map(|line| line.as_ref().iter().copied()).collect::<Vec<_>>();
        // A small buffer, so that lines come in pieces.
        verify(&mut io::BufReader::with_capacity(7, bytes.as_slice()), None).unwrap()
    }

    fn only_finding(report: &VerificationReport) -> &str {
        assert_eq!((report.problems.count, report.warnings.count), (1, 0), "{report:?}");
        &report.problems.messages[0]
    }

    #[test]
    fn a_clock_that_is_set_back_breaks_no_chain() {
        let (mut chain, mut lines) = (HashChain::new(), Vec::new());
        let times = [TIME, "2038-01-19T03:14:08.000Z", "1970-01-01T00:00:00.000Z", TIME];
        for time in times {
            lines.push(chain.format_line(time, ",\"id\":\"a\""));
            chain = chain.advance(&lines[lines.len() - 1]);
        }
        let report = verify_lines(&lines);
        assert_eq!((report.record_count, report.problems.count, report.warnings.count), (4, 0, 0));
        // It goes on from there, too.
        assert_eq!(HashChain::from_tail(lines[2].as_bytes(), false).map(|chain| chain.seq), Some(3));
    }

    #[test]
    fn what_was_written_is_whole() {
        let lines = write_log(3);
        let report = verify_lines(&lines);
        assert_eq!((report.record_count, report.problems.count, report.warnings.count), (3, 0, 0));
        assert_eq!(report.time_range, Some((TIME.into(), TIME.into())));
        assert_eq!(report.last_hash, Some(to_hex(digest(&SHA256, lines[2].trim_end().as_bytes()))));
        let nothing = verify_lines(&[""]);
        assert_eq!((nothing.record_count, nothing.problems.count, nothing.last_hash), (0, 0, None));
    }

    #[test]
    fn each_wrong_is_named_with_its_line() {
        let lines = write_log(6);
        let [a, b, c, d, e, f] = lines.iter().map(String::as_str).collect::<Vec<_>>()[..] else { panic!() };
        let changed = b.replace("\"id\":\"1\"", "\"id\":\"7\"");
        let junk = b.replace("\"id\"", "id");
        for (lines, expected) in [
            (vec![a, &changed, c, d], "line 3 does not follow from line 2: one of the two was changed"),
            (vec![a, &junk, c, d], "line 2 is no record, and line 3 does not follow from it: it was changed or put in"),
            (vec![a, b, "x\n", c], "line 3 is no record, and line 4 does not follow from it: it was changed or put in"),
            (vec![a, d, e], "line 2 has the number 4 where 2 is due: 2 missing after line 1, or it was changed"),
            (vec![a, b, b, c], "line 3 has the number 2 where 3 is due: it is out of order, was put in or changed"),
            (vec![c, d], "line 1 has the number 3: the lines before it are missing"),
            (vec![a, b, "x"], "line 3 is no record: it was changed or put in"),
            (vec![a, b, "{\"seq\":3\n"], "line 3 is no record: it was changed or put in"),
        ] {
            assert_eq!(only_finding(&verify_lines(&lines)), expected);
        }
        let other = a.replace(ZERO_HASH, &"1".repeat(64));
        assert_eq!(
            verify_lines(&[&other, b]).problems.messages[0],
            "line 1 does not begin a chain: it was changed, or is not the first one written"
        );
        assert_eq!(verify_lines(&[a, c, b, d, e, f]).problems.count, 3);
    }

    #[test]
    fn a_torn_line_that_was_continued_from_is_a_warning() {
        for (before, torn) in [(0, "{\"seq\":1,\"t"), (2, "{\"se"), (2, "\0\0"), (2, "{\"seq\":3\n{"), (1, "")] {
            let mut text = write_log(before).concat() + torn;
            let lines = torn.split('\n').count() as u64;
            if !torn.is_empty() {
                let early = verify_lines(&[&text]);
                assert_eq!((early.problems.count, early.warnings.count), (0, lines), "{torn}");
            } else {
                text.push('\n');
            }
            let mut chain = HashChain::from_tail(text.as_bytes(), true).unwrap();
            for _ in 0..2 {
                let line = chain.format_line(TIME, "");
                chain = chain.advance(&line);
                text += &line;
            }
            let report = verify_lines(&[&text]);
            assert_eq!((report.problems.count, report.warnings.count), (0, lines), "{torn} {report:?}");
            assert!(report.warnings.messages[0].ends_with("was cut off (a crash or a full disk), the chain goes on"));
            // The record before it is hashed with it.
            let report = verify_lines(&[text.replacen("\"id\":\"0\"", "\"id\":\"8\"", 1)]);
            assert_eq!(report.problems.count, u64::from(before > 0), "{torn} {report:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_held() {
        let lines = write_log(2);
        let long = "x".repeat(3 * MAX_LINE_BYTES);
        for long in [&long, &long[..MAX_LINE_BYTES], &long[..MAX_LINE_BYTES + 1], &long[..MAX_LINE_BYTES - 1]] {
            let report = verify_lines(&[&lines[0], long, "\n", &lines[1]]);
            assert!(only_finding(&report).starts_with("line 2 is no record"));
            assert_eq!(
                only_finding(&verify_lines(&[&lines[0], long])),
                "line 2 is no record: it was changed or put in"
            );
        }
    }

    #[test]
    fn the_first_twenty_problems_are_listed() {
        let lines = write_log(100);
        let report = verify_lines(&lines.iter().step_by(2).collect::<Vec<_>>());
        assert_eq!((report.problems.count, report.problems.messages.len()), (49, 20));
    }

    #[test]
    fn a_hash_kept_elsewhere_shows_that_the_end_is_gone() {
        let lines = write_log(3);
        let problems_of_first = |count: usize, hash: &str| {
            let text = lines[..count].concat();
            verify(&mut text.as_bytes(), Some(hash)).unwrap().problems
        };
        let second = to_hex(digest(&SHA256, lines[1].trim_end().as_bytes()));
        assert_eq!((problems_of_first(3, &second).count, problems_of_first(2, &second).count), (0, 0));
        assert!(
            problems_of_first(1, &second).messages[0]
                .starts_with(&format!("no line has the hash {second}: the end was cut off"))
        );
    }
}
