//! Connections: each is served on a thread of its own, and can be cut.

use std::io;
use std::net::TcpStream as Accepted;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::{ConnectInfo, Extension};
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// The connection that a request came on.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Counts up; no two connections of a sandbox have the same.
    pub id: u64,
    cut: Arc<AtomicBool>,
}

impl Connection {
    /// Nothing more is sent: the client sees the connection end.
    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }
}

static CONNECTIONS: AtomicU64 = AtomicU64::new(1);

/// Serves whoever connects, until `open` tells something. A simulator looks through its records without a pause; a
/// real server answers several requests meanwhile, and so do threads.
pub(crate) async fn serve(mut listener: TcpListener, router: Router, open: watch::Receiver<()>) {
    loop {
        let (stream, _) = Listener::accept(&mut listener).await;
        let (router, mut open) = (router.clone(), open.clone());
        spawn_blocking(move || {
            let thread = Builder::new_current_thread().enable_all().build()?;
            let stream = stream.into_std()?;
            thread.block_on(async {
                let talk = tokio::spawn(converse(stream, router));
                let end = talk.abort_handle();
                tokio::spawn(async move {
                    let _ = open.changed().await;
                    end.abort();
                });
                // A client that goes away is no error of ours.
                let _ = talk.await;
            });
            io::Result::Ok(())
        });
    }
}

async fn converse(stream: Accepted, router: Router) -> io::Result<()> {
    let stream = TcpStream::from_std(stream)?;
    // Small answers must not wait for one another.
    stream.set_nodelay(true)?;
    let connection = Connection { id: CONNECTIONS.fetch_add(1, Ordering::Relaxed), cut: Arc::default() };
    let service = TowerToHyperService::new(router.layer(Extension(ConnectInfo(connection.clone()))));
    let wire = TokioIo::new(Wire { stream, connection });
    http1::Builder::new().serve_connection(wire, service).await.map_err(io::Error::other)
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    connection: Connection,
}

impl Wire {
    fn is_whole(&self) -> io::Result<()> {
        if self.connection.cut.load(Ordering::Acquire) { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.is_whole()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_whole()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.is_whole()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}
