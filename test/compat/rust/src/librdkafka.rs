//! rust-rdkafka, on the librdkafka that comes with its crate.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::{Outcome, Run, Suite, same};

type Of<T> = Result<T, Box<dyn std::error::Error>>;
/// A record as its partition, offset and value.
type Got = (i32, i64, String);

const TIMEOUT: Duration = Duration::from_secs(40);

pub async fn suite(run: &Run) -> Suite {
    let mut s = Suite { client: "rust-rdkafka (librdkafka)", version: "0.39.0", passed: 0, failed: 0 };
    s.part(&["produce", "consume", "compression", "headers", "idempotence"], "codecs", codecs(run).await);
    s.part(&["groups", "cooperative rebalance"], "rebalance", rebalance(run).await);
    s.part(&["offsets for times", "timestamps"], "times", times(run).await);
    s.part(&["admin"], "administration", administration(run).await);
    s.part(&["transactions"], "transactions", transactions(run).await);
    s
}

fn config(run: &Run) -> ClientConfig {
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", &run.bootstrap);
    c
}

fn consumer(run: &Run, group: &str, more: &[(&str, &str)]) -> Of<BaseConsumer> {
    let mut c = config(run);
    c.set("group.id", run.name(group)).set("auto.offset.reset", "earliest").set("enable.auto.commit", "false").set("heartbeat.interval.ms", "300");
    if run.replicas > 1 {
        c.set("session.timeout.ms", "3000"); // a coordinator that is just away is not told that a member leaves
    }
    for (key, value) in more {
        c.set(*key, *value);
    }
    Ok(c.create()?)
}

fn admin(run: &Run) -> Of<AdminClient<DefaultClientContext>> {
    Ok(config(run).create()?)
}

async fn create(run: &Run, name: &str, partitions: i32) -> Of<String> {
    let topic = run.name(&format!("rd-{name}"));
    let made = admin(run)?.create_topics(&[NewTopic::new(&topic, partitions, TopicReplication::Fixed(run.replicas.into()))], &AdminOptions::new()).await?;
    made[0].clone().map_err(|(topic, code)| format!("create {topic}: {code}"))?;
    Ok(topic)
}

async fn produce(p: &FutureProducer, topic: &str, partition: Option<i32>, values: &[String]) -> Of<Vec<Got>> {
    let waiting = values.iter().map(|v| async move {
        let headers = OwnedHeaders::new().insert(Header { key: "h", value: Some(v) }).insert(Header { key: "null", value: None::<&str> });
        let mut record = FutureRecord::to(topic).key(v).payload(v).headers(headers);
        record.partition = partition;
        p.send(record, TIMEOUT).await.map(|d| (d.partition, d.offset, v.clone())).map_err(|(e, _)| e)
    });
    Ok(futures::future::try_join_all(waiting).await?)
}

/// Whether a consumer only tells that a connection was lost, which it mends by itself.
fn heals(e: &KafkaError) -> bool {
    matches!(e.rdkafka_error_code(), Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown))
}

/// Polls the consumers until the condition holds of what they got.
fn poll_until(consumers: &[&BaseConsumer], got: &mut Vec<Got>, what: &str, done: impl Fn(&[Got]) -> bool) -> Outcome {
    let end = Instant::now() + TIMEOUT;
    while !done(got) {
        for c in consumers {
            if let Some(m) = c.poll(Duration::from_millis(20)) {
                let m = match m {
                    Err(e) if heals(&e) => continue,
                    m => m?,
                };
                got.push((m.partition(), m.offset(), String::from_utf8_lossy(m.payload().unwrap_or(b"null")).into_owned()));
                if let Some(h) = m.headers() {
                    same(m.payload(), h.get(0).value, "header")?;
                }
            }
        }
        if Instant::now() > end {
            return Err(format!("{what}: not within 40 s; {} records", got.len()).into());
        }
    }
    Ok(())
}

fn numbered(prefix: &str, n: usize) -> Vec<String> {
    (0..n).map(|i| format!("{prefix}{i}")).collect()
}

async fn codecs(run: &Run) -> Outcome {
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let topic = create(run, codec, 3).await?;
        let p: FutureProducer = config(run).set("compression.type", codec).set("enable.idempotence", "true").set("linger.ms", "5").create()?;
        let mut acks = produce(&p, &topic, None, &numbered("v", run.records)).await?;
        let c = consumer(run, codec, &[])?;
        c.subscribe(&[&topic])?;
        let mut got = vec![];
        poll_until(&[&c], &mut got, "all records", |g| g.len() >= run.records)?;
        for p in 0..3 {
            let offsets: Vec<i64> = got.iter().filter(|g| g.0 == p).map(|g| g.1).collect();
            same((0..offsets.len() as i64).collect(), offsets, &format!("offsets of partition {p} with {codec}"))?;
        }
        acks.sort();
        got.sort();
        same(acks, got, &format!("each acknowledged record at its offset with {codec}"))?;
    }
    Ok(())
}

fn assigned(c: &BaseConsumer) -> Vec<i32> {
    c.assignment().map(|a| a.elements().iter().map(|e| e.partition()).collect()).unwrap_or_default()
}

async fn rebalance(run: &Run) -> Outcome {
    for strategy in ["roundrobin", "cooperative-sticky"] {
        let topic = create(run, &format!("rebalance-{strategy}"), 4).await?;
        let p: FutureProducer = config(run).create()?;
        let member = || consumer(run, &format!("rebalance-{strategy}"), &[("partition.assignment.strategy", strategy)]);
        let (mut got, a) = (vec![], member()?);
        a.subscribe(&[&topic])?;
        produce(&p, &topic, None, &numbered("v", 100)).await?;
        poll_until(&[&a], &mut got, "one member reads all", |g| g.len() >= 100)?;
        a.commit_consumer_state(CommitMode::Sync)?;
        let b = member()?;
        b.subscribe(&[&topic])?;
        poll_until(&[&a, &b], &mut got, "two members share", |_| assigned(&a).len() == 2 && assigned(&b).len() == 2)?;
        let both: HashSet<i32> = assigned(&a).into_iter().chain(assigned(&b)).collect();
        same(4, both.len(), "partitions that have an owner")?;
        produce(&p, &topic, None, &numbered("w", 100)).await?;
        poll_until(&[&a, &b], &mut got, "both read on", |g| g.len() >= 200)?;
        for c in [&a, &b] {
            match c.commit_consumer_state(CommitMode::Sync) {
                Ok(()) | Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
                Err(e) => return Err(e.into()),
            }
        }
        drop(b);
        poll_until(&[&a], &mut got, "the one that is left takes over", |_| assigned(&a).len() == 4)?;
        produce(&p, &topic, None, &numbered("x", 20)).await?;
        poll_until(&[&a], &mut got, "and reads on", |g| g.len() >= 220)?;
        same((220, 220), (got.len(), got.iter().collect::<HashSet<_>>().len()), "each record once")?;
    }
    Ok(())
}

async fn times(run: &Run) -> Outcome {
    let topic = create(run, "times", 1).await?;
    let p: FutureProducer = config(run).create()?;
    for i in 0..10 {
        p.send(FutureRecord::to(&topic).key("k").payload("v").timestamp(1_234_567_890_000 + i * 1000), TIMEOUT).await.map_err(|(e, _)| e)?;
    }
    let c = consumer(run, "times", &[])?;
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(&topic, 0, Offset::Offset(1_234_567_893_500))?;
    let found = c.offsets_for_times(asked, TIMEOUT)?;
    same(Offset::Offset(4), found.elements()[0].offset(), "offset for a time")?;
    c.assign(&found)?;
    let m = c.poll(TIMEOUT).ok_or("no record")??;
    same((4, Some(1_234_567_894_000)), (m.offset(), m.timestamp().to_millis()), "the record at this offset")?;
    same((0, 10), c.fetch_watermarks(&topic, 0, TIMEOUT)?, "watermarks")
}

async fn administration(run: &Run) -> Outcome {
    let (topic, client, options) = (create(run, "admin", 1).await?, admin(run)?, AdminOptions::new());
    let again = client.create_topics(&[NewTopic::new(&topic, 1, TopicReplication::Fixed(1))], &options).await?;
    same(Err((topic.clone(), RDKafkaErrorCode::TopicAlreadyExists)), again[0].clone(), "create twice")?;
    client.create_partitions(&[NewPartitions::new(&topic, 3)], &options).await?[0].clone().map_err(|(_, e)| e)?;
    let altered = client.alter_configs(&[AlterConfig::new(ResourceSpecifier::Topic(&topic)).set("segment.bytes", "2097152")], &options).await?;
    altered[0].as_ref().map_err(|(_, e)| *e)?;
    let p: FutureProducer = config(run).create()?;
    let (end, mut left) = (Instant::now() + TIMEOUT, String::new());
    while Instant::now() < end {
        let metadata = p.client().fetch_metadata(Some(&topic), TIMEOUT)?;
        let described = client.describe_configs(&[ResourceSpecifier::Topic(&topic)], &options).await?;
        let size = described[0].as_ref().map_err(|e| *e)?.get("segment.bytes").and_then(|e| e.value.clone());
        left = format!("{} partitions, {size:?}", metadata.topics()[0].partitions().len());
        if left == "3 partitions, Some(\"2097152\")" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    same("3 partitions, Some(\"2097152\")".to_owned(), left, "altered topic")?;
    produce(&p, &topic, Some(2), &numbered("v", 10)).await?;
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic, 2, Offset::Offset(4))?;
    client.delete_records(&before, &options).await?;
    let c = consumer(run, "admin", &[])?;
    same((4, 10), c.fetch_watermarks(&topic, 2, TIMEOUT)?, "watermarks after a deletion")?;
    c.subscribe(&[&topic])?;
    let mut got = vec![];
    poll_until(&[&c], &mut got, "what is left", |g| g.len() >= 6)?;
    same("v4", got[0].2.as_str(), "the first record that is left")?;
    c.commit_consumer_state(CommitMode::Sync)?;
    let group = run.name("admin");
    let listed = c.fetch_group_list(Some(&group), TIMEOUT)?;
    same(("Stable", 1), (listed.groups()[0].state(), listed.groups()[0].members().len()), "group")?;
    drop(c);
    client.delete_groups(&[&group], &options).await?[0].clone().map_err(|(_, e)| e)?;
    client.delete_topics(&[&topic], &options).await?[0].clone().map_err(|(_, e)| e)?;
    Ok(())
}

/// Reads the partition to its end.
fn read_to_end(run: &Run, topic: &str, isolation: &str) -> Of<Vec<String>> {
    let c = consumer(run, "to-end", &[("isolation.level", isolation), ("enable.partition.eof", "true")])?;
    let mut from = TopicPartitionList::new();
    from.add_partition_offset(topic, 0, Offset::Beginning)?;
    c.assign(&from)?;
    let mut values = vec![];
    loop {
        match c.poll(TIMEOUT).ok_or("no end of the partition within 40 s")? {
            Ok(m) => values.push(String::from_utf8_lossy(m.payload().unwrap_or(b"null")).into_owned()),
            Err(KafkaError::PartitionEOF(_)) => return Ok(values),
            Err(e) if heals(&e) => (),
            Err(e) => return Err(e.into()),
        }
    }
}

async fn transactions(run: &Run) -> Outcome {
    let (source, target) = (create(run, "tx-source", 1).await?, create(run, "tx-target", 1).await?);
    let id = run.name("tx");
    let transactional = || config(run).set("transactional.id", &id).create::<FutureProducer>();
    let p = transactional()?;
    p.init_transactions(TIMEOUT)?;
    for (commit, name) in [(false, "lost-"), (true, "kept-")] {
        p.begin_transaction()?;
        produce(&p, &source, Some(0), &numbered(name, 2)).await?;
        if commit { p.commit_transaction(TIMEOUT)? } else { p.abort_transaction(TIMEOUT)? }
    }
    same(numbered("kept-", 2), read_to_end(run, &source, "read_committed")?, "committed records")?;
    same([numbered("lost-", 2), numbered("kept-", 2)].concat(), read_to_end(run, &source, "read_uncommitted")?, "all records")?;
    let c = consumer(run, "tx", &[("isolation.level", "read_committed")])?;
    c.subscribe(&[&source])?;
    let mut got = vec![];
    poll_until(&[&c], &mut got, "the committed records", |g| g.len() >= 2)?;
    let mut next = TopicPartitionList::new();
    next.add_partition_offset(&source, 0, Offset::Offset(got[1].1 + 1))?;
    for commit in [false, true] {
        p.begin_transaction()?;
        produce(&p, &target, Some(0), &["again".to_owned()]).await?;
        p.send_offsets_to_transaction(&next, &c.group_metadata().ok_or("no metadata of the group")?, TIMEOUT)?;
        if commit { p.commit_transaction(TIMEOUT)? } else { p.abort_transaction(TIMEOUT)? }
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&source, 0);
        let committed = c.committed_offsets(asked, TIMEOUT)?.elements()[0].offset();
        same(if commit { Offset::Offset(got[1].1 + 1) } else { Offset::Invalid }, committed, &format!("committed offset, commit {commit}"))?;
    }
    p.begin_transaction()?;
    produce(&p, &target, Some(0), &["of the first".to_owned()]).await?;
    let second = transactional()?;
    second.init_transactions(TIMEOUT)?;
    if p.commit_transaction(TIMEOUT).is_ok() {
        return Err("the first producer was not fenced".into());
    }
    second.begin_transaction()?;
    produce(&second, &target, Some(0), &["of the second".to_owned()]).await?;
    second.commit_transaction(TIMEOUT)?;
    same(vec!["again".to_owned(), "of the second".to_owned()], read_to_end(run, &target, "read_committed")?, "after the fencing")
}
