//! UNSUBSCRIBE (3.10, 3.11).

use std::sync::Arc;

use mqtt_codec::{Frame, PacketType, Unsuback, Unsubscribe};

use super::{
    Connection,
    filters::{WORK_A_FILTER, check_count},
    owned_body,
};
use crate::{burst::Burst, close_reason::CloseReason, hooks::survive, store::Mark};

impl Connection {
    pub(super) fn handle_unsubscribe(
        &mut self,
        frame: &Frame<'_>,
        burst: &mut Burst<'_>,
    ) -> Result<(), CloseReason> {
        check_count(frame.packet_type, frame.body, self.limits().max_filters_per_packet)?;
        let Unsubscribe { packet_id, filters } = Unsubscribe::decode(&owned_body(frame))?;
        let core = Arc::clone(&self.place.core);
        let attachment = self.attachment()?;
        attachment.check()?;
        let mut mark = Mark::NOTHING;
        // [MQTT-3.10.4-6]: one after the other.
        for filter in &filters {
            if let Some(hook) = &core.hooks.on_unsubscribe {
                survive("on_unsubscribe", || hook(&attachment.info, filter))
                    .ok_or(CloseReason::HookFailed)?;
            }
            burst.spend(WORK_A_FILTER);
            let unsubscribed = core.unsubscribe(&attachment.session, filter); // [MQTT-3.10.4-2]
            mark = mark.max(unsubscribed.unwrap_or_default());
        }
        self.hold_until(mark);
        // [MQTT-3.10.4-4] [MQTT-3.10.4-5]: also if there was nothing to remove. [MQTT-2.3.1-7]
        self.answer(PacketType::Unsuback, burst, |out| Unsuback { packet_id }.encode(out))
    }
}
