//! Packet identifiers (section 2.3.1): never zero, by construction.

use std::{fmt, num::NonZeroU16};

/// A packet identifier, 1 to 65,535.
///
/// ```
/// use mqtt_codec::PacketId;
///
/// assert_eq!(PacketId::new(0), None);
/// assert_eq!(PacketId::new(65_535).map(PacketId::next), Some(PacketId::FIRST));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest identifier, where every allocator starts.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// `None` for zero, which the standard reserves [MQTT-2.3.1-1].
    pub const fn new(value: u16) -> Option<Self> {
        match NonZeroU16::new(value) {
            Some(id) => Some(Self(id)),
            None => None,
        }
    }

    /// The number on the wire.
    pub const fn get(self) -> u16 {
        self.0.get()
    }

    /// The identifier after this one; 65,535 is followed by 1.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.0.checked_add(1) {
            Some(id) => Self(id),
            None => Self::FIRST,
        }
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
