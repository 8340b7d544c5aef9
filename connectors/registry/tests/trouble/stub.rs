//! A registry that answers as a test wants it to, over bare sockets: it must be able to answer badly.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a request is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Status and body.
    Say(u16, &'static str),
    /// The status line, a header, and then this much of a body that was to be longer.
    Cut(&'static str),
    /// The connection is closed without a word.
    Close,
    /// Nothing, for ever.
    Hang,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET /subjects`.
    pub line: String,
    /// By name in lower case.
    pub headers: HashMap<String, String>,
    pub body: String,
}

/// What is answered: request, and how often the same was asked before.
type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

pub struct Stub {
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: JoinHandle<()>,
}

impl Stub {
    pub async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&seen));
        let accepting = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(connection, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self {
            url,
            seen,
            accepting,
        }
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The request lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line).collect()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers one request and closes.
async fn serve(connection: TcpStream, script: Arc<Script>, log: Arc<Mutex<Vec<Seen>>>) {
    let mut connection = BufReader::new(connection);
    let Some(seen) = read(&mut connection).await else {
        return;
    };
    let times = {
        let mut log = log.lock().unwrap();
        let times = log.iter().filter(|other| other.line == seen.line).count();
        log.push(seen.clone());
        times
    };
    let text = match script(&seen, times) {
        Reply::Say(status, body) => format!(
            "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ),
        Reply::Cut(body) => format!("HTTP/1.1 200 X\r\nContent-Length: 1000\r\n\r\n{body}"),
        Reply::Close => String::new(),
        Reply::Hang => std::future::pending().await,
    };
    let _ = connection.write_all(text.as_bytes()).await;
    let _ = connection.shutdown().await;
}

async fn read(connection: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    connection.read_line(&mut line).await.ok()?;
    let line = line.strip_suffix(" HTTP/1.1\r\n")?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut header = String::new();
        connection.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or("0", String::as_str);
    let mut body = vec![0; length.parse().ok()?];
    connection.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).ok()?;
    Some(Seen {
        line,
        headers,
        body,
    })
}
