//! A pseudo terminal whose one end is a pair of asynchronous streams.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::fd::OwnedFd,
    os::unix::fs::OpenOptionsExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustix::{
    fs::OFlags,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, unix::AsyncFd};
use windtunnel_apiserver::TerminalSize;

/// Our end of a terminal; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    fd: Arc<AsyncFd<File>>,
}

impl Terminal {
    /// A new terminal, and the end that a process gets.
    pub(crate) fn open() -> io::Result<(Self, File)> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let name = ptsname(&ours, Vec::new())?;
        let name = name.to_str().map_err(io::Error::other)?;
        let flags = i32::try_from(OFlags::NOCTTY.bits()).map_err(io::Error::other)?;
        let theirs = OpenOptions::new().read(true).write(true).custom_flags(flags).open(name)?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that close their descriptor early; a File does not"
        )]
        let fd = AsyncFd::new(File::from(OwnedFd::from(ours)))?;
        Ok((Self { fd: Arc::new(fd) }, theirs))
    }

    /// Tells the process its new size.
    pub(crate) fn resize(&self, size: TerminalSize) {
        let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        if let Err(error) = tcsetwinsize(self.fd.get_ref(), size) {
            tracing::debug!(%error, "a terminal was not resized");
        }
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.fd.poll_read_ready(context))?;
            match guard.try_io(|fd| fd.get_ref().read(buffer.initialize_unfilled())) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // The process's end was closed: that is the end of its output.
                Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.fd.poll_write_ready(context))?;
            if let Ok(result) = guard.try_io(|fd| fd.get_ref().write(data)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
