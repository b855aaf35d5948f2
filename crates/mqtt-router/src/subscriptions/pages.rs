//! [`Pages`]: values by number, in pages that never move. One long vector would be copied whole each time it grows.

use std::{
    mem,
    ops::{Index, IndexMut},
};

/// How many values lie in a page.
const PAGE: usize = 1_024;

/// Values that keep their number until they are taken out; numbers count from 0, and those given back are used again.
pub(super) struct Pages<T> {
    pages: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T: Default> Pages<T> {
    pub(super) const fn new() -> Self {
        Self { pages: Vec::new(), free: Vec::new() }
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        let full = self.pages.len().saturating_sub(1) * PAGE;
        full + self.pages.last().map_or(0, Vec::len) - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Puts a value in and says its number.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self[number] = value;
            return number;
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::new());
        }
        let before = (self.pages.len() - 1) * PAGE;
        let page = &mut self.pages[before / PAGE];
        page.push(value);
        (before + page.len() - 1) as u32
    }

    /// Takes out the value with this number, which must be there.
    pub(super) fn remove(&mut self, number: u32) -> T {
        self.free.push(number);
        mem::take(&mut self[number])
    }
}

impl<T> Index<u32> for Pages<T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        &self.pages[number as usize / PAGE][number as usize % PAGE]
    }
}

impl<T> IndexMut<u32> for Pages<T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        &mut self.pages[number as usize / PAGE][number as usize % PAGE]
    }
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
}
