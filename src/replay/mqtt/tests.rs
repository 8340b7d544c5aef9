//! The sender against servers that do not do their part.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use super::*;

/// Long enough for a loaded machine; a test that passes never waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
const PUBLISH: u8 = 3;
const PINGREQ: u8 = 12;

/// A server's side of one connection, by hand.
struct Peer(TcpStream);

impl Peer {
    /// Takes a connection and grants it a window, and a keep-alive in seconds.
    async fn accept(listener: &TcpListener, window: u8, keep_alive_s: u8) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = Self(stream);
        assert_eq!(peer.packet().await.unwrap().0, 1, "CONNECT");
        let properties = [0x21, 0, window, 0x13, 0, keep_alive_s];
        peer.say(&[&[0x20, 9, 0, 0, 6][..], &properties].concat())
            .await;
        peer
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Type and body; none at the end.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let header = self.0.read_u8().await.ok()?;
        let mut length = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.0.read_u8().await.ok()?;
            length |= usize::from(byte & 127) << shift;
            if byte & 128 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some((header >> 4, body))
    }

    /// The next PUBLISH's packet identifier.
    async fn publish(&mut self) -> Option<[u8; 2]> {
        let (kind, body) = self.packet().await?;
        if kind != PUBLISH {
            return None;
        }
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        Some([body[topic + 2], body[topic + 3]])
    }
}

struct Replay {
    context: Arc<Context>,
    chunks: mpsc::Sender<Vec<Item>>,
    sender: JoinHandle<Result<(), Fatal>>,
}

async fn replay() -> (TcpListener, Replay) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let context = Arc::new(Context::for_test());
    let sender = Sender::new(&address, None, false, 0, Arc::clone(&context));
    let (chunks, receiver) = mpsc::channel(4);
    let sender = tokio::spawn(sender.run(receiver));
    let replay = Replay {
        context,
        chunks,
        sender,
    };
    (listener, replay)
}

impl Replay {
    async fn send(&self, count: u64) {
        let items = (1..=count).map(|line| Item {
            line,
            sensor: "s".into(),
            body: b"1".to_vec(),
            due: None,
            probe: None,
        });
        self.chunks.send(items.collect()).await.unwrap();
    }

    async fn ended(self) -> (Result<(), Fatal>, Arc<Context>) {
        drop(self.chunks);
        let ended = timeout(PATIENCE, self.sender).await.unwrap().unwrap();
        (ended, self.context)
    }
}

#[tokio::test]
async fn only_what_was_sent_before_is_sent_again() {
    let (listener, replay) = replay().await;
    replay.send(5).await;
    let mut first = Peer::accept(&listener, 2, 60).await;
    for _ in 0..2 {
        first.publish().await.unwrap();
    }
    // The third waits for room in the window, and was never sent.
    drop(first);
    let mut second = Peer::accept(&listener, 9, 60).await;
    let acknowledging = tokio::spawn(async move {
        while let Some([a, b]) = second.publish().await {
            second.say(&[0x40, 2, a, b]).await;
        }
    });
    let (ended, context) = replay.ended().await;
    ended.unwrap();
    acknowledging.await.unwrap();
    let totals = context.tally.totals();
    assert_eq!((totals.sent, totals.acknowledged, totals.resent), (5, 5, 2));
}

#[tokio::test]
async fn what_nobody_subscribes_to_is_not_taken() {
    let (listener, replay) = replay().await;
    replay.send(2).await;
    let mut peer = Peer::accept(&listener, 9, 60).await;
    let acknowledging = tokio::spawn(async move {
        for reason in [0x10, 0] {
            let [a, b] = peer.publish().await.unwrap();
            peer.say(&[0x40, 3, a, b, reason]).await;
        }
        assert_eq!(peer.publish().await, None);
    });
    let (ended, context) = replay.ended().await;
    ended.unwrap();
    acknowledging.await.unwrap();
    let totals = context.tally.totals();
    assert_eq!((totals.acknowledged, totals.rejected), (1, 1));
    assert_eq!(totals.rejected_by_reason["no_matching_subscribers"], 1);
}

#[tokio::test]
async fn a_full_window_does_not_keep_a_replay_from_stopping() {
    let (listener, replay) = replay().await;
    replay.send(5).await;
    let mut peer = Peer::accept(&listener, 1, 60).await;
    peer.publish().await.unwrap();
    replay.context.cancel.cancel();
    let (ended, _) = replay.ended().await;
    assert!(matches!(ended, Err(Fatal::Cancelled)), "{ended:?}");
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_for_a_new_connection() {
    let (listener, replay) = replay().await;
    replay.send(1).await;
    let mut silent = Peer::accept(&listener, 9, 1).await;
    silent.publish().await.unwrap();
    assert_eq!(silent.packet().await.unwrap().0, PINGREQ);
    // It neither answers nor closes.
    let mut second = timeout(PATIENCE, Peer::accept(&listener, 9, 60))
        .await
        .unwrap();
    let [a, b] = second.publish().await.unwrap();
    second.say(&[0x40, 2, a, b]).await;
    let (ended, context) = replay.ended().await;
    ended.unwrap();
    assert_eq!(context.tally.totals().resent, 1);
    drop(silent);
}
