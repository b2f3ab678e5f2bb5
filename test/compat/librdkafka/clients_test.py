"""librdkafka through confluent-kafka against one broker: clients_test.py BOOTSTRAP."""
import sys
import time
import warnings

import confluent_kafka
from confluent_kafka import (TIMESTAMP_CREATE_TIME, TIMESTAMP_LOG_APPEND_TIME, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException,
                             Producer, TopicPartition)
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

import suite
from suite import REPLICAS, RUN, SMOKE, THREE, fails, same, until

BOOTSTRAP = sys.argv[1]
warnings.simplefilter("ignore", DeprecationWarning)  # older calls are tested, too
RECORDS = 500 if SMOKE else 5000
VERSION = confluent_kafka.__version__
NEW = tuple(int(n) for n in VERSION.split(".")[:2]) >= (2, 6)
admin = AdminClient({"bootstrap.servers": BOOTSTRAP})


def settled(ask, done=None):
    """The result of what an admin asks for. Where nodes are restarted it is asked again when the one that was asked has stopped, which this
    client leaves to its user; done says that it was done before."""
    repeated, end = False, time.monotonic() + 40
    while True:
        try:
            return ask().result()
        except KafkaException as e:
            code = e.args[0].code()
            if repeated and code == done:
                return None
            if not THREE or code not in (KafkaError.NOT_CONTROLLER, KafkaError._TRANSPORT, KafkaError._TIMED_OUT) or time.monotonic() > end:
                raise
        repeated = True
        time.sleep(0.1)


def create(name, partitions=1, **config):
    topic = f"{name}-{RUN}"
    settled(lambda: admin.create_topics([NewTopic(topic, partitions, REPLICAS, config=config)])[topic], KafkaError.TOPIC_ALREADY_EXISTS)

    def there():
        metadata = admin.list_topics(topic).topics[topic]
        return len(metadata.partitions) == partitions and all(p.leader >= 0 and p.error is None for p in metadata.partitions.values())

    until(there, f"{topic} is there")
    return topic


def consumer(group, **more):
    config = {"bootstrap.servers": BOOTSTRAP, "group.id": f"{group}-{RUN}", "auto.offset.reset": "earliest", "enable.auto.commit": False,
              "heartbeat.interval.ms": 300, "fetch.wait.max.ms": 100}
    if THREE:  # a coordinator that is just away is not told that a member leaves
        config["session.timeout.ms"] = 3000
    return Consumer({**config, **{k.replace("_", "."): v for k, v in more.items()}})


def produce(topic, values, partition=-1, **more):
    """Sends the values in order and returns what was acknowledged as (partition, offset, value)."""
    acks = []

    def delivered(error, message):
        assert error is None, error
        acks.append((message.partition(), message.offset(), message.value().decode()))

    p = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5, **{k.replace("_", "."): v for k, v in more.items()}})
    for v in values:
        p.produce(topic, value=v, key=f"k{v}", headers={"h": v}, partition=partition, on_delivery=delivered)
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

    until(step, what, pause=0)


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
    acks = produce(f"rdk-first-use-{RUN}", ["a", "b"])
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


def eager_rebalance():
    rebalance("range")


def cooperative_rebalance():
    rebalance("cooperative-sticky")


def administration():
    topic = create("rdk-admin", 1, **{"retention.ms": "7200000"})
    e = fails(KafkaException, lambda: admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(), "create twice")
    same(KafkaError.TOPIC_ALREADY_EXISTS, e.args[0].code(), "create twice")
    settled(lambda: admin.create_partitions([NewPartitions(topic, 3)])[topic], KafkaError.INVALID_PARTITIONS)
    until(lambda: len(admin.list_topics(topic).topics[topic].partitions) == 3, "three partitions")
    same("7200000", topic_configs(topic)["retention.ms"].value, "config")
    # This older request replaces all the configs of the topic.
    settled(lambda: list(admin.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, set_config={"segment.bytes": "2097152"})]).values())[0])
    until(lambda: [topic_configs(topic)[k].value for k in ("segment.bytes", "retention.ms")] == ["2097152", "604800000"], "altered configs")
    [broker] = admin.describe_configs([ConfigResource(ConfigResource.Type.BROKER, "1")]).values()
    assert "log.dirs" in broker.result(), "the broker's configs"
    produce(topic, ["one", "two", "three"])
    group, c, seen = f"rdk-admin-group-{RUN}", consumer("rdk-admin-group"), []
    c.subscribe([topic])
    read([c], seen, lambda: len(seen) == 3, "three records")
    c.commit(asynchronous=False)
    described = admin.describe_consumer_groups([group])[group].result()
    same(("STABLE", 1), (described.state.name, len(described.members)), "described group")
    same(3, sum(len(m.assignment.topic_partitions) for m in described.members), "partitions of its member")
    c.close()
    assert group in [g.group_id for g in admin.list_consumer_groups().result().valid], "the group is listed"
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result()
    same(3, sum(t.offset for t in listed.topic_partitions if t.offset > 0), "committed offsets, summed")
    changed = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0, 17)])
    admin.alter_consumer_group_offsets([changed])[group].result()
    listed = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 0)])])[group].result()
    same([17], [t.offset for t in listed.topic_partitions], "altered offset")
    admin.delete_consumer_groups([group])[group].result()
    until(lambda: group not in [g.group_id for g in admin.list_consumer_groups().result().valid], "the deleted group is gone")
    settled(lambda: admin.delete_topics([topic])[topic], KafkaError.UNKNOWN_TOPIC_OR_PART)
    until(lambda: topic not in admin.list_topics().topics, "deleted topic is gone")


def topic_configs(topic):
    [future] = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    return future.result()


def newer_administration():
    """Calls that version 2.0 does not have."""
    from confluent_kafka import ElectionType, TopicCollection
    from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, OffsetSpec
    topic = create("rdk-newer-admin", 2, **{"retention.ms": "7200000"})
    change = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
        ConfigEntry("segment.bytes", "2097152", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND)])
    settled(lambda: admin.incremental_alter_configs([change])[change])
    until(lambda: [topic_configs(topic)[k].value for k in ("segment.bytes", "retention.ms", "cleanup.policy")] == ["2097152", "604800000", "delete,compact"],
          "altered configs")
    produce(topic, [f"v{i}" for i in range(10)], 1)
    tp = TopicPartition(topic, 1)
    for spec, expected in ((OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 10), (OffsetSpec.for_timestamp(0), 0)):
        same(expected, admin.list_offsets({tp: spec})[tp].result().offset, f"offset of {spec}")
    [deleted] = admin.delete_records([TopicPartition(topic, 1, 4)]).values()
    same(4, deleted.result().low_watermark, "records before 4 are deleted")
    described = admin.describe_topics(TopicCollection([topic]))[topic].result()
    same([0, 1], [p.id for p in described.partitions], "described topic")
    assert all(1 <= p.leader.id <= REPLICAS for p in described.partitions), "leaders"
    until(lambda: [n.id for n in admin.describe_cluster().result().nodes] == list(range(1, REPLICAS + 1)), "described cluster")
    assert 1 <= admin.describe_cluster().result().controller.id <= REPLICAS, "controller"
    elected = admin.elect_leaders(ElectionType.PREFERRED, [tp]).result()
    if not THREE:
        same([KafkaError.ELECTION_NOT_NEEDED], [e.code() for e in elected.values()], "no election is needed")
    settled(lambda: admin.delete_topics([topic])[topic], KafkaError.UNKNOWN_TOPIC_OR_PART)


def timestamps():
    """The time of the record, and which kind of time it is, for topics of both kinds."""
    for kind, config in ((TIMESTAMP_CREATE_TIME, "CreateTime"), (TIMESTAMP_LOG_APPEND_TIME, "LogAppendTime")):
        topic = create(f"rdk-{config}", 1, **{"message.timestamp.type": config})
        p = Producer({"bootstrap.servers": BOOTSTRAP})
        headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None), ("bytes", bytes(range(256)))]
        for i in range(10):
            p.produce(topic, b"v%d" % i, timestamp=1234567890000 + i * 1000, headers=headers)
        same(0, p.flush(30), "records without an answer")
        c, got = consumer(f"rdk-{config}"), []
        c.assign([TopicPartition(topic, 0, 0)])
        messages(c, got, 10)
        same([kind] * 10, [m.timestamp()[0] for m in got], "kind of time")
        same(headers, got[0].headers(), "headers")
        if kind == TIMESTAMP_CREATE_TIME:
            same([1234567890000 + i * 1000 for i in range(10)], [m.timestamp()[1] for m in got], "times")
            asked = [TopicPartition(topic, 0, time_ms) for time_ms in (1234567893500, 99999999999999)]
            same([4, -1], [c.offsets_for_times([a], 10)[0].offset for a in asked], "offsets for times")
        else:
            assert all(abs(m.timestamp()[1] / 1000 - time.time()) < 300 for m in got), [m.timestamp() for m in got]
        c.close()


def messages(c, got, count):
    def step():
        m = c.poll(0.05)
        if m is not None:
            assert m.error() is None, m.error()
            got.append(m)
        return len(got) >= count

    until(step, f"{count} records", pause=0)


def seeks():
    topic, c = create("rdk-seeks"), consumer("rdk-seeks")
    produce(topic, [f"v{i}" for i in range(100)])
    c.assign([TopicPartition(topic, 0, 0)])
    for offset, first in ((None, 0), (42, 42), (99, 99), (7, 7), (5000, 0)):  # outside the log, auto.offset.reset decides
        if offset is not None:
            c.seek(TopicPartition(topic, 0, offset))
        got = []
        messages(c, got, 1)
        same((first, f"v{first}".encode()), (got[0].offset(), got[0].value()), f"after a seek to {offset}")
    same((0, 100), c.get_watermark_offsets(TopicPartition(topic, 0), 10), "watermarks")
    c.close()


def large_messages():
    large = bytes(i * 7 % 251 for i in range(5_000_000))
    topic, small = create("rdk-large", 1, **{"max.message.bytes": "6000000"}), create("rdk-too-large")
    answers = []
    p = Producer({"bootstrap.servers": BOOTSTRAP, "message.max.bytes": 8_000_000})
    for name in (topic, small):
        p.produce(name, large, on_delivery=lambda e, m: answers.append(e and e.code()))
        same(0, p.flush(60), "records without an answer")
    same([None, KafkaError.MSG_SIZE_TOO_LARGE], answers, "one fits, one is over max.message.bytes")
    c, got = consumer("rdk-large", fetch_message_max_bytes=1000), []
    c.assign([TopicPartition(topic, 0, 0)])
    messages(c, got, 1)
    assert got[0].value() == large, "the large record came through changed"
    c.close()


def pattern():
    topics = [create(f"rdk-pattern-{n}") for n in ("one", "two")]
    c, seen = consumer("rdk-pattern", topic_metadata_refresh_interval_ms=500), []
    c.subscribe([f"^rdk-pattern-.*-{RUN}"])
    for topic in topics:
        produce(topic, [topic])
    read([c], seen, lambda: len(seen) >= 2, "records of both topics")
    c.commit(asynchronous=False)
    produce(create("rdk-pattern-three"), ["later"])
    read([c], seen, lambda: len(seen) >= 3, "records of a topic that came later")
    same(sorted([*topics, "later"]), sorted(v for _, _, v in seen), "each record once")
    c.close()


def static_members():
    topic, seen = create("rdk-static", 4), []
    members, revoked = {}, []

    def join(name):
        members[name] = consumer("rdk-static", group_instance_id=name, session_timeout_ms=20000)
        members[name].subscribe([topic], on_revoke=lambda _, partitions: revoked.append(name))

    def shares():
        return {name: sorted(t.partition for t in c.assignment()) for name, c in members.items()}

    join("a")
    join("b")
    read(members.values(), seen, lambda: sorted(map(len, shares().values())) == [2, 2], "two static members share")
    before = shares()
    revoked.clear()
    members.pop("b").close()
    revoked.clear()
    join("b")
    read(members.values(), seen, lambda: shares() == before, "the static member has its partitions again")
    produce(topic, [f"v{i}" for i in range(40)])
    read(members.values(), seen, lambda: len(seen) >= 40, "all records")
    same([], revoked, "no rebalance")
    same(40, len(set(seen)), "each record once")
    second = consumer("rdk-static", group_instance_id="a", session_timeout_ms=20000)
    second.subscribe([topic])
    fenced = []

    def first_is_fenced():
        second.poll(0.02)
        m = members["a"].poll(0.02)
        fenced.extend([m.error().code()] if m is not None and m.error() else [])
        return fenced

    until(first_is_fenced, "the first of the same name is fenced", pause=0)
    same(True, fenced[0] in (KafkaError._FATAL, KafkaError.FENCED_INSTANCE_ID), f"error {fenced[0]}")
    for c in (members["b"], second, members["a"]):
        c.close()


def many_partitions():
    count = 200 if SMOKE else 2000
    topic = create("rdk-many", count)
    acks = []
    p = Producer({"bootstrap.servers": BOOTSTRAP, "linger.ms": 5})
    for i in range(count):
        p.produce(topic, b"v%d" % i, partition=i, on_delivery=lambda e, m: acks.append((e, m.partition(), m.offset())))
    same(0, p.flush(60), "records without an answer")
    same([(None, i, 0) for i in range(count)], sorted(acks, key=lambda a: a[1]), "a record in each partition")
    c, seen = consumer("rdk-many"), []
    c.subscribe([topic])
    read([c], seen, lambda: len(seen) >= count, "all records")
    same([(i, 0, f"v{i}") for i in range(count)], sorted(seen), "each record in its partition")
    c.close()
    settled(lambda: admin.delete_topics([topic])[topic], KafkaError.UNKNOWN_TOPIC_OR_PART)


def acknowledgements():
    topic, c, seen = create("rdk-acks"), consumer("rdk-acks"), []
    acknowledged = ("all",) if THREE else ("0", "1", "all")  # what one replica has may be gone when its broker is
    for acks in acknowledged:
        produce(topic, [f"acks-{acks}"], acks=acks)
    c.assign([TopicPartition(topic, 0, 0)])
    read([c], seen, lambda: len(seen) >= len(acknowledged), "one record each")
    same([(0, i, f"acks-{acks}") for i, acks in enumerate(acknowledged)], seen, "records by acks")
    c.close()


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

    until(step, f"{isolation} reads {topic} to its end", pause=0)
    same(expected, got, f"{isolation} of {topic}")
    c.close()


def transactions():
    source, target = create("rdk-transactional"), create("rdk-transformed")
    config = {"bootstrap.servers": BOOTSTRAP, "transactional.id": f"rdk-tx-{RUN}"}
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


run = suite.Suite("librdkafka", "confluent-kafka (librdkafka)", VERSION)
run.part(["produce", "consume", "compression", "idempotence"], codecs)
run.part(["produce"], first_use)
run.part(["acks"], acknowledgements)
run.part(["headers", "timestamps", "offsets for times"], timestamps)
run.part(["seeks"], seeks)
run.part(["large messages"], large_messages)
run.part(["groups"], eager_rebalance)
run.part(["groups", "cooperative rebalance"], cooperative_rebalance)
run.part(["pattern"], pattern)
run.part(["static members"], static_members)
run.part(["many partitions"], many_partitions)
run.part(["admin"], administration)
if NEW:
    run.part(["admin"], newer_administration)
run.part(["transactions"], transactions)
run.end()
