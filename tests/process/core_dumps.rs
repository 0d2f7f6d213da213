//! Core dumps: the memory of the server has the tokens of clusters.

use crate::support::process::{ServerProcess, program};
use rustix::process::getuid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;

/// Any group but that of root.
const OTHER_GROUP: u32 = 65_534;

#[test]
fn server_leaves_no_core_dump_and_its_memory_is_not_readable() {
    for args in [&["--demo", "--listen", "127.0.0.1:0"][..], &["stdio", "--demo"]] {
        let mut command = program(args);
        if getuid().is_root() {
            // Otherwise its files would belong to root in any case.
            command.gid(OTHER_GROUP);
        }
        let mut process = ServerProcess::of(&mut command);
        if args[0] == "stdio" {
            process.ask(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        } else {
            process.address();
        }
        let folder = format!("/proc/{}", process.child.id());
        let limits = fs::read_to_string(format!("{folder}/limits")).expect("the limits");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit");
        let sizes: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
        assert_eq!(sizes, ["0", "0"], "{core}");
        // The kernel gives the files of a process that is not dumpable to root. (proc(5))
        let memory = fs::metadata(format!("{folder}/mem")).expect("its memory");
        assert_eq!((memory.uid(), memory.gid()), (0, 0), "{args:?}");
    }
}
