//! A TCP proxy whose connections a test can cut, hold or slow down.
//!
//! What a newcomer would get wrong: a broker tells its clients where it is, so that a proxy before it must
//! stand where its second listener says (`tests/services/services`), at a port that one test has at a time.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// What happens to what goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    All,
    /// Connections are closed, and new ones as soon as they are made.
    Nothing,
    /// Connections stand, and no byte gets through.
    Silence,
    /// Requests reach the server, and its answers reach nobody: it takes a cut to go on.
    Unanswered,
    /// Each piece comes so much later, in both directions.
    Late(Duration),
}

/// Cuts all connections that there are.
#[derive(Clone)]
struct Cut {
    /// Bytes towards the server until it happens; negative: it does not.
    left: Arc<AtomicI64>,
    /// How often it happened.
    times: watch::Sender<u64>,
}

/// A proxy; it ends when it is dropped.
pub struct Proxy {
    pub address: SocketAddr,
    passing: watch::Sender<Passing>,
    cut: Cut,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on loopback, on `port` or a free one (0), for connections to `server`.
    pub async fn start(port: u16, server: &str) -> Self {
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], port))).await;
        let address = listener.local_addr().unwrap();
        let passing = watch::Sender::new(Passing::All);
        let cut = Cut {
            left: Arc::new(AtomicI64::new(-1)),
            times: watch::Sender::new(0),
        };
        let accepting = tokio::spawn(accept(
            listener,
            server.to_owned(),
            passing.clone(),
            cut.clone(),
        ));
        Self {
            address,
            passing,
            cut,
            accepting,
        }
    }

    pub fn let_pass(&self, passing: Passing) {
        self.passing.send_replace(passing);
    }

    /// Cuts all connections that there are.
    pub fn cut(&self) {
        self.cut.times.send_modify(|times| *times += 1);
    }

    /// Cuts all connections once `bytes` more have gone towards the server: in the middle of a request, unless
    /// that ends there.
    pub fn cut_after(&self, bytes: i64) {
        self.cut.left.store(bytes, Ordering::SeqCst);
    }

    /// How often connections were cut.
    pub fn cuts(&self) -> u64 {
        *self.cut.times.borrow()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.passing.send_replace(Passing::Nothing);
    }
}

/// Listens; for a while in vain where the proxy of the test before has not ended yet, as its runtime ends it
/// some time after it was dropped.
async fn listen(address: SocketAddr) -> TcpListener {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        // Connections of the test before may still linger.
        socket.set_reuseaddr(true).unwrap();
        let listening = socket.bind(address).and_then(|()| socket.listen(128));
        match listening {
            Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                sleep(Duration::from_millis(10)).await;
            }
            listening => return listening.unwrap(),
        }
    }
}

async fn accept(listener: TcpListener, server: String, passing: watch::Sender<Passing>, cut: Cut) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if *passing.borrow() == Passing::Nothing {
            continue;
        }
        let Ok(server) = TcpStream::connect(&server).await else {
            continue;
        };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (gone, _) = watch::channel(false);
        let up = Pipe {
            passing: passing.clone(),
            gone: gone.clone(),
            cut: cut.clone(),
            up: true,
        };
        let down = Pipe {
            up: false,
            ..up.clone()
        };
        tokio::spawn(up.run(from_client, to_server));
        tokio::spawn(down.run(from_server, to_client));
    }
}

/// One direction of one connection.
#[derive(Clone)]
struct Pipe {
    passing: watch::Sender<Passing>,
    /// Told when either direction ends, which ends the other.
    gone: watch::Sender<bool>,
    cut: Cut,
    /// Towards the server; only these bytes count towards a cut.
    up: bool,
}

impl Pipe {
    async fn run(self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut passing = self.passing.subscribe();
        let mut gone = self.gone.subscribe();
        let mut cut = self.cut.times.subscribe();
        tokio::select! {
            // First: what is let through again is not what a cut connection was about to carry.
            biased;
            _ = cut.changed() => {}
            _ = passing.wait_for(|passing| *passing == Passing::Nothing) => {}
            _ = gone.wait_for(|gone| *gone) => {}
            () = self.copy(&mut from, &mut to) => {}
        }
        self.gone.send_replace(true);
    }

    async fn copy(&self, from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) {
        let mut passing = self.passing.subscribe();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let silent = |passing: &Passing| *passing != Passing::Silence;
            let Ok(now) = passing.wait_for(silent).await.map(|now| *now) else {
                return;
            };
            if let Passing::Late(by) = now {
                sleep(by).await;
            }
            if now == Passing::Unanswered && !self.up {
                continue;
            }
            let left = self.left(read);
            let through = left.map_or(read, |left| left.min(read));
            if to.write_all(&buffer[..through]).await.is_err() {
                return;
            }
            if through < read {
                self.cut.times.send_modify(|times| *times += 1);
                return;
            }
        }
    }

    /// How many of so many bytes go through before the cut, if they bring it about.
    fn left(&self, bytes: usize) -> Option<usize> {
        if !self.up {
            return None;
        }
        let bytes = i64::try_from(bytes).ok()?;
        let counted = |left: i64| match left {
            ..0 => None,
            left if left < bytes => Some(-1),
            left => Some(left - bytes),
        };
        let left = &self.cut.left;
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
        let before = before.ok().filter(|before| *before < bytes)?;
        usize::try_from(before).ok()
    }
}
