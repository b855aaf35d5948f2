//! One sending client: what it has sent, and what is still unacknowledged.

use mqtt_codec::QoS;

use crate::{
    frames::{PublishFrame, packet_type},
    net::ConnId,
    stream::Stamp,
    traffic::{Digits, Numbers, Plan},
};

/// What a publisher hands over to its socket in one go, at most, unless a single message is larger.
const MAX_BYTES_AT_ONCE: usize = 1024 * 1024;

/// The state of one publisher; its bytes go wherever the caller says.
pub(crate) struct Publisher {
    pub(crate) conn: ConnId,
    frame: PublishFrame,
    /// Messages in one go.
    pub(crate) at_once: u64,
    index: usize,
    qos: QoS,
    digits: Option<Digits>,
    random: u64,
    next_packet_id: u16,
    pub(crate) sent: u64,
    pub(crate) unacknowledged: u64,
    /// QoS 2: those of the unacknowledged that have their PUBREC.
    received: u64,
    /// Waits in the list of those that may send again.
    pub(crate) touched: bool,
}

impl Publisher {
    pub(crate) fn new(index: usize, conn: ConnId, plan: &Plan) -> Self {
        let frame = PublishFrame::new(&plan.topics[index], plan.qos, plan.retain, plan.payload_bytes);
        Self {
            conn,
            at_once: (MAX_BYTES_AT_ONCE / frame.bytes().len()).max(1) as u64,
            frame,
            index,
            qos: plan.qos,
            digits: plan.digits,
            random: 0x9e37_79b9_7f4a_7c15 ^ index as u64,
            next_packet_id: 1,
            sent: 0,
            unacknowledged: 0,
            received: 0,
            touched: true,
        }
    }

    /// Appends `count` messages sent at `sent_ns`.
    pub(crate) fn publish(&mut self, count: u64, sent_ns: u64, out: &mut Vec<u8>) {
        out.reserve(self.frame.bytes().len() * count as usize);
        for sequence in self.sent..self.sent + count {
            self.frame.stamp(Stamp { publisher: self.index, sequence, sent_ns });
            if self.qos != QoS::AtMostOnce {
                self.frame.packet_id(self.next_packet_id);
                self.next_packet_id = self.next_packet_id.checked_add(1).unwrap_or(1);
            }
            match self.digits {
                Some(Digits { offset, width, numbers: Numbers::Counted }) => {
                    self.frame.topic_digits(offset, width, sequence as usize);
                }
                Some(Digits { offset, width, numbers: Numbers::Below { all, .. } }) => {
                    let number = self.next_random() as usize % all;
                    self.frame.topic_digits(offset, width, number);
                }
                None => {}
            }
            out.extend_from_slice(self.frame.bytes());
        }
        self.sent += count;
        if self.qos != QoS::AtMostOnce {
            self.unacknowledged += count;
        }
    }

    /// Notes PUBACK, PUBREC or PUBCOMP; `false` if nothing waits for it.
    pub(crate) fn acknowledged(&mut self, kind: u8) -> bool {
        match (self.qos, kind) {
            (QoS::AtLeastOnce, packet_type::PUBACK) => take_one(&mut self.unacknowledged),
            (QoS::ExactlyOnce, packet_type::PUBREC) => {
                let is_new = self.received < self.unacknowledged;
                self.received += u64::from(is_new);
                is_new
            }
            (QoS::ExactlyOnce, packet_type::PUBCOMP) => {
                take_one(&mut self.received) && take_one(&mut self.unacknowledged)
            }
            _ => false,
        }
    }

    /// xorshift: cheap, and the same in every run.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

/// Whether there was one.
fn take_one(count: &mut u64) -> bool {
    let left = count.checked_sub(1);
    *count = left.unwrap_or(0);
    left.is_some()
}
