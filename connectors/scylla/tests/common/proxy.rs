//! A TCP proxy before the cluster that can swallow its answers, hold them back, and cut.

#![expect(clippy::unwrap_used, reason = "helpers outside of test functions")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Requests reach the cluster, answers come to nobody.
    Swallow,
    /// Answers wait.
    Hold,
    /// No connection lives.
    Cut,
}

pub struct Proxy {
    pub address: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let mut accepting = JoinSet::new();
        let (upstream, modes) = (upstream.to_owned(), mode.clone());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(carry(client, upstream.clone(), modes.subscribe()));
            }
        });
        Self {
            address,
            mode,
            _accepting: accepting,
        }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Swallows answers for a while, then cuts all connections, then passes again.
    pub async fn swallow_then_cut(&self, swallow: Duration) {
        self.set(Mode::Swallow);
        tokio::time::sleep(swallow).await;
        self.set(Mode::Cut);
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.set(Mode::Pass);
    }
}

async fn carry(client: TcpStream, upstream: String, mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut cut = mode.clone();
    tokio::select! {
        () = pump(from_client, to_server, None) => {}
        () = pump(from_server, to_client, Some(mode)) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

/// Carries bytes until either end closes; drops them while the mode says so.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: Option<watch::Receiver<Mode>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let mut now = Mode::Pass;
        if let Some(mode) = &mut mode {
            let Ok(mode) = mode.wait_for(|mode| *mode != Mode::Hold).await else {
                return;
            };
            now = *mode;
        }
        if now != Mode::Swallow && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
