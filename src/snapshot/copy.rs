//! A copy of this process that does one thing and ends.

use crate::memory;
use dataflows::policy::while_nobody_parses;
use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::PanicHookInfo;

/// Where a copy finds the socket over which it is asked: the one place that it keeps of the process that was copied.
const STDIN: RawFd = 0;

/// A copy that takes longer is ended: what it waits for will not come.
const SECONDS_MAX: u32 = 3600;
/// Copies leave the processor to the stream.
const NICENESS: libc::c_int = 10;
/// And where memory is short they are the first to be ended.
const EXPENDABLE: &str = "1000";

/// A copy at work.
#[must_use = "a copy that nobody waits for is never buried"]
pub struct Copy(Pid);

impl Copy {
    /// Waits until it is done.
    pub fn wait(self) -> io::Result<()> {
        loop {
            match waitpid(self.0, None) {
                Ok(WaitStatus::Exited(_, 0)) => return Ok(()),
                Ok(WaitStatus::Exited(_, code)) => return Err(io::Error::from_raw_os_error(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Err(io::Error::other(format!("its copy was ended by {signal}"))),
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A copy that answers questions about everything as it was when it began, until nobody asks any more.
pub struct Answering {
    socket: BufReader<UnixStream>,
    copy: Option<Copy>,
}

impl Answering {
    /// Asks; the answer is there to be read once it is known.
    pub fn ask(&mut self, question: &impl Serialize) -> io::Result<()> {
        let question = bincode::serialize(question).map_err(io::Error::other)?;
        self.socket.get_mut().write_all(&question)
    }

    /// What it answers to the question asked last.
    pub fn answer<A: DeserializeOwned>(&mut self) -> io::Result<A> {
        bincode::deserialize_from(&mut self.socket).map_err(io::Error::other)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        // It ends when nobody listens, and there is nothing to say about how.
        let _ = self.socket.get_ref().shutdown(Shutdown::Both);
        drop(self.copy.take().map(Copy::wait));
    }
}

/// Begins a copy of this process in which `answer` writes what is answered to each question. Like all copies it must not wait for other
/// threads.
pub fn answering<Q: DeserializeOwned>(mut answer: impl FnMut(Q, &mut dyn Write) -> io::Result<()>) -> io::Result<Answering> {
    let (ours, theirs) = UnixStream::pair()?;
    let copy = copy(Some(&theirs), || {
        // SAFETY: that is the socket, and belongs to nobody else here.
        let socket = unsafe { UnixStream::from_raw_fd(STDIN) };
        let (mut questions, mut answers) = (BufReader::new(socket.try_clone()?), BufWriter::new(socket));
        while !questions.fill_buf()?.is_empty() {
            answer(bincode::deserialize_from(&mut questions).map_err(io::Error::other)?, &mut answers)?;
            answers.flush()?;
        }
        Ok(())
    })?;
    Ok(Answering { socket: BufReader::new(ours), copy: Some(copy) })
}

/// Does `work` in a copy of this process, which has this thread alone and everything as it is now. It must not wait for other threads.
pub fn in_a_copy(work: impl FnOnce() -> io::Result<()>) -> io::Result<Copy> {
    copy(None, work)
}

fn copy(input: Option<&UnixStream>, work: impl FnOnce() -> io::Result<()>) -> io::Result<Copy> {
    // SAFETY: the copy touches what this thread owns and files that it opens itself, takes no lock that somebody may hold (those of the parser nobody
    // does now, that of the hook only who panics), allocates from memory of its own, and ends without destructors or exit handlers, though it panics.
    match while_nobody_parses(|| unsafe { fork() })? {
        ForkResult::Parent { child } => Ok(Copy(child)),
        ForkResult::Child => {
            memory::in_a_copy();
            let done = detach(input).and_then(|()| {
                // Should somebody have held its lock, the end that is set by now is near.
                std::panic::set_hook(Box::new(end_at));
                work()
            });
            let code = done.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            // SAFETY: ends the copy at once.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Ends a copy that panics, without a dump of its memory. The log hears where, and not what: that may name somebody. It is written as it is, since
/// another thread may have held the lock of the log.
fn end_at(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line())).unwrap_or_default();
    let line = format!("{{\"level\":\"ERROR\",\"message\":\"a copy of the process panicked\",\"place\":\"{place}\"}}\n");
    // SAFETY: plain calls of the system; the second ends the copy at once.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len());
        libc::_exit(libc::EIO)
    }
}

/// Lets go of everything that belongs to the process that was copied: its end ends the copy, and its locks end with it.
fn detach(input: Option<&UnixStream>) -> io::Result<()> {
    // Where the system has no such file it chooses as it likes.
    let _ = std::fs::write("/proc/self/oom_score_adj", EXPENDABLE);
    // SAFETY: plain calls of the system. Signals are for the process that was copied; whose handlers write to files that are closed here.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(SECONDS_MAX);
        libc::nice(NICENESS);
        if input.is_some_and(|input| libc::dup2(input.as_raw_fd(), STDIN) != STDIN) {
            return Err(io::Error::last_os_error());
        }
        if libc::close_range(3, libc::c_uint::MAX, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set_pdeathsig(Signal::SIGKILL)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_ended_before_the_pipeline_where_memory_is_short() {
        let copy = in_a_copy(|| match std::fs::read("/proc/self/oom_score_adj")?.trim_ascii() == EXPENDABLE.as_bytes() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
        });
        copy.and_then(Copy::wait).unwrap();
    }
}
