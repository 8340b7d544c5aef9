//! A hold that another process asks for lasts as long as its connection, and as it proves that it lives.

use std::{sync::Arc, time::Duration};

use openinfra_api::{HOLD_LEASE, HOLD_NAME, HOLD_PATH, Surface};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::app::TestApp;

const SOON: Duration = Duration::from_secs(20);

async fn serve(app: &TestApp) -> (std::net::SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let state = Arc::clone(&app.state);
    tokio::spawn(openinfra_api::serve(
        listener,
        state,
        Surface::Job,
        stop.clone(),
    ));
    (address, stop)
}

/// Asks for a hold, and reads until it stands.
async fn hold(address: std::net::SocketAddr) -> TcpStream {
    named_hold(address).await.0
}

/// As [`hold`], with its name.
async fn named_hold(address: std::net::SocketAddr) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("POST {HOLD_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains("held\n") {
        let mut part = [0; 1024];
        let read = timeout(SOON, stream.read(&mut part))
            .await
            .unwrap()
            .unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&part[..read]);
    }
    let said = String::from_utf8(said).unwrap();
    let prefix = format!("{HOLD_NAME}: ");
    let name = said.lines().find_map(|line| line.strip_prefix(&prefix));
    (stream, name.unwrap().to_owned())
}

/// Proves that the holder lives; the answer's status.
async fn prove(address: std::net::SocketAddr, name: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST {HOLD_PATH}/{name} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = String::new();
    timeout(SOON, stream.read_to_string(&mut said))
        .await
        .unwrap()
        .unwrap();
    said.split(' ').nth(1).unwrap().to_owned()
}

async fn until_held_by(app: &TestApp, count: usize) {
    let changed = async {
        while app.job.held() != count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(timeout(SOON, changed).await.is_ok(), "{}", app.job.held());
}

#[tokio::test]
async fn a_hold_ends_with_its_connection() {
    let app = TestApp::new().await;
    let (address, _stop) = serve(&app).await;
    let first = hold(address).await;
    let second = hold(address).await;
    assert_eq!(app.job.held(), 2);
    drop(first);
    until_held_by(&app, 1).await;
    drop(second);
    until_held_by(&app, 0).await;
}

#[tokio::test]
async fn a_hold_ends_when_its_holder_is_silent_on_an_open_connection() {
    let app = TestApp::new().await;
    let (address, _stop) = serve(&app).await;
    // It neither reads nor closes, as a process that is stopped.
    let (_open, silent) = named_hold(address).await;
    let (_also_open, alive) = named_hold(address).await;
    let begun = tokio::time::Instant::now();
    while app.job.held() == 2 || begun.elapsed() < 2 * HOLD_LEASE {
        assert!(begun.elapsed() < SOON);
        assert_eq!(prove(address, &alive).await, "204");
        tokio::time::sleep(HOLD_LEASE / 20).await;
    }
    assert_eq!(app.job.held(), 1);
    assert_eq!(prove(address, &silent).await, "404");
}

#[tokio::test]
async fn a_hold_breaks_off_when_its_process_stops() {
    let app = TestApp::new().await;
    let (address, stop) = serve(&app).await;
    let mut held = hold(address).await;
    stop.cancel();
    let mut rest = Vec::new();
    // Whether the end is clean is for the client to see: a body without its last chunk was cut.
    let _ = timeout(SOON, held.read_to_end(&mut rest)).await.unwrap();
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "the hold ended as if it were whole"
    );
    assert_eq!(app.job.held(), 0);
}

#[tokio::test]
async fn who_may_not_manage_may_not_hold() {
    let app = TestApp::guarded().await;
    let (address, _stop) = serve(&app).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("POST {HOLD_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(SOON, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 401");
    assert_eq!(app.job.held(), 0);
}
