"""librdkafka through confluent-kafka against one broker: clients_test.py BOOTSTRAP."""
import os
import sys
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec

BOOTSTRAP = sys.argv[1]
RECORDS = 500 if os.environ.get("SMOKE") else 5000
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def same(expected, got, what):
    assert expected == got, f"{what}: expected {expected!r}, got {got!r}"


def until(condition, what, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"


def create(name, partitions=1, **config):
    admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result()
    return name


def consumer(group, **more):
    config = {"bootstrap.servers": BOOTSTRAP, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    return Consumer({**config, **{k.replace("_", "."): v for k, v in more.items()}})


def produce(topic, values, **more):
    """Sends the values in order and returns what was acknowledged as (partition, offset, value)."""
    acks = []

    def delivered(error, message):
        assert error is None, error
        acks.append((message.partition(), message.offset(), message.value().decode()))

    p = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **{k.replace("_", "."): v for k, v in more.items()}})
    for v in values:
        p.produce(topic, value=v, key=f"k{v}", headers={"h": v}, on_delivery=delivered)
        p.poll(0)
    same(0, p.flush(30), "records without an answer")
    return acks


def read(consumers, seen, done, what):
    def step():
        for c in consumers:
            m = c.poll(0.05)
            if m is not None and m.error() is None:
                seen.append((m.partition(), m.offset(), m.value().decode()))
        return done()

    until(step, what)


def codecs():
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = create(f"rdk-{codec}", 3)
        acks = produce(topic, [f"{codec}-{i}" for i in range(RECORDS)], compression_type=codec, enable_idempotence=True)
        c, seen = consumer(f"rdk-group-{codec}"), []
        c.subscribe([topic])
        read([c], seen, lambda: len(seen) >= RECORDS, f"all records with {codec}")
        same(sorted(acks), sorted(seen), f"each acknowledged record at its offset with {codec}")
        for p in range(3):
            offsets = [o for q, o, _ in seen if q == p]
            same(sorted(offsets), offsets, "order within the partition")
        c.commit(asynchronous=False)
        committed = c.committed([TopicPartition(topic, p) for p in range(3)])
        same([sum(1 for q, _, _ in seen if q == p) for p in range(3)], [max(t.offset, 0) for t in committed], "committed offsets")
        c.close()


def first_use():
    """Most of librdkafka's own tests create their topics by producing to them."""
    acks = produce("rdk-first-use", ["a", "b"])
    same([0, 1], sorted(o for _, o, _ in acks), "offsets in a topic made on first use")


def rebalance(strategy):
    topic = create(f"rdk-rebalance-{strategy}", 4)
    group, seen = f"rdk-rebalance-{strategy}", []
    produce(topic, [f"v{i}" for i in range(100)])
    a = consumer(group, partition_assignment_strategy=strategy)
    a.subscribe([topic])
    read([a], seen, lambda: len(seen) >= 100, "one member reads all")
    a.commit(asynchronous=False)
    b = consumer(group, partition_assignment_strategy=strategy)
    b.subscribe([topic])
    read([a, b], seen, lambda: len(a.assignment()) == 2 and len(b.assignment()) == 2, "two members share")
    assigned = sorted(t.partition for t in a.assignment() + b.assignment())
    same([0, 1, 2, 3], assigned, "no partition is assigned twice")
    produce(topic, [f"w{i}" for i in range(100)])
    read([a, b], seen, lambda: len(seen) >= 200, "both read on")
    for c in (a, b):
        try:
            c.commit(asynchronous=False)
        except KafkaException as e:  # a member that had nothing to read has nothing to commit
            same(KafkaError._NO_OFFSET, e.args[0].code(), "commit")
    b.close()
    read([a], seen, lambda: len(a.assignment()) == 4, "the one that is left takes over")
    produce(topic, [f"x{i}" for i in range(20)])
    read([a], seen, lambda: len(seen) >= 220, "and reads on")
    same(220, len(set(seen)), "each record was delivered once")
    same(220, len(seen), "and only once")
    a.close()


def administration():
    topic = create("rdk-admin", 1, **{"retention.ms": "7200000"})
    try:
        create("rdk-admin")
        raise AssertionError("created twice")
    except KafkaException as e:
        same(KafkaError.TOPIC_ALREADY_EXISTS, e.args[0].code(), "create twice")
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result()
    until(lambda: len(admin.list_topics(topic).topics[topic].partitions) == 3, "three partitions")
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    same("7200000", admin.describe_configs([resource])[resource].result()["retention.ms"].value, "config")
    change = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
        ConfigEntry("segment.bytes", "2097152", incremental_operation=AlterConfigOpType.SET)])
    admin.incremental_alter_configs([change])[change].result()
    same("2097152", admin.describe_configs([resource])[resource].result()["segment.bytes"].value, "altered config")
    acks = produce(topic, ["one", "two", "three"])
    tp = TopicPartition(topic, acks[0][0])
    newest = admin.list_offsets({tp: OffsetSpec.latest()})[tp].result().offset
    same(sum(1 for p, _, _ in acks if p == tp.partition), newest, "latest offset")
    c, seen = consumer("rdk-admin-group"), []
    c.subscribe([topic])
    read([c], seen, lambda: len(seen) == 3, "three records")
    c.commit(asynchronous=False)
    described = admin.describe_consumer_groups(["rdk-admin-group"])["rdk-admin-group"].result()
    same(("STABLE", 1), (described.state.name, len(described.members)), "described group")
    c.close()
    listed = [g.group_id for g in admin.list_consumer_groups().result().valid]
    assert "rdk-admin-group" in listed, listed
    offsets = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("rdk-admin-group")])["rdk-admin-group"].result()
    same(3, sum(t.offset for t in offsets.topic_partitions if t.offset > 0), "committed offsets, summed")
    admin.delete_consumer_groups(["rdk-admin-group"])["rdk-admin-group"].result()
    admin.delete_topics([topic])[topic].result()
    until(lambda: topic not in admin.list_topics().topics, "deleted topic is gone")


def transactional(p, topics, values):
    """Begins a transaction and sends each value to partition 0 of each topic."""
    p.begin_transaction()
    for topic in topics:
        for v in values:
            p.produce(topic, value=v, partition=0)
    same(0, p.flush(30), "records without an answer")


def read_all(topic, expected, isolation):
    """Reads to the partition's end, which shows that nothing unexpected comes last."""
    c, got, ended = consumer(f"rdk-read-{topic}", isolation_level=isolation, enable_partition_eof=True), [], []
    c.assign([TopicPartition(topic, 0, 0)])

    def step():
        m = c.poll(0.05)
        if m is not None and m.error() is not None:
            same(KafkaError._PARTITION_EOF, m.error().code(), "the only error")
            ended.append(True)
        elif m is not None:
            got.append(m.value().decode())
        return ended and len(got) >= len(expected)

    until(step, f"{isolation} reads {topic} to its end")
    same(expected, got, f"{isolation} of {topic}")
    c.close()


def transactions():
    source, target = create("rdk-transactional"), create("rdk-transformed")
    config = {"bootstrap.servers": BOOTSTRAP, "transactional.id": "rdk-tx"}
    p = Producer(config)
    p.init_transactions(30)
    transactional(p, [source, target], ["lost-1", "lost-2"])
    p.abort_transaction(30)
    transactional(p, [source, target], ["kept-1", "kept-2"])
    p.commit_transaction(30)
    for topic in (source, target):
        read_all(topic, ["kept-1", "kept-2"], "read_committed")
        read_all(topic, ["lost-1", "lost-2", "kept-1", "kept-2"], "read_uncommitted")
    c, seen = consumer("rdk-tx-group", isolation_level="read_committed"), []
    c.subscribe([source])
    read([c], seen, lambda: len(seen) == 2, "the committed records")
    offset = seen[-1][1] + 1
    for commit in (False, True):
        transactional(p, [target], [f"{v}-again" for _, _, v in seen])
        p.send_offsets_to_transaction([TopicPartition(source, 0, offset)], c.consumer_group_metadata(), 30)
        if commit:
            p.commit_transaction(30)
        else:
            p.abort_transaction(30)
        expected = offset if commit else -1001
        same([expected], [t.offset for t in c.committed([TopicPartition(source, 0)], 30)], f"committed offset, commit {commit}")
    read_all(target, ["kept-1", "kept-2", "kept-1-again", "kept-2-again"], "read_committed")
    c.close()
    fenced(p, config, target)


def fenced(first, config, topic):
    transactional(first, [topic], ["of the first"])
    second = Producer(config)
    second.init_transactions(30)
    try:
        first.commit_transaction(30)
        raise AssertionError("the first producer was not fenced")
    except KafkaException as e:
        assert e.args[0].code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH), e
    transactional(second, [topic], ["of the second"])
    second.commit_transaction(30)
    read_all(topic, ["kept-1", "kept-2", "kept-1-again", "kept-2-again", "of the second"], "read_committed")


tests = [codecs, first_use, lambda: rebalance("range"), lambda: rebalance("cooperative-sticky"), administration, transactions]
for test in tests:
    test()
print(f"librdkafka: {len(tests)} passed, 0 failed")
