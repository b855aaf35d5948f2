//! The keeper's side of the desk: what the engine is to be told and when, and that it has been.

use std::{collections::VecDeque, sync::atomic::Ordering, time::Duration};

use mqtt_broker::store::MessageKey;
use parking_lot::MutexGuard;

use super::{Ask, Desk, Rest, Tray};
use crate::{inbox::Slot, options::Durability, wal::Medium};

/// How often the keeper looks around while things come in. Without a writer, what nobody waits for is in the log after as long.
const TICK: Duration = Duration::from_millis(25);
/// After so many ticks in which nothing came in, the engine is told of everything.
const QUIET_TICKS: u32 = 4;
/// So many places of the inbox are enough.
const MOST_PLACES: usize = 128 * 1024;
/// So many are taken before others have their turn.
const PLACES_A_TURN: usize = 1024;
/// For so many records, at rest, the inbox keeps memory.
const KEPT_PLACES: usize = 1024;

/// What the engine is to be told: everything up to a mark, or nothing; and what is to be read then.
pub(crate) struct Taken {
    pub(crate) slots: VecDeque<Slot>,
    /// `None`: nothing.
    pub(crate) mark: Option<u64>,
    /// Each with the key before which the engine knows all of its queue then.
    pub(crate) asks: Vec<(Ask, MessageKey)>,
}

impl<M: Medium> Desk<M> {
    /// What to tell the engine; `None` at the end. With `may_rest`, waits until it is time.
    pub(crate) fn next(&self, mut slots: VecDeque<Slot>, may_rest: bool) -> Option<Taken> {
        let (mut quiet, mut seen) = (0, 0);
        let mut tray = loop {
            let mut tray = self.tray.lock();
            if self.is_due(&tray) || quiet >= QUIET_TICKS {
                break tray;
            }
            let mark = self.is_old(&tray);
            if mark.is_some() || !may_rest || !tray.asks.is_empty() {
                // Those that come while others have their turn may ask for what is here.
                let asks = tray.take_asks();
                if let Some(mark) = mark {
                    self.take_until(mark, &mut slots, tray)?;
                }
                return Some(Taken { slots, mark, asks });
            }
            if tray.told == tray.appended {
                tray.keeper = Rest::Asleep;
                self.keep.wait(&mut tray);
                continue;
            }
            tray.keeper = Rest::Dozing;
            let is_tick = self.keep.wait_for(&mut tray, TICK).timed_out();
            tray.keeper = Rest::None;
            if !is_tick {
                continue;
            }
            quiet = if tray.appended == seen { quiet + 1 } else { 0 };
            seen = tray.appended;
            if !tray.frame.is_empty() {
                tray.is_urgent = true;
                self.call_writer(&mut tray);
            }
            drop(tray);
            if self.durability == Durability::Os {
                self.write_in_turn();
            }
        };
        tray.keeper = Rest::None;
        if tray.closed && tray.told == tray.appended {
            return None;
        }
        tray.is_asked = false;
        tray.inbox.take(&mut slots);
        if quiet > 0 {
            tray.inbox.shrink_to(KEPT_PLACES);
        }
        if tray.closed {
            tray.frame.clear(); // The engine gets it.
        }
        self.room.notify_all();
        self.call_writer(&mut tray);
        tray.told = tray.appended;
        let taken = Taken { slots, mark: Some(tray.told), asks: tray.take_asks() };
        drop(tray);
        if self.durability == Durability::Os && !self.waiters.are_none() {
            self.write_in_turn(); // It may have been too much until now.
        }
        Some(taken)
    }

    /// Takes what is old, in turns with others; `None` if the store has failed meanwhile, and not all of it is here any more.
    fn take_until(
        &self,
        mark: u64,
        slots: &mut VecDeque<Slot>,
        mut tray: MutexGuard<'_, Tray>,
    ) -> Option<()> {
        while !tray.inbox.take_until(mark, PLACES_A_TURN, slots) {
            MutexGuard::bump(&mut tray);
        }
        tray.told = mark;
        self.failure.get().is_none().then_some(())
    }

    /// Up to which mark what came in has waited for so long that the engine is better told: there is no room for it, here or in
    /// the log. What is younger may still be done with.
    fn is_old(&self, tray: &Tray) -> Option<u64> {
        let mark = match self.old_groups.load(Ordering::Relaxed) {
            0 if tray.inbox.len() >= MOST_PLACES => tray.inbox.middle(),
            groups => groups.saturating_sub(self.groups_before),
        };
        Some(mark).filter(|mark| *mark > tray.told)
    }

    /// The engine has everything up to this mark, which is so many groups in all.
    pub(crate) fn settle(&self, mark: u64, groups: u64) {
        let has_room_again = {
            let wal = &mut self.log.lock().wal;
            wal.forget(groups);
            self.note_room(wal)
        };
        self.publish(mark);
        let is_urgent = {
            let mut tray = self.tray.lock();
            tray.settled = mark;
            if has_room_again {
                self.call_writer(&mut tray);
            }
            tray.is_urgent
        };
        self.room.notify_all();
        if is_urgent && self.durability == Durability::Os {
            self.write_in_turn(); // Somebody may have found the log taken just now.
        }
    }
}
