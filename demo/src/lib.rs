//! A simulated Proxmox VE cluster on loopback, so that `--demo` and the tests need no hypervisor.
//!
//! [`Demo::start`] serves the API of one node of a three-node cluster over plain HTTP/1.1 on a free port of 127.0.0.1.
//! It speaks as a real node does, status lines, odd headers and all: what a client learns here holds out there.
//! The cluster lives in memory; what a call changes stays changed until the [`Demo`] is dropped.
//!
//! # The way of a request
//! ```text
//! server (sockets) ─▶ http (bytes) ─▶ api (token, path, body) ─▶ routes (table) ─▶ check (privilege, parameters) ─▶ a topic's handler ─▶ world
//! ```
//! The route table is data: method, path, privilege, parameters, handler. Every refusal therefore has one wording and
//! one place. Tasks have no threads: a task is its start time and its log, and each request first moves the world on to
//! the present (`World::advance`), which is when the effect of an ended task is seen.
//!
//! It is a package of its own so that it can be compiled for size: nobody waits for it, and it is a tenth of the program.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod access;
mod agent;
mod api;
mod backup;
mod check;
mod cluster;
mod config;
mod disks;
mod firewall;
mod guest;
mod guests;
mod history;
mod http;
mod lifecycle;
mod nodes;
mod options;
mod power;
mod restore;
mod routes;
mod seed;
mod server;
mod snapshots;
mod storage;
mod tasks;
mod tokens;
mod value;
mod world;

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How a simulated cluster behaves where the real one would make a test wait.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How long a 401 is held back. A real node takes 3 s; default none.
    pub auth_delay: Duration,
    /// How long a task takes for each line of its log; default 1 s. A power action has one to three lines.
    pub task_step: Duration,
    /// How long a connection may wait for the next byte; default 5 s, as a real node.
    pub idle: Duration,
    /// How many requests a connection serves; default 100, as a real node.
    pub requests_per_connection: u32,
    /// How many connections are open at once; more are closed as they come. Default 256.
    pub connections: usize,
    /// What `GET /pve-docs/api-viewer/apidoc.js` answers, to anyone: the JavaScript file, packed with gzip. Default
    /// none, and a 500 as for any file that a node does not have.
    pub apidoc: Option<Arc<[u8]>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            auth_delay: Duration::ZERO,
            task_step: Duration::from_secs(1),
            idle: Duration::from_secs(5),
            requests_per_connection: 100,
            connections: 256,
            apidoc: None,
        }
    }
}

/// A running simulated cluster; dropping it ends it: the port is free and no thread is left when `drop` returns.
pub struct Demo {
    server: server::Server,
    full: String,
    audit: String,
}

/// The owner of both tokens.
pub const USER: &str = "demo@pve";
/// The token that may do everything.
pub const FULL: &str = "full";
/// The token that may only read (role PVEAuditor on /).
pub const AUDIT: &str = "audit";

impl Demo {
    /// Starts one on a free loopback port. Fails if there is no port, no thread or no randomness to be had.
    pub fn start() -> io::Result<Self> {
        Self::start_with(Options::default())
    }

    /// Starts one that behaves as `options` say.
    pub fn start_with(options: Options) -> io::Result<Self> {
        let full = access::new_secret()?;
        let audit = access::new_secret()?;
        let mut world = seed::world(options.task_step);
        access::seed(&mut world, full.clone(), audit.clone())?;
        Ok(Self { server: server::Server::start(world, options)?, full, audit })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// The secret of the token [`FULL`].
    pub fn full_secret(&self) -> &str {
        &self.full
    }

    /// The secret of the token [`AUDIT`].
    pub fn audit_secret(&self) -> &str {
        &self.audit
    }
}
