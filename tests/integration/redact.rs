//! Redaction of secrets in the answers of a cluster. JSON stays JSON of the same form, and the secret is removed.

use flate2::read::GzDecoder;
use proptest::prelude::*;
use proxmox_mcp::config::TOKEN_PREFIX;
use proxmox_mcp::sanitize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io::Read;

const CANARY: &str = "Kanarienvogel-7";

/// Returns whether both differ only in strings and numbers.
fn have_same_form(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|o| have_same_form(value, o)))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| have_same_form(one, other))
        }
        (Value::String(_) | Value::Number(_), Value::String(_)) => true,
        _ => one == other,
    }
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        prop::sample::select(vec![
            "password",
            "=",
            ": ",
            ":",
            "\"",
            "\\",
            "'",
            "\n",
            "://",
            "@",
            "a:b@c",
            "-----BEGIN PRIVATE KEY-----",
            "-----END ",
            "$6$",
            "$",
            "0123456789abcdefghij",
            "Bearer ",
            "authorization",
            "::",
            ":66A1B2C3",
            "pmcp_",
            "!x",
            "key",
            "ü",
            "-----",
            "0a1b2c3d-1111-2222-3333-444455556666",
            "otpauth",
            "=>",
            " ",
            "\u{202e}",
            "token",
            "(hidden)",
        ])
        .prop_map(String::from),
    ]
}

fn string() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..6).prop_map(|pieces| pieces.concat())
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        string().prop_map(Value::from),
    ];
    let name = prop_oneof![
        string(),
        prop::sample::select(vec![
            "password",
            "secret",
            "header",
            "key",
            "value",
            "data",
            "full-tokenid",
            "plugin",
            "name"
        ])
        .prop_map(String::from),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Returns the JSON with each non-ASCII character, and each `p`, as an escape.
fn escape_json(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        if c.is_ascii() && c != 'p' {
            out.push(c);
        } else {
            out.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn redacted_answer_keeps_its_form(given in tree(), pretty in any::<bool>()) {
        let json = if pretty { serde_json::to_string_pretty(&given).unwrap() } else { given.to_string() };
        let redacted: Value = serde_json::from_str(&sanitize::redact_json(&json)).unwrap();
        prop_assert!(have_same_form(&given, &redacted), "{json}");
        let shown = redacted.to_string();
        let again = sanitize::redact_json(&shown);
        prop_assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), redacted);
    }

    #[test]
    fn secret_is_removed_in_every_place(
        mut given in tree(),
        name in prop::sample::select(vec!["password", "Secret", "ticket", "client-key", "CSRFPreventionToken", "x_token", "header"]),
        path in prop::collection::vec(any::<prop::sample::Index>(), 3),
        deep in any::<bool>(),
    ) {
        let mut place = &mut given;
        for step in path {
            let inside = match &*place {
                Value::Array(list) => list.len(),
                Value::Object(members) => members.len(),
                _ => 0,
            };
            if inside == 0 {
                break;
            }
            let n = step.index(inside);
            place = match place {
                Value::Array(list) => &mut list[n],
                other => other.as_object_mut().unwrap().values_mut().nth(n).unwrap(),
            };
        }
        let secret = if deep { serde_json::json!([{"a": CANARY}]) } else { CANARY.into() };
        match place {
            Value::Object(members) => drop(members.insert(name.into(), secret)),
            other => *other = serde_json::json!({ name: secret }),
        }
        for json in [given.to_string(), escape_json(&given.to_string())] {
            let redacted = sanitize::redact_json(&json);
            let redacted: Value = serde_json::from_str(&redacted).unwrap();
            prop_assert!(!redacted.to_string().contains(CANARY), "{redacted}");
        }
    }

    #[test]
    fn redaction_handles_any_text(text in string(), quoted in any::<bool>()) {
        sanitize::redact_text(&text);
        sanitize::redact_json(&text);
        sanitize::redact_json(&if quoted { format!("\"{text}\"") } else { format!("{{\"password\":\"{text}") });
    }

    #[test]
    fn text_after_the_word_password_is_removed(before in string(), after in "[ ,;\n].*") {
        let redacted = sanitize::redact_text(&format!("{before}\npassword={CANARY}{after}")).into_owned();
        prop_assert!(!redacted.contains(CANARY), "{redacted}");
    }
}

#[test]
fn tokens_of_clients_are_removed() {
    let token = format!("{TOKEN_PREFIX}{}", "0a".repeat(32));
    assert_eq!(sanitize::redact_text(&format!("with {token}.")), "with (hidden).");
}

#[test]
fn redaction_of_adversarial_texts_ends_in_time() {
    // An unbounded look-behind or look-ahead would take minutes for these.
    for piece in [
        "a=",
        ":",
        "a:b@",
        "x://",
        "$1$",
        "-",
        "-----BEGIN PRIVATE KEY",
        "_",
        "b",
        "password=",
        ":66A1B2C3::",
        " ",
        "\\",
        "token: ",
        "token:",
        "token:\"",
        "key=\"\\\"",
        "password=*",
        "a:0123abcd::",
    ] {
        let text = piece.repeat(500_000 / piece.len());
        sanitize::redact_text(&text);
        sanitize::redact_json(&serde_json::to_string(&[text]).unwrap());
    }
}

/// Returns the names of all parameters of the API, which are the keys of `properties`.
fn load_parameter_names() -> BTreeSet<String> {
    let mut text = String::new();
    GzDecoder::new(proxmox_mcp::pve::schema::facts::APIDOC).read_to_string(&mut text).expect("the packed facts");
    let start = text.find('[').expect("a list");
    let tree: serde_json::Value =
        serde_json::Deserializer::from_str(&text[start..]).into_iter().next().expect("a value").expect("JSON");
    let (mut all, mut left) = (BTreeSet::new(), vec![&tree]);
    while let Some(value) = left.pop() {
        match value {
            serde_json::Value::Array(list) => left.extend(list),
            serde_json::Value::Object(members) => {
                if let Some(properties) = members.get("properties").and_then(|p| p.as_object()) {
                    all.extend(properties.keys().cloned());
                }
                left.extend(members.values());
            }
            _ => {}
        }
    }
    all
}

/// A new secret parameter of the API is added here. The reason goes to its entry in `src/sanitize/secret_names.rs`.
#[test]
fn these_parameters_of_the_api_are_secret() {
    let all = load_parameter_names();
    assert!(all.len() > 600, "{} names", all.len());
    let secret: Vec<&str> = all.iter().map(String::as_str).filter(|name| sanitize::is_secret_parameter(name)).collect();
    assert_eq!(
        secret.join(" "),
        "challenge cipassword client-key code confirmation-password content data eab-hmac-key encryption-key env \
         header http_proxy input-data key keyring keys otel-headers otp password secret target-endpoint \
         tfa-challenge ticket token totp value vncticket"
    );
}

/// A new parameter whose name resembles that of a secret is added here, or to the table of secret parameters.
#[test]
fn these_parameters_sound_like_secrets_and_are_not() {
    let sounds = ["pass", "secret", "token", "ticket", "key", "auth", "private", "cred", "otp", "tfa", "cert", "crypt"];
    let all = load_parameter_names();
    let harmless: Vec<&str> = all
        .iter()
        .map(String::as_str)
        .filter(|name| sounds.iter().any(|sound| name.contains(sound)) && !sanitize::is_secret_parameter(name))
        .collect();
    assert_eq!(
        harmless.join(" "),
        "authid author authsupported cert certificates certkey config-keys crypted encrypted generate-password \
         hotplug keyboard lock-token master-pubkey skip-cert-verification ssh-public-keys sshkeys tfa \
         token-coefficient tokenid tokens verify-certificate verify-certificates webauthn"
    );
}
