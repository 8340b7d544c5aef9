//! Connections: how long one may be silent, and that none keeps the server from its end.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use openinfra_api::Surface;

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
            Surface::Api,
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

/// The server answers what it cannot take apart before any layer of ours sees it; the OpenAPI document
/// owns to that.
#[tokio::test]
async fn what_cannot_be_routed_is_answered_without_a_body() {
    const LONGEST: usize = 65_534;
    let server = Server::start(|_| ()).await;
    let target = |bytes: usize| format!("/api/v1/views?{}", "a".repeat(bytes - 14));
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    for (line, status, kind) in [
        (
            format!("GET {} HTTP/1.1\r\n", target(LONGEST)),
            "400",
            "application/problem+json",
        ),
        (
            format!("GET {} HTTP/1.1\r\n", target(LONGEST + 1)),
            "414",
            "",
        ),
        (format!("GET /livez HTTP/1.1\r\n{many}"), "431", ""),
        ("GET /livez FTP/1.1\r\n".to_owned(), "400", ""),
    ] {
        let text = format!("{line}Host: x\r\nConnection: close\r\n\r\n");
        let mut client = server.send(&text).await;
        let mut said = Vec::new();
        timeout(SOON, client.read_to_end(&mut said))
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8(said).unwrap();
        let shown = &text[..text.len().min(60)];
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}")),
            "{shown}: {said}"
        );
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(kind), "{shown}: {said}");
        assert_eq!(body.is_empty(), kind.is_empty(), "{shown}: {said}");
    }
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
