//! Every row of every view's table, in the order of the keys.

use openinfra_schemas::{
    Reason, Topic,
    key::BUCKETS_PER_PARTITION,
    time::{HOUR_MS, Millis, hour_of},
};
use openinfra_store::{
    KeyBuf, Range, Row, Store, Table,
    tables::views::{
        ALL_TENANTS, ASSET_SHARDS, AlertByIdRow, AlertMonthRow, AlertRow, AssetHealthRow,
        HourlyAggregateRow, IndicatorRow, LatestReadingRow, LedgerRow, LedgerSummaryRow,
        OfflineEpisodeRow, ReadingRow, SENSOR_INDEX_SHARDS, SensorDaysRow, SensorIndexRow,
        SensorSeenRow, SensorStatusRow, TenantRow, month_of,
    },
};

use super::PARTITIONS;

/// One row: table, partition key, clustering key, value.
pub type Raw = (&'static str, Vec<u8>, Vec<u8>, Vec<u8>);

/// All rows of some tenants with times in `from..to`.
pub async fn dump(store: &dyn Store, tenants: &[&str], from: Millis, to: Millis) -> Vec<Raw> {
    let mut all = Vec::new();
    let scope = KeyBuf::new().text(ALL_TENANTS);
    table(store, TenantRow::TABLE, vec![scope], &mut all).await;
    for tenant in tenants {
        of_tenant(store, tenant, from, to, &mut all).await;
    }
    all
}

async fn of_tenant(store: &dyn Store, tenant: &str, from: Millis, to: Millis, all: &mut Vec<Raw>) {
    let key = || KeyBuf::new().text(tenant);
    let numbers = |n: i32| (0..n).map(|number| key().int(number));
    let buckets = || numbers(PARTITIONS * BUCKETS_PER_PARTITION);
    let hours: Vec<Millis> = (0..)
        .map(|i| hour_of(from) + i * HOUR_MS)
        .take_while(|hour| *hour < to)
        .collect();
    let mut days: Vec<Millis> = hours
        .iter()
        .map(|h| h - h.rem_euclid(24 * HOUR_MS))
        .collect();
    days.dedup();
    let within = |starts: &[Millis]| -> Vec<KeyBuf> {
        buckets()
            .flat_map(|b| starts.iter().map(move |s| b.clone().bigint(*s)))
            .collect()
    };
    for one_each in [
        LatestReadingRow::TABLE,
        SensorStatusRow::TABLE,
        SensorSeenRow::TABLE,
    ] {
        table(store, one_each, numbers(PARTITIONS).collect(), all).await;
    }
    for some_each in [SensorDaysRow::TABLE, OfflineEpisodeRow::TABLE] {
        table(store, some_each, buckets().collect(), all).await;
    }
    table(store, ReadingRow::TABLE, within(&hours), all).await;
    table(store, HourlyAggregateRow::TABLE, within(&days), all).await;
    let shards = |n: i32| numbers(n).collect();
    table(
        store,
        SensorIndexRow::TABLE,
        shards(SENSOR_INDEX_SHARDS),
        all,
    )
    .await;
    table(store, AssetHealthRow::TABLE, shards(ASSET_SHARDS), all).await;
    for plain in [
        LedgerSummaryRow::TABLE,
        IndicatorRow::TABLE,
        AlertMonthRow::TABLE,
    ] {
        table(store, plain, vec![key()], all).await;
    }
    let mut alerts = vec![key().text("open").int(-1)];
    alerts.extend((month_of(from)..=month_of(to)).map(|m| key().text("cleared").int(m)));
    table(store, AlertRow::TABLE, alerts, all).await;
    let ledger = Reason::ALL.into_iter().flat_map(|reason| {
        [Topic::Readings, Topic::Ledger]
            .into_iter()
            .flat_map(move |topic| {
                (0..PARTITIONS).map(move |p| key().text(reason.as_str()).text(topic.name()).int(p))
            })
    });
    table(store, LedgerRow::TABLE, ledger.collect(), all).await;
    alerts_by_id(store, tenant, all).await;
}

/// Every alert is found by its id.
async fn alerts_by_id(store: &dyn Store, tenant: &str, all: &mut Vec<Raw>) {
    let ids: Vec<KeyBuf> = all
        .iter()
        .filter(|(table, partition, _, _)| {
            *table == AlertRow::TABLE.name
                && partition.starts_with(&KeyBuf::new().text(tenant).into_bytes())
        })
        .map(|(_, partition, clustering, value)| {
            let row = AlertRow::decode(partition, clustering, value).expect("a row of ours");
            KeyBuf::new().text(tenant).text(&row.alert_id)
        })
        .collect();
    let before = all.len();
    let alerts = ids.len();
    table(store, AlertByIdRow::TABLE, ids, all).await;
    assert_eq!(all.len() - before, alerts);
}

async fn table(
    store: &dyn Store,
    table: &'static Table,
    partitions: Vec<KeyBuf>,
    all: &mut Vec<Raw>,
) {
    let ranges: Vec<Range> = partitions
        .into_iter()
        .map(|partition| Range::partition(table, partition.into_bytes()))
        .collect();
    let answers = store.range_many(&ranges).await.expect("the store answers");
    for (range, rows) in ranges.iter().zip(answers) {
        for row in rows {
            all.push((
                table.name,
                range.partition.clone(),
                row.clustering.to_vec(),
                row.value.to_vec(),
            ));
        }
    }
}

/// How many rows of a table a dump has.
pub fn rows(dump: &[Raw], table: &Table) -> usize {
    dump.iter().filter(|row| row.0 == table.name).count()
}

/// The rows of one table.
pub fn typed<R: Row>(dump: &[Raw]) -> Vec<R> {
    dump.iter()
        .filter(|row| row.0 == R::TABLE.name)
        .map(|(_, partition, clustering, value)| {
            R::decode(partition, clustering, value).expect("a row of ours")
        })
        .collect()
}
