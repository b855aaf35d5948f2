//! A [`Question`] that a hook may take its time over, and its [`Answer`]: the connection hands the one out, whoever runs it
//! polls it, and hands the other in.

use std::task::{Context, Poll};

use crate::hooks::{ConnectDecision, HookFuture, PublishDecision, SubscribeDecision, survive};

/// A decision that a hook has to take before the connection can go on.
pub(crate) enum Question {
    Connect(HookFuture<ConnectDecision>),
    Subscribe(HookFuture<SubscribeDecision>),
    Publish(HookFuture<PublishDecision>),
}

/// What the hook decided.
pub(crate) enum Answer {
    Connect(ConnectDecision),
    Subscribe(SubscribeDecision),
    Publish(PublishDecision),
    /// It took too long, or panicked.
    Failed,
}

impl Question {
    /// Lets the hook go on. If it panics, its own connection pays, and nobody else.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = match self {
            Self::Connect(future) => poll_hook(future, cx).map(|decision| decision.map(Answer::Connect)),
            Self::Subscribe(future) => poll_hook(future, cx).map(|decision| decision.map(Answer::Subscribe)),
            Self::Publish(future) => poll_hook(future, cx).map(|decision| decision.map(Answer::Publish)),
        };
        answer.map(|answer| answer.unwrap_or(Answer::Failed))
    }
}

/// `Ready(None)` if the hook panicked.
fn poll_hook<T>(future: &mut HookFuture<T>, cx: &mut Context<'_>) -> Poll<Option<T>> {
    match survive("a hook", || future.as_mut().poll(cx)) {
        Some(polled) => polled.map(Some),
        None => Poll::Ready(None),
    }
}
