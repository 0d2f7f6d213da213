//! The address families of a network interface. A change writes them again from its own parameters: what it does not
//! name is lost or becomes manual. (PVE: `update_network` of PVE/API2/Network.pm, and PVE/Network/Interfaces.pm.)

use crate::base::list_text::list_items;
use crate::pve::params::ApiParams;
use serde_json::{Map, Value};

/// The names of the options of an address family.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    keyword: &'static str,
    pub cidr: &'static str,
    address: &'static str,
    netmask: &'static str,
    pub gateway: &'static str,
    pub method: &'static str,
    /// Lines that no option of the API has.
    lines: &'static str,
}

pub static FAMILIES: [Family; 2] = [
    Family {
        name: "IPv4",
        keyword: "inet",
        cidr: "cidr",
        address: "address",
        netmask: "netmask",
        gateway: "gateway",
        method: "method",
        lines: "options",
    },
    Family {
        name: "IPv6",
        keyword: "inet6",
        cidr: "cidr6",
        address: "address6",
        netmask: "netmask6",
        gateway: "gateway6",
        method: "method6",
        lines: "options6",
    },
];

/// One family of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyState {
    /// `static`, `manual`, `dhcp`, …
    pub method: String,
    /// The address with the length of its prefix.
    pub cidr: Option<String>,
    pub gateway: Option<String>,
    /// The configuration has a block of this family.
    pub is_written: bool,
}

/// What a change does to one family.
#[derive(Debug)]
pub struct FamilyChange {
    pub family: &'static Family,
    pub before: FamilyState,
    pub after: FamilyState,
    /// The call names the address, or removes it.
    pub is_named: bool,
    /// The block is lost, and has lines that no option of the API has.
    pub loses_lines: bool,
}

impl Family {
    fn read(&self, now: &Map<String, Value>) -> FamilyState {
        let text = |name: &str| {
            let value = now.get(name).filter(|value| !value.is_null());
            value.map(show).filter(|text| !text.is_empty())
        };
        let cidr = text(self.cidr).or_else(|| Some(join_mask(&text(self.address)?, text(self.netmask).as_deref())));
        // An interface that a call makes has no method yet.
        let default = if cidr.is_some() { "static" } else { "manual" };
        let method = text(self.method).unwrap_or_else(|| default.to_owned());
        let families = now.get("families").and_then(Value::as_array);
        let is_written = match families {
            // (PVE: a block without a family has the addresses of both.)
            Some(families) => {
                let is_own = |family: &Value| family.as_str() == Some(self.keyword);
                families.iter().any(is_own) || families.contains(&Value::Null) && cidr.is_some()
            }
            None => cidr.is_some() || method != "manual",
        };
        FamilyState { method, cidr, gateway: text(self.gateway), is_written }
    }

    fn has_lines(&self, now: &Map<String, Value>) -> bool {
        now.get(self.lines).and_then(Value::as_array).is_some_and(|lines| !lines.is_empty())
    }

    /// Returns whether a parameter is one of the address of this family.
    fn has_address_parameter(&self, name: &str) -> bool {
        [self.cidr, self.address, self.netmask].contains(&name)
    }
}

/// Returns whether a parameter is a part of an address, which is set back as a whole.
pub fn is_address_parameter(name: &str) -> bool {
    FAMILIES.iter().any(|family| family.has_address_parameter(name))
}

/// Returns what a change of an interface does to its families: IPv4, then IPv6.
pub fn find_family_changes(now: &Map<String, Value>, params: &ApiParams) -> [FamilyChange; 2] {
    let param = |wanted: &str| {
        let value = params.get(wanted);
        value.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let given = |family: &Family| {
        param(family.cidr).or_else(|| Some(join_mask(&param(family.address)?, param(family.netmask).as_deref())))
    };
    let has_other = given(&FAMILIES[1]).is_some();
    [0, 1].map(|at| {
        let family = &FAMILIES[at];
        let (before, given) = (family.read(now), given(family));
        let is_removed = |name: &str| {
            let lists = params.iter().filter(|(given, _)| *given == "delete");
            lists.flat_map(|(_, list)| list_items(list)).any(|item| item == name)
        };
        // (PVE: without an address of either family, the block of IPv4 is written.)
        let is_written = given.is_some() || at == 0 && !has_other;
        let kept = |value: &Option<String>| value.clone().filter(|_| is_written);
        let after = FamilyState {
            method: if given.is_some() { "static" } else { "manual" }.to_owned(),
            cidr: given.clone().or_else(|| kept(&before.cidr).filter(|_| !is_removed(family.cidr))),
            gateway: param(family.gateway)
                .filter(|_| is_written)
                .or_else(|| kept(&before.gateway).filter(|_| !is_removed(family.gateway))),
            is_written,
        };
        FamilyChange {
            is_named: given.is_some() || is_removed(family.cidr),
            loses_lines: before.is_written && !is_written && family.has_lines(now),
            family,
            before,
            after,
        }
    })
}

impl FamilyChange {
    /// Returns whether the interface loses its address, or the way in which it gets one.
    pub fn loses_address(&self) -> bool {
        let loses_method = self.before.method != self.after.method && self.before.method != "manual";
        let is_same = match (&self.before.cidr, &self.after.cidr) {
            (Some(before), Some(after)) => before.eq_ignore_ascii_case(after),
            (before, _) => before.is_none(),
        };
        !is_same || loses_method
    }

    /// Returns the address that the interface has now, without its prefix.
    pub fn address_before(&self) -> Option<&str> {
        self.before.cidr.as_deref()?.split('/').next()
    }

    /// Returns the parameters that set the family back, and those that unset it. Returns `None` if no call can.
    pub fn find_undo(&self) -> Option<FamilyUndo> {
        let Self { family, before, after, .. } = self;
        let is_known_method = matches!(before.method.as_str(), "static" | "manual");
        if self.loses_lines || !is_known_method && before.method != after.method {
            return None;
        }
        let mut undo = FamilyUndo::default();
        match &before.cidr {
            Some(cidr) if before.method == "static" => undo.data.push((family.cidr, cidr.clone())),
            // The address is in a manual block, which no call writes again.
            Some(_) if before.cidr != after.cidr || before.method != after.method => return None,
            None if after.cidr.is_some() => undo.unset.push(family.cidr),
            _ => {}
        }
        match &before.gateway {
            Some(gateway) if before.gateway != after.gateway => undo.data.push((family.gateway, gateway.clone())),
            // A gateway that the call names is unset as its other options are.
            _ => {}
        }
        Some(undo)
    }

    /// Returns whether the family is as before.
    pub fn is_kept(&self) -> bool {
        !self.loses_address() && !self.loses_lines && self.before.cidr == self.after.cidr
    }
}

/// Returns whether a call that makes an interface with these parameters makes the families that it has now.
pub fn can_be_created(now: &Map<String, Value>, params: &ApiParams) -> bool {
    let made = find_family_changes(&Map::new(), params);
    FAMILIES.iter().zip(made).all(|(family, FamilyChange { after, .. })| {
        let before = family.read(now);
        before.method == after.method && before.cidr == after.cidr && !family.has_lines(now)
    })
}

/// The parameters of a call that sets a family back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FamilyUndo {
    pub data: Vec<(&'static str, String)>,
    pub unset: Vec<&'static str>,
}

fn show(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns an address with its prefix. (PVE: a mask is a number of bits or has dots.)
fn join_mask(address: &str, mask: Option<&str>) -> String {
    let bits = mask.map(|mask| match mask.parse::<std::net::Ipv4Addr>() {
        Ok(mask) => mask.to_bits().count_ones().to_string(),
        Err(_) => mask.to_owned(),
    });
    match bits {
        Some(bits) if !address.contains('/') => format!("{address}/{bits}"),
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn changes(now: &Value, params: &[(&str, &str)]) -> [FamilyChange; 2] {
        let mut given = ApiParams::new();
        params.iter().for_each(|(name, value)| given.push(name, value));
        find_family_changes(now.as_object().expect("an object"), &given)
    }

    fn both() -> Value {
        json!({"type": "bridge", "method": "static", "method6": "static", "families": ["inet", "inet6"],
            "cidr": "10.0.0.1/24", "address": "10.0.0.1", "netmask": "24", "cidr6": "fd00::1/64", "gateway6": "fd00::2"})
    }

    #[test]
    fn families_that_are_not_named_are_lost() {
        let (v4, v6) = (("cidr", "10.0.0.1/24"), ("cidr6", "fd00::1/64"));
        for (params, loses) in [
            (&[][..], [true, true]),
            (&[v4], [false, true]),
            (&[v6], [true, false]),
            (&[v4, v6], [false, false]),
            (&[("address", "10.0.0.1"), ("netmask", "255.255.255.0"), v6], [false, false]),
            (&[("cidr", "10.0.0.2/24"), v6], [true, false]),
        ] {
            assert_eq!(changes(&both(), params).map(|change| change.loses_address()), loses, "{params:?}");
        }
        // A block that is not written loses its gateway too.
        let [v4_change, v6_change] = changes(&both(), &[v4]);
        assert_eq!((v4_change.after.method.as_str(), v6_change.after.gateway), ("static", None));
        // The address stays in a block that is manual.
        let [v4_change, _] = changes(&both(), &[]);
        assert_eq!((v4_change.after.method.as_str(), v4_change.after.cidr.as_deref()), ("manual", Some("10.0.0.1/24")));
        let [v4_change, _] = changes(&both(), &[("delete", "cidr"), v6]);
        assert_eq!((v4_change.is_named, v4_change.after.cidr), (true, None));
    }

    #[test]
    fn an_interface_without_addresses_loses_none() {
        let plain = json!({"type": "bridge", "method": "manual", "method6": "manual", "families": ["inet"]});
        assert!(changes(&plain, &[]).iter().all(FamilyChange::is_kept));
        let dhcp = json!({"method": "dhcp", "method6": "auto", "families": ["inet", "inet6"]});
        assert_eq!(changes(&dhcp, &[]).map(|change| change.loses_address()), [true, true]);
        assert!(changes(&dhcp, &[]).iter().all(|change| change.find_undo().is_none()));
        // A block without a family has both addresses.
        let typeless = json!({"method": "manual", "method6": "manual", "families": [null], "cidr6": "fd00::1/64"});
        assert_eq!(changes(&typeless, &[]).map(|change| change.loses_address()), [false, true]);
    }

    #[test]
    fn the_undo_has_each_address() {
        let undo = |now: &Value, params: &[(&str, &str)]| changes(now, params).map(|change| change.find_undo());
        let [v4, v6] = undo(&both(), &[]);
        assert_eq!(v4.expect("an undo").data, [("cidr", "10.0.0.1/24".to_owned())]);
        let v6 = v6.expect("an undo");
        assert_eq!(v6.data, [("cidr6", "fd00::1/64".to_owned()), ("gateway6", "fd00::2".to_owned())]);
        let plain = json!({"method": "manual", "method6": "manual", "families": ["inet"]});
        let [v4, v6] = undo(&plain, &[("cidr", "10.0.0.1/24")]);
        assert_eq!((v4.expect("an undo").unset, v6.expect("an undo")), (vec!["cidr"], FamilyUndo::default()));
        let lines = json!({"method": "static", "cidr": "10.0.0.1/24", "families": ["inet"], "options": ["post-up x"]});
        let [v4, _] = undo(&lines, &[("cidr6", "fd00::1/64")]);
        assert!(v4.is_none());
    }
}
