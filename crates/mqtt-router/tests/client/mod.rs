//! [`Client`]: the subscriber that the test programs share.

use mqtt_router::Subscriber;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Client(pub(crate) u64);

impl Subscriber for Client {
    fn id(&self) -> u64 {
        self.0
    }

    fn is_online(&self) -> bool {
        true
    }
}
