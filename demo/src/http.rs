//! HTTP/1.1 as a node of the cluster speaks it: a bounded reader of heads, and answers with a node's own headers.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of a request line. A real node took 9 KB of it; the cap is ours.
const MAX_LINE: usize = 16 << 10;
/// Bytes of the header lines together; a real node never answers where there are more.
const MAX_HEADERS: usize = 8 << 10;
/// Header lines; as above.
const MAX_HEADER_LINES: usize = 64;

/// The head of a request, with the few headers that matter here.
pub(super) struct Head {
    /// As sent; names are case-sensitive.
    pub(super) method: String,
    /// Path and query, still percent-encoded.
    pub(super) target: String,
    /// 0 or 1.
    pub(super) minor: u8,
    /// Bytes of the head in the buffer.
    pub(super) length: usize,
    /// Content-Length, 0 where there is none.
    pub(super) body: usize,
    /// Content-Type without its parameters, in lower case.
    pub(super) content_type: Option<String>,
    /// Authorization, as sent.
    pub(super) authorization: Option<String>,
    /// Whether there is a Transfer-Encoding.
    pub(super) chunked: bool,
    /// Whether the answer may come in gzip.
    pub(super) takes_gzip: bool,
    /// Whether the client closes after the answer.
    pub(super) close: bool,
}

/// What the bytes read so far are.
pub(super) enum Parsed {
    /// A whole head.
    Head(Head),
    /// The beginning of one.
    More,
    /// Something a node answers without looking further.
    Refused(Reply),
    /// Something a node closes on without a word.
    Hopeless,
}

/// Looks for a head at the start of `buffer`.
pub(super) fn parse(buffer: &[u8]) -> Parsed {
    let line = buffer.iter().position(|b| *b == b'\n');
    let line_end = line.map_or(buffer.len(), |at| at + 1);
    if line_end > MAX_LINE {
        return Parsed::Hopeless;
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADER_LINES];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length - line_end.min(length) > MAX_HEADERS => Parsed::Hopeless,
        Ok(httparse::Status::Complete(length)) => head(&request, length).map_or(Parsed::Hopeless, Parsed::Head),
        Ok(httparse::Status::Partial) if buffer.len() - line_end > MAX_HEADERS => Parsed::Hopeless,
        Ok(httparse::Status::Partial) => Parsed::More,
        Err(httparse::Error::Version) if buffer.starts_with(b"PRI ") => {
            Parsed::Refused(Reply::text(506, "http protocol version 2.0 not supported"))
        }
        Err(_) => Parsed::Hopeless,
    }
}

/// The parts that matter; `None` where two lengths disagree or one is no number, for then nobody knows where the
/// request ends.
fn head(request: &httparse::Request<'_, '_>, length: usize) -> Option<Head> {
    let minor = request.version?;
    let mut head = Head {
        method: request.method?.into(),
        target: request.path?.into(),
        minor,
        length,
        body: 0,
        content_type: None,
        authorization: None,
        chunked: false,
        takes_gzip: false,
        close: minor == 0,
    };
    let mut seen = None;
    for header in request.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        let value = String::from_utf8_lossy(header.value);
        let value = value.trim();
        match name.as_str() {
            "content-length" => {
                if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
                    return None;
                }
                let n: usize = value.parse().ok()?;
                if seen.is_some_and(|before| before != n) {
                    return None;
                }
                seen = Some(n);
                head.body = n;
            }
            "content-type" => {
                head.content_type = value.split(';').next().map(|t| t.trim().to_ascii_lowercase());
            }
            "authorization" => head.authorization = Some(value.into()),
            "transfer-encoding" => head.chunked = true,
            "accept-encoding" => head.takes_gzip |= value.split(',').any(|v| v.trim().eq_ignore_ascii_case("gzip")),
            "connection" => head.close |= value.split(',').any(|v| v.trim().eq_ignore_ascii_case("close")),
            _ => {}
        }
    }
    Some(head)
}

/// An answer, before the connection's fate is known.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status code.
    pub(super) status: u16,
    /// What stands after it in the status line: this is where a real node puts its reasons.
    pub(super) reason: String,
    /// Content-Type, where the answer has one; those of the HTTP layer itself have none.
    pub(super) content_type: Option<&'static str>,
    /// The body; an empty one has no Content-Length either.
    pub(super) body: Vec<u8>,
    /// Whether the privileged daemon or another node answered: such answers have two Connection headers.
    pub(super) relayed: bool,
    /// Whether the body is gzip.
    pub(super) gzip: bool,
}

impl Reply {
    /// An answer of the HTTP layer: the reason in the status line and again as plain text.
    pub(super) fn text(status: u16, reason: &str) -> Self {
        Self { body: reason.into(), ..Self::bare(status, reason) }
    }

    /// An answer without a body.
    pub(super) fn bare(status: u16, reason: &str) -> Self {
        Self { status, reason: reason.into(), content_type: None, body: Vec::new(), relayed: false, gzip: false }
    }

    /// An answer in JSON.
    pub(super) fn json(status: u16, reason: &str, body: &serde_json::Value) -> Self {
        let body = body.to_string().into_bytes();
        Self { content_type: Some("application/json;charset=UTF-8"), body, ..Self::bare(status, reason) }
    }

    /// What goes over the wire. `close` says whether the connection ends with this answer.
    pub(super) fn bytes(&self, minor: u8, close: bool) -> Vec<u8> {
        let date = date(SystemTime::now());
        // What a path or a parameter brought into the reason must not become a line of its own.
        let reason: String =
            self.reason.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).take(1024).collect();
        let mut head = format!("HTTP/1.{minor} {} {reason}\r\nCache-Control: max-age=0\r\n", self.status);
        if close || self.relayed {
            head.push_str("Connection: close\r\n");
        }
        if !close {
            head.push_str("Connection: Keep-Alive\r\n");
        }
        let _ = write!(head, "Date: {date}\r\nPragma: no-cache\r\nServer: pve-api-daemon/3.0\r\n");
        if self.gzip {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        if !self.body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", self.body.len());
        }
        if let Some(kind) = self.content_type {
            let _ = write!(head, "Content-Type: {kind}\r\n");
        }
        let _ = write!(head, "Expires: {date}\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Percent-decodes once; a `%` that starts no pair of hex digits stays. `plus` makes `+` a space, as in forms.
#[inline(never)]
pub(super) fn decode(text: &str, plus: bool) -> String {
    let hex = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&b, tail)) = rest.split_first() {
        rest = tail;
        match (b, tail) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    rest = after;
                }
                _ => out.push(b),
            },
            (b'+', _) if plus => out.push(b' '),
            _ => out.push(b),
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Year, month and day of a day counted from 1970-01-01 (proleptic Gregorian calendar).
pub(super) fn civil(days: i64) -> (i64, i64, i64) {
    // Years counted from March end with the leap day, so that the months before it have a fixed pattern.
    let from_era = days + 719_468;
    let era = from_era.div_euclid(146_097);
    let day = from_era.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

/// IMF-fixdate (RFC 9110, 5.6.7).
fn date(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let name = |names: &str, n: i64| -> String { names.chars().skip(n as usize * 3).take(3).collect() };
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        name("ThuFriSatSunMonTueWed", days.rem_euclid(7)),
        name("JanFebMarAprMayJunJulAugSepOctNovDec", month - 1),
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// A gzip member (RFC 1952) of stored blocks (RFC 1951, 3.2.4): nothing is compressed, but a client that cannot
/// undo gzip is found out.
pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut chunks = data.chunks(0xffff).peekable();
    if chunks.peek().is_none() {
        out.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(chunk) = chunks.next() {
        let length = chunk.len() as u16;
        out.push(u8::from(chunks.peek().is_none()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    let crc = data.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    });
    out.extend((!crc).to_le_bytes());
    out.extend((data.len() as u32).to_le_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::{civil, date, decode, gzip};
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(UNIX_EPOCH + Duration::from_secs(1_795_331_296)), "Sun, 22 Nov 2026 07:08:16 GMT");
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(19_782), (2024, 2, 29));
    }

    #[test]
    fn decoding_happens_once_and_never_fails() {
        assert_eq!(decode("%71emu/a%2520+%zz%", false), "qemu/a%20+%zz%");
        assert_eq!(decode("a+b%2B", true), "a b+");
        assert_eq!(decode("%ff", false), "\u{fffd}");
    }

    #[test]
    fn gzip_has_the_checksum_of_its_data() {
        let out = gzip(b"123456789");
        assert_eq!(out.get(out.len() - 8..), Some(&[0x26, 0x39, 0xf4, 0xcb, 9, 0, 0, 0][..]));
    }
}
