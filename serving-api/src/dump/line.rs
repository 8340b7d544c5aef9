//! Rows on their way out: lines, gathered so that a line costs no send, or the items of one page.

use std::io;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Emit, Place};

/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 64 * 1024;

/// Takes rows in key order.
pub struct Rows<'a>(Out<'a>);

enum Out<'a> {
    Lines(Lines<'a>),
    Page(Page),
}

struct Lines<'a> {
    emit: &'a mut dyn Emit,
    buffer: Vec<u8>,
}

/// Some of a view's rows.
#[derive(Debug, Default)]
pub struct Page {
    pub items: Vec<Box<RawValue>>,
    /// The last item's place, when there are rows behind it.
    pub next: Option<Place>,
    last: Option<Place>,
    bytes: usize,
    limit: usize,
    max_bytes: usize,
}

impl<'a> Rows<'a> {
    /// Passes on all rows as lines.
    pub fn lines(emit: &'a mut dyn Emit) -> Self {
        Self(Out::Lines(Lines {
            emit,
            buffer: Vec::with_capacity(CHUNK_BYTES),
        }))
    }

    /// Keeps `limit` rows, fewer when they come to more than `max_bytes`.
    pub fn page(limit: usize, max_bytes: usize) -> Self {
        Self(Out::Page(Page {
            limit,
            max_bytes,
            ..Page::default()
        }))
    }

    /// Whether another row would be let fall; reading more has no use.
    pub fn is_full(&self) -> bool {
        match &self.0 {
            Out::Lines(_) => false,
            Out::Page(page) => page.next.is_some(),
        }
    }

    /// Adds a row, which stands at `place`.
    pub async fn push<T: Serialize + Sync>(
        &mut self,
        row: &T,
        place: impl FnOnce() -> Place,
    ) -> io::Result<()> {
        match &mut self.0 {
            Out::Lines(lines) => lines.push(row).await,
            Out::Page(page) => page.push(row, place),
        }
    }

    /// Passes on what is gathered, and gives what was kept.
    pub async fn finish(self) -> io::Result<Page> {
        match self.0 {
            Out::Lines(mut lines) => {
                lines.flush().await?;
                Ok(Page::default())
            }
            Out::Page(page) => Ok(page),
        }
    }
}

impl Lines<'_> {
    async fn push<T: Serialize + Sync>(&mut self, row: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, row)?;
        self.buffer.push(b'\n');
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(CHUNK_BYTES);
        self.emit
            .lines(std::mem::replace(&mut self.buffer, next))
            .await
    }
}

impl Page {
    fn push<T: Serialize>(&mut self, row: &T, place: impl FnOnce() -> Place) -> io::Result<()> {
        if self.items.len() == self.limit || self.bytes > self.max_bytes {
            self.next = self.last.take();
            return Ok(());
        }
        let item = serde_json::value::to_raw_value(row)?;
        self.bytes += item.get().len();
        self.items.push(item);
        self.last = Some(place());
        Ok(())
    }
}
