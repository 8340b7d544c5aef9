//! Connections: how long one may be silent, and that none keeps the server from its end.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::app::{Setup, TestApp};

/// Longer than anything here takes, and shorter than a header may take by default.
const SOON: Duration = Duration::from_secs(10);

struct Server {
    listener: std::net::SocketAddr,
    stop: CancellationToken,
    ended: JoinHandle<std::io::Result<()>>,
    _app: TestApp,
}

impl Server {
    async fn start(header_timeout: fn(&mut openinfra_api::Config)) -> Self {
        let app = TestApp::with(Setup {
            config: header_timeout,
            ..Setup::default()
        })
        .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let ended = tokio::spawn(openinfra_api::serve(
            listener,
            Arc::clone(&app.state),
            stop.clone(),
        ));
        Self {
            listener: address,
            stop,
            ended,
            _app: app,
        }
    }

    async fn send(&self, text: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.listener).await.unwrap();
        client.write_all(text.as_bytes()).await.unwrap();
        client
    }
}

#[tokio::test]
async fn half_a_header_is_waited_for_only_so_long() {
    let server = Server::start(|config| config.header_timeout = Duration::from_millis(100)).await;
    let mut client = server
        .send("GET /api/v1/views HTTP/1.1\r\nHost: x\r\nX-a: ")
        .await;
    let mut said = Vec::new();
    let read = timeout(SOON, client.read_to_end(&mut said)).await;
    assert!(read.is_ok(), "the connection is closed");
    assert!(!said.starts_with(b"HTTP/1.1 2"), "{said:?}");
}

#[tokio::test]
async fn the_end_waits_for_no_half_header_longer_than_that() {
    let server = Server::start(|config| config.header_timeout = Duration::from_millis(500)).await;
    let _half = server
        .send("GET /api/v1/views HTTP/1.1\r\nHost: x\r\nX-a: ")
        .await;
    let mut whole = server
        .send("GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let mut answer = [0; 15];
    timeout(SOON, whole.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    server.stop.cancel();
    timeout(SOON, server.ended).await.unwrap().unwrap().unwrap();
}
