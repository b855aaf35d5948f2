//! [`Bar`]: how far it has come, on a terminal; silence anywhere else.

use indicatif::{ProgressBar, ProgressStyle};
use mqtt_store::Progress;

pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new(what: &'static str) -> Self {
        let bar = ProgressBar::new(0).with_prefix(what);
        let style = "{prefix} {bar:30} {human_pos} of {human_len} rows, {eta} left: {msg}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(super) fn show(&mut self) -> impl FnMut(Progress) {
        |progress| {
            self.0.set_length(progress.expected.max(progress.rows));
            self.0.set_position(progress.rows);
            self.0.set_message(progress.table);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
