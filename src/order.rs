//! Sorting by one piece of code. The library's own sorts are made anew, ten kilobytes each, for every type that is
//! sorted; here only numbers of places are.

use std::cmp::Ordering;

/// Sorts as `compare` has it; what compares equal stays in its order.
pub fn sort<T>(items: &mut [T], compare: &dyn Fn(&T, &T) -> Ordering) {
    let order = order(items.len(), &|a, b| match (items.get(a), items.get(b)) {
        (Some(a), Some(b)) => compare(a, b),
        _ => Ordering::Equal,
    });
    put(order, &mut |a, b| items.swap(a, b));
}

/// The places `0..count` in the order that `compare` says; what compares equal stays in its order.
pub fn order(count: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| compare(*a, *b));
    order
}

/// Swaps until at every place is what was at `order[place]`: along each cycle, from where it starts.
fn put(mut order: Vec<usize>, swap: &mut dyn FnMut(usize, usize)) {
    for start in 0..order.len() {
        let mut at = start;
        // A place that is done names itself.
        while let Some(from) = order.get_mut(at).map(|from| std::mem::replace(from, at))
            && from != start
        {
            swap(at, from);
            at = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_sorts_as_the_library_does(items in proptest::collection::vec((0u8..9, 0u8..9), 0..200)) {
            let (mut ours, mut theirs) = (items.clone(), items);
            sort(&mut ours, &|a, b| a.0.cmp(&b.0));
            theirs.sort_by_key(|(key, _)| *key);
            prop_assert_eq!(ours, theirs);
        }
    }
}
