//! [`Pages`]: values by number, in pages that never move. One long vector would be copied whole each time it grows.

use std::{
    mem,
    ops::{Index, IndexMut},
};

/// How many values lie in a page.
const PAGE: usize = 1_024;

/// Values that keep their number until they are taken out; numbers count from 0, and those given back are used again.
///
/// A page of which nothing is left gives its memory back, but for the one that was emptied last: what comes next may be for that one.
pub(super) struct Pages<T> {
    all: Vec<Page<T>>,
    /// The numbers that were given back.
    free: Vec<u32>,
    /// The least number that was never given out.
    next: u32,
    len: usize,
    emptied: usize,
}

struct Page<T> {
    /// Those up to the greatest number that was given out, unless nothing is left.
    values: Vec<T>,
    /// How many of them are there.
    len: u32,
}

impl<T: Default> Pages<T> {
    pub(super) const fn new() -> Self {
        Self { all: Vec::new(), free: Vec::new(), next: 0, len: 0, emptied: 0 }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value in and says its number.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        let number = self.free.pop().unwrap_or(self.next);
        self.next = self.next.max(number + 1);
        let (page, place) = place_of(number);
        if page == self.all.len() {
            self.all.push(Page { values: Vec::new(), len: 0 });
        }
        let page = &mut self.all[page];
        if page.values.len() <= place {
            page.values.resize_with(place + 1, T::default);
        }
        page.values[place] = value;
        page.len += 1;
        self.len += 1;
        number
    }

    /// Takes out the value with this number, which must be there.
    pub(super) fn remove(&mut self, number: u32) -> T {
        self.free.push(number);
        self.len -= 1;
        let (at, place) = place_of(number);
        let page = &mut self.all[at];
        page.len -= 1;
        let value = mem::take(&mut page.values[place]);
        if page.len == 0 {
            let earlier = mem::replace(&mut self.emptied, at);
            if earlier != at && self.all[earlier].len == 0 {
                self.all[earlier].values = Vec::new();
            }
        }
        value
    }
}

impl<T> Index<u32> for Pages<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        let (page, place) = place_of(number);
        &self.all[page].values[place]
    }
}

impl<T> IndexMut<u32> for Pages<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        let (page, place) = place_of(number);
        &mut self.all[page].values[place]
    }
}

/// In which page a number is, and where there.
fn place_of(number: u32) -> (usize, usize) {
    (number as usize / PAGE, number as usize % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_and_are_used_again() {
        let mut pages = Pages::new();
        let count = 3 * PAGE as u32;
        for number in 0..count {
            assert_eq!(pages.insert(number * 2), number);
            assert_eq!(pages.len(), number as usize + 1);
        }
        assert!((0..count).all(|number| pages[number] == number * 2));
        assert_eq!((pages.remove(5), pages.remove(2_000), pages.len()), (10, 4_000, count as usize - 2));
        assert_eq!((pages.insert(7), pages.insert(8), pages.insert(9)), (2_000, 5, count));
        assert_eq!(pages[5], 8);
    }
    #[test]
    fn pages_of_which_nothing_is_left_give_their_memory_back() {
        let mut pages = Pages::new();
        let count = 8 * PAGE as u32 + 5;
        (0..count).for_each(|number| assert_eq!(pages.insert(number), number));
        // All but one in the middle, and the last page is not full.
        (0..count)
            .filter(|&number| number != 5_000)
            .for_each(|number| assert_eq!(pages.remove(number), number));
        let held = |pages: &Pages<u32>| pages.all.iter().map(|page| page.values.capacity()).sum::<usize>();
        assert!(held(&pages) <= 2 * PAGE, "{}", held(&pages));
        assert_eq!((pages.len(), pages[5_000]), (1, 5_000));
        let mut again: Vec<u32> = (1..count).map(|_| pages.insert(1)).collect();
        again.sort_unstable();
        assert!(again.into_iter().eq((0..count).filter(|&number| number != 5_000)));
        assert_eq!((pages.insert(2), pages.len(), pages[5_000]), (count, count as usize + 1, 5_000));
    }
}
