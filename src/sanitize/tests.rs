//! Tables of texts with secrets, and of texts that only look alike.

use super::*;
use std::borrow::Cow;

const TICKET: &str = "PVE:root@pam:66A1B2C3::kYfB0aJ5x9+Zq/abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG==";
const UUID: &str = "0a1b2c3d-1111-2222-3333-444455556666";

#[test]
fn texts_with_secrets_are_redacted() {
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----";
    let crypt = "$6$saltsalt$0123456789abcdefghijABCDEFGHIJ0123456789";
    let cases: &[(&str, &str)] = &[
        (&format!("a {pem}\nb"), "a (hidden)\nb"),
        (&format!("{pem}{pem}"), "(hidden)(hidden)"),
        ("x\n-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl", "x\n(hidden)"),
        ("-----BEGIN PRIVATE KEY-----\n-----END it\npassword=geheim", "(hidden)it\npassword=(hidden)"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ\n-----END PGP PRIVATE KEY BLOCK-----\n", "(hidden)\n"),
        (&format!("got {TICKET} now"), "got (hidden) now"),
        (&format!("Cookie: PVEAuthCookie={TICKET}; a=b"), "Cookie: (hidden); a=b"),
        ("'PVEVNC:66A1B2C3::kYfB0aJ5x9+Zq/abcdefghijkl=='", "'(hidden)'"),
        ("PBS:a@pbs:66A1B2C3::kYfB0aJ5x9+Zq/abcdefghijkl", "(hidden)"),
        (&format!("root@pam!ci={UUID} x"), "root@pam!ci=(hidden) x"),
        (&format!("b@pbs!ci:{UUID}"), "b@pbs!ci:(hidden)"),
        (&format!("Authorization: PVEAPIToken=root@pam!ci={UUID}"), "Authorization: (hidden)"),
        (&format!("apitoken=PVEAPIToken=r@pam!x={UUID},host=10.0.0.1"), "apitoken=(hidden),host=10.0.0.1"),
        ("authorization: Basic dXNlcjpwYXNz\nnext", "authorization: (hidden)\nnext"),
        ("curl -H 'Authorization: Bearer abc' x", "curl -H 'Authorization: (hidden)' x"),
        ("bearer eyJhbGciOi1.eyJzdWIi.x_-y, ok", "bearer (hidden), ok"),
        (&format!("root:{crypt}:19000:"), "root:(hidden):19000:"),
        ("$y$j9T$salt/salt.$0123456789abcdefghij", "(hidden)"),
        ("$2b$12$0123456789012345678901", "(hidden)"),
        ("see otpauth://totp/a?secret=JBSW&issuer=b now", "see (hidden) now"),
        ("http://joe:s3c@ret@proxy:3128/x", "http://joe:(hidden)@proxy:3128/x"),
        ("rbd://:pw@mon", "rbd://:(hidden)@mon"),
        ("pmcp_0123456789abcdef0123456789abcdef!", "(hidden)!"),
        ("user=a,password=b c", "user=a,password=(hidden) c"),
        ("mount -o username=a,pass=b,vers=3", "mount -o username=a,pass=(hidden),vers=3"),
        ("cipassword: geheim\nciuser: joe", "cipassword: (hidden)\nciuser: joe"),
        ("PASSWORD=\"with a \\\" quote\" x", "PASSWORD=\"(hidden)\" x"),
        ("my $p = { 'password' => 'x y' };", "my $p = { 'password' => '(hidden)' };"),
        ("{\"secret\" : \"x\"}", "{\"secret\" : \"(hidden)\"}"),
        ("{\\\"password\\\": \\\"x\\\", \\\"a\\\": 1}", "{\\\"password\\\": \\\"(hidden)\\\", \\\"a\\\": 1}"),
        ("qm set 1 --cipassword=geheim --name x", "qm set 1 --cipassword=(hidden) --name x"),
        ("GET /x?token=abc&y=1", "GET /x?token=(hidden)&y=1"),
        ("password%3Dgeheim b", "password%3D(hidden) b"),
        ("?url=h%3Fa%3D1%26token%3dgeheim%26b%3D2&c", "?url=h%3Fa%3D1%26token%3d(hidden)&c"),
        ("cipassword%3A%20geheim", "cipassword%3A(hidden)"),
        ("api_key=abc\0db_password=x\0", "api_key=(hidden)\0db_password=(hidden)\0"),
        ("CF_Token=abc\nCF_Key = def", "CF_Token=(hidden)\nCF_Key = (hidden)"),
        ("key = AQBSdFhcAAAAABAAtIX8Qdz1n9oKzT1kqAYgmQ==", "key = (hidden)"),
        ("token: 5f0cbf2e-7d8a-xyz1-9", "token: (hidden)"),
        ("passwörd=x password=größe,b", "passwörd=x password=(hidden),b"),
        ("password=a password=a", "password=(hidden) password=(hidden)"),
    ];
    for (given, shown) in cases {
        assert_eq!(redact_text(given), *shown);
        assert_eq!(redact_text(shown), *shown, "redaction is stable");
    }
}

#[test]
fn texts_that_only_look_like_secrets_stay() {
    for harmless in [
        UUID,
        &format!("uuid={UUID},manufacturer=x"),
        &format!("vmgenid: {UUID}"),
        "digest=da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "virtio=BC:24:11:2E:C7:0A,bridge=vmbr0,firewall=1",
        "UPID:pve1:000A1B2C:0123ABCD:66A1B2C3:qmstart:100:root@pam:",
        "UPID:pve1:000A1B2C:0123ABCD:66A1B2C3:vncproxy:100:root@pam!ci:",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE joe@example",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----",
        "6B:D7:9A:EA:76:A5:71:44:D3:05:35:87:72:69:72:BE",
        "fe80::1234:5678, 2001:db8:85a3::8a2e:370:7334/64",
        "the password is wrong; a new password must have 8 characters",
        "password: property is missing and it is not optional",
        "password: value does not match",
        "Permission check failed (URI '/access/ticket' not available with API token, need proper ticket.",
        "invalid token: x, bearer token expired, the bearer certificate",
        "tokenid=ci, full-tokenid=root@pam!ci, lock-token=5",
        "generate-password=1",
        "local:iso/debian.iso,media=cdrom",
        "https://pve1:8006/?console=kvm&vmid=100#v1:0:18:4",
        "http://proxy:3128/@x:y@z",
        "key: vmgenid, sort key=name, keyboard: de, public_key=abc, ssh_host_key: x",
        "price $5$ and $10, $HOME/$USER, $1$2",
        "cipassword: **********",
        "password=(hidden), secret: , password=\"\" token=",
        "password=null token=true",
        "pmcp_client, xpmcp_0",
        "-----------------------------------------",
        "",
    ] {
        assert_eq!(redact_text(harmless), harmless);
        assert!(matches!(redact_text(harmless), Cow::Borrowed(_)), "{harmless}");
    }
}

#[test]
fn an_answer_is_redacted_by_its_member_names() {
    for (given, shown) in [
        (r#"{"data":{"password":"x","port":"5900"}}"#, r#"{"data":{"password":"(hidden)","port":"5900"}}"#),
        (r#"{"\u0070assword" : "x\"y"}"#, r#"{"\u0070assword" : "(hidden)"}"#),
        (
            r#"[{"a":[{"secret":1234.5e-1}]},{"ticket":"t"}]"#,
            r#"[{"a":[{"secret":"(hidden)"}]},{"ticket":"(hidden)"}]"#,
        ),
        (
            r#"{"header":[{"name":"A","value":"b"},"c"],"n":"d"}"#,
            r#"{"header":[{"name":"(hidden)","value":"(hidden)"},"(hidden)"],"n":"d"}"#,
        ),
        (r#"{"recovery":["a",["b"],{}],"x":7}"#, r#"{"recovery":["(hidden)",["(hidden)"],{}],"x":7}"#),
        (
            &format!(r#"{{"value":"{UUID}","full-tokenid":"a@pve!b","info":{{"privsep":1}}}}"#),
            r#"{"value":"(hidden)","full-tokenid":"a@pve!b","info":{"privsep":1}}"#,
        ),
        (r#"{"key":"short","type":"powerdns"}"#, r#"{"key":"(hidden)","type":"powerdns"}"#),
        (r#"{"data":{"data":"A=b\nC=d","plugin":"p"}}"#, r#"{"data":{"data":"(hidden)","plugin":"p"}}"#),
        (r#"{"t":"a\npassword=\"b\"\u0020\u00fc"}"#, r#"{"t":"a\npassword=\"(hidden)\" ü"}"#),
        (r#"{"t":"pass\u0077ord\u003dx,y"}"#, r#"{"t":"password=(hidden),y"}"#),
        (r#"{"t":"\ud800 password=x \ud83d\ude00"}"#, "{\"t\":\"\u{fffd} password=(hidden) \u{1f600}\"}"),
        (r#"["password=a","b"]"#, r#"["password=(hidden)","b"]"#),
        (r#""-----BEGIN PRIVATE KEY-----\nMII\n""#, r#""(hidden)""#),
        (r#"not JSON: "password=x"#, r#"not JSON: "password=(hidden)"#),
    ] {
        assert_eq!(redact_json(given), shown);
        assert_eq!(redact_json(shown), shown, "redaction is stable");
    }
}

#[test]
fn an_answer_without_secrets_is_not_copied() {
    for harmless in [
        r#"{"data":[{"password":"","cipassword":"**********","secret":null,"token":true,"totp":1,"keys":[]}]}"#,
        &format!(r#"{{"data":[{{"key":"vmgenid","value":"{UUID}"}},{{"key":"memory","value":2048}}]}}"#),
        r#"{"data":"UPID:pve1:000A1B2C:0123ABCD:66A1B2C3:qmstart:100:root@pam:","plugin":"x"}"#,
        r#"{"tokens":[{"tokenid":"ci","privsep":1}],"digest":"da39a3ee5e6b4b0d3255bfef95601890afd80709"}"#,
        r#"{"description":"a\nb \"c\"","sshkeys":"ssh-rsa%20AAAA","master-pubkey":"x"}"#,
        "[]",
        "null",
        "",
    ] {
        assert!(matches!(redact_json(harmless), Cow::Borrowed(shown) if shown == harmless), "{harmless}");
    }
}

#[test]
fn a_parameter_is_redacted_by_its_name_and_value() {
    for (name, given, shown) in [
        ("password", "x", "(hidden)"),
        ("Client-Key", "x", "(hidden)"),
        ("target-endpoint", "apitoken=x", "(hidden)"),
        ("content", "iso,backup", "iso,backup"),
        ("content", "hunter2", "(hidden)"),
        ("value", "", ""),
        ("name", "web01", "web01"),
        ("url", "https://a:b@c/", "https://a:(hidden)@c/"),
    ] {
        assert_eq!(redact_parameter(name, given), shown, "{name}");
    }
}

#[test]
fn an_option_with_a_secret_name_is_hidden_in_every_form_of_a_list() {
    for (given, hidden) in [
        (r#"[{"key":"env","value":"DB_PWD=hunter2"}]"#, true),
        (r#"[{"value":"hunter2","key":"cipassword"}]"#, true),
        (r#"[{"key":"env","pending":"A=hunter2","value":"A=hunter2"}]"#, true),
        (r#"[{"name":"mgr/dashboard/GRAFANA_API_PASSWORD", "value" : "hunter2"}]"#, true),
        (r#"{"args":"-object secret,id=a,data=hunter2"}"#, true),
        (r#"{"env":"REDIS_PASS=hunter2"}"#, true),
        (r#"{"DB_PWD":"hunter2","SECRET_KEY_BASE":"hunter2"}"#, true),
        (r#"[{"key":"cipassword","value":"**********"},{"key":"name","value":"hunter2"}]"#, false),
        (r#"[{"key":"memory","value":"hunter2"}]"#, false),
    ] {
        let redacted = redact_json(given);
        assert_eq!(!redacted.contains("hunter2"), hidden, "{redacted}");
        assert!(serde_json::from_str::<serde_json::Value>(&redacted).is_ok(), "{redacted}");
    }
    // A person who confirms a call must see its arguments.
    assert!(redact_parameter("args", "-device x").contains("-device"));
}

#[test]
fn a_key_in_the_rows_of_a_log_is_hidden() {
    let log = r#"[{"n":1,"t":"-----BEGIN PRIVATE KEY-----"},{"n":2,"t":"MIIE\/bq"},{"t":"-----END PRIVATE KEY-----"},{"t":"web01","name":"MIIE"}]"#;
    let redacted = r#"[{"n":1,"t":"(hidden)"},{"n":2,"t":"(hidden)"},{"t":"(hidden)"},{"t":"web01","name":"MIIE"}]"#;
    assert_eq!(redact_json(log), redacted);
}

#[test]
fn an_option_is_known_by_the_members_of_its_object() {
    let long = "x".repeat(2_000);
    for (json, redacted) in [
        (
            r#"[{"key":"cipassword","value":"a{b","pending":"c"}]"#.to_owned(),
            r#"[{"key":"cipassword","value":"(hidden)","pending":"(hidden)"}]"#.to_owned(),
        ),
        (
            format!(r#"[{{"value":"s3cret","description":"{long}","key":"cipassword"}}]"#),
            format!(r#"[{{"value":"(hidden)","description":"{long}","key":"cipassword"}}]"#),
        ),
        (
            r#"[{"value":"s3cret","a":{"b":"}"},"name":"mgr/dashboard/password"}]"#.to_owned(),
            r#"[{"value":"(hidden)","a":{"b":"}"},"name":"mgr/dashboard/password"}]"#.to_owned(),
        ),
        (
            r#"[{"k\u0065y":"password","value":"s3cret"}]"#.to_owned(),
            r#"[{"k\u0065y":"password","value":"(hidden)"}]"#.to_owned(),
        ),
        (
            r#"[{"key":"cores","value":"4","other":{"key":"password"}}]"#.to_owned(),
            r#"[{"key":"cores","value":"4","other":{"key":"password"}}]"#.to_owned(),
        ),
        (
            r#"{"lxc":[["lxc.environment","DB=s3cret"],["lxc.cap.drop","all"]]}"#.to_owned(),
            r#"{"lxc":[["lxc.environment","(hidden)"],["lxc.cap.drop","all"]]}"#.to_owned(),
        ),
        (
            r#"["qm","set","100","--cipassword","s3cret","--cores","4"]"#.to_owned(),
            r#"["qm","set","100","--cipassword","(hidden)","--cores","4"]"#.to_owned(),
        ),
        (r#"["password","username"]"#.to_owned(), r#"["password","(hidden)"]"#.to_owned()),
        (
            r#"{"wpa-psk":"s3cret","entrypoint":"/run --pass x"}"#.to_owned(),
            r#"{"wpa-psk":"(hidden)","entrypoint":"(hidden)"}"#.to_owned(),
        ),
    ] {
        assert_eq!(redact_json(&json), redacted);
    }
}

#[test]
fn options_of_a_command_line_lose_their_values() {
    for (text, redacted) in [
        ("qm set 100 --cipassword s3cret --cores 4", "qm set 100 --cipassword (hidden) --cores 4"),
        ("pct create --password 's3 cret' --hostname x", "pct create --password '(hidden)' --hostname x"),
        ("'--password' 's3cret' 'next'", "'--password' '(hidden)' 'next'"),
        ("--password=s3cret", "--password=(hidden)"),
        ("--password-file /x --keyboard de", "--password-file /x --keyboard de"),
        ("--delete-token --force", "--delete-token --force"),
        ("--tls-key is not that of --tls-cert", "--tls-key is not that of --tls-cert"),
        ("--password is missing, --password and --user", "--password is missing, --password and --user"),
    ] {
        assert_eq!(redact_text(text), redacted);
    }
}
