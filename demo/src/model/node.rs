//! The nodes of the cluster.

use super::guest::load_curve;
use crate::units::GIB;

/// Bytes of a node's root file system.
pub(crate) const ROOT_SIZE: u64 = 94 * GIB;

/// A node of the cluster.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    /// Address in the cluster network.
    pub(crate) ip: &'static str,
    /// Number of logical processors.
    pub(crate) cpus: u32,
    pub(crate) cpu_model: &'static str,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Time of the last boot, in seconds since 1970.
    pub(crate) booted: f64,
}

impl Node {
    /// Returns a number that differs from node to node.
    pub(crate) fn seed(&self) -> u32 {
        self.booted as u32 % 997
    }

    /// Returns seconds since the boot.
    pub(crate) fn uptime(&self, now: f64) -> i64 {
        (now - self.booted) as i64
    }

    /// Returns the load of the node without its guests: share of the processors, bytes of memory.
    pub(crate) fn base_load(&self, time: f64) -> (f64, u64) {
        let memory = load_curve(self.seed(), time / 20.0) * GIB as f64;
        (0.01 + load_curve(self.seed(), time) / 50.0, 3 * GIB + memory as u64)
    }

    /// Returns the used bytes of the root file system.
    pub(crate) fn root_used(&self) -> u64 {
        12 * GIB + u64::from(self.seed()) * (GIB / 97)
    }
}
