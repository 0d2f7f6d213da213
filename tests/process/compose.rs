//! The files for Docker Compose, Portainer and Traefik.

use crate::support::process::{ServerProcess, program};
use crate::support::raw::LONG;
use proxmox_mcp::config::TokenHash;
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tempfile::TempDir;
use yaml_rust2::{Yaml, YamlLoader};

/// The folder of clusters.json in the image, and the file that its settings name.
const CONFIG_FOLDER: &str = "/etc/proxmox-mcp";
const AUDIT_FOLDER: &str = "/var/log/proxmox-mcp";

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect(name)
}

fn parse(name: &str) -> Yaml {
    YamlLoader::load_from_str(&read(name)).unwrap_or_else(|error| panic!("{name}: {error}")).remove(0)
}

fn service(file: &Yaml) -> &Yaml {
    &file["services"]["proxmox-mcp"]
}

/// Returns the names of the variables that a service gets, with their values.
fn environment(service: &Yaml) -> Vec<(String, Option<String>)> {
    members(&service["environment"])
}

fn members(map: &Yaml) -> Vec<(String, Option<String>)> {
    let members = map.as_hash().expect("a map");
    let member =
        |(name, value): (&Yaml, &Yaml)| (name.as_str().expect("a name").to_owned(), value.as_str().map(str::to_owned));
    members.iter().map(member).collect()
}

#[test]
fn compose_files_mount_a_folder_and_an_audit_volume_and_give_up() {
    for name in ["compose.yaml", "deploy/portainer.yaml"] {
        let file = parse(name);
        let service = service(&file);
        assert_eq!(service["restart"].as_str(), Some("${PROXMOX_MCP_RESTART:-on-failure:5}"), "{name}");
        let volumes = service["volumes"].as_vec().expect("a list");
        let folder = &volumes[0];
        assert_eq!((folder["type"].as_str(), folder["target"].as_str()), (Some("bind"), Some(CONFIG_FOLDER)), "{name}");
        assert_eq!(folder["read_only"].as_bool(), Some(true), "{name}");
        assert_eq!(folder["bind"]["create_host_path"].as_bool(), Some(false), "{name}");
        assert_eq!(volumes[1].as_str(), Some(&*format!("audit:{AUDIT_FOLDER}")), "{name}");
        assert!(file["volumes"]["audit"].is_null(), "{name}: a volume of the default driver");
        let ports = service["ports"][0].as_str();
        assert_eq!(ports, Some("${PROXMOX_MCP_PUBLISH:-127.0.0.1:8000}:8000"), "{name}: on loopback by default");
        assert_eq!(service["build"].is_badvalue(), name.contains("portainer"), "{name}");
    }
    assert!(service(&parse("deploy/portainer.yaml"))["image"].as_str().is_some_and(|image| image.contains(":?")));
}

#[test]
fn variables_of_the_compose_files_are_those_of_the_program() {
    let help = String::from_utf8(program(&["--help"]).output().expect("--help").stdout).expect("UTF-8");
    let mut names = BTreeSet::new();
    for file in ["compose.yaml", "deploy/portainer.yaml", "deploy/traefik.yaml"] {
        names.extend(environment(service(&parse(file))).into_iter().map(|(name, _)| name));
    }
    let replicas = parse("deploy/compose.replicas.yaml");
    for variables in [&replicas["x-environment"], &replicas["services"]["replica1"]["environment"]] {
        names.extend(members(variables).into_iter().map(|(name, _)| name).filter(|name| name != "<<"));
    }
    for name in &names {
        assert!(help.contains(name), "{name} is unknown: {help}");
    }
    assert!(names.len() >= 8, "{names:?}");
}

/// Starts the program as the container does, with its folders in another place.
#[test]
fn container_serves_the_clients_of_the_mounted_folder() {
    let folder = TempDir::new().expect("a folder");
    let (config, audit) = (folder.path().join("config"), folder.path().join("audit"));
    fs::create_dir(&config).expect("a folder");
    fs::create_dir(&audit).expect("a folder");
    let client = json!({"token_sha256": TokenHash::from_token(b"pmcp_0123456789").to_string(), "access": "read"});
    let cluster = json!({"url": "http://127.0.0.1:1", "user": "mcp@pve", "token_id": "ro", "token_secret": "s"});
    let contents = json!({"clusters": {"prod": cluster}, "clients": {"laptop": client}});
    fs::write(config.join("clusters.json"), contents.to_string()).expect("write");
    let mut command = program(&["--listen", "0.0.0.0:0"]);
    let image = [("PROXMOX_MCP_CONFIG".to_owned(), Some(format!("{CONFIG_FOLDER}/clusters.json")))];
    for (name, value) in environment(service(&parse("compose.yaml"))).into_iter().chain(image) {
        // A variable without a value is not passed on if it is not set.
        let Some(value) = value else { continue };
        let value = value.replace(CONFIG_FOLDER, config.to_str().expect("UTF-8"));
        command.env(name, value.replace(AUDIT_FOLDER, audit.to_str().expect("UTF-8")));
    }
    let mut process = ServerProcess::of(&mut command);
    let first = process.stdout.recv_timeout(LONG).expect("a first line");
    assert!(first.contains(" listening on http://0.0.0.0:"), "{first}");
    process.signal(Signal::TERM);
    assert!(process.wait_for_exit().success());
    assert!(audit.join("audit.log").exists());
}

#[test]
fn traefik_file_routes_the_name_that_the_server_accepts() {
    let file = parse("deploy/traefik.yaml");
    let labels = service(&file)["labels"].as_hash().expect("a map");
    let label = |name: &str| {
        labels.get(&Yaml::String(name.into())).and_then(Yaml::as_str).unwrap_or_else(|| panic!("{name}")).to_owned()
    };
    assert_eq!(label("traefik.enable"), "true");
    assert_eq!(label("traefik.http.services.proxmox-mcp.loadbalancer.server.port"), "8000");
    assert_eq!(label("traefik.http.services.proxmox-mcp.loadbalancer.healthcheck.path"), "/healthz");
    assert_eq!(label("traefik.http.routers.proxmox-mcp.rule"), "Host(`${PROXMOX_MCP_DOMAIN}`)");
    let hosts = environment(service(&file)).remove(0);
    assert!(hosts.0 == "MCP_ALLOWED_HOSTS" && hosts.1.is_some_and(|hosts| hosts.starts_with("${PROXMOX_MCP_DOMAIN:?")));
    let network = label("traefik.docker.network");
    assert_eq!(file["networks"][network.as_str()]["external"].as_bool(), Some(true));
}

#[test]
fn replicas_have_a_key_and_a_page_of_their_own_at_the_proxy() {
    let file = parse("deploy/compose.replicas.yaml");
    let key = file["x-environment"]["MCP_STATE_KEY_FILE"].as_str().expect("a path");
    assert_eq!(Path::new(key).parent(), Some(Path::new(CONFIG_FOLDER)));
    let nginx = read("deploy/nginx.conf");
    for replica in ["replica1", "replica2"] {
        let page = file["services"][replica]["environment"]["MCP_PAGE_URL"].as_str();
        assert_eq!(page, Some(&*format!("https://${{MCP_DOMAIN}}/{replica}/")));
        let address = format!("127.0.0.1:{}", replica.replace("replica", "800"));
        let place = format!("location /{replica}/ {{\n        proxy_pass http://{address}/;");
        assert!(nginx.contains(&place) && nginx.contains(&format!("server {address} ")), "{replica}");
    }
}
