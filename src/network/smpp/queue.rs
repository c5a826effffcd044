//! Texts that wait for a link with room. One that breaks gives back what it has not handed over.

use crate::ledger::{Message, reference_of};
use rusmpp::pdus::SubmitSm;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// A text on its way to a centre.
pub(super) struct Work {
    pub message: u128,
    pub phone: u64,
    pub text: String,
    /// Its parts, once a link has cut it, and the centre's names for those that it has taken.
    pub parts: Vec<SubmitSm>,
    pub names: Vec<Option<String>>,
    /// How often it was refused for the moment.
    pub refusals: u32,
}

impl From<Message> for Work {
    fn from(message: Message) -> Self {
        let (parts, names) = (Vec::new(), Vec::new());
        Work { message: message.id, phone: message.text.phone, text: message.text.body, parts, names, refusals: 0 }
    }
}

impl Work {
    pub fn reference(&self) -> u16 {
        reference_of(self.message)
    }
}

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<VecDeque<Work>>,
    closed: AtomicBool,
    news: Notify,
}

impl Queue {
    pub fn put(&self, work: Work) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back(work);
        self.news.notify_one();
    }

    /// What was not handed over goes before all others.
    pub fn give_back(&self, work: Work) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_front(work);
        self.news.notify_one();
    }

    /// What comes next, if anything waits.
    pub fn next(&self) -> Option<Work> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Nothing more comes.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.news.notify_waiters();
        self.news.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Returns once something may wait, or nothing more comes; now and then for nothing.
    pub async fn changed(&self) {
        self.news.notified().await;
    }
}
