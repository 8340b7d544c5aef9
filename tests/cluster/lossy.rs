//! A schema registry that has lost some of its schemas, and is otherwise the real one.
//!
//! What a newcomer would get wrong: it answers in the registry's own words that an id does not exist. A 404
//! of anybody else says nothing.

use reqwest::{Client, Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// It ends when it is dropped.
pub struct Lossy {
    pub url: String,
    accepting: JoinHandle<()>,
}

impl Lossy {
    /// Listens on loopback before the registry at `registry`, without the schema of an id.
    pub async fn start(registry: &str, lost: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let registry = registry.trim_end_matches('/').to_owned();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, registry.clone(), lost));
            }
        });
        Self { url, accepting }
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers one request; whoever asks again connects again.
async fn answer(mut stream: TcpStream, registry: String, lost: u32) {
    // A client that has gone wants no answer.
    let Some((method, path, body)) = request(&mut stream).await else {
        return;
    };
    let (status, text) = if path == format!("/schemas/ids/{lost}") {
        let lost = json!({"error_code": 40_403, "message": "it is lost"});
        (StatusCode::NOT_FOUND, lost.to_string())
    } else {
        let request = Client::new()
            .request(method, format!("{registry}{path}"))
            .header("content-type", "application/vnd.schemaregistry.v1+json")
            .body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    let _ = stream.write_all((head + &text).as_bytes()).await;
}

/// Method, path with query, and body of a request; none when it breaks off.
async fn request(stream: &mut TcpStream) -> Option<(Method, String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    while bytes.len() < end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut words = head.split(' ');
    let method = words.next()?.parse().ok()?;
    let path = words.next()?.to_owned();
    Some((method, path, bytes[end..].to_vec()))
}
