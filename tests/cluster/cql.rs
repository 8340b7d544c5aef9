//! A CQL statement, sent as any client of the database would send it.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Of protocol 4.
const STARTUP: u8 = 1;
const QUERY: u8 = 7;
const ERROR: u8 = 0;
const RESULT: u8 = 8;
const CONSISTENCY_ONE: [u8; 2] = [0, 1];
const NO_FLAGS: u8 = 0;
/// Dropping a keyspace takes seconds, and minutes where others are at work.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs one statement; returns the body of its result, in which texts stand as they are.
pub async fn execute(address: &str, statement: &str) -> Vec<u8> {
    let run = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut options = vec![0, 1];
        for text in ["CQL_VERSION", "3.0.0"] {
            options.extend((text.len() as u16).to_be_bytes());
            options.extend(text.as_bytes());
        }
        send(&mut stream, STARTUP, &options).await;
        receive(&mut stream).await;
        let mut query = (statement.len() as u32).to_be_bytes().to_vec();
        query.extend(statement.as_bytes());
        query.extend(CONSISTENCY_ONE);
        query.push(NO_FLAGS);
        send(&mut stream, QUERY, &query).await;
        receive(&mut stream).await
    };
    let (opcode, body) = tokio::time::timeout(LIMIT, run).await.unwrap();
    assert_eq!(
        opcode,
        RESULT,
        "{statement}: {}",
        String::from_utf8_lossy(&body)
    );
    body
}

async fn send(stream: &mut TcpStream, opcode: u8, body: &[u8]) {
    let mut frame = vec![4, 0, 0, 0, opcode];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    stream.write_all(&frame).await.unwrap();
}

async fn receive(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.unwrap();
    let [.., a, b, c, d] = header;
    let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
    stream.read_exact(&mut body).await.unwrap();
    assert_ne!(header[4], ERROR, "{}", String::from_utf8_lossy(&body));
    (header[4], body)
}
