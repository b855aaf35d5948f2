//! Asks a hook, with a time limit, and survives its panic.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::{
    connection::{Answer, Question},
    hooks::{HookFuture, survive},
};

/// A hook that is deciding.
pub(super) struct Asked {
    question: Question,
    time_limit: Pin<Box<Sleep>>,
}

impl Asked {
    pub(super) fn new(question: Question, time_limit: Duration) -> Self {
        Self { question, time_limit: Box::pin(sleep(time_limit)) }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let answer = match &mut self.question {
            Question::Connect(future) => poll_hook(future, cx).map(|decision| decision.map(Answer::Connect)),
            Question::Subscribe(future) => {
                poll_hook(future, cx).map(|decision| decision.map(Answer::Subscribe))
            }
        };
        if let Poll::Ready(answer) = answer {
            return Poll::Ready(answer.unwrap_or(Answer::Failed));
        }
        self.time_limit.as_mut().poll(cx).map(|()| Answer::Failed)
    }
}

/// `Ready(None)` if the hook panicked: its own connection pays, and nobody else.
fn poll_hook<T>(future: &mut HookFuture<T>, cx: &mut Context<'_>) -> Poll<Option<T>> {
    match survive("a hook", || future.as_mut().poll(cx)) {
        Some(polled) => polled.map(Some),
        None => Poll::Ready(None),
    }
}
