//! Lists, a page at a time: by cursor, which stays right while clients come and go, or by page number as in 2018.
//!
//! A list is read in chunks, none of which holds a lock of the broker for long; of what is read, only the page is kept.

use std::{borrow::Cow, cmp::Ordering};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::problem::{Problem, Result};

/// A page of a list.
#[allow(clippy::struct_field_names, reason = "they are the names of 2018")]
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) list: Vec<T>,
    /// The number of this page, from 1.
    page: usize,
    /// At most so many items are on a page.
    page_size: usize,
    /// So many are on this one.
    current_count: usize,
    /// So many there are that the filter lets through.
    total_count: usize,
    /// So many pages they make.
    total_page: usize,
    /// Where the next page begins: hand it in as `cursor`. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// What items are sorted by, before their identifier.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Key<'a> {
    Nothing,
    Number(u64),
    Text(Cow<'a, str>),
}

/// In which direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    #[default]
    Asc,
    Desc,
}

/// Which page is wanted.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Everything up to here was on earlier pages.
    after: Option<Place<'static>>,
    page: usize,
    by_number: bool,
    size: usize,
    order: Order,
}

/// Where an item stands in a sorted list: by its key, then by what tells it from others with the same. Always short enough for
/// a cursor that goes into the head of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place<'a> {
    key: Key<'a>,
    id: [Cow<'a, str>; 2],
}

/// What a cursor holds; nobody but this module reads it.
#[derive(Serialize, Deserialize)]
struct Cursor<'a> {
    place: Place<'a>,
    page: usize,
}

/// The first items of all that came, so far.
struct First<T, C> {
    /// Those, in no order, and what came after them was not yet compared with the rest.
    kept: Vec<T>,
    /// How many are wanted in the end.
    wanted: usize,
    /// Whether the wanted ones are there, the last of them at the end of these.
    is_full: bool,
    /// Whether there were more than are wanted.
    has_more: bool,
    compare: C,
}

const DEFAULT_SIZE: usize = 20;
const LARGEST_SIZE: usize = 1_000;
/// Of a longer text this much is sorted by, and then a hash of all of it.
const LONGEST_TEXT: usize = 1024;
/// A page by number costs as much as all before it; a cursor does not.
const FARTHEST_BY_NUMBER: usize = 100_000;

impl<T> Page<T> {
    /// The same page of what the items are made into; those that have gone meanwhile are left out.
    pub(crate) fn filter_map<U>(self, make: impl FnMut(T) -> Option<U>) -> Page<U> {
        let list: Vec<U> = self.list.into_iter().filter_map(make).collect();
        Page {
            page: self.page,
            page_size: self.page_size,
            current_count: list.len(),
            total_count: self.total_count,
            total_page: self.total_page,
            next_cursor: self.next_cursor,
            list,
        }
    }
}

impl<'a> Key<'a> {
    pub(crate) fn text(text: &'a str) -> Self {
        Self::Text(short(text))
    }
}

impl<'a> Place<'a> {
    pub(crate) fn new(key: Key<'a>, id: [&'a str; 2]) -> Self {
        Self { key, id: id.map(short) }
    }
}

fn short(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_TEXT {
        return text.into();
    }
    let (head, _) = text.split_at(text.floor_char_boundary(LONGEST_TEXT));
    format!("{head}{}", URL_SAFE_NO_PAD.encode(Sha256::digest(text))).into()
}

impl Selection {
    pub(crate) fn new(
        cursor: Option<&str>,
        page: Option<usize>,
        size: Option<usize>,
        order: Order,
    ) -> Result<Self> {
        let size = size.unwrap_or(DEFAULT_SIZE);
        if size == 0 || size > LARGEST_SIZE {
            return Err(Problem::bad_request(format!("`per-page` must be from 1 to {LARGEST_SIZE}")));
        }
        let (after, page) = match (cursor, page) {
            (Some(_), Some(_)) => return Err(Problem::bad_request("give `cursor` or `page`, not both")),
            (Some(cursor), None) => {
                let Cursor { place, page } = read_cursor(cursor)?;
                (Some(place), page)
            }
            (None, page) => (None, page.unwrap_or(1)),
        };
        if page == 0 {
            return Err(Problem::bad_request("pages are counted from 1"));
        }
        let by_number = after.is_none();
        if by_number && page.saturating_mul(size) > FARTHEST_BY_NUMBER {
            return Err(Problem::bad_request(format!(
                "page numbers reach {FARTHEST_BY_NUMBER} items; go on with `next_cursor` of the page before"
            )));
        }
        Ok(Self { after, page, by_number, size, order })
    }

    /// The page out of all items, however many and in whatever order they come. What of an item is in its place is looked at
    /// where it is: nothing is made for those that are on other pages.
    pub(crate) fn page_of<T>(
        self,
        items: impl Iterator<Item = T>,
        place: impl Fn(&T) -> Place<'_>,
    ) -> Page<T> {
        let wanted = if self.by_number { self.page * self.size } else { self.size };
        let mut first = First::new(wanted, |a: &T, b: &T| self.order.of(&place(a), &place(b)));
        let mut total_count = 0_usize;
        for item in items {
            total_count += 1;
            let was_before = |after| self.order.of(&place(&item), after).is_le();
            if !self.after.as_ref().is_some_and(was_before) {
                first.push(item);
            }
        }
        let (mut list, has_more) = first.sorted();
        let total_page = total_count.div_ceil(self.size).max(1);
        let page = if self.by_number { self.page.min(total_page) } else { self.page };
        if self.by_number {
            list.drain(..((page - 1) * self.size).min(list.len()));
        }
        let end = list.last().filter(|_| has_more);
        let next_cursor = end.map(|last| write_cursor(&Cursor { place: place(last), page: page + 1 }));
        Page {
            page,
            page_size: self.size,
            current_count: list.len(),
            total_count,
            total_page,
            next_cursor,
            list,
        }
    }
}

impl Order {
    fn of(self, a: &Place<'_>, b: &Place<'_>) -> Ordering {
        let order = a.cmp(b);
        if self == Self::Desc { order.reverse() } else { order }
    }
}

impl<T, C: Fn(&T, &T) -> Ordering> First<T, C> {
    fn new(wanted: usize, compare: C) -> Self {
        Self { kept: Vec::new(), wanted, is_full: false, has_more: false, compare }
    }

    fn push(&mut self, item: T) {
        // The wanted ones are the first ones of `kept`, and the last of them is the bound that most items are beyond.
        let bound = if self.is_full { self.kept.get(self.wanted - 1) } else { None };
        if bound.is_some_and(|bound| (self.compare)(&item, bound).is_gt()) {
            self.has_more = true;
            return;
        }
        self.kept.push(item);
        if self.kept.len() >= 2 * self.wanted + 64 {
            self.cut();
        }
    }

    /// Lets those go that are not wanted any more. In linear time, and after as many items as are wanted at the earliest.
    fn cut(&mut self) {
        if self.kept.len() > self.wanted {
            self.kept.select_nth_unstable_by(self.wanted - 1, &self.compare);
            self.kept.truncate(self.wanted);
            (self.is_full, self.has_more) = (true, true);
        }
    }

    /// And whether there were more.
    fn sorted(mut self) -> (Vec<T>, bool) {
        self.cut();
        self.kept.sort_unstable_by(&self.compare);
        (self.kept, self.has_more)
    }
}

fn read_cursor(text: &str) -> Result<Cursor<'static>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    cursor.filter(|cursor: &Cursor<'_>| cursor.page > 0 && cursor.page < usize::MAX).ok_or_else(|| {
        Problem::bad_request("`cursor` is none that this API has given: hand in `next_cursor` unchanged")
    })
}

fn write_cursor(cursor: &Cursor<'_>) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(selection: Selection, items: &[u64]) -> Page<u64> {
        selection.page_of(items.iter().copied(), |n| Place {
            key: Key::Number(n / 10),
            id: [Cow::from(format!("{n:03}")), Cow::from("")],
        })
    }

    fn first(size: usize, order: Order) -> Selection {
        Selection::new(None, None, Some(size), order).unwrap()
    }

    /// What is there all the time is found once, whatever else comes and goes between the pages.
    #[test]
    fn a_cursor_stays_right_while_others_come_and_go() {
        for order in [Order::Asc, Order::Desc] {
            let mut items: Vec<u64> = (0..500).rev().collect();
            let mut seen = Vec::new();
            let mut next = page(first(7, order), &items);
            let mut round = 0;
            loop {
                seen.append(&mut next.list);
                let Some(cursor) = next.next_cursor else { break };
                items.retain(|n| n % 10 != round % 5);
                items.extend((500..500 + round).filter(|n| !seen.contains(n)));
                round += 1;
                next = page(Selection::new(Some(&cursor), None, Some(7), order).unwrap(), &items);
                assert_eq!(next.page as u64, round + 1);
            }
            for n in (0..500).filter(|n| n % 10 >= 5) {
                assert_eq!(seen.iter().filter(|&&found| found == n).count(), 1, "{n}");
            }
        }
    }

    #[test]
    fn a_page_beyond_the_end_is_the_last() {
        let items: Vec<u64> = (0..25).collect();
        let selection = Selection::new(None, Some(9), Some(10), Order::Asc).unwrap();
        let last = page(selection, &items);
        assert_eq!((last.page, last.total_page, last.total_count, last.current_count), (3, 3, 25, 5));
        assert_eq!(last.list, [20, 21, 22, 23, 24]);
        assert_eq!(last.next_cursor, None);
        let none = page(first(10, Order::Asc), &[]);
        assert_eq!((none.page, none.total_page, none.current_count), (1, 1, 0));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (cursor, number, size) in [
            (None, Some(0), None),
            (None, None, Some(0)),
            (None, None, Some(1_001)),
            (None, Some(usize::MAX), None),
            (Some("x"), None, None),
            (Some("e30"), None, None),
            (Some("e30"), Some(1), None),
        ] {
            assert!(
                Selection::new(cursor, number, size, Order::Asc).is_err(),
                "{cursor:?} {number:?} {size:?}"
            );
        }
    }
}
