//! Property strings, in which Proxmox keeps several values of an option: `local-lvm:vm-100-disk-0,size=32G`.

/// Returns the value of the first part with this key.
pub(crate) fn find_part<'v>(value: &'v str, key: &str) -> Option<&'v str> {
    value
        .split(',')
        .filter_map(|part| part.trim().split_once('='))
        .find(|(given, _)| *given == key)
        .map(|(_, part)| part)
}

/// Returns the volume of a disk, which may have no key.
pub(crate) fn find_volume(value: &str) -> Option<&str> {
    let named = ["file", "volume"].into_iter().find_map(|key| find_part(value, key));
    named.or_else(|| value.split(',').map(str::trim).find(|part| !part.contains('=')))
}

/// Parses a volume that is to be made, `local-lvm:32`, into its storage and its GiB. (PVE: a number after the storage is
/// the size of a new disk.)
pub(crate) fn parse_new_volume(volume: &str) -> Option<(&str, f64)> {
    let (storage, size) = volume.split_once(':')?;
    Some((storage, size.parse().ok()?))
}

/// Parses the size of a disk into bytes: `32G`, `528K`. (PVE: K, M, G and T are powers of 1024.)
pub(crate) fn parse_disk_size(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let exponent = match text.get(digits.len()..)? {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * (1_u64 << exponent) as f64)
}

/// Returns whether an option of a guest is a network card.
pub fn is_network_card(name: &str) -> bool {
    name.strip_prefix("net").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// Returns whether a network card is under the firewall of its guest. (PVE: it is not by default.)
pub fn is_under_firewall(card: &str) -> bool {
    find_part(card, "firewall") == Some("1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_by_their_whole_key() {
        let disk = "local-lvm:vm-100-disk-0,iothread=1, size=32G";
        assert_eq!(
            [find_part(disk, "size"), find_part(disk, "thread"), find_part(disk, "")],
            [Some("32G"), None, None]
        );
    }

    #[test]
    fn sizes_have_one_unit_at_most() {
        for (text, bytes) in [
            ("512", Some(512.0)),
            ("528K", Some(540_672.0)),
            ("1.5G", Some(1_610_612_736.0)),
            ("1GG", None),
            ("", None),
        ] {
            assert_eq!(parse_disk_size(text), bytes, "{text}");
        }
    }
}
