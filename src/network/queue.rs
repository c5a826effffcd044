//! Texts that wait for a route with room. A link that breaks gives back what it has not handed over.

use crate::ledger::{Message, reference_of};
use rusmpp::pdus::SubmitSm;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
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
    /// Whether no part of it was taken yet.
    pub fn is_whole(&self) -> bool {
        self.names.iter().all(Option::is_none)
    }

    pub fn reference(&self) -> u16 {
        reference_of(self.message)
    }
}

pub(super) struct Queue {
    waiting: Mutex<VecDeque<Work>>,
    closed: AtomicBool,
    news: Notify,
    links: Mutex<Links>,
}

/// How many links are bound, and since when none is.
struct Links {
    bound: usize,
    none_since: Instant,
}

impl Queue {
    pub fn new() -> Queue {
        let links = Mutex::new(Links { bound: 0, none_since: Instant::now() });
        Queue { waiting: Mutex::default(), closed: AtomicBool::default(), news: Notify::new(), links }
    }

    /// A link that can be given texts was bound, or is no more.
    pub fn count_link(&self, bound: bool) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if bound {
            links.bound += 1;
        } else {
            (links.bound, links.none_since) = (links.bound - 1, Instant::now());
        }
    }

    /// Whether for so long no link was bound.
    pub fn had_no_link_for(&self, time: Duration) -> bool {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.bound == 0 && links.none_since.elapsed() >= time
    }

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
        self.next_if(|_| true)
    }

    /// The same, if it is wanted.
    pub fn next_if(&self, wanted: impl FnOnce(&Work) -> bool) -> Option<Work> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if waiting.front().is_some_and(wanted) { waiting.pop_front() } else { None };
        if !waiting.is_empty() {
            // Whoever has room is to know that there is more.
            self.news.notify_one();
        }
        next
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
