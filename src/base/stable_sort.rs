//! Stable sorting that is compiled once. The sort of the standard library is compiled again, to 6 KB, for each kind of
//! element and comparison, which was 4% of the program.

use std::cmp::Ordering;

/// Sorts as the methods of the standard library do, by the order of indexes.
pub trait StableSort<T> {
    fn stable_sort_by(&mut self, compare: impl Fn(&T, &T) -> Ordering);

    fn stable_sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K);
}

impl<T> StableSort<T> for [T] {
    fn stable_sort_by(&mut self, compare: impl Fn(&T, &T) -> Ordering) {
        let mut order: Vec<usize> = (0..self.len()).collect();
        sort_indexes(&mut order, &|a, b| compare(&self[a], &self[b]));
        reorder(self, order);
    }

    fn stable_sort_by_key<K: Ord>(&mut self, key: impl Fn(&T) -> K) {
        self.stable_sort_by(|a, b| key(a).cmp(&key(b)));
    }
}

#[inline(never)]
fn sort_indexes(order: &mut [usize], compare: &dyn Fn(usize, usize) -> Ordering) {
    order.sort_by(|&a, &b| compare(a, b));
}

/// Moves the item of each index in `order` to the place of the index, one cycle after the other.
fn reorder<T>(items: &mut [T], mut order: Vec<usize>) {
    for start in 0..order.len() {
        let mut to = start;
        loop {
            let from = std::mem::replace(&mut order[to], to);
            if from == start || from == to {
                break;
            }
            items.swap(to, from);
            to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_is_that_of_the_standard_library(items in prop::collection::vec((0_u8..8, any::<u16>()), 0..200)) {
            let (mut expected, mut sorted, mut by_key) = (items.clone(), items.clone(), items);
            expected.sort_by_key(|item| std::cmp::Reverse(item.0));
            sorted.stable_sort_by(|a, b| b.0.cmp(&a.0));
            by_key.stable_sort_by_key(|item| std::cmp::Reverse(item.0));
            prop_assert_eq!(&sorted, &expected);
            prop_assert_eq!(&by_key, &expected);
        }
    }
}
