//! A copy of this process that does one thing and ends.

use nix::libc;
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::io;

/// A copy that takes longer is ended: what it waits for will not come.
const SECONDS_MAX: u32 = 3600;
/// Copies leave the processor to the stream.
const NICENESS: libc::c_int = 10;

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

/// Does `work` in a copy of this process, which has this thread alone and everything as it is now. It must not wait for other threads.
pub fn in_a_copy(work: impl FnOnce() -> io::Result<()>) -> io::Result<Copy> {
    // SAFETY: the copy touches what this thread owns and files that it opens itself, takes no lock of this program, and ends without
    // running destructors or exit handlers. Should it wait for a lock of the allocator that another thread held, its alarm ends it.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Copy(child)),
        ForkResult::Child => {
            let done = detach().and_then(|()| work());
            let code = done.map_or_else(|error| error.raw_os_error().unwrap_or(libc::EIO), |()| 0);
            // SAFETY: ends the copy at once.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Lets go of everything that belongs to the process that was copied: its end ends the copy, and its locks end with it.
fn detach() -> io::Result<()> {
    // SAFETY: plain calls of the system. Signals are for the process that was copied; whose handlers write to files that are closed here.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGALRM, libc::SIG_DFL);
        libc::alarm(SECONDS_MAX);
        libc::nice(NICENESS);
        if libc::close_range(3, libc::c_uint::MAX, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(set_pdeathsig(Signal::SIGKILL)?)
}
