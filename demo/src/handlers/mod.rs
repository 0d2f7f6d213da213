//! The operations of the API, one module per topic. The routes name them.

pub(crate) mod access;
pub(crate) mod agent;
pub(crate) mod backup;
pub(crate) mod cluster;
pub(crate) mod directory;
pub(crate) mod disks;
pub(crate) mod firewall;
pub(crate) mod guest_config;
pub(crate) mod guests;
pub(crate) mod ha;
pub(crate) mod lifecycle;
pub(crate) mod login;
pub(crate) mod nodes;
pub(crate) mod pools;
pub(crate) mod power;
pub(crate) mod restore;
pub(crate) mod snapshots;
pub(crate) mod storage;
pub(crate) mod tasks;
pub(crate) mod time_series;
pub(crate) mod tokens;
pub(crate) mod users;
