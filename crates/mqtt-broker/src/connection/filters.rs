//! How many topic filters a SUBSCRIBE or an UNSUBSCRIBE holds, told before any of them is made, and how much work they are: they may be
//! very many.

use mqtt_codec::PacketType;

pub(super) use crate::burst::WORK_A_FILTER;
use crate::close_reason::ProtocolViolation;

/// Refuses a packet of more than `most` filters. What is malformed is left to the decoder.
pub(super) fn check_count(
    packet_type: PacketType,
    body: &[u8],
    most: usize,
) -> Result<(), ProtocolViolation> {
    let behind_each = usize::from(packet_type == PacketType::Subscribe); // The requested QoS.
    let (mut rest, mut count) = (body.get(2..).unwrap_or_default(), 0);
    while let [high, low, behind @ ..] = rest {
        count += 1;
        if count > most {
            return Err(ProtocolViolation::TooManyFilters);
        }
        let len = usize::from(u16::from_be_bytes([*high, *low])) + behind_each;
        rest = behind.get(len..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_counted_and_nothing_else_is_judged() {
        let check = |packet_type, body: &[u8]| check_count(packet_type, body, 2).is_ok();
        let subscribe = [0, 1, 0, 1, b'a', 0, 0, 2, b'b', b'b', 1];
        assert!(check(PacketType::Subscribe, &subscribe));
        assert!(!check(PacketType::Subscribe, &[&subscribe[..], &[0, 0, 0]].concat()));
        let unsubscribe = [0, 1, 0, 1, b'a', 0, 2, b'b', b'b'];
        assert!(check(PacketType::Unsubscribe, &unsubscribe));
        assert!(!check(PacketType::Unsubscribe, &[&unsubscribe[..], &[0, 0]].concat()));
        for malformed in [&[][..], &[0], &[0, 1], &[0, 1, 0], &[0, 1, 0xff, 0xff], &[0, 1, 0, 0]] {
            assert!(check(PacketType::Subscribe, malformed), "{malformed:?}");
        }
    }
}
