//! [`Output`]: a writer that remembers why it failed, for callers whose own errors are but words.

use std::io::{self, ErrorKind, Write};

pub(super) struct Output<W> {
    inner: W,
    failure: Option<ErrorKind>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, failure: None }
    }

    /// Flushes; an error if that, or any write before, has failed.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match self.failure {
            Some(kind) => Err(kind.into()),
            None => self.inner.flush(),
        }
    }

    fn note<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome
            && error.kind() != ErrorKind::Interrupted
        {
            self.failure = Some(error.kind());
        }
        outcome
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.inner.flush();
        self.note(flushed)
    }
}
