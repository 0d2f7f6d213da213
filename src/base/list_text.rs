//! Lists in one text, as Proxmox takes them.

/// Splits a list as Proxmox does: at commas, semicolons, white space of any kind and control characters.
pub(crate) fn split_list(list: &str) -> impl DoubleEndedIterator<Item = &str> {
    list.split(|c: char| matches!(c, ',' | ';') || c.is_whitespace() || c.is_control())
}

/// Returns the items of a list. Separators in a row have none between them.
pub(crate) fn list_items(list: &str) -> impl Iterator<Item = &str> {
    split_list(list).filter(|item| !item.is_empty())
}
