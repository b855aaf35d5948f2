//! [`Behind`]: new messages of a batch that stand behind all others of their queues. Nearly all do, and where they are many they go
//! into runs.

use std::{mem, vec};

use mqtt_broker::store::QueuedMessage;
use rustc_hash::FxHashMap;

use super::draft::Entry;
use crate::{
    encoding::{Encoder, MOST_IN_A_RUN, SessionId, Table, Value, entry_key},
    engine::Row,
};

/// A run with so many bytes takes no more.
const MOST_BYTES: usize = 32 * 1024;
/// A message with more has a row of its own: in a run it would take its room until those beside it are done with, too.
const MOST_MESSAGE_BYTES: usize = 4 * 1024;

#[derive(Default)]
pub(super) struct Behind {
    /// In the order of their keys.
    queues: FxHashMap<SessionId, Vec<Place>>,
    len: usize,
}

/// Stays when its message is taken back: those behind it need not move.
pub(super) struct Place {
    queued: QueuedMessage,
    is_empty: bool,
}

impl Behind {
    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether a message may be here.
    pub(super) fn takes(queued: &QueuedMessage) -> bool {
        queued.message.size() <= MOST_MESSAGE_BYTES
    }

    /// Its key has to be greater than any that this queue ever had.
    pub(super) fn push(&mut self, id: SessionId, queued: QueuedMessage) {
        self.queues.entry(id).or_default().push(Place { queued, is_empty: false });
        self.len += 1;
    }

    /// Takes one back, if it is here.
    pub(super) fn take_back(&mut self, (id, key): Entry) -> Option<&QueuedMessage> {
        let queue = self.queues.get_mut(&id)?;
        let at = queue.binary_search_by_key(&key, |place| place.queued.key).ok()?;
        let place = &mut queue[at];
        if mem::replace(&mut place.is_empty, true) {
            return None;
        }
        self.len -= 1;
        Some(&place.queued)
    }

    /// Takes out all that `is_it`.
    pub(super) fn take_if(
        &mut self,
        is_it: impl Fn(&QueuedMessage) -> bool,
        mut take: impl FnMut(SessionId, QueuedMessage),
    ) {
        for (id, queue) in &mut self.queues {
            for place in queue.iter_mut().filter(|place| !place.is_empty && is_it(&place.queued)) {
                place.is_empty = true;
                self.len -= 1;
                take(*id, place.queued.clone());
            }
        }
    }

    /// Takes all of a session.
    pub(super) fn take_queue(&mut self, id: SessionId) -> Vec<QueuedMessage> {
        let queue = self.queues.remove(&id).unwrap_or_default();
        let taken: Vec<_> =
            queue.into_iter().filter(|place| !place.is_empty).map(|place| place.queued).collect();
        self.len -= taken.len();
        taken
    }

    pub(super) fn for_each(&self, mut visit: impl FnMut(Entry)) {
        for (id, queue) in &self.queues {
            queue.iter().filter(|place| !place.is_empty).for_each(|place| visit((*id, place.queued.key)));
        }
    }

    /// Takes all of them, one by one.
    pub(super) fn take_each(&mut self, mut take: impl FnMut(SessionId, QueuedMessage)) {
        for (id, queue) in self.queues.drain() {
            queue.into_iter().filter(|place| !place.is_empty).for_each(|place| take(id, place.queued));
        }
        self.len = 0;
    }

    /// Takes all of them as runs.
    pub(super) fn take_runs(&mut self) -> NewRuns {
        self.len = 0;
        let mut queues: Vec<_> = self.queues.drain().collect();
        queues.sort_unstable_by_key(|(id, _)| *id);
        NewRuns { queues: queues.into_iter(), current: None, encoder: Encoder::default() }
    }
}

/// Rows of the table `runs` in the order of their keys, each made when it is asked for.
#[derive(Default)]
pub(super) struct NewRuns {
    queues: vec::IntoIter<(SessionId, Vec<Place>)>,
    current: Option<(SessionId, vec::IntoIter<Place>)>,
    encoder: Encoder,
}

impl NewRuns {
    /// Whose they are, and the last message of each queue.
    pub(super) fn latest(&self) -> impl Iterator<Item = Entry> {
        self.queues.as_slice().iter().filter_map(|(id, queue)| Some((*id, queue.last()?.queued.key)))
    }
}

impl Iterator for NewRuns {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        loop {
            if let Some((id, queue)) = &mut self.current
                && let run = take_run(queue)
                && let Some(first) = run.first()
            {
                let key = entry_key(*id, first.key);
                let value = self.encoder.encode(Table::Runs, &key, &Value::Run(run));
                return Some((key, value));
            }
            let (id, queue) = self.queues.next()?;
            self.current = Some((id, queue.into_iter()));
        }
    }
}

fn take_run(queue: &mut vec::IntoIter<Place>) -> Vec<QueuedMessage> {
    let (mut run, mut bytes) = (Vec::with_capacity(MOST_IN_A_RUN.min(queue.len())), 0);
    while run.len() < MOST_IN_A_RUN
        && bytes < MOST_BYTES
        && let Some(Place { queued, is_empty }) = queue.next()
    {
        if !is_empty {
            bytes += queued.message.size();
            run.push(queued);
        }
    }
    run
}
