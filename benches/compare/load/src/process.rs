//! What the kernel knows of the server's process.

use std::fs;
use std::io;

/// `USER_HZ`: what /proc counts in, on every architecture that the product is built for.
const TICKS_A_SECOND: f64 = 100.0;

/// Seconds of CPU that it has used, in its own code and in the kernel, all its threads together.
pub fn cpu(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The second field is the program's name in brackets, which may hold anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS_A_SECOND)
}

/// Its resident memory, in KiB.
pub fn resident(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    size.ok_or_else(|| io::Error::other(format!("{pid} has no memory")))
}
