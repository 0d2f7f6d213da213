//! Tickets of logins, tokens against cross-site requests, and one-time passwords.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Seconds for which a ticket is valid, as on a node.
const LIFETIME: i64 = 7200;
/// Seconds of one step of a one-time password (RFC 6238).
const STEP: i64 = 30;

fn sign(key: &[u8], text: &str) -> String {
    STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()))
}

fn is_signature(key: &[u8], text: &str, signature: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    STANDARD.decode(signature).is_ok_and(|signature| hmac::verify(&key, text.as_bytes(), &signature).is_ok())
}

/// Parses the time of a ticket. Returns true if it is not too old.
fn is_recent(time: &str, now: i64) -> bool {
    i64::from_str_radix(time, 16).is_ok_and(|time| (-300..LIFETIME).contains(&(now - time)))
}

/// Makes a ticket `PVE:subject:time::signature`. A ticket for a second factor is bound to its user.
pub(crate) fn new_ticket(key: &[u8], subject: &str, bound_to: &str, now: i64) -> String {
    let text = format!("PVE:{subject}:{now:08X}");
    format!("{text}::{}", sign(key, &format!("{text}|{bound_to}")))
}

/// Returns the subject of a valid ticket.
pub(crate) fn ticket_subject<'t>(key: &[u8], ticket: &'t str, bound_to: &str, now: i64) -> Option<&'t str> {
    let (text, signature) = ticket.split_once("::")?;
    let (subject, time) = text.strip_prefix("PVE:")?.rsplit_once(':')?;
    let is_valid = is_recent(time, now) && is_signature(key, &format!("{text}|{bound_to}"), signature);
    is_valid.then_some(subject)
}

/// Makes the value of the header `CSRFPreventionToken` for the user of a ticket.
pub(crate) fn new_csrf_token(key: &[u8], user: &str, now: i64) -> String {
    let time = format!("{now:08X}");
    let signature = sign(key, &format!("CSRF:{time}:{user}"));
    format!("{time}:{signature}")
}

/// Returns true if the header is one of the user.
pub(crate) fn is_csrf_token(key: &[u8], token: &str, user: &str, now: i64) -> bool {
    token.split_once(':').is_some_and(|(time, signature)| {
        is_recent(time, now) && is_signature(key, &format!("CSRF:{time}:{user}"), signature)
    })
}

/// Returns the one-time password of a time (RFC 6238, 6 digits, SHA-1).
fn one_time_password(secret: &[u8], now: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &(now / STEP).to_be_bytes());
    let bytes = tag.as_ref();
    let offset = usize::from(bytes[bytes.len() - 1] & 15);
    let word: [u8; 4] = bytes[offset..offset + 4].try_into().expect("four bytes");
    format!("{:06}", (u32::from_be_bytes(word) & 0x7fff_ffff) % 1_000_000)
}

/// Returns true if the code is the password of the present step, or of the one before or after it.
pub(crate) fn is_one_time_password(secret: &[u8], code: &str, now: i64) -> bool {
    [-STEP, 0, STEP].into_iter().any(|shift| one_time_password(secret, now + shift) == code)
}

/// Decodes the secret of an `otpauth://` URI: base32 (RFC 4648) without padding.
pub(crate) fn decode_base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut length, mut bytes) = (0_u32, 0, Vec::new());
    for c in text.trim_end_matches('=').chars() {
        let value = match c.to_ascii_uppercase() {
            c @ 'A'..='Z' => u32::from(c) - u32::from('A'),
            c @ '2'..='7' => u32::from(c) - u32::from('2') + 26,
            _ => return None,
        };
        bits = bits << 5 | value;
        length += 5;
        if length >= 8 {
            length -= 8;
            bytes.push((bits >> length & 0xff) as u8);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{
        decode_base32, is_csrf_token, is_one_time_password, new_csrf_token, new_ticket, one_time_password,
        ticket_subject,
    };

    const KEY: &[u8] = b"key";

    #[test]
    fn ticket_is_valid_for_its_user_two_hours_and_unchanged() {
        let ticket = new_ticket(KEY, "root@pam", "", 1000);
        assert_eq!(ticket_subject(KEY, &ticket, "", 8199), Some("root@pam"));
        assert_eq!(ticket_subject(KEY, &ticket, "", 8200), None);
        assert_eq!(ticket_subject(KEY, &ticket, "bob@pve", 1000), None);
        assert_eq!(ticket_subject(KEY, &ticket.replace("root", "toor"), "", 1000), None);
        assert_eq!(ticket_subject(b"other", &ticket, "", 1000), None);
        let token = new_csrf_token(KEY, "root@pam", 1000);
        assert!(is_csrf_token(KEY, &token, "root@pam", 1000));
        assert!(!is_csrf_token(KEY, &token, "bob@pve", 1000) && !is_csrf_token(KEY, &token, "root@pam", 8200));
    }

    /// The secret and the codes are those of RFC 6238, appendix B.
    #[test]
    fn one_time_passwords_are_those_of_the_rfc() {
        let secret = decode_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").expect("base32");
        assert_eq!(secret, b"12345678901234567890");
        assert_eq!(one_time_password(&secret, 59), "287082");
        assert_eq!(one_time_password(&secret, 1_111_111_109), "081804");
        assert!(is_one_time_password(&secret, "287082", 80) && !is_one_time_password(&secret, "287082", 120));
        assert_eq!(decode_base32("1!"), None);
    }
}
