//! What is due by the clock and belongs to no connection: sessions, retained messages and bans expire; refusals are told.

use std::{mem, sync::atomic::Ordering, time::Instant};

use super::Core;
use crate::{admission::RefusalReason, event::SessionEnd};

/// How many sessions or retained messages expire before others have their turn.
pub(super) const EXPIRED_AT_A_TIME: usize = 256;

impl Core {
    /// A part of it; says whether there may be more. What takes no long time is done once, in the last part.
    pub(crate) fn tick(&self, now: Instant) -> bool {
        if self.expire(now) {
            return true;
        }
        self.admission.tick(now, &self.limits);
        self.routes.tidy(self.generation.load(Ordering::Acquire));
        self.tell_of_refusals();
        false
    }

    fn expire(&self, now: Instant) -> bool {
        let mut burst = self.burst();
        for _ in 0..EXPIRED_AT_A_TIME {
            let Some(session) = self.sessions.next_due(now) else {
                return self.expire_retained(now) == EXPIRED_AT_A_TIME;
            };
            if self.sessions.expire(&session, now, &self.limits) {
                self.forget(&session, SessionEnd::Expired, &mut burst);
                self.durability.append(self.end_record(&session));
            }
        }
        true
    }

    /// One line a second and reason, however many were refused: a flood must not become one of the log.
    fn tell_of_refusals(&self) {
        let counts = self.counters.snapshot();
        let told = mem::replace(&mut *self.told.lock(), counts.clone());
        for &reason in RefusalReason::ALL {
            // Two may look at the same time, and the later one come first.
            let more = counts.refused_for(reason).saturating_sub(told.refused_for(reason));
            if more > 0 {
                tracing::warn!(connections = more, reason = reason.as_str(), "refused: {reason}");
            }
        }
    }
}
