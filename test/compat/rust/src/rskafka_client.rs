//! rskafka, a client in Rust alone. It has no groups, no transactions and no idempotent producer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeZone, Utc};
use futures::StreamExt;
use rskafka::client::consumer::{StartOffset, StreamConsumerBuilder};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::producer::{BatchProducerBuilder, aggregator::RecordAggregator};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::{Record, RecordAndOffset};

use crate::{Outcome, Run, Suite, same};

type Of<T> = Result<T, Box<dyn std::error::Error>>;

pub async fn suite(run: &Run) -> Suite {
    let mut s = Suite { client: "rskafka", version: "0.6.0", passed: 0, failed: 0 };
    s.part(&["produce", "consume", "compression"], "codecs", codecs(run).await);
    s.part(&["produce"], "batches", batches(run).await);
    s.part(&["headers", "timestamps", "offsets for times"], "times", times(run).await);
    s.part(&["seeks"], "seeks", seeks(run).await);
    s.part(&["admin"], "administration", administration(run).await);
    s.note(&["groups", "transactions", "idempotence"], "absent");
    s
}

async fn client(run: &Run) -> Of<Client> {
    Ok(ClientBuilder::new(run.bootstrap.split(',').map(str::to_owned).collect()).build().await?)
}

async fn create(run: &Run, name: &str, partitions: i32) -> Of<String> {
    let topic = run.name(name);
    client(run).await?.controller_client()?.create_topic(&topic, partitions, run.replicas, 10_000).await?;
    Ok(topic)
}

async fn partition(run: &Run, topic: &str, number: i32) -> Of<PartitionClient> {
    Ok(client(run).await?.partition_client(topic, number, UnknownTopicHandling::Retry).await?)
}

fn record(value: &str, at: DateTime<Utc>) -> Record {
    let headers = BTreeMap::from([("h".to_owned(), value.as_bytes().to_vec()), ("empty".to_owned(), vec![])]);
    Record { key: Some(format!("k{value}").into_bytes()), value: Some(value.as_bytes().to_vec()), headers, timestamp: at }
}

fn start() -> DateTime<Utc> {
    Utc.timestamp_millis_opt(1_234_567_890_000).unwrap()
}

/// Reads from the offset to the end of the partition.
async fn read(p: &PartitionClient, mut offset: i64) -> Of<Vec<RecordAndOffset>> {
    let mut all = vec![];
    loop {
        let (records, high_watermark) = p.fetch_records(offset, 1..10_000_000, 1000).await?;
        if let Some(last) = records.last() {
            offset = last.offset + 1;
        }
        all.extend(records);
        if offset >= high_watermark {
            return Ok(all);
        }
    }
}

fn values(records: &[RecordAndOffset]) -> Vec<String> {
    records.iter().map(|r| String::from_utf8_lossy(r.record.value.as_deref().unwrap_or(b"null")).into_owned()).collect()
}

async fn codecs(run: &Run) -> Outcome {
    for codec in [Compression::NoCompression, Compression::Gzip, Compression::Lz4, Compression::Snappy, Compression::Zstd] {
        let topic = create(run, &format!("{codec:?}"), 2).await?;
        for number in 0..2 {
            let p = partition(run, &topic, number).await?;
            let sent: Vec<Record> = (0..run.records).map(|i| record(&format!("{codec:?}-{number}-{i}"), start())).collect();
            let mut offsets = vec![];
            for chunk in sent.chunks(100) {
                offsets.extend(p.produce(chunk.to_vec(), codec).await?);
            }
            same((0..run.records as i64).collect(), offsets.clone(), "acknowledged offsets")?;
            let got = read(&p, 0).await?;
            same(offsets, got.iter().map(|r| r.offset).collect(), &format!("offsets with {codec:?}"))?;
            same(sent, got.into_iter().map(|r| r.record).collect(), &format!("records with {codec:?}"))?;
        }
    }
    Ok(())
}

/// The batching producer and the streaming consumer.
async fn batches(run: &Run) -> Outcome {
    let p = Arc::new(partition(run, &create(run, "batches", 1).await?, 0).await?);
    let producer = BatchProducerBuilder::new(Arc::clone(&p)).with_linger(Duration::from_millis(5)).with_compression(Compression::Zstd).build(RecordAggregator::new(10_000));
    let sent: Vec<String> = (0..run.records).map(|i| format!("v{i}")).collect();
    let waiting: Vec<_> = sent.iter().map(|v| producer.produce(record(v, start()))).collect();
    let mut offsets: Vec<i64> = futures::future::try_join_all(waiting).await?;
    offsets.sort();
    same((0..run.records as i64).collect(), offsets, "acknowledged offsets")?;
    let stream = StreamConsumerBuilder::new(p, StartOffset::Earliest).with_max_wait_ms(100).build();
    let got: Vec<_> = tokio::time::timeout(Duration::from_secs(40), stream.take(run.records).collect::<Vec<_>>()).await?;
    let mut records = vec![];
    for r in got {
        records.push(r?.0);
    }
    same((0..run.records as i64).collect(), records.iter().map(|r| r.offset).collect::<Vec<_>>(), "offsets in order")?;
    let (mut want, mut have) = (sent, values(&records));
    want.sort();
    have.sort();
    same(want, have, "each record once")
}

async fn times(run: &Run) -> Outcome {
    let p = partition(run, &create(run, "times", 1).await?, 0).await?;
    let mut sent: Vec<Record> = (0..10).map(|i| record(&i.to_string(), start() + Duration::from_secs(i))).collect();
    sent.push(Record { key: Some(b"gone".to_vec()), value: None, headers: BTreeMap::new(), timestamp: start() + Duration::from_secs(60) });
    sent.push(Record { key: None, value: Some(vec![]), headers: BTreeMap::new(), timestamp: start() + Duration::from_secs(61) });
    p.produce(sent.clone(), Compression::Gzip).await?;
    same(sent, read(&p, 0).await?.into_iter().map(|r| r.record).collect(), "times, headers, nulls")?;
    let found = [OffsetAt::Timestamp(start() + Duration::from_millis(3500)), OffsetAt::Earliest, OffsetAt::Latest, OffsetAt::Timestamp(start() + Duration::from_secs(100))];
    let mut offsets = vec![];
    for at in found {
        offsets.push(p.get_offset(at).await?);
    }
    same(vec![4, 0, 12, -1], offsets, "offsets for times")
}

async fn seeks(run: &Run) -> Outcome {
    let p = partition(run, &create(run, "seeks", 1).await?, 0).await?;
    p.produce((0..100).map(|i| record(&format!("v{i}"), start())).collect(), Compression::NoCompression).await?;
    for from in [42, 99, 7] {
        same((from..100).map(|i| format!("v{i}")).collect(), values(&read(&p, from).await?), &format!("from {from} on"))?;
    }
    same(0, p.fetch_records(100, 1..1000, 100).await?.0.len(), "records at the end")?;
    match p.fetch_records(5000, 1..1000, 100).await {
        Err(Error::ServerError { protocol_error: ProtocolError::OffsetOutOfRange, .. }) => Ok(()),
        other => Err(format!("an offset out of range: {other:?}").into()),
    }
}

async fn administration(run: &Run) -> Outcome {
    let (client, topic) = (client(run).await?, create(run, "admin", 3).await?);
    let controller = client.controller_client()?;
    match controller.create_topic(&topic, 1, 1, 10_000).await {
        Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. }) => {}
        other => return Err(format!("create twice: {other:?}").into()),
    }
    match controller.create_topic(format!("{topic}-2"), 1, 7, 10_000).await {
        Err(Error::ServerError { protocol_error: ProtocolError::InvalidReplicationFactor, .. }) => {}
        other => return Err(format!("seven replicas on one node: {other:?}").into()),
    }
    let p = partition(run, &topic, 2).await?;
    p.produce((0..10).map(|i| record(&format!("v{i}"), start())).collect(), Compression::NoCompression).await?;
    let listed = client.list_topics().await?;
    let found = listed.iter().find(|t| t.name == topic).ok_or("the topic is not listed")?;
    same(vec![0, 1, 2], found.partitions.iter().copied().collect(), "partitions")?;
    p.delete_records(4, 10_000).await?;
    same((4, 10), (p.get_offset(OffsetAt::Earliest).await?, p.get_offset(OffsetAt::Latest).await?), "offsets after a deletion")?;
    same((4..10).map(|i| format!("v{i}")).collect(), values(&read(&p, 4).await?), "what is left")?;
    controller.delete_topic(&topic, 10_000).await?;
    tokio::time::timeout(Duration::from_secs(40), async {
        while client.list_topics().await?.iter().any(|t| t.name == topic) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    })
    .await
    .map_err(|_| "the deleted topic is listed after 40 s")?
}
