//! Asks a hook, with a time limit.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use crate::connection::{Answer, Question};

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
        if let Poll::Ready(answer) = self.question.poll(cx) {
            return Poll::Ready(answer);
        }
        self.time_limit.as_mut().poll(cx).map(|()| Answer::Failed)
    }
}
