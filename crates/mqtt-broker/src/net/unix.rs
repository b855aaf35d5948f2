//! MQTT over Unix sockets: for clients on the same machine, which the file's mode lets in or not.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::UnixStream as Blocking,
    },
    path::{Path, PathBuf},
    task::{Context, Poll},
};

use tokio::net::{UnixListener, UnixStream};

use super::{
    accept::Listening,
    listener::Listener,
    transport::Transport,
    workers::{Attach, Movable},
};
use crate::{broker::Broker, client::Peer};

impl Broker {
    /// Listens for MQTT on a Unix socket at `path`, with these permissions: 0o660, say. A socket that an earlier process has
    /// left there is replaced; one that is served, or a file of another kind, is an error. It is removed at the shutdown.
    pub fn listen_unix(&self, path: impl Into<PathBuf>, mode: u32) -> io::Result<()> {
        self.serve_unix(path.into(), mode, Listener::new("unix", Transport::tcp()))
    }

    /// The same, as a [`Listener`] says: for a proxy on this machine that speaks WebSocket, say.
    pub fn listen_unix_with(
        &self,
        path: impl Into<PathBuf>,
        mode: u32,
        listener: impl Into<Listener>,
    ) -> io::Result<()> {
        self.serve_unix(path.into(), mode, listener.into())
    }

    /// Without a type of the caller's, as `serve_as`.
    fn serve_unix(&self, path: PathBuf, mode: u32, listener: Listener) -> io::Result<()> {
        if is_served(&path)? {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process serves this socket"));
        }
        let (socket, file) = bind(path, mode)?;
        self.accept(listener, ListeningUnix { socket, file })
    }
}

struct ListeningUnix {
    socket: UnixListener,
    file: SocketFile,
}

impl Listening for ListeningUnix {
    type Accepted = UnixStream;

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Peer)>> {
        self.socket.poll_accept(cx).map_ok(|(socket, _)| {
            let peer = peer(&socket);
            (socket, peer)
        })
    }
}

impl Movable for ListeningUnix {
    fn detach(self) -> io::Result<Attach<Self>> {
        let (socket, file) = (self.socket.into_std()?, self.file);
        Ok(Box::new(move || Ok(Self { socket: UnixListener::from_std(socket)?, file })))
    }
}

/// The file of a socket; removed when nobody listens any more.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// Whether somebody answers there.
fn is_served(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"))
        }
        Ok(_) => Ok(Blocking::connect(path).is_ok()),
    }
}

/// The socket gets its name only when it has its mode, so that nobody slips in before.
fn bind(path: PathBuf, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let mut name = path.clone().into_os_string();
    name.push(format!(".{}", std::process::id()));
    let early = SocketFile(name.into());
    let listener = UnixListener::bind(&early.0)?;
    fs::set_permissions(&early.0, fs::Permissions::from_mode(mode))?;
    fs::rename(&early.0, &path)?;
    Ok((listener, SocketFile(path)))
}

fn peer(socket: &UnixStream) -> Peer {
    match socket.peer_cred() {
        Ok(credentials) => Peer::Unix { user_id: credentials.uid() },
        Err(_) => Peer::Unknown,
    }
}
