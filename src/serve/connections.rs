//! Connections to the doors. Whoever takes nothing of an answer for long loses theirs: behind it the ledger's file keeps how it stood when
//! they asked, and its log grows as long as it does.

use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Sleep, sleep};

/// What of an answer may lie with the system, on its way to whoever reads it. It sees room for more once a third of that has been taken: were it left to
/// make it megabytes, whoever reads slowly but steadily would seem to take nothing for minutes.
const SEND_BUFFER_BYTES: u32 = 256 << 10;
/// Connections that may wait until they are taken.
const WAITING_MAX: u32 = 1024;

/// Those that come in at an address.
pub struct Connections {
    listener: TcpListener,
    /// So long nothing of an answer may be taken, or so little that the system sees no room for more.
    silence: Duration,
}

impl Connections {
    pub fn at(address: SocketAddr, silence: Duration) -> io::Result<Connections> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
        socket.bind(address)?;
        Ok(Connections { listener: socket.listen(WAITING_MAX)?, silence })
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { stream, silence: self.silence, waiting: None }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One of them.
pub struct Connection {
    stream: TcpStream,
    silence: Duration,
    /// There while nothing more is taken: how long that may go on.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl Connection {
    /// What became of a write; an error once nothing has been taken for too long.
    fn unless_silent(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let silence = self.silence;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(silence))).as_mut().poll(context));
        tracing::info!(seconds = silence.as_secs(), "nothing of an answer was taken: its connection is cut off");
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, format!("nothing of an answer was taken for {} s", silence.as_secs()))))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.unless_silent(context, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, parts: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.unless_silent(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
