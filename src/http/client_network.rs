//! The network of a client: the smallest range of addresses that one attacker controls.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the address of an IPv4 client, mapped into IPv6 or not, and the network of 64 bits of an IPv6 client.
pub fn client_network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_network_is_one_client_and_a_mapped_ipv4_address_is_itself() {
        for (address, network) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::"),
            ("2001:db8::ffff:0:0:2", "2001:db8::"),
            ("2001:db8:0:1::1", "2001:db8:0:1::"),
            ("fe80::1", "fe80::"),
            ("::1", "::"),
        ] {
            let found = client_network(address.parse().expect("an address"));
            assert_eq!(found, network.parse::<IpAddr>().expect("a network"), "{address}");
        }
    }
}
