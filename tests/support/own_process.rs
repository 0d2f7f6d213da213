//! Tests that change or measure their process: each runs again as the only test of a child process.
#![allow(dead_code)]

use std::any::type_name;
use std::process::Command;

/// Set in the child process.
const CHILD: &str = "PROXMOX_MCP_TEST_CHILD";

/// Returns true in a child process that runs this test alone. Elsewhere it starts that child, fails unless the test
/// passes there, and returns false.
pub fn in_own_process<T: Fn()>(test: T) -> bool {
    in_own_process_with(test, |_| ())
}

/// Does the same with a child that `configure` prepares.
pub fn in_own_process_with<T: Fn()>(_: T, configure: impl FnOnce(&mut Command)) -> bool {
    let (_, test) = type_name::<T>().split_once("::").expect("the path of a test");
    if std::env::var_os(CHILD).is_some_and(|name| name == *test) {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test]).env(CHILD, test);
    configure(&mut child);
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    // A name that matches no test would pass as well.
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}
