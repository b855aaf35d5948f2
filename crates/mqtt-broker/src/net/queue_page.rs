//! [`queue_page`]: a store's answer, which comes by a call, as something to await.

use tokio::sync::oneshot;

use crate::{
    durability::Durability,
    store::{QueuePage, QueueRead},
};

/// A part of a session's queue; `None` if there is no store, or it fails before it has answered.
pub(crate) async fn queue_page(durability: &Durability, read: QueueRead) -> Option<QueuePage> {
    let (answer, answered) = oneshot::channel();
    durability.read_queue(read, Box::new(move |page| drop(answer.send(page))));
    answered.await.ok()
}
