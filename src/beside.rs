//! Threads that do something beside what they belong to, and end with it; and how they write so that others wait little.

use nix::libc;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
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

    /// The same of work whose writes may wait for everybody else's.
    pub fn start_idle(name: &str, work: impl FnOnce(&End) + Send + 'static) -> Beside {
        Beside::start(name, |end| {
            yield_the_disk();
            work(end);
        })
    }

    /// Whether the thread is through with its work.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// What this thread has written goes to the disk when nothing else is to, where the system's scheduler heeds that.
fn yield_the_disk() {
    const OF_A_THREAD: libc::c_int = 1;
    const IDLE: libc::c_int = 3 << 13;
    // SAFETY: it changes the priority of this thread alone (0 is the caller). That it is not heeded costs time alone.
    unsafe { libc::syscall(libc::SYS_ioprio_set, OF_A_THREAD, 0, IDLE) };
}

/// Has the system write what is new of a file to the disk, and no more: where it lies is not said for sure before the next sync.
pub(crate) fn send(file: &File) -> io::Result<()> {
    sync_range(file, libc::SYNC_FILE_RANGE_WRITE)
}

/// The same, and waits until it is there.
pub(crate) fn send_and_wait(file: &File) -> io::Result<()> {
    sync_range(file, libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER)
}

fn sync_range(file: &File, how: libc::c_uint) -> io::Result<()> {
    // SAFETY: the file is open; zeros stand for all of it.
    match unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.stop.take();
        // A panic of the thread was reported where it happened.
        drop(self.thread.take().map(JoinHandle::join));
    }
}
