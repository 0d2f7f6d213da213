//! Core dumps of the server are off: its memory has the tokens of clusters.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Forbids core dumps, and other processes of the same user to read the memory of this one. A system that does not
/// support it is no reason to stop.
pub fn disable() {
    // The hard limit too, so that no debugger's attach raises it again.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        log::debug!("cannot set the limit of core dumps to 0: {error}; it is {:?}", getrlimit(Resource::Core).current);
    }
    // The limit does not hold for a core that the kernel pipes to a program, such as systemd-coredump.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        log::debug!("cannot make the process not dumpable: {error}");
    }
}
