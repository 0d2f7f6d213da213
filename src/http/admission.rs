//! The open connections: their limits, and their end at a shutdown.
//!
//! A connection is silent until it has shown that its client may call. At a limit, the oldest silent connection makes
//! room for a new one, so that silent connections keep no client out. Of several clients, each has half of all
//! connections at most.
//!
//! Beyond the limits a few reserved places remain for the routes of monitoring, so that a busy server still looks alive.

use super::client_network::client_network;
use super::client_stream::ClientStream;
use crate::base::deadline::Deadline;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// Connections beyond the limits.
const RESERVED_CONNECTIONS: usize = 16;

/// Reserved connections that may do more than `/healthz`: `/readyz` waits for clusters.
const MAX_RESERVED_BUSY: usize = RESERVED_CONNECTIONS / 2;

pub struct Connections {
    table: Mutex<ConnectionTable>,
    changed: Condvar,
    max: usize,
    max_per_address: usize,
}

#[derive(Default)]
struct ConnectionTable {
    serial: u64,
    open: HashMap<u64, OpenConnection>,
    /// Open connections of each client network (see [`client_network`]).
    networks: HashMap<IpAddr, usize>,
    /// The silent connections, the oldest first.
    silent: BTreeSet<u64>,
    /// The reserved connections, the oldest first. The other fields except `open` omit them.
    reserved: BTreeSet<u64>,
    /// Reserved connections that may not be ended for a new one.
    reserved_busy: usize,
    /// Open connections of each client, by its name.
    clients: HashMap<String, usize>,
}

struct OpenConnection {
    stream: Arc<ClientStream>,
    network: IpAddr,
    streaming: bool,
    /// The name of the client, unless the connection is silent.
    client: Option<String>,
    /// The connection has a reserved place.
    is_reserved: bool,
    /// The connection has a reserved place and keeps it.
    is_busy: bool,
}

/// Limit that rejects a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AdmissionError {
    #[error("too many connections are open (--max-connections)")]
    ServerFull,
    #[error("too many connections from this address or IPv6 network are open (--max-connections-per-address)")]
    AddressFull,
    #[error("this client has half of all connections, its share (--max-connections)")]
    ShareUsed,
}

/// Permit for one open connection, released on drop.
pub struct ConnectionPermit {
    connections: Arc<Connections>,
    id: u64,
    /// The limit that left the connection only a reserved place.
    pub exceeded: Option<AdmissionError>,
}

impl Connections {
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self { table: Mutex::default(), changed: Condvar::new(), max, max_per_address }
    }

    /// Registers a new connection. At a limit it ends the oldest silent connection. If all have shown their client, the
    /// new one gets a reserved place.
    pub fn admit(self: &Arc<Self>, stream: &Arc<ClientStream>, peer: SocketAddr) -> ConnectionPermit {
        let network = client_network(peer.ip());
        let mut table = self.lock();
        let exceeded = self.make_room(&mut table, network).err();
        table.serial += 1;
        let id = table.serial;
        if exceeded.is_some() {
            table.make_reserved_room();
            table.reserved.insert(id);
        } else {
            *table.networks.entry(network).or_default() += 1;
            table.silent.insert(id);
        }
        let (stream, is_reserved) = (stream.clone(), exceeded.is_some());
        let open = OpenConnection { stream, network, streaming: false, client: None, is_reserved, is_busy: false };
        table.open.insert(id, open);
        ConnectionPermit { connections: self.clone(), id, exceeded }
    }

    /// Makes room for a connection within the limits.
    fn make_room(&self, table: &mut ConnectionTable, network: IpAddr) -> Result<(), AdmissionError> {
        if table.networks.get(&network).is_some_and(|count| *count >= self.max_per_address)
            && !table.end_oldest_silent(|open| open.network == network)
        {
            return Err(AdmissionError::AddressFull);
        }
        if table.open.len() - table.reserved.len() >= self.max && !table.end_oldest_silent(|_| true) {
            return Err(AdmissionError::ServerFull);
        }
        Ok(())
    }

    pub fn open_count(&self) -> usize {
        self.lock().open.len()
    }

    /// Ends the reads of all connections except event streams. A read returns the bytes received so far, then the end.
    /// A running request continues, and its response can still be written.
    pub fn end_reads(&self) {
        for open in self.lock().open.values().filter(|open| !open.streaming) {
            open.stream.end_reads();
        }
    }

    /// Waits until no connection is silent or the deadline is over.
    pub fn wait_for_first_requests(&self, deadline: &Deadline) {
        self.wait(deadline, |table| table.silent.is_empty());
    }

    /// Waits until only event streams are open or the deadline is over.
    pub fn wait_for_requests(&self, deadline: &Deadline) {
        self.wait(deadline, |table| table.open.values().all(|open| open.streaming));
    }

    /// Waits until no connection is open or the deadline is over. Returns how many still are.
    pub fn wait_for_all(&self, deadline: &Deadline) -> usize {
        self.wait(deadline, |table| table.open.is_empty())
    }

    fn wait(&self, deadline: &Deadline, done: impl Fn(&ConnectionTable) -> bool) -> usize {
        let wait = self.changed.wait_timeout_while(self.lock(), deadline.remaining(), |table| !done(table));
        wait.unwrap_or_else(PoisonError::into_inner).0.open.len()
    }

    fn lock(&self) -> MutexGuard<'_, ConnectionTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionTable {
    /// Ends the oldest silent connection for which `is_wanted` returns true. Returns false if there is none.
    fn end_oldest_silent(&mut self, is_wanted: impl Fn(&OpenConnection) -> bool) -> bool {
        let id = self.silent.iter().copied().find(|id| self.open.get(id).is_some_and(&is_wanted));
        let Some(open) = id.and_then(|id| self.remove(id)) else { return false };
        // Its thread ends with its read. A request that it has just read is still answered.
        open.stream.end_reads();
        log::debug!("ended a silent connection: a new one needs its place");
        true
    }

    /// Ends the oldest reserved connection that is not busy if all places are in use.
    fn make_reserved_room(&mut self) {
        if self.reserved.len() < RESERVED_CONNECTIONS {
            return;
        }
        let id = self.reserved.iter().copied().find(|id| self.open.get(id).is_some_and(|open| !open.is_busy));
        let open = id.and_then(|id| self.remove(id)).expect("half of the reserved connections are not busy");
        open.stream.end_reads();
    }

    fn remove(&mut self, id: u64) -> Option<OpenConnection> {
        let open = self.open.remove(&id)?;
        if open.is_reserved {
            self.reserved.remove(&id);
            self.reserved_busy -= usize::from(open.is_busy);
            return Some(open);
        }
        self.silent.remove(&id);
        release(&mut self.networks, &open.network);
        if let Some(client) = &open.client {
            release(&mut self.clients, client);
        }
        Some(open)
    }
}

/// Takes one off a count. A count of zero is removed.
fn release<K: Eq + Hash>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl ConnectionPermit {
    /// Records that the connection is one of this client. `has_share`: there are other clients, so it may have half of all
    /// connections.
    pub fn record_client(&self, name: &str, has_share: bool) -> Result<(), AdmissionError> {
        let mut table = self.connections.lock();
        if !table.silent.contains(&self.id) {
            return Ok(());
        }
        let count = table.clients.get(name).copied().unwrap_or_default();
        if has_share && count >= self.connections.max.div_ceil(2) {
            return Err(AdmissionError::ShareUsed);
        }
        table.silent.remove(&self.id);
        *table.clients.entry(name.to_owned()).or_default() += 1;
        if let Some(open) = table.open.get_mut(&self.id) {
            open.client = Some(name.to_owned());
        }
        drop(table);
        self.connections.changed.notify_all();
        Ok(())
    }

    /// Keeps a reserved place for a request that takes time. Returns false if too many already do, or if the place has
    /// been given to a newer connection.
    pub fn keep_reserved_place(&self) -> bool {
        let mut table = self.connections.lock();
        let table = &mut *table;
        match table.open.get_mut(&self.id) {
            Some(open) if table.reserved_busy < MAX_RESERVED_BUSY => {
                open.is_busy = true;
                table.reserved_busy += 1;
                true
            }
            _ => false,
        }
    }

    /// Marks the connection as an event stream.
    pub fn mark_streaming(&self) {
        if let Some(open) = self.connections.lock().open.get_mut(&self.id) {
            open.streaming = true;
        }
        self.connections.changed.notify_all();
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut table = self.connections.lock();
        table.remove(self.id);
        drop(table);
        self.connections.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::super::client_stream::tests::connection_pair;
    use super::*;
    use std::io::Read;
    use std::net::TcpStream;
    use std::time::Duration;

    fn stream() -> (Arc<ClientStream>, TcpStream) {
        connection_pair(Duration::from_secs(20))
    }

    /// Admits a connection. Fails if it would get a reserved place.
    fn admit_within_limits(
        connections: &Arc<Connections>,
        stream: &Arc<ClientStream>,
        address: &str,
    ) -> Result<ConnectionPermit, AdmissionError> {
        let permit = connections.admit(stream, address.parse().unwrap());
        permit.exceeded.map_or(Ok(permit), Err)
    }

    #[test]
    fn reserved_places_are_left_at_a_limit_and_the_newest_connections_get_them() {
        let connections = Arc::new(Connections::new(1, 9));
        let admit = || {
            let (stream, client) = stream();
            (connections.admit(&stream, "192.0.2.1:1".parse().unwrap()), stream, client)
        };
        let first = admit();
        first.0.record_client("ada", false).unwrap();
        let mut reserved: Vec<_> = (0..RESERVED_CONNECTIONS).map(|_| admit()).collect();
        assert!(reserved.iter().all(|(permit, ..)| permit.exceeded == Some(AdmissionError::ServerFull)));
        assert!(reserved[..MAX_RESERVED_BUSY].iter().all(|(permit, ..)| permit.keep_reserved_place()));
        assert!(!reserved[MAX_RESERVED_BUSY].0.keep_reserved_place(), "half of them are left for quick requests");
        reserved.push(admit());
        assert_eq!(reserved[MAX_RESERVED_BUSY].1.socket().read(&mut [0]).unwrap(), 0, "the oldest that may has ended");
        assert_eq!(connections.open_count(), 1 + RESERVED_CONNECTIONS);
        drop(reserved);
        assert_eq!((connections.open_count(), connections.lock().reserved_busy), (1, 0));
        drop(first);
        assert_eq!(admit().0.exceeded, None);
    }

    #[test]
    fn connections_are_counted_in_all_and_for_each_address() {
        let connections = Arc::new(Connections::new(3, 2));
        let (stream, _client) = stream();
        let admit = |address: &str| {
            let permit = admit_within_limits(&connections, &stream, address)?;
            permit.record_client("ada", false).map(|()| permit)
        };
        let first = admit("192.0.2.1:1").unwrap();
        let _second = admit("[::ffff:192.0.2.1]:2").unwrap();
        assert_eq!(
            admit("192.0.2.1:3").err(),
            Some(AdmissionError::AddressFull),
            "an IPv4 address is the same within IPv6"
        );
        let _third = admit("192.0.2.2:1").unwrap();
        assert_eq!(admit("192.0.2.3:1").err(), Some(AdmissionError::ServerFull));
        drop(first);
        drop(admit("192.0.2.1:3").unwrap());
        assert_eq!(connections.lock().networks.len(), 2, "an address without connections is forgotten");
    }

    #[test]
    fn an_ipv6_network_cannot_use_all_connections() {
        let connections = Arc::new(Connections::new(9, 2));
        let (stream, _client) = stream();
        let admit = |address: &str| admit_within_limits(&connections, &stream, address);
        let first = admit("[2001:db8::1]:1").unwrap();
        let second = admit("[2001:db8::ffff:2]:1").unwrap();
        [&first, &second].iter().for_each(|permit| permit.record_client("ada", false).unwrap());
        for address in ["[2001:db8::1]:2", "[2001:db8::3:4:5:6]:1"] {
            assert_eq!(admit(address).err(), Some(AdmissionError::AddressFull), "{address}");
        }
        drop(admit("[2001:db8:0:1::1]:1").unwrap());
    }

    #[test]
    fn silent_connections_make_room_and_others_do_not() {
        let connections = Arc::new(Connections::new(3, 2));
        let admit = |address: &str| {
            let (stream, client) = stream();
            (connections.admit(&stream, address.parse().unwrap()), stream, client)
        };
        let proven = admit("192.0.2.1:1");
        proven.0.record_client("ada", true).unwrap();
        let silent = [admit("192.0.2.2:1"), admit("192.0.2.3:1")];
        let _third = admit("192.0.2.4:1");
        assert_eq!(silent[0].1.socket().read(&mut [0]).unwrap(), 0, "the oldest has ended");
        let _fourth = admit("192.0.2.4:2");
        assert_eq!(silent[1].1.socket().read(&mut [0]).unwrap(), 0);
        let _fifth = admit("192.0.2.4:3");
        assert_eq!(connections.open_count(), 3);
        drop(silent);
        assert_eq!(connections.open_count(), 3, "an ended connection is counted once");
        proven.1.socket().set_nonblocking(true).unwrap();
        assert_eq!(proven.1.socket().read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_client_among_others_has_half_of_the_connections() {
        let connections = Arc::new(Connections::new(4, 9));
        let (stream, _client) = stream();
        let admit = |client: &str, has_share| {
            let permit = admit_within_limits(&connections, &stream, "192.0.2.1:1")?;
            permit.record_client(client, has_share).map(|()| permit)
        };
        let first = admit("ada", true).unwrap();
        first.record_client("ada", true).unwrap();
        let _second = admit("ada", true).unwrap();
        assert_eq!(admit("ada", true).err(), Some(AdmissionError::ShareUsed));
        let _other = admit("bob", true).unwrap();
        drop(first);
        let _third = admit("ada", true).unwrap();
        let _fourth = admit("ada", false).unwrap();
        assert_eq!(admit("bob", true).err(), Some(AdmissionError::ServerFull));
    }

    #[test]
    fn a_stop_ends_waiting_reads_but_not_streams() {
        let connections = Arc::new(Connections::new(9, 9));
        let peer = "192.0.2.1:1".parse().unwrap();
        let ((idle, _a), (events, _b)) = (stream(), stream());
        let permit = connections.admit(&idle, peer);
        let streaming = connections.admit(&events, peer);
        streaming.mark_streaming();
        connections.end_reads();
        assert_eq!(idle.socket().read(&mut [0]).unwrap(), 0);
        events.socket().set_nonblocking(true).unwrap();
        assert_eq!(events.socket().read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        let soon = || Deadline::from_now(Duration::from_millis(1));
        assert_eq!(connections.wait_for_all(&soon()), 2);
        drop(permit);
        connections.wait_for_requests(&Deadline::from_now(Duration::from_secs(60)));
        drop(streaming);
        assert_eq!(connections.wait_for_all(&soon()), 0);
    }
}
