//! Keys of records, the partition that a key belongs to, and the buckets nested in partitions.
//!
//! A key is text, its parts joined by `/`. A tenant holds no `/`, nor does a kind, so that the parts
//! can be told apart although ids may hold any number of them.

use crate::{entity::EntityKind, ids::SensorId, ids::TenantId};

/// Buckets of sensors in each log partition: the store's partitions nest in the log's. Few, as a tick costs
/// the store a request for each bucket it has something of; and enough that an hour of one stays small.
pub const BUCKETS_PER_PARTITION: i32 = 4;

/// `tenant/sensor`: the key of a reading.
pub fn reading_key(tenant: &TenantId, sensor: &SensorId) -> Vec<u8> {
    format!("{tenant}/{sensor}").into_bytes()
}

/// `tenant/kind/id`: the key of an entity's changes.
pub fn entity_key(tenant: &TenantId, kind: EntityKind, id: &str) -> Vec<u8> {
    format!("{tenant}/{}/{id}", kind.as_str()).into_bytes()
}

/// `tenant/source`: the key of a refused message.
pub fn ledger_key(tenant: &TenantId, source: &str) -> Vec<u8> {
    format!("{tenant}/{source}").into_bytes()
}

/// The partition of a key, as Kafka's default partitioner has it: `toPositive(murmur2(key)) mod n`.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) as i32) % partitions
}

/// The bucket of a sensor, `0..partitions * BUCKETS_PER_PARTITION`; all sensors of a bucket live in the
/// log partition [`partition_of_bucket`].
pub fn sensor_bucket(key: &[u8], partitions: i32) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as i32;
    // The quotient is independent of the remainder that chose the partition.
    positive % partitions * BUCKETS_PER_PARTITION + positive / partitions % BUCKETS_PER_PARTITION
}

/// The log partition in which all sensors of a bucket live.
pub fn partition_of_bucket(bucket: i32) -> i32 {
    bucket / BUCKETS_PER_PARTITION
}

/// MurmurHash2, 32 bits, with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut h = SEED ^ data.len() as u32;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        k = k.wrapping_mul(M);
        k ^= k >> R;
        k = k.wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    let rest = chunks.remainder();
    if rest.len() == 3 {
        h ^= u32::from(rest[2]) << 16;
    }
    if rest.len() >= 2 {
        h ^= u32::from(rest[1]) << 8;
    }
    if !rest.is_empty() {
        h ^= u32::from(rest[0]);
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn murmur2_is_kafkas() {
        for (text, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn buckets_nest_in_partitions() {
        for i in 0..10_000 {
            let key = format!("default/s{i}").into_bytes();
            let bucket = sensor_bucket(&key, 32);
            assert_eq!(partition_of_bucket(bucket), partition_of(&key, 32));
            assert!((0..32 * BUCKETS_PER_PARTITION).contains(&bucket));
        }
    }
}
