//! The blocks in memory, bounded by bytes. A block whose rows are not all acknowledged never leaves.

use std::collections::{HashMap, VecDeque};

use openinfra_schemas::time::Millis;

use super::block::{Block, Entry};

/// A sensor's place in the engine, and an hour.
pub type BlockKey = (u32, Millis);

/// Blocks by sensor and hour, and rows of hours whose block is not here.
#[derive(Default)]
pub struct BlockCache {
    blocks: HashMap<BlockKey, Block>,
    /// Blocks in the order they were last looked at for eviction, with their use count then.
    queue: VecDeque<(BlockKey, u64)>,
    uses: u64,
    bytes: usize,
    limit_bytes: usize,
    acknowledged: Millis,
    /// Rows that were appended to an hour whose block is not in memory, until they are acknowledged: a
    /// block that is fetched meanwhile lacks them.
    loose: HashMap<BlockKey, Vec<(Millis, Entry)>>,
    loose_by_tick: VecDeque<(Millis, BlockKey)>,
}

impl BlockCache {
    pub fn new(limit_bytes: usize) -> Self {
        Self {
            limit_bytes,
            acknowledged: Millis::MIN,
            ..Self::default()
        }
    }

    pub fn contains(&self, key: &BlockKey) -> bool {
        self.blocks.contains_key(key)
    }

    /// Lets `change` work on a block, and keeps account of its size.
    pub fn with<R>(&mut self, key: &BlockKey, change: impl FnOnce(&mut Block) -> R) -> Option<R> {
        self.uses += 1;
        let block = self.blocks.get_mut(key)?;
        block.used = self.uses;
        let before = block.size_bytes();
        let result = change(block);
        self.bytes = self.bytes + block.size_bytes() - before;
        Some(result)
    }

    /// Starts an hour that has no rows yet.
    pub fn start(&mut self, key: BlockKey, tick: Millis) {
        self.insert(key, Block::new(tick));
    }

    /// Takes in a block that was fetched, and what was appended to its hour meanwhile.
    pub fn supply(&mut self, key: BlockKey, mut block: Block) {
        if self.blocks.contains_key(&key) {
            return;
        }
        for (tick, entry) in self.loose.remove(&key).unwrap_or_default() {
            block.take(entry);
            block.changed_at = block.changed_at.max(tick);
        }
        self.insert(key, block);
    }

    /// Keeps a row that was appended to an hour whose block is not in memory.
    pub fn keep_loose(&mut self, key: BlockKey, tick: Millis, entry: Entry) {
        self.loose.entry(key).or_default().push((tick, entry));
        if self.loose_by_tick.back() != Some(&(tick, key)) {
            self.loose_by_tick.push_back((tick, key));
        }
    }

    /// Forgets what is durable up to this tick.
    pub fn acknowledge(&mut self, tick: Millis) {
        self.acknowledged = self.acknowledged.max(tick);
        while let Some((written, key)) = self.loose_by_tick.front().copied() {
            if written > tick {
                break;
            }
            self.loose_by_tick.pop_front();
            if let Some(rows) = self.loose.get_mut(&key) {
                rows.retain(|(written, _)| *written > tick);
                if rows.is_empty() {
                    self.loose.remove(&key);
                }
            }
        }
    }

    /// Drops the blocks that were not used for longest until the rest fits, but for those whose rows are
    /// not acknowledged.
    pub fn evict(&mut self) {
        let mut looks = self.queue.len();
        while self.bytes > self.limit_bytes && looks > 0 {
            looks -= 1;
            let Some((key, used)) = self.queue.pop_front() else {
                break;
            };
            let Some(block) = self.blocks.get(&key) else {
                continue;
            };
            if block.used != used || block.changed_at > self.acknowledged {
                self.queue.push_back((key, block.used));
                continue;
            }
            self.bytes -= block.size_bytes();
            self.blocks.remove(&key);
        }
    }

    fn insert(&mut self, key: BlockKey, mut block: Block) {
        self.uses += 1;
        block.used = self.uses;
        self.bytes += block.size_bytes();
        self.queue.push_back((key, block.used));
        self.blocks.insert(key, block);
    }
}

#[cfg(test)]
mod tests {
    use openinfra_schemas::Quality;

    use super::*;

    fn entry(event_ts: Millis) -> Entry {
        Entry {
            event_ts,
            offset: event_ts,
            value: 1.0,
            quality: Quality::Good,
            recv_ts: 0,
        }
    }

    #[test]
    fn an_unacknowledged_block_stays_whatever_the_bound() {
        let mut cache = BlockCache::new(0);
        cache.start((0, 0), 7);
        cache.evict();
        assert!(cache.contains(&(0, 0)));
        cache.acknowledge(6);
        cache.evict();
        assert!(cache.contains(&(0, 0)));
        cache.acknowledge(7);
        cache.evict();
        assert!(!cache.contains(&(0, 0)));
        assert_eq!(cache.bytes, 0);
    }

    #[test]
    fn the_block_used_last_stays_longest() {
        let mut cache = BlockCache::new(0);
        for sensor in 0..3 {
            cache.start((sensor, 0), 1);
        }
        cache.acknowledge(1);
        cache.limit_bytes = cache.bytes - 1;
        cache.with(&(0, 0), |_| ());
        cache.evict();
        assert!(cache.contains(&(0, 0)) && !cache.contains(&(1, 0)) && cache.contains(&(2, 0)));
    }

    #[test]
    fn a_fetched_block_gains_the_rows_not_yet_durable() {
        let mut cache = BlockCache::new(usize::MAX);
        cache.keep_loose((0, 0), 5, entry(10));
        cache.keep_loose((0, 0), 6, entry(20));
        cache.acknowledge(5);
        cache.supply((0, 0), Block::default());
        let aggregate = cache.with(&(0, 0), |block| block.aggregate(0));
        assert_eq!(
            aggregate.map(|a| a.count),
            Some(1),
            "the row of tick 5 comes from the store"
        );
        assert_eq!(cache.blocks[&(0, 0)].changed_at, 6);
    }
}
