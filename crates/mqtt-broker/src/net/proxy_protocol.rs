//! The PROXY protocol: what a proxy says, ahead of everything else, about the client that it speaks for.
//!
//! Only on listeners that are told to, and only from sources that are trusted: whoever may say it may be anybody.

mod header;

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) use self::header::Source;
use self::header::{Progress, parse};

/// What a header may have behind its addresses is read away in pieces of this size.
const SKIPPED_AT_A_TIME: usize = 512;

/// Reads a header, and not a byte of what follows it. `None` if the stream ends before its first byte: load balancers look
/// in this way whether a port is open.
pub(super) async fn read<S: AsyncRead + Unpin>(socket: &mut S) -> io::Result<Option<Source>> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
            Progress::Needs(more) => {
                // As soon as there is any: of another protocol, so many may never come.
                match socket.take(more as u64).read_buf(&mut bytes).await {
                    Ok(0) if bytes.is_empty() => return Ok(None),
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) if bytes.is_empty() && error.kind() == io::ErrorKind::ConnectionReset => {
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                }
            }
            Progress::Known { source, len } => {
                skip(socket, len.saturating_sub(bytes.len())).await?;
                return Ok(Some(source));
            }
        }
    }
}

async fn skip<S: AsyncRead + Unpin>(socket: &mut S, mut len: usize) -> io::Result<()> {
    let mut scrap = [0; SKIPPED_AT_A_TIME];
    while len > 0 {
        let piece = scrap.get_mut(..len.min(SKIPPED_AT_A_TIME)).unwrap_or_default();
        len -= socket.read_exact(piece).await?;
    }
    Ok(())
}
