//! The open connections: their limits, and their end at a shutdown.

use super::client_network::client_network;
use super::client_stream::ClientStream;
use crate::base::deadline::Deadline;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use thiserror::Error;

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
}

struct OpenConnection {
    stream: Arc<ClientStream>,
    network: IpAddr,
    streaming: bool,
}

/// Limit that rejects a connection.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum AdmissionError {
    #[error("too many connections are open (--max-connections)")]
    TotalLimit,
    #[error("too many connections from this address or IPv6 network are open (--max-connections-per-address)")]
    AddressLimit,
}

/// Permit for one open connection, released on drop.
pub struct ConnectionPermit {
    connections: Arc<Connections>,
    id: u64,
}

impl Connections {
    pub fn new(max: usize, max_per_address: usize) -> Self {
        Self { table: Mutex::default(), changed: Condvar::new(), max, max_per_address }
    }

    /// Registers a new connection, unless a limit is reached.
    pub fn admit(
        self: &Arc<Self>,
        stream: &Arc<ClientStream>,
        peer: SocketAddr,
    ) -> Result<ConnectionPermit, AdmissionError> {
        let network = client_network(peer.ip());
        let mut table = self.lock();
        if table.open.len() >= self.max {
            return Err(AdmissionError::TotalLimit);
        }
        let network_count = table.networks.entry(network).or_default();
        if *network_count >= self.max_per_address {
            return Err(AdmissionError::AddressLimit);
        }
        *network_count += 1;
        table.serial += 1;
        let id = table.serial;
        table.open.insert(id, OpenConnection { stream: stream.clone(), network, streaming: false });
        Ok(ConnectionPermit { connections: self.clone(), id })
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

impl ConnectionPermit {
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
        if let Some(open) = table.open.remove(&self.id)
            && let Some(count) = table.networks.get_mut(&open.network)
        {
            *count -= 1;
            if *count == 0 {
                table.networks.remove(&open.network);
            }
        }
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

    #[test]
    fn connections_are_counted_in_all_and_for_each_address() {
        let connections = Arc::new(Connections::new(3, 2));
        let (stream, _client) = stream();
        let admit = |address: &str| connections.admit(&stream, address.parse().unwrap());
        let first = admit("192.0.2.1:1").unwrap();
        let _second = admit("[::ffff:192.0.2.1]:2").unwrap();
        assert_eq!(
            admit("192.0.2.1:3").err(),
            Some(AdmissionError::AddressLimit),
            "an IPv4 address is the same within IPv6"
        );
        let _third = admit("192.0.2.2:1").unwrap();
        assert_eq!(admit("192.0.2.3:1").err(), Some(AdmissionError::TotalLimit));
        drop(first);
        drop(admit("192.0.2.1:3").unwrap());
        assert_eq!(connections.lock().networks.len(), 2, "an address without connections is forgotten");
    }

    #[test]
    fn an_ipv6_network_cannot_use_all_connections() {
        let connections = Arc::new(Connections::new(9, 2));
        let (stream, _client) = stream();
        let admit = |address: &str| connections.admit(&stream, address.parse().unwrap());
        let _first = admit("[2001:db8::1]:1").unwrap();
        let _second = admit("[2001:db8::ffff:2]:1").unwrap();
        for address in ["[2001:db8::1]:2", "[2001:db8::3:4:5:6]:1"] {
            assert_eq!(admit(address).err(), Some(AdmissionError::AddressLimit), "{address}");
        }
        drop(admit("[2001:db8:0:1::1]:1").unwrap());
    }

    #[test]
    fn a_stop_ends_waiting_reads_but_not_streams() {
        let connections = Arc::new(Connections::new(9, 9));
        let peer = "192.0.2.1:1".parse().unwrap();
        let ((idle, _a), (events, _b)) = (stream(), stream());
        let permit = connections.admit(&idle, peer).unwrap();
        let streaming = connections.admit(&events, peer).unwrap();
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
