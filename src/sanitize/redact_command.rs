//! The record of a command: the text with those secrets replaced that are single words. A longer one may be a command, or
//! hide one, and the reader of the record has to see it. In a command, also words are looked for that no option and no
//! separator marks as passwords, such as in `vault login PASSWORD`.

use super::command_secrets::is_separator;
use super::placeholder::HIDDEN;
use super::secret_names::{WordClass, classify_word};
use super::secret_patterns::{looks_random, replace_secrets};
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of a secret that is a single word.
const MAX_PLAIN_WORD_LEN: usize = 256;

/// Returns the text of a command with its secrets replaced by [`HIDDEN`], as far as they are single words.
pub fn redact_plain_words(text: &str) -> Cow<'_, str> {
    const SCHEMES: [&str; 4] = ["Bearer ", "Basic ", "Token ", "Digest "];
    let find_start = |found: &str| {
        let scheme = SCHEMES.iter().find(|scheme| found.starts_with(**scheme)).map_or(0, |scheme| scheme.len());
        is_plain_word(&found[scheme..]).then_some(scheme)
    };
    let (mut out, mut copied) = (String::new(), 0);
    for password in find_placed_passwords(text) {
        // Two rules may find parts of one word.
        if password.start < copied || !is_plain_word(&text[password.clone()]) {
            continue;
        }
        out.push_str(&text[copied..password.start]);
        out.push_str(HIDDEN);
        copied = password.end;
    }
    if copied == 0 {
        return replace_secrets(text, find_start);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(replace_secrets(&out, find_start).into_owned())
}

fn is_plain_word(text: &str) -> bool {
    text.len() <= MAX_PLAIN_WORD_LEN
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~+/=@%!#:^*?-".contains(&b))
}

/// Commands whose password is a word without an option. `*` is any word. The password is the word after these, or the last
/// one of the command after `…`.
const PLACED_PASSWORDS: [&str; 24] = [
    "vault login …",
    "bao login …",
    "openssl passwd …",
    "mysqladmin password …",
    "mariadb-admin password …",
    "net user *",
    "net use * *",
    "rclone obscure …",
    "ansible-vault encrypt_string …",
    "bw unlock …",
    "IDENTIFIED BY",
    "identified by",
    "net rpc user add *",
    "mc alias set * * *",
    "mc config host add * * *",
    "rabbitmqctl add_user *",
    "rabbitmqctl change_password *",
    "rabbitmqctl authenticate_user *",
    "samba-tool user create *",
    "samba-tool user add *",
    "wpa_passphrase *",
    "redis-cli auth",
    "valkey-cli auth",
    "requirepass",
];

/// The most words of a command that are compared with a form, so that many programs in one command cost no more.
const MAX_FORM_WORDS: usize = 24;

/// Programs that read a password from their input.
const PASSWORD_READERS: [&str; 6] = ["passwd", "smbpasswd", "vncpasswd", "kinit", "cryptsetup", "chpasswd"];

/// Finds the passwords that are words of commands without an option: by the place in a command, by the name before, or as the
/// input of a program that reads one.
fn find_placed_passwords(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let commands = split_commands(text);
    for (command, words) in commands.iter().enumerate() {
        found.extend(find_password_input(text, words, commands.get(command + 1).map_or(&[], Vec::as_slice)));
        for (at, word) in words.iter().enumerate() {
            let by_place = PLACED_PASSWORDS.iter().find_map(|form| match_form(text, &words[at..], form));
            let by_name = || {
                let value = words.get(at + 1)?;
                names_password(&text[word.clone()], &text[value.clone()]).then(|| value.clone())
            };
            found.extend(by_place.or_else(by_name).filter(|password| may_be_password(&text[password.clone()])));
        }
    }
    found.sort_by_key(|password| password.start);
    found.dedup();
    found
}

/// Returns the words that a command writes into `next`, or reads itself after `<<<`, if that reads a password.
fn find_password_input(text: &str, words: &[Range<usize>], next: &[Range<usize>]) -> Vec<Range<usize>> {
    let is_program = |word: &&Range<usize>, programs: &[&str]| {
        text[(*word).clone()].rsplit('/').next().is_some_and(|name| programs.contains(&name))
    };
    let reads_password = |words: &[Range<usize>]| words.iter().any(|word| is_program(&word, &PASSWORD_READERS));
    let is_piped = match (words.last(), next.first()) {
        (Some(last), Some(first)) => text[last.end..first.start].contains('|'),
        _ => false,
    };
    let start = if is_piped && reads_password(next) {
        words.iter().position(|word| is_program(&word, &["echo", "printf"]))
    } else {
        words.iter().position(|word| text[word.clone()] == *"<<<").filter(|_| reads_password(words))
    };
    let input = start.map_or(&[][..], |at| &words[at + 1..]);
    input.iter().filter(|word| may_be_password(&text[(*word).clone()])).map(hide_after_user(text)).collect()
}

/// Returns the password of `user:password`, or the whole word.
fn hide_after_user(text: &str) -> impl Fn(&Range<usize>) -> Range<usize> {
    |word| {
        let user = text[word.clone()].find(':').map_or(0, |at| at + 1);
        word.start + user..word.end
    }
}

/// Returns the words of each command of a text.
fn split_commands(text: &str) -> Vec<Vec<Range<usize>>> {
    let is_end = |b: u8| matches!(b, b';' | b'|' | b'&' | b'\n' | b'(' | b')');
    let mut commands = vec![Vec::new()];
    let mut start = None;
    for (at, b) in text.bytes().chain([b'\n']).enumerate() {
        match (start, is_separator(b) || is_end(b)) {
            (None, false) => start = Some(at),
            (Some(from), true) => {
                commands.last_mut().expect("one command").push(from..at);
                start = None;
            }
            _ => {}
        }
        if is_end(b) {
            commands.push(Vec::new());
        }
    }
    commands
}

/// Returns the password of a command that begins with `words`, if it has this form. Options are skipped, and before a word of
/// the form also their values.
fn match_form(text: &str, words: &[Range<usize>], form: &str) -> Option<Range<usize>> {
    let mut form = form.split(' ');
    let program = text[words.first()?.clone()].rsplit('/').next()?;
    if form.next() != Some(program) {
        return None;
    }
    let is_option = |word: &Range<usize>| match text[word.clone()].as_bytes().first() {
        Some(b'-') => true,
        Some(b'/') => program == "net",
        _ => false,
    };
    let mut rest = words[1..].iter().take(MAX_FORM_WORDS);
    for wanted in form {
        let mut is_after_option = false;
        loop {
            let word = rest.next()?;
            match wanted {
                _ if is_option(word) => is_after_option = true,
                "…" => {
                    let mut last = words.iter().rev().take(MAX_FORM_WORDS).take_while(|last| last.start >= word.start);
                    return last.find(|word| !is_option(word)).cloned();
                }
                "*" => break,
                _ if text[word.clone()] == *wanted => break,
                _ if is_after_option => is_after_option = false,
                _ => return None,
            }
        }
    }
    rest.find(|word| !is_option(word)).cloned()
}

/// Returns whether a word names the password that the next one is, by its shape: no word of a sentence.
fn names_password(name: &str, value: &str) -> bool {
    let has = |class: fn(&u8) -> bool| value.as_bytes().iter().any(class);
    match classify_word(name) {
        WordClass::Always => value.len() >= 6 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic),
        WordClass::IfAssigned => looks_random(value, 16),
        _ => false,
    }
}

/// Returns false for a variable, a switch, a path and a redirection.
fn may_be_password(word: &str) -> bool {
    !word.starts_with(['$', '-', '/', '<', '>', '*', '=']) && word != HIDDEN
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn all_but_the_passwords_stays(
            text in "(echo |printf |passwd |vault |login |net |user |IDENTIFIED BY |a:b |c|é|[|] |; |&& |'|<<< |-x |/y ){0,16}",
        ) {
            let redacted = redact_plain_words(&text);
            prop_assert!(redacted.split(HIDDEN).all(|part| text.contains(part)), "{}", redacted);
        }
    }

    #[test]
    fn passwords_without_an_option_are_hidden() {
        for command in [
            "vault login hunter2",
            r#"["/usr/bin/vault","login","-no-print","hunter2"]"#,
            r#"["sh","-c","cd / && vault login hunter2; uptime"]"#,
            "net user admin hunter2 /add",
            "mc alias set minio https://example.org key hunter2 --api S3v4",
            "openssl passwd -6 -salt xy hunter2",
            "rabbitmqctl add_user me hunter2",
            "net use Z: /user:me host hunter2",
            "echo -e hunter2 | passwd me",
            "printf 'hunter2' | smbpasswd -s -a me",
            "kinit me <<< hunter2",
            r#"["sh","-c","echo hunter2 | cryptsetup luksFormat /dev/sdb -"]"#,
            "mysql -e \"ALTER USER me IDENTIFIED BY 'hunter2'\"",
            "redis-cli -h host auth hunter2",
            "nmcli device wifi connect home password hunter2",
        ] {
            assert_eq!(redact_plain_words(command), command.replace("hunter2", HIDDEN), "{command}");
        }
        let key = "aws configure set aws_secret_access_key wJalrXUtnFEMI7K7MDENG";
        assert_eq!(redact_plain_words(key), "aws configure set aws_secret_access_key (hidden)");
        let both = "curl -u me:hunter2 https://example.org; vault login hunter2";
        assert_eq!(redact_plain_words(both), both.replace("hunter2", HIDDEN));
    }

    #[test]
    fn other_words_of_commands_are_shown() {
        for command in [
            "vault login -method=oidc",
            "vault login $TOKEN; net user admin /delete; net user",
            "echo the password was reset, see secret rotation",
            "openssl passwd -stdin < /root/x",
            "network user admin x",
            "echo done | tee /root/log; passwd -l me",
            "cat /root/x | passwd --stdin me || echo failed",
        ] {
            assert_eq!(redact_plain_words(command), command);
        }
    }
}
