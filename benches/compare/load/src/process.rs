//! Figures of the server's process, from the kernel.

use std::fs;
use std::io;

/// `USER_HZ`, the unit of /proc on every architecture of the product.
const TICKS_A_SECOND: f64 = 100.0;

/// Returns the CPU seconds of all threads, in user mode and in the kernel.
pub fn cpu(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets, which may contain any character.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS_A_SECOND)
}

/// Returns the resident memory in KiB.
pub fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    size.ok_or_else(|| io::Error::other(format!("{pid} has no memory")))
}
