//! [`Lines`]: how lines of the log get to stderr.
//!
//! A thread that serves clients writes what it has to say when it is about to rest: of a thousand clients that come at once each is
//! a line, and a system call for each of them would be time that they wait. Warnings and what any other thread says are
//! written at once, after what was said before.

use std::{cell::Cell, io};

use parking_lot::Mutex;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// More bytes than this wait for no rest.
const MOST_WAITING: usize = 16 * 1024;

static WAITING: Mutex<Vec<u8>> = Mutex::new(Vec::new());

thread_local! {
    static RESTS_SOON: Cell<bool> = const { Cell::new(false) };
}

/// For a thread that calls [`write_waiting`] whenever it is about to rest: until then its lines may wait.
pub(crate) fn wait_for_rest() {
    RESTS_SOON.set(true);
}

/// Writes what waits. If another thread has it in its hands, that one does.
pub(crate) fn write_waiting() {
    if let Some(mut waiting) = WAITING.try_lock().filter(|waiting| !waiting.is_empty()) {
        // A closed stderr ends the log, and nothing else.
        let _ = write_out(&mut waiting, &mut io::stderr());
    }
}

/// For threads that have said their last.
pub(crate) fn write_last() {
    let _ = write_out(&mut WAITING.lock(), &mut io::stderr());
}

pub(crate) struct Lines;

pub(crate) struct Line {
    may_wait: bool,
}

impl MakeWriter<'_> for Lines {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line { may_wait: false }
    }

    fn make_writer_for(&self, meta: &Metadata<'_>) -> Line {
        Line { may_wait: may_wait(*meta.level()) }
    }
}

fn may_wait(level: Level) -> bool {
    level >= Level::INFO && RESTS_SOON.get()
}

impl io::Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        add(&mut WAITING.lock(), line, self.may_wait, &mut io::stderr())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn add(waiting: &mut Vec<u8>, line: &[u8], may_wait: bool, to: &mut impl io::Write) -> io::Result<()> {
    waiting.extend_from_slice(line);
    if may_wait && waiting.len() < MOST_WAITING { Ok(()) } else { write_out(waiting, to) }
}

fn write_out(waiting: &mut Vec<u8>, to: &mut impl io::Write) -> io::Result<()> {
    let written = to.write_all(waiting);
    waiting.clear();
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts how often it is written to.
    #[derive(Default)]
    struct Written(Vec<String>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(String::from_utf8_lossy(bytes).into_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_may_wait_is_written_with_what_may_not() {
        let (mut waiting, mut written) = (Vec::new(), Written::default());
        add(&mut waiting, b"a\n", true, &mut written).unwrap();
        add(&mut waiting, b"b\n", true, &mut written).unwrap();
        assert_eq!(written.0, Vec::<String>::new());
        add(&mut waiting, b"c\n", false, &mut written).unwrap();
        add(&mut waiting, b"d\n", true, &mut written).unwrap();
        assert_eq!(written.0, ["a\nb\nc\n"]);
        assert_eq!(waiting, b"d\n");
    }

    #[test]
    fn only_so_much_waits() {
        let (mut waiting, mut written) = (Vec::new(), Written::default());
        let line = [b'x'; 100];
        for _ in 0..MOST_WAITING.div_ceil(line.len()) {
            add(&mut waiting, &line, true, &mut written).unwrap();
        }
        assert_eq!((written.0.len(), waiting.len()), (1, 0));
    }

    /// What a full disk or a closed pipe does not take is not kept for ever.
    #[test]
    fn what_cannot_be_written_is_let_go_of() {
        let mut waiting = Vec::new();
        assert!(add(&mut waiting, b"a\n", false, &mut [0_u8; 0].as_mut_slice()).is_err());
        assert_eq!(waiting, b"");
    }

    #[test]
    fn a_warning_and_who_does_not_rest_wait_for_nothing() {
        assert!(!may_wait(Level::INFO));
        wait_for_rest();
        assert!(may_wait(Level::INFO) && may_wait(Level::DEBUG));
        assert!(!may_wait(Level::WARN) && !may_wait(Level::ERROR));
    }
}
