//! 3.12 and 3.13: PINGREQ and PINGRESP.

use crate::packets::{PINGREQ, PINGRESP};
use crate::wire::Wire;

/// [MQTT-3.12.4-1] One PINGREQ, one PINGRESP.
#[test]
fn pingreq_is_answered() {
    let mut wire = Wire::client();
    wire.send(PINGREQ);
    wire.expect(PINGRESP);
    wire.expect_quiet();
}

/// [MQTT-3.12.4-1] As many PINGRESP as PINGREQ, also when they come in one write.
#[test]
fn every_pingreq_is_answered() {
    let mut wire = Wire::client();
    wire.send(PINGREQ.repeat(1_000));
    for _ in 0..1_000 {
        wire.expect(PINGRESP);
    }
    wire.expect_quiet();
}
