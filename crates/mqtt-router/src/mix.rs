//! A fixed mixing of 64 bits: for numbers that no peer chooses. Never for text from the network, which gets a keyed hash.

/// Spreads `value` over all 64 bits (the finaliser of the `SplitMix64` generator).
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
