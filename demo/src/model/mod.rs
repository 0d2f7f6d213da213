//! The things that a cluster consists of.

pub(crate) mod accounts;
pub(crate) mod guest;
pub(crate) mod log;
pub(crate) mod node;
pub(crate) mod pool;
pub(crate) mod storage;
