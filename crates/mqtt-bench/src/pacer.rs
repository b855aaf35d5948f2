//! Wakes the loop at a point in time: open-loop traffic needs it to the microsecond.
//!
//! A wait of `poll` is rounded to whole milliseconds and given slack by the kernel; a timer descriptor is neither.

#[cfg(target_os = "linux")]
pub(crate) use linux::Pacer;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::Pacer;

#[cfg(target_os = "linux")]
mod linux {
    use std::{io, os::fd::AsRawFd as _, time::Duration};

    use mio::unix::SourceFd;
    use rustix::{
        fd::OwnedFd,
        time::{
            Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
            timerfd_settime,
        },
    };

    use crate::net::Net;

    /// A timer that ends a wait of the [`Net`] it watches for.
    pub(crate) struct Pacer(OwnedFd);

    impl Pacer {
        pub(crate) fn new(net: &mut Net) -> io::Result<Self> {
            let timer =
                timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            net.watch(&mut SourceFd(&timer.as_raw_fd()))?;
            Ok(Self(timer))
        }

        /// Arms the timer, and gives the longest that the wait may take besides.
        pub(crate) fn wait(&self, time: Duration) -> io::Result<Duration> {
            if time.is_zero() {
                return Ok(time);
            }
            let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
            let value = Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            };
            timerfd_settime(
                &self.0,
                TimerfdTimerFlags::empty(),
                &Itimerspec { it_interval: nothing, it_value: value },
            )?;
            Ok(time + Duration::from_millis(1))
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::{io, time::Duration};

    use crate::net::Net;

    /// Waits whole milliseconds and turns through the rest.
    pub(crate) struct Pacer;

    impl Pacer {
        pub(crate) fn new(_net: &mut Net) -> io::Result<Self> {
            Ok(Self)
        }

        pub(crate) fn wait(&self, time: Duration) -> io::Result<Duration> {
            Ok(Duration::from_millis(time.as_millis() as u64))
        }
    }
}
