//! Threads that do something again and again beside what they belong to, and end with it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// A thread that works until this is dropped.
pub(crate) struct Beside {
    /// Whose end the thread hears.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread hears of the end.
pub(crate) struct End(Receiver<()>);

impl End {
    /// Waits so long; false if the end came meanwhile.
    pub fn rest(&self, pause: Duration) -> bool {
        self.0.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
    }
}

impl Beside {
    pub fn start(name: &str, work: impl FnOnce(&End) + Send + 'static) -> Beside {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&End(stopped)));
        Beside { stop: Some(stop), thread: Some(thread.expect("a thread can be started")) }
    }

    /// Whether the thread is through with its work.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.take();
        // A panic of the thread was reported where it happened.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
