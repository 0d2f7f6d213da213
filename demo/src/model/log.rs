//! The cluster log.

/// A line of the cluster log.
pub(crate) struct LogEntry {
    pub(crate) uid: u32,
    /// Seconds since 1970.
    pub(crate) time: i64,
    pub(crate) node: String,
    pub(crate) user: String,
    pub(crate) message: String,
}
