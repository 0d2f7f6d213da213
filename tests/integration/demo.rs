//! The simulated cluster compared with a real node: the bytes on the wire.

use proxmox_mcp::config::ClusterConfig;
use proxmox_mcp::pve::demo::{Demo, Options};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(10);

/// Starts a demo whose tasks end almost at once.
pub(crate) fn demo() -> Demo {
    demo_with(|o| o.task_step = Duration::from_millis(1))
}

pub(crate) fn demo_with(change: impl FnOnce(&mut Options)) -> Demo {
    let mut options = Options::default();
    change(&mut options);
    Demo::start_with(options).unwrap()
}

fn token(cluster: &ClusterConfig) -> String {
    format!("PVEAPIToken={}!{}={}", cluster.user, cluster.token_id, cluster.token_secret.expose())
}

fn connect(cluster: &ClusterConfig) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", cluster.endpoints[0].port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

/// An unparsed answer.
pub(crate) struct Answer {
    pub(crate) line: String,
    headers: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.line, "HTTP/1.1 200 OK", "{}", String::from_utf8_lossy(&self.body));
        self.json()["data"].clone()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter_map(|h| h.split_once(": ")).filter(|(n, _)| *n == name).map(|(_, v)| v).collect()
    }
}

/// Reads one answer. Returns `None` if the connection ended instead.
fn read(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.trim_end().split("\r\n").map(String::from);
    let mut answer = Answer { line: lines.next().unwrap(), headers: lines.collect(), body: Vec::new() };
    let length = answer.header("Content-Length").first().map_or(0, |n| n.parse().unwrap());
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).unwrap();
    Some(answer)
}

pub(crate) fn raw(cluster: &ClusterConfig, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(cluster);
    stream.write_all(bytes).unwrap();
    read(&mut stream)
}

fn request(cluster: &ClusterConfig, method: &str, path: &str, kind: Option<&str>, body: &str) -> Vec<u8> {
    let mut text = format!("{method} /api2/json{path} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n", token(cluster));
    if let Some(kind) = kind {
        text += &format!("Content-Type: {kind}\r\n");
    }
    if !body.is_empty() || kind.is_some() {
        text += &format!("Content-Length: {}\r\n", body.len());
    }
    (text + "\r\n" + body).into_bytes()
}

pub(crate) fn call(cluster: &ClusterConfig, method: &str, path: &str, form: &str) -> Answer {
    let kind = (!form.is_empty()).then_some("application/x-www-form-urlencoded");
    raw(cluster, &request(cluster, method, path, kind, form)).expect("an answer")
}

pub(crate) fn get(cluster: &ClusterConfig, path: &str) -> Value {
    call(cluster, "GET", path, "").data()
}

pub(crate) fn assert_error(answer: &Answer, line: &str) {
    assert_eq!(answer.line, format!("HTTP/1.1 {line}"));
    let message = line.split_once(' ').unwrap().1;
    assert_eq!(answer.json()["message"].as_str().unwrap().trim_end(), message);
    assert_eq!(answer.json()["data"], Value::Null);
    assert_eq!(answer.header("Connection"), ["close"]);
}

/// Asserts the status line for an operation that the demo does not implement.
fn assert_not_implemented(call: &str) -> String {
    format!("501 Method '{call}' not implemented (the demo simulates only a part of the API)")
}

pub(crate) fn errors(answer: &Answer) -> Value {
    assert_error(answer, "400 Parameter verification failed.");
    answer.json()["errors"].clone()
}

/// Repeats a request until its answer is as expected.
pub(crate) fn wait_until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < end, "not in time: {what}");
        thread::yield_now();
    }
}

/// Waits for the task that this call starts. Returns its exit status and its log.
pub(crate) fn task(cluster: &ClusterConfig, method: &str, path: &str, form: &str) -> (String, Vec<String>) {
    let upid = call(cluster, method, path, form).data();
    let upid = upid.as_str().expect("a UPID").to_string();
    let node = upid.split(':').nth(1).unwrap().to_string();
    let at = format!("/nodes/{node}/tasks/{upid}");
    let exit = wait_until(&upid, || get(cluster, &format!("{at}/status"))["exitstatus"].as_str().map(String::from));
    let log = get(cluster, &format!("{at}/log?limit=0"));
    (exit, log.as_array().unwrap().iter().map(|l| l["t"].as_str().unwrap().into()).collect())
}

pub(crate) fn run_task(cluster: &ClusterConfig, method: &str, path: &str, form: &str) -> Vec<String> {
    let (exit, log) = task(cluster, method, path, form);
    assert_eq!(exit, "OK", "{method} {path}: {log:?}");
    assert_eq!(log.last().unwrap(), "TASK OK");
    log
}

#[test]
fn an_answer_has_the_headers_of_a_node_in_its_order() {
    let demo = demo();
    let answer = call(&demo.cluster(), "GET", "/version", "");
    assert_eq!(answer.line, "HTTP/1.1 200 OK");
    let names: Vec<&str> = answer.headers.iter().filter_map(|h| Some(h.split_once(": ")?.0)).collect();
    let order =
        ["Cache-Control", "Connection", "Date", "Pragma", "Server", "Content-Length", "Content-Type", "Expires"];
    assert_eq!(names, order);
    assert_eq!(answer.header("Server"), ["pve-api-daemon/3.0"]);
    assert_eq!(answer.header("Content-Type"), ["application/json;charset=UTF-8"]);
    assert_eq!(answer.header("Date"), answer.header("Expires"));
    assert_eq!(answer.data()["version"], "9.2.11");
}

#[test]
fn the_daemons_answers_show_both_connection_headers_and_stay_open() {
    let demo = demo();
    let cluster = demo.cluster();
    let mut stream = connect(&cluster);
    for _ in 0..2 {
        stream.write_all(&request(&cluster, "GET", "/nodes/pve1/qemu/100/status/current", None, "")).unwrap();
        assert_eq!(read(&mut stream).unwrap().header("Connection"), ["close", "Keep-Alive"]);
    }
}

#[test]
fn a_401_has_its_reason_in_the_status_line_only() {
    let demo = demo();
    let cluster = demo.cluster();
    for (authorization, reason) in [
        ("", "No ticket"),
        ("Authorization: Bearer x\r\n", "No ticket"),
        ("Authorization: PVEAPIToken=demo@pve!full=wrong\r\n", "Authentication failed!"),
        ("Authorization: PVEAPIToken=unknown@pve!x=y\r\n", "Authentication failed!"),
        ("Authorization: PVEAPIToken=nonsense\r\n", "Authentication failed!"),
    ] {
        let answer =
            raw(&cluster, format!("GET /api2/json/version HTTP/1.1\r\n{authorization}\r\n").as_bytes()).unwrap();
        assert_eq!(answer.line, format!("HTTP/1.1 401 {reason}"));
        assert_eq!((answer.text(), answer.header("Connection")), (String::new(), vec!["close"]));
        assert!(answer.header("Content-Length").is_empty());
    }
}

#[test]
fn a_401_is_delayed_as_configured() {
    let demo = demo_with(|o| o.auth_delay = Duration::from_millis(120));
    let begun = Instant::now();
    let answer = raw(&demo.cluster(), b"GET /api2/json/version HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(answer.line, "HTTP/1.1 401 No ticket");
    assert!(begun.elapsed() >= Duration::from_millis(120));
}

#[test]
fn realms_are_served_without_a_token() {
    let demo = demo();
    let answer = raw(&demo.cluster(), b"GET /api2/json/access/domains HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(answer.data().as_array().unwrap().len(), 2);
}

#[test]
fn every_start_has_its_own_secrets() {
    let (a, b) = (demo(), demo());
    assert_ne!(a.cluster().token_secret.expose(), b.cluster().token_secret.expose());
    assert_ne!(a.cluster().token_secret.expose(), a.auditor().token_secret.expose());
}

#[test]
fn auditor_reads_and_is_denied_writes_with_the_missing_privilege() {
    let demo = demo();
    let auditor = demo.auditor();
    assert_eq!(get(&auditor, "/nodes/pve1/qemu/100/config")["name"], "web01");
    let refused_with = |method, path: &str, form, what| {
        assert_error(&call(&auditor, method, path, form), &format!("403 Permission check failed ({what})"));
    };
    refused_with("POST", "/nodes/pve1/qemu/100/status/stop", "", "/vms/100, VM.PowerMgmt");
    refused_with("DELETE", "/nodes/pve1/qemu/100", "", "/vms/100, VM.Allocate");
    refused_with("GET", "/nodes/pve1/apt/update", "", "/nodes/pve1, Sys.Modify");
    refused_with("POST", "/nodes/pve1/qemu", "vmid=500", "/vms/500, VM.Allocate");
    refused_with("POST", "/nodes/pve1/vzdump", "vmid=100", "/vms/100, VM.Backup");
    let all = "/vms/100, VM.Config.Disk|VM.Config.CDROM|VM.Config.CPU|VM.Config.Memory|VM.Config.Network|VM.Config.HWType|VM.Config.Options|VM.Config.Cloudinit";
    refused_with("PUT", "/nodes/pve1/qemu/100/config", "cores=x", all);
    assert_eq!(
        get(&auditor, "/access/permissions")["/vms"],
        json!({"Datastore.Audit": 1, "Mapping.Audit": 1,
        "Pool.Audit": 1, "SDN.Audit": 1, "Sys.Audit": 1, "VM.Audit": 1, "VM.GuestAgent.Audit": 1})
    );
}

#[test]
fn a_new_token_sees_only_what_its_list_allows() {
    let demo = demo();
    let full = demo.cluster();
    let made = call(&full, "POST", "/access/users/demo@pve/token/thin", "privsep=1").data();
    let mut thin = full.clone();
    thin.token_id = "thin".into();
    thin.token_secret = proxmox_mcp::base::secret::Secret::new(made["value"].as_str().unwrap().into());
    assert_eq!(get(&thin, "/cluster/resources?type=vm"), json!([]));
    let node = &get(&thin, "/nodes")[0];
    assert_eq!((&node["node"], &node["cpu"]), (&json!("pve1"), &Value::Null));
    assert_error(
        &call(&thin, "GET", "/nodes/pve1/qemu/100/config", ""),
        "403 Permission check failed (/vms/100, VM.Audit)",
    );
    call(&full, "PUT", "/access/acl", "path=/vms/100&roles=PVEVMUser&tokens=demo@pve!thin").data();
    assert_eq!(get(&thin, "/cluster/resources?type=vm").as_array().unwrap().len(), 1);
    call(&full, "DELETE", "/access/users/demo@pve/token/thin", "").data();
    assert_eq!(call(&thin, "GET", "/nodes", "").line, "HTTP/1.1 401 Authentication failed!");
}

#[test]
fn unknown_paths_and_wrong_methods_are_not_implemented() {
    let demo = demo();
    let cluster = demo.cluster();
    for (method, path) in [("GET", "/nope/x"), ("GET", "/nodes/pve1/nope"), ("POST", "/version"), ("DELETE", "/nodes")]
    {
        let words = format!("501 Method '{method} {path}' not implemented");
        assert_error(&call(&cluster, method, path, ""), &words);
    }
    let known = call(&cluster, "GET", "/cluster/metrics/export", "");
    assert_error(&known, &assert_not_implemented("GET /cluster/metrics/export"));
    let parameters = errors(&call(&cluster, "GET", "/nodes/pve1/rrd?ds=x&timeframe=hour", ""));
    assert_eq!(parameters, json!({"ds": "invalid format - invalid configuration ID 'x'\n"}));
    let refused = call(&demo.auditor(), "POST", "/nodes/pve1/status", "command=reboot");
    assert_error(&refused, "403 Permission check failed (/nodes/pve1, Sys.PowerMgmt)");
    for method in ["PATCH", "HEAD", "OPTIONS"] {
        let answer = call(&cluster, method, "/version", "");
        assert_eq!(answer.line, format!("HTTP/1.1 501 method '{method}' not available"));
        assert!(answer.body.is_empty());
    }
}

#[test]
fn missing_objects_are_named() {
    let demo = demo();
    let cluster = demo.cluster();
    let lookup = "500 hostname lookup 'pve9' failed - failed to get address info for: pve9: Name or service not known";
    for (path, line) in [
        ("/nodes/pve1/qemu/999/config", "500 Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist"),
        ("/nodes/pve2/qemu/100/config", "500 Configuration file 'nodes/pve2/qemu-server/100.conf' does not exist"),
        ("/nodes/pve1/lxc/999/config", "500 Configuration file 'nodes/pve1/lxc/999.conf' does not exist"),
        ("/nodes/pve9/status", lookup),
        ("/nodes/pve_9!/status", "403 Permission check failed (, Sys.Audit)"),
        ("/nodes/pve1/storage/tape/content", "500 storage 'tape' does not exist"),
        ("/nodes/pve1/qemu/102/agent/get-osinfo", "500 No QEMU guest agent configured"),
    ] {
        assert_error(&call(&cluster, "GET", path, ""), line);
    }
}

#[test]
fn every_invalid_parameter_of_a_form_is_reported() {
    let demo = demo();
    let form = "vmid=5&memory=abc&cores=0&bogus=1&onboot=maybe&name=bad_name!";
    let answer = call(&demo.cluster(), "POST", "/nodes/pve1/qemu", form);
    assert_eq!(
        errors(&answer),
        json!({
            "bogus": "property is not defined in schema and the schema does not allow additional properties",
            "onboot": "type check ('boolean') failed - got 'maybe'",
            "cores": "value must have a minimum value of 1",
            "vmid": "invalid format - value does not look like a valid VM ID\n",
            "memory": "invalid format - format error\nmemory.current: type check ('integer') failed - got 'abc'\n",
            "name": "invalid format - value does not look like a valid DNS name\n",
        })
    );
}

#[test]
fn parameters_are_checked_in_query_form_and_json_alike() {
    let demo = demo();
    let cluster = demo.cluster();
    let unknown = json!({"x": "property is not defined in schema and the schema does not allow additional properties"});
    assert_eq!(errors(&call(&cluster, "GET", "/version?x=1", "")), unknown);
    assert_eq!(call(&cluster, "GET", "/version?_dc=1", "").line, "HTTP/1.1 200 OK");
    let missing = json!({"vmid": "property is missing and it is not optional"});
    assert_eq!(errors(&call(&cluster, "POST", "/nodes/pve1/qemu", "")), missing);
    let got = json!({"vmid": "type check ('integer') failed - got 'abc'"});
    assert_eq!(errors(&call(&cluster, "GET", "/nodes/pve1/qemu/abc/config", "")), got);
    let config = "/nodes/pve1/qemu/102/config";
    let array = json!({"cores": "type check ('integer') failed - got ARRAY"});
    assert_eq!(errors(&call(&cluster, "PUT", config, "cores=1&cores=2")), array);
    let body = r#"{"cores":[1,2],"onboot":"yes","bios":"x"}"#;
    let answer = raw(&cluster, &request(&cluster, "PUT", config, Some("application/json"), body)).unwrap();
    let expected = json!({"cores": "type check ('integer') failed - got ARRAY", "onboot": "type check ('boolean') failed - got 'yes'",
        "bios": "value 'x' does not have a value in the enumeration 'seabios, ovmf'"});
    assert_eq!(errors(&answer), expected);
    let clash = json!({"vmid": "duplicate parameter (already defined in URI) with conflicting values!"});
    assert_eq!(errors(&call(&cluster, "PUT", config, "vmid=100&cores=1")), clash);
    let long = format!("description={}", "a".repeat(500_000));
    let long = errors(&call(&cluster, "PUT", config, &long));
    assert_eq!(long, json!({"description": "value may only be 8192 characters long"}));
    let taken = json!({"vmid": "VM 100 already exists"});
    assert_eq!(errors(&call(&cluster, "GET", "/cluster/nextid?vmid=100", "")), taken);
}

#[test]
fn booleans_are_1_and_0_in_forms_and_also_true_and_false_in_json() {
    let demo = demo();
    let cluster = demo.cluster();
    let config = "/nodes/pve1/qemu/102/config";
    for word in ["yes", "true", "TRUE", "2"] {
        let expected = json!({"onboot": format!("type check ('boolean') failed - got '{word}'")});
        assert_eq!(errors(&call(&cluster, "PUT", config, &format!("onboot={word}"))), expected);
    }
    let body = r#"{"onboot":false,"numa":true,"description":null}"#;
    let answer = raw(&cluster, &request(&cluster, "PUT", config, Some("application/json"), body)).unwrap();
    assert_eq!(answer.text(), r#"{"data":null}"#);
    let now = get(&cluster, config);
    assert_eq!((&now["onboot"], &now["numa"]), (&json!(0), &json!(1)));
    assert_eq!(now["memory"], "32768");
}

#[test]
fn config_change_persists_and_a_stale_digest_is_rejected() {
    let demo = demo();
    let cluster = demo.cluster();
    let config = "/nodes/pve2/qemu/106/config";
    let digest = get(&cluster, config)["digest"].as_str().unwrap().to_string();
    call(&cluster, "PUT", config, &format!("cores=6&description=%C3%BCber%20%E2%9C%93%0Aline2&digest={digest}")).data();
    let now = get(&cluster, config);
    assert_eq!((&now["cores"], &now["description"]), (&json!(6), &json!("über ✓\nline2")));
    let stale = call(&cluster, "PUT", config, &format!("cores=1&digest={digest}"));
    assert_error(&stale, "500 checksum mismatch (file change by other user?)");
    call(&cluster, "PUT", config, "delete=description").data();
    assert_eq!(get(&cluster, config)["description"], Value::Null);
    let both = errors(&call(&cluster, "PUT", config, "delete=nonsense"));
    assert_eq!(both, json!({"delete": "unknown option 'nonsense'"}));
}

#[test]
fn unencoded_equals_sign_ends_a_value() {
    let demo = demo();
    let errors = errors(&call(&demo.cluster(), "PUT", "/nodes/pve2/qemu/101/config", "net1=virtio,bridge=vmbr0"));
    let complaint = "invalid format - duplicate key in comma-separated list property: model\n";
    assert_eq!(errors, json!({"net1": complaint}));
}

#[test]
fn a_network_card_is_checked_property_by_property() {
    let demo = demo();
    let cluster = demo.cluster();
    let at = "/nodes/pve2/qemu/101/config";
    call(&cluster, "PUT", at, "net1=virtio,bridge%3Dvmbr0,tag%3D20,firewall%3D1").data();
    let card = get(&cluster, at)["net1"].as_str().unwrap().to_string();
    assert!(card.starts_with("virtio=BC:24:11:") && card.ends_with(",bridge=vmbr0,tag=20,firewall=1"), "{card}");
    call(&cluster, "PUT", at, &format!("net1={}", card.replace('=', "%3D"))).data();
    for (value, wrong) in [
        ("virtio,bridge=vmbr0,vlan=20", "net2.vlan: property is not defined in schema"),
        ("virtio,bridge=vmbr0,tag=5000", "net2.tag: value must have a maximum value of 4094"),
        ("bridge=vmbr0", "net2.model: property is missing"),
        ("virtual,bridge=vmbr0", "net2.model: value 'virtual' does not have a value in the enumeration"),
    ] {
        let errors = errors(&call(&cluster, "PUT", at, &format!("net2={}", value.replace('=', "%3D"))));
        assert!(errors["net2"].as_str().unwrap().contains(wrong), "{value}: {errors}");
    }
    call(&cluster, "PUT", "/nodes/pve2/lxc/203/config", "net1=name%3Deth1,bridge%3Dvmbr0,tag%3D20,ip%3Ddhcp").data();
    let errors = errors(&call(&cluster, "PUT", "/nodes/pve2/lxc/203/config", "net2=bridge%3Dvmbr0"));
    assert!(errors["net2"].as_str().unwrap().contains("net2.name: property is missing"), "{errors}");
}

#[test]
fn running_vm_uses_new_cores_from_its_next_start() {
    let demo = demo();
    let cluster = demo.cluster();
    run_task(&cluster, "POST", "/nodes/pve1/qemu/102/config", "cores=12");
    let pending = get(&cluster, "/nodes/pve1/qemu/102/pending");
    let cores = pending.as_array().unwrap().iter().find(|row| row["key"] == "cores").unwrap();
    assert_eq!(cores, &json!({"key": "cores", "value": 8, "pending": 12}));
    assert_eq!(get(&cluster, "/nodes/pve1/qemu/102/status/current")["cpus"], 8);
    run_task(&cluster, "POST", "/nodes/pve1/qemu/102/status/reboot", "");
    assert_eq!(get(&cluster, "/nodes/pve1/qemu/102/status/current")["cpus"], 12);
}

#[test]
fn power_action_takes_effect_when_its_task_ends() {
    let demo = demo_with(|o| o.task_step = Duration::from_millis(150));
    let cluster = demo.cluster();
    let upid = call(&cluster, "POST", "/nodes/pve3/qemu/105/status/start", "").data();
    let upid = upid.as_str().unwrap();
    let parts: Vec<&str> = upid.split(':').collect();
    assert_eq!((parts[0], parts[1], &parts[5..]), ("UPID", "pve3", &["qmstart", "105", "demo@pve!full", ""][..]));
    assert!(parts[2..5].iter().all(|p| p.len() == 8 && p.bytes().all(|b| b"0123456789ABCDEF".contains(&b))), "{upid}");
    let status = format!("/nodes/pve3/tasks/{upid}/status");
    let running = get(&cluster, &status);
    assert_eq!((&running["status"], &running["exitstatus"]), (&json!("running"), &Value::Null));
    assert_eq!((&running["user"], &running["tokenid"]), (&json!("demo@pve"), &json!("full")));
    assert_eq!(get(&cluster, "/nodes/pve3/qemu/105/status/current")["status"], "stopped");
    assert_eq!(get(&cluster, "/nodes/pve3/tasks?source=active")[0]["upid"], upid);
    wait_until("the start", || (get(&cluster, &status)["exitstatus"] == "OK").then_some(()));
    let now = get(&cluster, "/nodes/pve3/qemu/105/status/current");
    assert_eq!((&now["status"], &now["qmpstatus"]), (&json!("running"), &json!("running")));
    let answer = call(&cluster, "GET", &format!("/nodes/pve3/tasks/{upid}/log"), "");
    assert_eq!(answer.json(), json!({"data": [{"n": 1, "t": "TASK OK"}], "total": 1}));
    assert_eq!(get(&cluster, "/cluster/tasks")[0]["status"], "OK");
}

#[test]
fn starting_a_running_guest_is_a_failed_task() {
    let demo = demo();
    let cluster = demo.cluster();
    let (exit, log) = task(&cluster, "POST", "/nodes/pve1/qemu/100/status/start", "");
    assert_eq!(
        (exit.as_str(), log.as_slice()),
        ("VM 100 already running", &["TASK ERROR: VM 100 already running".to_string()][..])
    );
    assert_error(&call(&cluster, "POST", "/nodes/pve1/lxc/200/status/start", ""), "500 CT 200 already running");
    assert_eq!(task(&cluster, "POST", "/nodes/pve3/qemu/105/status/shutdown", "").0, "VM 105 not running");
    assert_eq!(
        task(&cluster, "POST", "/nodes/pve1/qemu/9000/status/start", "").0,
        "you can't start a vm if it's a template"
    );
}

#[test]
fn paused_vm_is_reported_as_paused() {
    let demo = demo();
    let cluster = demo.cluster();
    let vm = "/nodes/pve1/qemu/100/status";
    run_task(&cluster, "POST", &format!("{vm}/suspend"), "");
    assert_eq!(get(&cluster, &format!("{vm}/current"))["qmpstatus"], "paused");
    run_task(&cluster, "POST", &format!("{vm}/resume"), "");
    assert_eq!(get(&cluster, &format!("{vm}/current"))["qmpstatus"], "running");
    run_task(&cluster, "POST", "/nodes/pve1/lxc/200/status/shutdown", "timeout=5");
    assert_eq!(get(&cluster, "/nodes/pve1/lxc/200/status/current")["status"], "stopped");
}

#[test]
fn snapshot_rollback_restores_the_options() {
    let demo = demo();
    let cluster = demo.cluster();
    let vm = "/nodes/pve2/qemu/106";
    run_task(&cluster, "POST", &format!("{vm}/snapshot"), "snapname=now&description=mine");
    let list = get(&cluster, &format!("{vm}/snapshot"));
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["before-upgrade", "now", "current"]);
    assert_eq!((&list[1]["parent"], &list[2]["parent"]), (&json!("before-upgrade"), &json!("now")));
    call(&cluster, "PUT", &format!("{vm}/config"), "memory=1024").data();
    run_task(&cluster, "POST", &format!("{vm}/snapshot/now/rollback"), "");
    assert_eq!(get(&cluster, &format!("{vm}/config"))["memory"], "4096");
    assert_eq!(get(&cluster, &format!("{vm}/snapshot/now/config"))["description"], "mine");
    run_task(&cluster, "DELETE", &format!("{vm}/snapshot/now"), "");
    assert_eq!(get(&cluster, &format!("{vm}/snapshot"))[1]["parent"], "before-upgrade");
    assert_eq!(task(&cluster, "DELETE", &format!("{vm}/snapshot/now"), "").0, "snapshot 'now' does not exist");
    let (exit, _) = task(&cluster, "POST", &format!("{vm}/snapshot"), "snapname=before-upgrade");
    assert_eq!(exit, "snapshot name 'before-upgrade' already used");
}

#[test]
fn snapshot_rollback_restores_the_size_of_a_disk() {
    let demo = demo();
    let cluster = demo.cluster();
    let vm = "/nodes/pve2/qemu/106";
    let size = || {
        let volumes = get(&cluster, "/nodes/pve2/storage/local-lvm/content?vmid=106");
        volumes.as_array().unwrap().iter().map(|volume| volume["size"].as_u64().unwrap()).sum::<u64>()
    };
    let before = size();
    run_task(&cluster, "POST", &format!("{vm}/snapshot"), "snapname=now");
    run_task(&cluster, "PUT", &format!("{vm}/resize"), "disk=scsi0&size=%2B5G");
    assert_eq!(size(), before + (5 << 30));
    run_task(&cluster, "POST", &format!("{vm}/snapshot/now/rollback"), "");
    assert_eq!(size(), before);
}

#[test]
fn a_cloud_init_drive_is_made_and_describes_its_options() {
    let demo = demo();
    let cluster = demo.cluster();
    let vm = "/nodes/pve2/qemu/106";
    let options = "ide2=local-lvm:cloudinit&ciuser=ada&ipconfig0=ip%3D192.0.2.9/24&sshkeys=ssh-ed25519%2520AAAA";
    call(&cluster, "PUT", &format!("{vm}/config"), options).data();
    assert_eq!(get(&cluster, &format!("{vm}/config"))["ide2"], "local-lvm:vm-106-cloudinit,media=cdrom,size=4M");
    let keys = get(&cluster, &format!("{vm}/cloudinit"));
    let keys: Vec<_> = keys.as_array().unwrap().iter().map(|row| row["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["ciuser", "ipconfig0", "sshkeys"]);
    let user = get(&cluster, &format!("{vm}/cloudinit/dump?type=user")).to_string();
    assert!(user.contains("user: ada") && user.contains("ssh-ed25519 AAAA"), "{user}");
    let network = get(&cluster, &format!("{vm}/cloudinit/dump?type=network")).to_string();
    assert!(network.contains("192.0.2.9/24"), "{network}");
}

#[test]
fn a_drive_of_a_running_vm_waits_for_its_next_start() {
    let demo = demo();
    let cluster = demo.cluster();
    let vm = "/nodes/pve1/qemu/100";
    call(&cluster, "PUT", &format!("{vm}/config"), "ide2=nas:iso/virtio-win-0.1.271.iso,media%3Dcdrom").data();
    let pending = get(&cluster, &format!("{vm}/pending"));
    let drive = pending.as_array().unwrap().iter().find(|row| row["key"] == "ide2").unwrap();
    assert!(drive["pending"].is_string() && drive["value"].is_null(), "{drive}");
}

#[test]
fn task_locks_its_guest_until_it_ends_or_is_interrupted() {
    let demo = demo_with(|o| o.task_step = Duration::from_secs(600));
    let cluster = demo.cluster();
    let vm = "/nodes/pve2/qemu/106";
    let upid = call(&cluster, "POST", &format!("{vm}/snapshot"), "snapname=never").data();
    let at = format!("/nodes/pve2/tasks/{}", upid.as_str().unwrap());
    assert_error(&call(&cluster, "PUT", &format!("{vm}/config"), "cores=3"), "500 VM is locked (snapshot)");
    assert_eq!(task(&cluster, "POST", &format!("{vm}/status/start"), "").0, "VM is locked (snapshot)");
    assert_eq!(call(&cluster, "DELETE", &at, "").data(), Value::Null);
    assert_eq!(get(&cluster, &format!("{at}/status"))["exitstatus"], "received interrupt");
    let log = get(&cluster, &format!("{at}/log"));
    assert_eq!(log.as_array().unwrap().last().unwrap()["t"], "TASK ERROR: received interrupt");
    call(&cluster, "PUT", &format!("{vm}/config"), "cores=3").data();
    assert_eq!(get(&cluster, &format!("{vm}/snapshot")).as_array().unwrap().len(), 2);
}

#[test]
fn a_log_grows_and_is_read_in_parts() {
    let demo = demo_with(|o| o.task_step = Duration::from_millis(100));
    let cluster = demo.cluster();
    let upid = call(&cluster, "POST", "/nodes/pve1/vzdump", "vmid=200&storage=local").data();
    let at = format!("/nodes/pve1/tasks/{}/log", upid.as_str().unwrap());
    let first = call(&cluster, "GET", &at, "").json()["total"].as_u64().unwrap();
    wait_until("more lines", || (call(&cluster, "GET", &at, "").json()["total"].as_u64()? > first).then_some(()));
    let all = wait_until("the end", || {
        let answer = call(&cluster, "GET", &format!("{at}?limit=0"), "").json();
        (answer["data"].as_array()?.last()?["t"] == "TASK OK").then_some(answer)
    });
    let part = call(&cluster, "GET", &format!("{at}?start=1&limit=2"), "").json();
    assert_eq!((&part["total"], part["data"].as_array().unwrap().len()), (&all["total"], 2));
    assert_eq!(part["data"][0], all["data"][1]);
    assert_eq!(part["data"][0]["n"], 2);
}

#[test]
fn unknown_tasks_are_parameter_errors() {
    let demo = demo();
    let cluster = demo.cluster();
    let bad = errors(&call(&cluster, "GET", "/nodes/pve1/tasks/UPID:bad/status", ""));
    assert_eq!(bad, json!({"upid": "unable to parse worker upid"}));
    let path = "/nodes/pve1/tasks/UPID:pve1:00000001:00000001:6B000000:qmstart:100:root@pam:/status";
    assert_eq!(errors(&call(&cluster, "GET", path, "")), json!({"upid": "no such task"}));
}

#[test]
fn a_guest_is_created_started_and_destroyed() {
    let demo = demo();
    let cluster = demo.cluster();
    let id = get(&cluster, "/cluster/nextid").as_str().unwrap().to_string();
    assert_eq!(id, "107");
    let form =
        format!("vmid={id}&name=new&memory=1024&scsi0=local-lvm:10&net0=virtio,bridge%3Dvmbr0&start=1&pool=stage");
    run_task(&cluster, "POST", "/nodes/pve1/qemu", &form);
    let vm = format!("/nodes/pve1/qemu/{id}");
    let config = get(&cluster, &format!("{vm}/config"));
    assert_eq!(config["scsi0"], "local-lvm:vm-107-disk-0,size=10G");
    assert!(config["net0"].as_str().unwrap().starts_with("virtio=BC:24:11:"), "{config}");
    assert_error(&call(&cluster, "DELETE", &vm, ""), "500 VM 107 is running - destroy failed");
    let again = call(&cluster, "POST", "/nodes/pve1/qemu", "vmid=107");
    assert_error(&again, "500 unable to create VM 107 - VM 107 already exists on node 'pve1'");
    run_task(&cluster, "POST", &format!("{vm}/status/stop"), "");
    run_task(&cluster, "DELETE", &vm, "");
    let gone = call(&cluster, "GET", &format!("{vm}/config"), "");
    assert_error(&gone, "500 Configuration file 'nodes/pve1/qemu-server/107.conf' does not exist");
    assert_eq!(get(&cluster, "/nodes/pve1/storage/local-lvm/content?vmid=107"), json!([]));
}

#[test]
fn a_container_is_created_from_a_template() {
    let demo = demo();
    let cluster = demo.cluster();
    let missing = errors(&call(&cluster, "POST", "/nodes/pve1/lxc", "vmid=300"));
    assert_eq!(missing, json!({"ostemplate": "property is missing and it is not optional"}));
    let form = "vmid=300&hostname=box&rootfs=local-lvm:4&ostemplate=";
    let unknown = call(&cluster, "POST", "/nodes/pve1/lxc", &format!("{form}local:vztmpl/none.tar.zst"));
    let upid = unknown.data().as_str().unwrap().to_string();
    let status = get(&cluster, &format!("/nodes/pve1/tasks/{upid}/status"));
    assert_eq!(status["exitstatus"], "unable to create CT 300 - volume 'local:vztmpl/none.tar.zst' does not exist");
    let template = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst";
    run_task(&cluster, "POST", "/nodes/pve1/lxc", &format!("{form}{template}"));
    assert_eq!(get(&cluster, "/nodes/pve1/lxc/300/config")["rootfs"], "local-lvm:vm-300-disk-0,size=4G");
}

#[test]
fn protected_guest_cannot_be_destroyed() {
    let demo = demo();
    let cluster = demo.cluster();
    run_task(&cluster, "POST", "/nodes/pve1/qemu/102/status/stop", "");
    let answer = call(&cluster, "DELETE", "/nodes/pve1/qemu/102", "");
    assert_error(&answer, "500 can't remove VM 102 - protection mode enabled");
}

#[test]
fn clone_is_independent_of_its_source() {
    let demo = demo();
    let cluster = demo.cluster();
    run_task(&cluster, "POST", "/nodes/pve1/qemu/9000/clone", "newid=120&name=fresh&full=1");
    let (old, new) = (get(&cluster, "/nodes/pve1/qemu/9000/config"), get(&cluster, "/nodes/pve1/qemu/120/config"));
    assert_eq!((&new["name"], &new["template"]), (&json!("fresh"), &Value::Null));
    assert_ne!(old["net0"], new["net0"]);
    assert!(new["scsi0"].as_str().unwrap().starts_with("local-lvm:vm-120-disk-0,"), "{new}");
    run_task(&cluster, "POST", "/nodes/pve1/qemu/120/status/start", "");
    let taken = call(&cluster, "POST", "/nodes/pve1/qemu/9000/clone", "newid=120");
    assert_error(&taken, "500 unable to create VM 120: config file already exists");
}

#[test]
fn a_migration_moves_the_guest() {
    let demo = demo();
    let cluster = demo.cluster();
    let at = "/nodes/pve1/qemu/100/migrate";
    assert_eq!(errors(&call(&cluster, "POST", at, "target=pve1")), json!({"target": "target is local node."}));
    assert_error(&call(&cluster, "POST", at, "target=pve2"), "500 can't migrate running VM without --online");
    assert_error(&call(&cluster, "POST", at, "target=pve9"), "500 no such cluster node 'pve9'");
    let log = run_task(&cluster, "POST", at, "target=pve2&online=1");
    assert!(log[0].contains("starting migration of VM 100 to node 'pve2'"), "{log:?}");
    assert_eq!(get(&cluster, "/nodes/pve2/qemu/100/status/current")["status"], "running");
    assert_eq!(get(&cluster, "/nodes/pve1/qemu/102/migrate")["local_disks"][0]["drivename"], "scsi0");
    assert_error(
        &call(&cluster, "GET", "/nodes/pve1/qemu/100/config", ""),
        "500 Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist",
    );
    let (exit, _) = task(&cluster, "POST", "/nodes/pve3/qemu/103/migrate", "target=pve1&online=1");
    assert_eq!(exit, "can't live migrate attached local disks without with-local-disks option");
}

#[test]
fn a_backup_becomes_a_volume_that_can_be_removed() {
    let demo = demo();
    let cluster = demo.cluster();
    let log = run_task(
        &cluster,
        "POST",
        "/nodes/pve1/vzdump",
        "vmid=200&storage=nas&remove=0&notes-template=%7B%7Bguestname%7D%7D",
    );
    assert!(log[0].starts_with("INFO: starting new backup job: vzdump 200"), "{log:?}");
    let list = get(&cluster, "/nodes/pve2/storage/nas/content?content=backup&vmid=200");
    let newest = list.as_array().unwrap().iter().max_by_key(|v| v["ctime"].as_i64()).unwrap();
    let volid = newest["volid"].as_str().unwrap();
    assert_eq!((&newest["notes"], list.as_array().unwrap().len()), (&json!("dns01"), 4));
    let at = format!("/nodes/pve1/storage/nas/content/{}", volid.replace('/', "%2F"));
    call(&cluster, "PUT", &at, "protected=1").data();
    assert!(call(&cluster, "DELETE", &at, "").line.ends_with("is protected - remove its protection first"));
    call(&cluster, "PUT", &at, "protected=0").data();
    // The slash of a volume id may also be unencoded.
    run_task(&cluster, "DELETE", &format!("/nodes/pve1/storage/nas/content/{volid}"), "");
    assert_eq!(get(&cluster, "/nodes/pve2/storage/nas/content?content=backup&vmid=200").as_array().unwrap().len(), 3);
}

#[test]
fn failed_backup_can_be_diagnosed_and_repaired() {
    let demo = demo();
    let cluster = demo.cluster();
    let failed = get(&cluster, "/nodes/pve1/tasks?errors=1&typefilter=vzdump");
    let upid = failed[0]["upid"].as_str().unwrap();
    assert_eq!(failed[0]["status"], "job errors");
    let log = get(&cluster, &format!("/nodes/pve1/tasks/{upid}/log?limit=0")).to_string();
    assert!(log.contains("Backup of VM 102 failed - No space left on device"), "{log}");
    assert!(log.contains("TASK ERROR: job errors"), "{log}");
    let (exit, _) = task(&cluster, "POST", "/nodes/pve1/vzdump", "vmid=102&storage=nas");
    assert_eq!(exit, "job errors");
    let old = get(&cluster, "/nodes/pve1/storage/nas/content?vmid=110");
    let volid = old[0]["volid"].as_str().unwrap();
    run_task(&cluster, "DELETE", &format!("/nodes/pve1/storage/nas/content/{volid}"), "");
    run_task(&cluster, "POST", "/nodes/pve1/vzdump", "vmid=102&storage=nas");
}

#[test]
fn earlier_backups_succeeded_and_exist() {
    let demo = demo();
    let cluster = demo.cluster();
    let nights = get(&cluster, "/nodes/pve1/tasks?typefilter=vzdump");
    let exits: Vec<&str> = nights.as_array().unwrap().iter().map(|t| t["status"].as_str().unwrap()).collect();
    assert_eq!(exits, ["job errors", "OK", "OK", "OK", "OK", "OK", "OK"]);
    let job = get(&cluster, "/cluster/backup/backup-nightly");
    let count = |vmid: &str| {
        get(&cluster, &format!("/nodes/pve1/storage/nas/content?content=backup&vmid={vmid}")).as_array().unwrap().len()
    };
    for vmid in job["vmid"].as_str().unwrap().split(',') {
        assert_eq!(count(vmid), 3, "backups of {vmid}");
    }
    let failed = nights[0]["starttime"].as_i64().unwrap();
    let newest = get(&cluster, "/nodes/pve1/storage/nas/content?content=backup&vmid=102");
    assert!(newest.as_array().unwrap().iter().all(|v| v["ctime"].as_i64().unwrap() < failed));
}

#[test]
fn guest_is_restored_from_its_last_backup() {
    let demo = demo();
    let cluster = demo.cluster();
    for (kind, vmid, archive) in [("qemu", 100, "archive"), ("lxc", 200, "restore=1&ostemplate")] {
        let at = format!("/nodes/pve1/{kind}");
        let list = get(&cluster, &format!("/nodes/pve1/storage/nas/content?content=backup&vmid={vmid}"));
        let last = list.as_array().unwrap().iter().max_by_key(|v| v["ctime"].as_i64()).unwrap();
        let form = format!("vmid={vmid}&{archive}={}", last["volid"].as_str().unwrap());
        let config = format!("{at}/{vmid}/config");
        let before = get(&cluster, &config);
        call(&cluster, "PUT", &config, "cores=1&description=broken").data();
        assert!(call(&cluster, "POST", &at, &form).line.ends_with("already exists on node 'pve1'"));
        assert!(call(&cluster, "POST", &at, &format!("{form}&force=1")).line.ends_with("is running"));
        run_task(&cluster, "POST", &format!("{at}/{vmid}/status/stop"), "");
        run_task(&cluster, "POST", &at, &format!("{form}&force=1&start=1"));
        let after = get(&cluster, &config);
        assert_eq!((&after["cores"], &after["description"]), (&before["cores"], &before["description"]));
        let images = get(&cluster, &format!("/nodes/pve1/storage/nas/content?content=images&vmid={vmid}"));
        assert!(images.as_array().unwrap().len() < 2, "{images}");
        assert_eq!(get(&cluster, &format!("{at}/{vmid}/status/current"))["status"], "running");
    }
    let gone = get(&cluster, "/nodes/pve2/storage/nas/content?vmid=110")[0]["volid"].clone();
    let form = format!("vmid=110&name=erp&archive={}", gone.as_str().unwrap());
    run_task(&cluster, "POST", "/nodes/pve2/qemu", &form);
    assert_eq!(get(&cluster, "/nodes/pve2/qemu/110/config")["name"], "erp");
}

#[test]
fn backup_job_is_created_changed_and_removed() {
    let demo = demo();
    let cluster = demo.cluster();
    let uncovered = || {
        let rows = get(&cluster, "/cluster/backup-info/not-backed-up");
        rows.as_array().unwrap().iter().map(|r| r["vmid"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(uncovered(), [105, 106, 204, 9000]);
    let form = "id=weekly&schedule=sun+03:00&storage=nas&pool=stage&prune-backups=keep-weekly%3D4";
    call(&cluster, "POST", "/cluster/backup", form).data();
    assert_eq!(uncovered(), [105, 9000]);
    assert_eq!(get(&cluster, "/cluster/backup/weekly")["prune-backups"], json!({"keep-weekly": "4"}));
    let next_run = get(&cluster, "/cluster/backup/weekly")["next-run"].as_i64().expect("a time");
    assert_eq!((next_run + 4 * 86_400) % (7 * 86_400), 3 * 3_600, "a Sunday at 3 o'clock");
    call(&cluster, "PUT", "/cluster/backup/weekly", "all=1&exclude=9000&delete=pool").data();
    assert_eq!(uncovered(), [9000]);
    let included = get(&cluster, "/cluster/backup/backup-nightly/included_volumes");
    assert_eq!(included["children"][0]["children"][0]["name"], "nas:100/vm-100-disk-0.qcow2");
    call(&cluster, "DELETE", "/cluster/backup/weekly", "").data();
    let gone = errors(&call(&cluster, "GET", "/cluster/backup/weekly", ""));
    assert_eq!(gone, json!({"id": "No such job 'weekly'"}));
}

#[test]
fn permissions_come_from_users_groups_and_pools() {
    let demo = demo();
    let cluster = demo.cluster();
    let on_web01 = |user: &str| {
        let rights = get(&cluster, &format!("/access/permissions?path=/vms/100&userid={user}"));
        rights["/vms/100"].as_object().map(|r| r.keys().cloned().collect::<Vec<_>>()).unwrap_or_default()
    };
    assert!(on_web01("bob@pve").contains(&"VM.Backup".into()), "of the group operators");
    assert!(on_web01("alice@pve").contains(&"VM.Allocate".into()), "of the pool prod");
    assert!(on_web01("carol@pve").contains(&"VM.Audit".into()), "of the group auditors");
    assert_eq!(on_web01("alice@pve!laptop"), [""; 0], "a token that no line names");
    let form = "path=/vms/100&roles=NoAccess&groups=operators";
    call(&cluster, "PUT", "/access/acl", form).data();
    let form = "path=/vms/100&roles=PVEVMUser&groups=operators&delete=1";
    call(&cluster, "PUT", "/access/acl", form).data();
    assert_eq!(on_web01("bob@pve"), [""; 0]);
    let acl = get(&cluster, "/access/acl");
    let group = acl.as_array().unwrap().iter().find(|e| e["path"] == "/vms/100").unwrap();
    assert_eq!((&group["type"], &group["ugid"]), (&json!("group"), &json!("operators")));
    assert_eq!(get(&cluster, "/access/groups/operators")["members"], json!(["alice@pve", "bob@pve"]));
    assert_eq!(get(&cluster, "/access/users/bob@pve")["groups"], json!(["operators"]));
    assert_eq!(get(&cluster, "/access/users/root@pam/token").as_array().unwrap().len(), 2);
    assert_eq!(get(&cluster, "/access/roles/PVEPoolUser"), json!({"Pool.Audit": 1}));
}

#[test]
fn a_new_guest_has_no_firewall_options_and_a_rule_is_checked() {
    let demo = demo();
    let cluster = demo.cluster();
    run_task(&cluster, "POST", "/nodes/pve1/qemu", "vmid=900");
    let at = "/nodes/pve1/qemu/900/firewall";
    assert_eq!(get(&cluster, &format!("{at}/options")), json!({"digest": "da39a3ee5e6b4b0d3255bfef95601890afd80709"}));
    for (rule, parameter) in [("dport=22", "proto"), ("macro=SSHH", "macro"), ("sport=1&macro=SSH", "proto")] {
        let answer = call(&cluster, "POST", &format!("{at}/rules"), &format!("type=in&action=ACCEPT&{rule}"));
        assert!(answer.line.starts_with("HTTP/1.1 400") && answer.json()["errors"][parameter].is_string(), "{rule}");
    }
    call(&cluster, "POST", &format!("{at}/rules"), "type=in&action=ACCEPT&macro=Ceph").data();
    let digest = get(&cluster, &format!("{at}/options"))["digest"].clone();
    call(&cluster, "PUT", &format!("{at}/options"), &format!("enable=1&digest={}", digest.as_str().unwrap())).data();
    let stale = call(&cluster, "DELETE", &format!("{at}/rules/0?digest={}", digest.as_str().unwrap()), "");
    assert!(stale.line.contains("detected modified configuration"), "{}", stale.line);
}

#[test]
fn a_guests_firewall_rules_can_be_changed() {
    let demo = demo();
    let cluster = demo.cluster();
    let at = "/nodes/pve1/qemu/100/firewall/rules";
    let rules = || get(&cluster, at).as_array().unwrap().clone();
    assert_eq!(rules().len(), 3);
    call(&cluster, "POST", at, "type=in&action=ACCEPT&proto=tcp&dport=8443&comment=admin").data();
    let new = rules()[0].clone();
    assert_eq!((&new["dport"], &new["pos"], &new["enable"]), (&json!("8443"), &json!(0), &json!(0)));
    call(&cluster, "PUT", &format!("{at}/0"), "enable=1&delete=comment").data();
    assert_eq!((&rules()[0]["enable"], &rules()[0]["comment"]), (&json!(1), &Value::Null));
    call(&cluster, "PUT", &format!("{at}/0"), "moveto=3").data();
    assert_eq!(get(&cluster, &format!("{at}/3"))["dport"], "8443");
    call(&cluster, "DELETE", &format!("{at}/3"), "").data();
    assert_error(&call(&cluster, "DELETE", &format!("{at}/3"), ""), "500 no rule at position 3");
}

#[test]
fn disks_of_a_host_report_their_health() {
    let demo = demo();
    let cluster = demo.cluster();
    let smart = get(&cluster, "/nodes/pve3/disks/smart?disk=/dev/nvme1n1");
    assert_eq!((&smart["health"], &smart["wearout"]), (&json!("PASSED"), &json!(11)));
    assert!(smart["text"].as_str().unwrap().contains("Percentage Used: 89%"));
    let line = call(&cluster, "GET", "/nodes/pve3/disks/smart?disk=/dev/sda", "").line;
    assert!(line.ends_with("500 not a valid disk: /dev/sda"), "{line}");
    assert_eq!(get(&cluster, "/nodes/pve1/disks/lvmthin")[0]["lv"], "data");
}

#[test]
fn constant_answers_require_permissions_too() {
    let demo = demo();
    let cluster = demo.cluster();
    let agent = |vmid: u32| call(&cluster, "GET", &format!("/nodes/pve1/qemu/{vmid}/agent/info"), "");
    assert_eq!(agent(100).data()["result"]["version"], "10.0.2");
    assert_error(&agent(102), "500 No QEMU guest agent configured");
    assert_error(
        &call(&cluster, "GET", "/nodes/pve1/qemu/999/firewall/options", ""),
        "500 Configuration file 'nodes/pve1/qemu-server/999.conf' does not exist",
    );
    let ceph = call(&cluster, "GET", "/nodes/pve2/ceph/status", "");
    assert_error(&ceph, "500 binary not installed: /usr/bin/ceph-mon");
    assert_error(
        &call(&demo.auditor(), "GET", "/nodes/pve1/hardware/usb", ""),
        "403 Permission check failed (/, Sys.Modify)",
    );
    assert!(get(&cluster, "/nodes/pve3/report").as_str().unwrap().contains("# hostname\npve3\n"));
}

#[test]
fn high_availability_is_enabled_changed_and_removed() {
    let demo = demo();
    let cluster = demo.cluster();
    call(&cluster, "POST", "/cluster/ha/resources", "sid=vm:102&max_restart=2").data();
    call(&cluster, "PUT", "/cluster/ha/resources/vm:102", "state=stopped").data();
    let resource = get(&cluster, "/cluster/ha/resources/vm:102");
    assert_eq!((&resource["state"], &resource["max_restart"]), (&json!("stopped"), &json!(2)));
    let manager = get(&cluster, "/cluster/ha/status/manager_status");
    assert_eq!(manager["manager_status"]["service_status"]["vm:102"]["state"], "stopped");
    assert!(call(&cluster, "GET", "/cluster/ha/groups", "").line.contains("500 cannot index groups"));
}

#[test]
fn disk_grows_and_cannot_shrink() {
    let demo = demo();
    let cluster = demo.cluster();
    run_task(&cluster, "PUT", "/nodes/pve1/qemu/100/resize", "disk=scsi0&size=%2B10G");
    assert!(get(&cluster, "/nodes/pve1/qemu/100/config")["scsi0"].as_str().unwrap().contains("size=74G"));
    let (exit, _) = task(&cluster, "PUT", "/nodes/pve1/qemu/100/resize", "disk=scsi0&size=1G");
    assert_eq!(exit, "shrinking disks is not supported");
}

#[test]
fn guest_agent_answers_if_the_guest_has_one() {
    let demo = demo();
    let cluster = demo.cluster();
    let agent = "/nodes/pve1/qemu/100/agent";
    assert_eq!(get(&cluster, &format!("{agent}/get-osinfo"))["result"]["id"], "debian");
    assert_eq!(get(&cluster, &format!("{agent}/network-get-interfaces"))["result"][1]["name"], "eth0");
    let pid = call(&cluster, "POST", &format!("{agent}/exec"), "command=echo&command=a%20b").data()["pid"].clone();
    let out = get(&cluster, &format!("{agent}/exec-status?pid={pid}"));
    assert_eq!(out, json!({"exited": 1, "exitcode": 0, "out-data": "a b\n"}));
}

#[test]
fn every_listing_of_the_cluster_has_its_rows() {
    let demo = demo();
    let cluster = demo.cluster();
    for (path, least) in [
        ("/", 6),
        ("/nodes", 3),
        ("/cluster", 21),
        ("/cluster/resources", 28),
        ("/cluster/resources?type=storage", 9),
        ("/cluster/status", 4),
        ("/cluster/tasks", 7),
        ("/cluster/log", 7),
        ("/cluster/backup", 1),
        ("/cluster/ha/status/current", 6),
        ("/cluster/ha/resources", 1),
        ("/pools", 2),
        ("/storage", 3),
        ("/access", 5),
        ("/access/users", 5),
        ("/access/users?full=1", 5),
        ("/access/roles", 18),
        ("/access/acl", 10),
        ("/access/groups", 3),
        ("/access/users/root@pam/token", 2),
        ("/cluster/firewall/rules", 2),
        ("/cluster/notifications/targets", 1),
        ("/nodes/pve1/aplinfo", 3),
        ("/nodes/pve1/hardware/pci", 1),
        ("/nodes/pve3/tasks?userfilter=alice", 4),
        ("/access/users/demo@pve/token", 2),
        ("/nodes/pve1", 41),
        ("/nodes/pve1/qemu", 3),
        ("/nodes/pve1/lxc", 1),
        ("/nodes/pve1/storage", 3),
        ("/nodes/pve1/services", 19),
        ("/nodes/pve1/network", 4),
        ("/nodes/pve1/apt/update", 2),
        ("/nodes/pve1/tasks", 2),
        ("/nodes/pve1/rrddata?timeframe=hour", 70),
        ("/nodes/pve1/qemu/100/rrddata?timeframe=day", 70),
        ("/nodes/pve1/qemu/100", 20),
        ("/nodes/pve1/syslog", 50),
        ("/nodes/pve1/certificates/info", 1),
        ("/nodes/pve1/qemu/100/firewall/rules", 3),
        ("/nodes/pve1/disks/list", 2),
        ("/nodes/pve1/storage/nas/content", 15),
        ("/cluster/backup-info/not-backed-up", 3),
        ("/nodes/pve1/storage/nas/rrddata?timeframe=week", 70),
    ] {
        let rows = get(&cluster, path).as_array().map_or(0, Vec::len);
        assert!(rows >= least, "{path}: {rows} rows");
    }
    for path in [
        "/nodes/pve2/status",
        "/nodes/pve2/apt/repositories",
        "/nodes/pve2/network/vmbr0",
        "/nodes/pve2/vzdump/defaults",
        "/nodes/pve1/disks/lvm",
        "/nodes/pve1/qemu/100/firewall/options",
        "/cluster/config/totem",
        "/nodes/pve1/time",
        "/nodes/pve1/dns",
        "/nodes/pve1/subscription",
        "/cluster/options",
        "/pools/prod",
        "/nodes/pve1/storage/nas/status",
        "/nodes/pve1/lxc/200/config",
        "/access/users/demo@pve",
        "/storage/nas",
    ] {
        assert!(get(&cluster, path).is_object(), "{path}");
    }
}

#[test]
fn journal_is_gzip_regardless_of_accept_encoding() {
    let demo = demo();
    let answer = call(&demo.cluster(), "GET", "/nodes/pve1/journal", "");
    assert_eq!(answer.header("Content-Encoding"), ["gzip"]);
    assert_eq!(&answer.body[..3], [0x1f, 0x8b, 8]);
}

#[test]
fn paths_are_decoded_once_and_empty_segments_dropped() {
    let demo = demo();
    let cluster = demo.cluster();
    assert_eq!(get(&cluster, "/nodes//pve1/%71emu/100/config/")["name"], "web01");
    let twice = call(&cluster, "GET", "/nodes/pve1/%2571emu", "");
    assert_error(&twice, "501 Method 'GET /nodes/pve1/%71emu' not implemented");
    let split = call(&cluster, "GET", "/x%0d%0aSet-Cookie:%20a=b", "");
    assert_eq!((split.line.as_str(), split.body.as_slice()), ("HTTP/1.1 400 Bad Request", &b""[..]));
}

#[test]
fn other_formats_and_addresses_are_answered_like_a_node() {
    let demo = demo();
    let cluster = demo.cluster();
    let ask = |path: &str| {
        let text = format!("GET {path} HTTP/1.1\r\nAuthorization: {}\r\n\r\n", token(&cluster));
        raw(&cluster, text.as_bytes()).unwrap()
    };
    for (path, line) in [
        ("/api2/", "501 no such uri"),
        ("/api2/yaml/version", "501 no formatter for uri /version, yaml"),
        ("/nofile", "500 no such file '/nofile'"),
    ] {
        let answer = ask(path);
        assert_eq!(answer.line, format!("HTTP/1.1 {line}"));
        assert_eq!(answer.text(), line.split_once(' ').unwrap().1);
        assert!(answer.header("Content-Type").is_empty());
    }
    assert_eq!(ask("/api2/extjs/version").json()["success"], 1);
    let failed = ask("/api2/extjs/nodes/pve1/qemu/100/rrddata");
    assert_eq!((failed.line.as_str(), &failed.json()["status"]), ("HTTP/1.1 200 OK", &json!("400")));
}

#[test]
fn api_description_is_served_without_a_token_plain_or_compressed() {
    let text = b"const apiSchema = [];".repeat(5);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&text).unwrap();
    let packed = packed.finish().unwrap();
    let ask = |demo: &Demo, more: &str| {
        let line = format!("GET /pve-docs/api-viewer/apidoc.js?ver=9 HTTP/1.1\r\n{more}\r\n");
        raw(&demo.cluster(), line.as_bytes()).unwrap()
    };
    let demo = demo_with(|o| o.apidoc = Some(packed.clone().into()));
    let (plain, gzip) = (ask(&demo, ""), ask(&demo, "Accept-Encoding: br, gzip\r\n"));
    for answer in [&plain, &gzip] {
        assert_eq!(answer.line, "HTTP/1.1 200 OK");
        assert_eq!(answer.header("Content-Type"), ["application/javascript"]);
    }
    assert_eq!((&plain.body, &gzip.body), (&text, &packed));
    assert_eq!(gzip.header("Content-Encoding"), ["gzip"]);
    assert!(plain.headers.iter().all(|h| !h.starts_with("Content-Encoding")));
    let without = ask(&demo_with(|o| o.apidoc = None), "");
    assert_eq!(without.line, "HTTP/1.1 500 no such file '/pve-docs/api-viewer/apidoc.js'");
}

#[test]
fn unreadable_bodies_are_rejected() {
    let demo = demo();
    let cluster = demo.cluster();
    let config = "/nodes/pve1/qemu/102/config";
    let plain = |answer: Option<Answer>, line: &str| {
        let answer = answer.unwrap();
        assert_eq!(answer.line, format!("HTTP/1.1 {line}"));
        assert_eq!(answer.text(), line.split_once(' ').unwrap().1);
    };
    let form = Some("application/x-www-form-urlencoded");
    plain(raw(&cluster, &request(&cluster, "GET", "/version", form, "a=1")), "501 Unexpected content for method 'GET'");
    plain(
        raw(&cluster, &request(&cluster, "DELETE", "/nodes/pve1/qemu/102", form, "purge=1")),
        "501 Unexpected content for method 'DELETE'",
    );
    plain(raw(&cluster, &request(&cluster, "PUT", config, form, &"a".repeat(600 << 10))), "501 for data too large");
    plain(
        raw(&cluster, &request(&cluster, "PUT", config, Some("text/plain"), "x")),
        "506 upload 'Content-Type 'text/plain' not implemented",
    );
    let chunked = format!(
        "POST /api2/json{config} HTTP/1.1\r\nAuthorization: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        token(&cluster)
    );
    plain(raw(&cluster, chunked.as_bytes()), "501 chunked transfer encoding not supported");
    let broken = raw(&cluster, &request(&cluster, "PUT", config, Some("application/json"), "{\"onboot\":")).unwrap();
    assert!(broken.line.starts_with("HTTP/1.1 500 malformed JSON string"), "{}", broken.line);
    let array = raw(&cluster, &request(&cluster, "PUT", config, Some("application/json"), "[1]")).unwrap();
    assert!(array.line.starts_with("HTTP/1.1 500 Not a HASH reference"), "{}", array.line);
}

#[test]
fn oversized_or_malformed_heads_get_no_answer() {
    let demo = demo();
    let cluster = demo.cluster();
    let long = format!("GET /api2/json/version HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(9000));
    let many = format!("GET /api2/json/version HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(70));
    let lengths = "POST /api2/json/version HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
    for bytes in [long.as_bytes(), many.as_bytes(), lengths.as_bytes(), b"\x16\x03\x01\x00\xff\r\n\r\n", b"GET\r\n\r\n"]
    {
        assert!(raw(&cluster, bytes).is_none());
    }
    let url =
        format!("GET /api2/json/version?x={} HTTP/1.1\r\nAuthorization: {}\r\n\r\n", "a".repeat(9000), token(&cluster));
    assert_eq!(raw(&cluster, url.as_bytes()).unwrap().line, "HTTP/1.1 400 Parameter verification failed.");
    assert_eq!(
        raw(&cluster, b"PRI * HTTP/2.0\r\n\r\n").unwrap().line,
        "HTTP/1.0 506 http protocol version 2.0 not supported"
    );
}

#[test]
fn a_connection_serves_a_hundred_requests() {
    let demo = demo();
    let cluster = demo.cluster();
    let mut stream = connect(&cluster);
    for n in 1..=100 {
        stream.write_all(&request(&cluster, "GET", "/version", None, "")).unwrap();
        let expected = if n == 100 { "close" } else { "Keep-Alive" };
        assert_eq!(read(&mut stream).unwrap().header("Connection"), [expected], "request {n}");
    }
    assert!(read(&mut stream).is_none());
}

#[test]
fn an_idle_connection_is_closed() {
    let demo = demo_with(|o| o.idle = Duration::from_millis(80));
    let cluster = demo.cluster();
    let mut stream = connect(&cluster);
    stream.write_all(&request(&cluster, "GET", "/version", None, "")).unwrap();
    assert!(read(&mut stream).is_some());
    let begun = Instant::now();
    assert!(read(&mut stream).is_none());
    assert!(begun.elapsed() < Duration::from_secs(4));
}

#[test]
fn requests_may_arrive_in_one_piece_or_byte_by_byte() {
    let demo = demo();
    let cluster = demo.cluster();
    let mut stream = connect(&cluster);
    let form = Some("application/x-www-form-urlencoded");
    let one = request(&cluster, "PUT", "/nodes/pve1/qemu/102/config", form, "cores=7");
    stream.write_all(&[one.clone(), one.clone()].concat()).unwrap();
    assert_eq!(read(&mut stream).unwrap().line, "HTTP/1.1 200 OK");
    assert_eq!(read(&mut stream).unwrap().line, "HTTP/1.1 200 OK");
    for byte in one {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(read(&mut stream).unwrap().line, "HTTP/1.1 200 OK");
}

#[test]
fn http_1_0_is_answered_with_http_1_0() {
    let demo = demo();
    let cluster = demo.cluster();
    let text = format!("GET /api2/json/version HTTP/1.0\r\nAuthorization: {}\r\n\r\n", token(&cluster));
    let answer = raw(&cluster, text.as_bytes()).unwrap();
    assert_eq!((answer.line.as_str(), answer.header("Connection")), ("HTTP/1.0 200 OK", vec!["close"]));
}

#[test]
fn connections_beyond_the_cap_are_closed() {
    let demo = demo_with(|o| o.connections = 2);
    let cluster = demo.cluster();
    let open: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = connect(&cluster);
            stream.write_all(&request(&cluster, "GET", "/version", None, "")).unwrap();
            assert!(read(&mut stream).is_some());
            stream
        })
        .collect();
    assert!(read(&mut connect(&cluster)).is_none());
    drop(open);
    wait_until("room again", || raw(&cluster, &request(&cluster, "GET", "/version", None, "")).map(|_| ()));
}

#[test]
fn dropping_the_demo_frees_its_port_and_ends_its_connections() {
    let demo = demo_with(|o| o.auth_delay = Duration::from_secs(600));
    let cluster = demo.cluster();
    let mut idle = connect(&cluster);
    idle.write_all(&request(&cluster, "GET", "/version", None, "")).unwrap();
    assert!(read(&mut idle).is_some());
    let mut waiting = connect(&cluster);
    waiting.write_all(b"GET /api2/json/version HTTP/1.1\r\n\r\n").unwrap();
    let begun = Instant::now();
    drop(demo);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(read(&mut idle).is_none());
    let _ = read(&mut waiting);
    assert!(TcpStream::connect(("127.0.0.1", cluster.endpoints[0].port)).is_err());
}
