//! The loop that takes connections in: keeps their number within the limits, and gives each a task.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::sleep;

use super::{
    handshake,
    listener::Listener,
    newcomer::{Newcomer, refuse},
    now,
    tasks::Tasks,
    transport::Transport,
    way::Way,
    workers::{Accepted, Movable},
};
use crate::{
    admission::RefusalReason, broker::Broker, client::Peer, complaints::Complaints, core::Core,
    entrance::Entrance, place::Place,
};

/// How long to wait when the system has no file descriptor left: trying at once again would only burn the processor.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// What accepted connections are given.
struct Reception {
    core: Arc<Core>,
    way: Arc<Way>,
    tasks: Tasks,
    /// About the system, which lets nobody in.
    pauses: Complaints,
}

/// A socket that listens.
pub(super) trait Listening: Movable + Sync {
    type Accepted: Accepted;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Accepted, Peer)>>;
}

impl Broker {
    /// Lets in who comes, in a task that ends when the broker stops listening.
    pub(super) fn accept<L: Listening>(&self, listener: Listener, socket: L) -> io::Result<()> {
        let (core, tasks) = (Arc::clone(self.core()), self.tasks().clone());
        if tasks.stop_listening.is_cancelled() {
            return Err(io::Error::other("the broker has been shut down"));
        }
        tasks.keep_house(&core);
        let way = tasks.ways.open(listener, &core.limits);
        let reception = Reception { core, way, tasks, pauses: Complaints::default() };
        // Where most connections are from then on: no other thread is woken for a new one.
        let Some(first) = self.tasks().crew.first() else {
            self.tasks().listeners.spawn(reception.accept_until_stop(socket));
            return Ok(());
        };
        let attach = socket.detach()?;
        let listening = async {
            match attach() {
                Ok(socket) => reception.accept_until_stop(socket).await,
                Err(error) => tracing::error!(%error, "cannot listen"),
            }
        };
        self.tasks().listeners.spawn_on(listening, first);
        Ok(())
    }
}

impl Reception {
    async fn accept_until_stop(self, listening: impl Listening) {
        let stop = &self.tasks.stop_listening;
        let mut poll_accept = |cx: &mut Context<'_>| listening.poll_accept(cx);
        while let Some(accepted) = stop.run_until_cancelled(poll_fn(&mut poll_accept)).await {
            match accepted {
                Ok((socket, peer)) => {
                    let (entrance, transport) = self.way.now();
                    if let Some(newcomer) = self.admit(peer, &entrance, &transport) {
                        let (tasks, berth) = (self.tasks.clone(), newcomer.berth.clone());
                        berth.place(socket, move |socket| match socket {
                            Ok(socket) => handshake::begin(&transport, socket, newcomer, &tasks),
                            Err(error) => newcomer.lose(&error),
                        });
                    }
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    self.tell_of_pause(&error);
                    sleep(OUT_OF_RESOURCES).await;
                }
            }
        }
    }

    /// Lets a connection in, if there is a place for it and there are no objections to it.
    fn admit(&self, peer: Peer, entrance: &Arc<Entrance>, transport: &Transport) -> Option<Newcomer> {
        let core = &self.core;
        core.counters.connections_accepted.one();
        let accepted_at = now();
        let crew = &self.tasks.crew;
        let berth = if transport.is_websocket() { crew.new_berth_for_life() } else { crew.new_berth() };
        let newcomer = |place| Newcomer { peer, accepted_at, certificate_user_name: None, place, berth };
        if !transport.serves(peer) {
            refuse(core, entrance, peer, RefusalReason::NotAProxy);
            return None;
        }
        match Place::take(core, entrance) {
            Ok(place) => {
                let mut newcomer = newcomer(place);
                (transport.expects_introduction(peer) || newcomer.is_welcome()).then_some(newcomer)
            }
            Err(reason) => {
                refuse(core, entrance, peer, reason);
                // Told only where that takes no handshake: at the limit of connections nothing more is spent on them. And
                // nobody is told who would not have been let in anyway.
                let is_told = transport.is_plain();
                let mut newcomer =
                    is_told.then(|| Place::among_few(core, entrance)).flatten().map(newcomer)?;
                newcomer.weigh().is_ok().then_some(newcomer)
            }
        }
    }

    fn tell_of_pause(&self, error: &io::Error) {
        self.core.counters.accept_pauses.one();
        if let Some(left_out) = self.pauses.may_write(now()) {
            let (entrance, _) = self.way.now();
            let listener = entrance.name.as_deref();
            tracing::warn!(
                %error, listener, left_out,
                "cannot accept connections for the moment; raise the limit of open files",
            );
        }
    }
}

/// Errors of `accept` that say that a client went away before it was taken in.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(all(test, feature = "websocket"))]
mod tests;
