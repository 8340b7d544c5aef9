//! Lines on their way out, gathered so that a line costs no send.

use std::io;

use serde::Serialize;

use super::Emit;

/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 64 * 1024;

/// Gathers lines and passes them on in chunks.
pub struct Lines<'a> {
    emit: &'a mut dyn Emit,
    buffer: Vec<u8>,
}

impl<'a> Lines<'a> {
    pub fn new(emit: &'a mut dyn Emit) -> Self {
        Self {
            emit,
            buffer: Vec::with_capacity(CHUNK_BYTES),
        }
    }

    /// Adds a row as a line.
    pub async fn push<T: Serialize + Sync>(&mut self, row: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, row)?;
        self.buffer.push(b'\n');
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Passes on what is gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(CHUNK_BYTES);
        self.emit
            .lines(std::mem::replace(&mut self.buffer, next))
            .await
    }
}
