//! Names that no other test uses, since all tests share one broker, and the clearing up of what outlives a connection.

use std::ops::Deref;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::packets::{Connect, DISCONNECT, Publish};
use crate::wire::Wire;

/// A name of at most 18 lower-case letters and digits, new at each call and, as good as certainly, in each run: it serves
/// as client identifier (3.1.3.1 promises 23 of these) and as first level of topics.
pub(crate) fn unique() -> String {
    static RUN: OnceLock<u64> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let run = RUN.get_or_init(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (since_epoch.as_millis() as u64 & 0xFFFF_FFFF) ^ u64::from(std::process::id()) << 32
    });
    format!("t{:x}x{:x}", run & 0xFF_FFFF_FFFF, COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The identifier of a session that is discarded when this is dropped.
pub(crate) struct SessionId(String);

impl SessionId {
    pub(crate) fn new() -> Self {
        Self(unique())
    }
}

impl AsRef<[u8]> for SessionId {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for SessionId {
    fn drop(&mut self) {
        if let Ok(mut wire) = Wire::try_open() {
            wire.send(Connect::new(&self.0).bytes());
            wire.send(DISCONNECT);
            wire.wait_for_end();
        }
    }
}

/// A topic whose retained message is removed when this is dropped.
pub(crate) struct RetainedTopic(String);

impl RetainedTopic {
    pub(crate) fn new() -> Self {
        Self(unique())
    }

    /// The topic `suffix` (with its leading slash, if it is to have one) after a unique first level.
    pub(crate) fn under(first_level: &str, suffix: &str) -> Self {
        Self(format!("{first_level}{suffix}"))
    }
}

impl Deref for RetainedTopic {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<[u8]> for RetainedTopic {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for RetainedTopic {
    fn drop(&mut self) {
        if let Ok(mut wire) = Wire::try_open() {
            wire.send(Connect::new(unique()).bytes());
            wire.send(Publish::new(&self.0, "").retain().bytes());
            wire.send(DISCONNECT);
            wire.wait_for_end();
        }
    }
}
