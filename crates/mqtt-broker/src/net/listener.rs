//! Listeners: take connections in, keep their number within the limit, and give each a task.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream, ToSocketAddrs},
    time::sleep,
};

use super::{connection_task::ConnectionTask, tasks::Tasks};
use crate::{broker::Broker, client::Peer, core::Core, hooks::survive};

/// How long to wait when the system has no file descriptor left: trying at once again would only burn the processor.
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

impl Broker {
    /// Listens for MQTT over TCP [MQTT-7.1.1-1] on `address`; port 0 takes a free port. Returns the address that it listens on.
    ///
    /// Must be called within a tokio runtime, as all that is asynchronous here.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<SocketAddr> {
        self.serve(TcpListener::bind(address).await?)
    }

    /// Serves MQTT over TCP on a listener that is bound already. A broker that was shut down serves nobody any more.
    pub fn serve(&self, listener: TcpListener) -> io::Result<SocketAddr> {
        let address = listener.local_addr()?;
        let (core, tasks) = (Arc::clone(self.core()), self.tasks().clone());
        if tasks.stop_listening.is_cancelled() {
            return Err(io::Error::other("the broker has been shut down"));
        }
        tasks.keep_house(&core);
        self.tasks().listeners.spawn(async move { accept_until_stop(&listener, &core, &tasks).await });
        Ok(address)
    }
}

async fn accept_until_stop(listener: &TcpListener, core: &Arc<Core>, tasks: &Tasks) {
    while let Some(accepted) = tasks.stop_listening.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((socket, address)) => admit(socket, Peer::Inet(address), core, tasks),
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the moment; raise the limit of open files");
                sleep(OUT_OF_RESOURCES).await;
            }
        }
    }
}

fn admit(socket: TcpStream, peer: Peer, core: &Arc<Core>, tasks: &Tasks) {
    let mut burst = core.burst();
    burst.counts.connections_accepted += 1;
    let Some(place) = Place::take(core) else {
        burst.counts.connections_refused += 1;
        tracing::warn!(%peer, "refused: the broker has its maximum of connections");
        return;
    };
    if core.hooks.on_accept.as_ref().is_some_and(|hook| survive("on_accept", || hook(peer)) != Some(true)) {
        burst.counts.connections_refused += 1;
        return;
    }
    // Packets are written in whole batches: waiting for more would only add delay.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let task = ConnectionTask::new(socket, peer, Arc::clone(core), tasks.stop.clone(), place);
    tasks.tracker.spawn(task);
}

/// One of the connections that the limit allows; given back when dropped, by a panic too.
pub(super) struct Place(Arc<Core>);

impl Place {
    fn take(core: &Arc<Core>) -> Option<Self> {
        let grown = |connections| (connections < core.limits.max_connections).then_some(connections + 1);
        core.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).ok()?;
        Some(Self(Arc::clone(core)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Errors of `accept` that say that a client went away before it was taken in.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
