//! What systemd is told (sd_notify(3)): that the server is ready, that it is alive, that it stops. Without
//! `NOTIFY_SOCKET`, nobody is told anything.

use std::env;
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Tells it, where it wants to be told; what can't be sent is nobody's loss but a watchdog's.
pub fn tell(state: &str) {
    if let Some(path) = env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
        && let Err(error) = send(path.as_bytes(), state)
    {
        log::debug!("systemd can't be told {state}: {error}");
    }
}

fn send(path: &[u8], state: &str) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Some(name) => SocketAddr::from_abstract_name(name)?,
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        Some(_) => return Err(io::ErrorKind::Unsupported.into()),
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

/// How often the watchdog wants to hear of this process: half of the time after which it takes it for dead.
pub fn watchdog() -> Option<Duration> {
    let micros: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    let ours = env::var("WATCHDOG_PID").ok().is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    (ours && micros > 0).then(|| Duration::from_micros(micros / 2))
}
