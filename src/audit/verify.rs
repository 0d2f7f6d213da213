//! Verification of the lines of a file, in one pass and with bounded memory.

use super::chain::{MAX_LINE_BYTES, StoredLine, ZERO_HASH, may_begin_record, to_hex};
use ring::digest::{Context, SHA256, digest};
use std::fmt;
use std::io::{self, BufRead, ErrorKind};

/// The number of findings of each kind that are listed.
const MAX_MESSAGES: usize = 20;

#[derive(Debug, Default)]
pub struct VerificationReport {
    /// The number of complete records.
    pub record_count: u64,
    /// The times of the first and the last record.
    pub time_range: Option<(String, String)>,
    /// The hash of the last record, 64 hex digits.
    pub last_hash: Option<String>,
    /// Signs of tampering.
    pub problems: Findings,
    /// Defects that are not a sign of tampering.
    pub warnings: Findings,
}

/// Findings as sentences with line numbers.
#[derive(Debug, Default)]
pub struct Findings {
    /// The first 20 findings.
    pub messages: Vec<String>,
    /// The number of all findings.
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

/// Verifies all lines. If `wanted_hash` is given, in lower case, one of the lines must have this hash. Returns an error
/// if reading fails.
pub fn verify(reader: &mut dyn BufRead, wanted_hash: Option<&str>) -> io::Result<VerificationReport> {
    let mut state = VerifierState { wanted_hash, expected_seq: 1, ..VerifierState::default() };
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut has_newline = read_piece(reader, &mut line)?;
        if line.is_empty() && !has_newline {
            break;
        }
        state.line += 1;
        if let Some(record) = StoredLine::parse(&line) {
            state.add_record(&record, &line);
            continue;
        }
        state.add_torn_line(&line);
        // A line that is longer than any record is read in pieces.
        while !has_newline {
            line.clear();
            has_newline = read_piece(reader, &mut line)?;
            if line.is_empty() {
                break;
            }
            state.update_hash(&line);
        }
        state.torn.has_newline = has_newline;
    }
    Ok(state.finish())
}

/// The state after some lines.
#[derive(Default)]
struct VerifierState<'a> {
    report: VerificationReport,
    /// The number of the line.
    line: u64,
    /// The number that the next record must have.
    expected_seq: u64,
    /// The hash that the next record must hold, in progress. `None` at the beginning of the file.
    hash_input: Option<Context>,
    torn: TornTail,
    /// The hash that no line had so far.
    wanted_hash: Option<&'a str>,
}

/// The lines since the last complete record.
#[derive(Default)]
struct TornTail {
    count: u64,
    /// A crash cannot have left one of them.
    not_from_crash: bool,
    /// The last of them has its newline.
    has_newline: bool,
}

impl VerifierState<'_> {
    fn add_record(&mut self, record: &StoredLine<'_>, line: &[u8]) {
        let follows = match self.hash_input.take() {
            Some(since) => record.prev_hash == to_hex(since.finish()),
            None => record.prev_hash == ZERO_HASH,
        };
        let torn = std::mem::take(&mut self.torn).count;
        let (n, before) = (self.line, self.line.saturating_sub(1));
        let (seq, expected) = (record.seq, self.expected_seq.saturating_add(torn));
        let first_torn = n.saturating_sub(torn);
        let problems = &mut self.report.problems;
        if follows && seq == expected {
            self.report.warn_cut_off(first_torn, torn);
        } else if n == 1 && seq > 1 {
            problems.add(format_args!("line 1 has the number {seq}: the lines before it are missing"));
        } else if n == 1 {
            problems.add(format_args!("line 1 does not begin a chain: it was changed, or it was not the first line"));
        } else if torn > 0 && !follows {
            problems.add(format_args!(
                "line {first_torn} is not a record, and line {n} does not follow from it: it was changed or inserted"
            ));
        } else if seq > expected {
            let missing = seq - expected;
            problems.add(format_args!(
                "line {n} has the number {seq}, expected {expected}: {missing} missing after line {before}, or it was \
                 changed"
            ));
        } else if seq < expected {
            problems.add(format_args!(
                "line {n} has the number {seq}, expected {expected}: it is out of order, or it was inserted or changed"
            ));
        } else {
            problems.add(format_args!("line {n} does not follow from line {before}: one of the two was changed"));
        }
        self.expected_seq = seq.saturating_add(1);
        self.update_hash(line);
        let hash = to_hex(digest(&SHA256, line));
        self.wanted_hash = self.wanted_hash.filter(|wanted| *wanted != hash);
        let report = &mut self.report;
        report.record_count += 1;
        report.last_hash = Some(hash);
        match &mut report.time_range {
            Some((_, last)) => record.time.clone_into(last),
            None => report.time_range = Some((record.time.to_owned(), record.time.to_owned())),
        }
    }

    /// Adds a line that is not a record. The hash in the next record covers it.
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
        let TornTail { count, not_from_crash, has_newline } = self.torn;
        let first = self.line.saturating_sub(count).saturating_add(1);
        if not_from_crash || has_newline {
            self.report.problems.add(format_args!("line {first} is not a record: it was changed or inserted"));
        } else {
            self.report.warn_cut_off(first, count);
        }
        if let Some(hash) = self.wanted_hash {
            self.report.problems.add(format_args!(
                "no line has the hash {hash}: the end was cut off, the line was changed, or it is another file"
            ));
        }
        self.report
    }
}

impl VerificationReport {
    fn warn_cut_off(&mut self, first: u64, count: u64) {
        for line in first..first.saturating_add(count) {
            self.warnings.add(format_args!("line {line} was cut off (a crash or a full disk), the chain continues"));
        }
    }
}

/// Appends bytes to `line` up to the next newline, which is consumed and left out, or up to [`MAX_LINE_BYTES`]. Returns
/// true if the newline was read.
fn read_piece(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let bytes = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let room = MAX_LINE_BYTES - line.len();
        let newline = bytes.iter().take(room).position(|b| *b == b'\n');
        let len = newline.unwrap_or(bytes.len().min(room));
        line.extend_from_slice(&bytes[..len]);
        reader.consume(len + usize::from(newline.is_some()));
        if newline.is_some() || len == 0 {
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
        // A restart continues from there, too.
        assert_eq!(HashChain::from_tail(lines[2].as_bytes(), false).map(|chain| chain.seq), Some(3));
    }

    #[test]
    fn an_unchanged_log_has_no_finding() {
        let lines = write_log(3);
        let report = verify_lines(&lines);
        assert_eq!((report.record_count, report.problems.count, report.warnings.count), (3, 0, 0));
        assert_eq!(report.time_range, Some((TIME.into(), TIME.into())));
        assert_eq!(report.last_hash, Some(to_hex(digest(&SHA256, lines[2].trim_end().as_bytes()))));
        let nothing = verify_lines(&[""]);
        assert_eq!((nothing.record_count, nothing.problems.count, nothing.last_hash), (0, 0, None));
    }

    #[test]
    fn each_kind_of_tampering_is_reported_with_its_line() {
        let lines = write_log(6);
        let [a, b, c, d, e, f] = lines.iter().map(String::as_str).collect::<Vec<_>>()[..] else { panic!() };
        let changed = b.replace("\"id\":\"1\"", "\"id\":\"7\"");
        let junk = b.replace("\"id\"", "id");
        for (lines, expected) in [
            (vec![a, &changed, c, d], "line 3 does not follow from line 2: one of the two was changed"),
            (
                vec![a, &junk, c, d],
                "line 2 is not a record, and line 3 does not follow from it: it was changed or inserted",
            ),
            (
                vec![a, b, "x\n", c],
                "line 3 is not a record, and line 4 does not follow from it: it was changed or inserted",
            ),
            (vec![a, d, e], "line 2 has the number 4, expected 2: 2 missing after line 1, or it was changed"),
            (
                vec![a, b, b, c],
                "line 3 has the number 2, expected 3: it is out of order, or it was inserted or changed",
            ),
            (vec![c, d], "line 1 has the number 3: the lines before it are missing"),
            (vec![a, b, "x"], "line 3 is not a record: it was changed or inserted"),
            (vec![a, b, "{\"seq\":3\n"], "line 3 is not a record: it was changed or inserted"),
        ] {
            assert_eq!(only_finding(&verify_lines(&lines)), expected);
        }
        let other = a.replace(ZERO_HASH, &"1".repeat(64));
        assert_eq!(
            verify_lines(&[&other, b]).problems.messages[0],
            "line 1 does not begin a chain: it was changed, or it was not the first line"
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
            assert!(report.warnings.messages[0].ends_with("was cut off (a crash or a full disk), the chain continues"));
            // The record before it is hashed with it.
            let report = verify_lines(&[text.replacen("\"id\":\"0\"", "\"id\":\"8\"", 1)]);
            assert_eq!(report.problems.count, u64::from(before > 0), "{torn} {report:?}");
        }
    }

    #[test]
    fn an_endless_line_is_read_in_pieces() {
        let lines = write_log(2);
        let long = "x".repeat(3 * MAX_LINE_BYTES);
        for long in [&long, &long[..MAX_LINE_BYTES], &long[..MAX_LINE_BYTES + 1], &long[..MAX_LINE_BYTES - 1]] {
            let report = verify_lines(&[&lines[0], long, "\n", &lines[1]]);
            assert!(only_finding(&report).starts_with("line 2 is not a record"));
            assert_eq!(
                only_finding(&verify_lines(&[&lines[0], long])),
                "line 2 is not a record: it was changed or inserted"
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
