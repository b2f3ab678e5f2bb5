"""aiokafka against one broker: clients_test.py BOOTSTRAP."""
import asyncio
import functools
import logging
import sys
import time

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.structs import OffsetAndMetadata

import suite
from suite import REPLICAS, RUN, SMOKE, THREE, acknowledged, delivered, same

BOOTSTRAP = sys.argv[1]
logging.disable()  # it tells of every retry
RECORDS = 300 if SMOKE else 3000


async def until(condition, what, seconds=40):
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        await asyncio.sleep(0.02)


async def fails(error, awaitable, what):
    try:
        await awaitable
    except error as e:
        return e
    raise AssertionError(f"{what}: did not fail")


class PatientAdmin:
    """An administration client whose calls are repeated, where brokers are restarted, while they fail with an error that passes, with a
    new client each time: one that knows of a controller or coordinator that has gone may ask for no other. The codes are in the answers."""

    def __init__(self):
        self.client = None

    async def connect(self):
        await self.close()
        client = AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        await client.start()
        self.client = client

    async def close(self):
        client, self.client = self.client, None
        if client:
            await client.close()

    def __getattr__(self, name):
        async def call(*args, done=None, **kwargs):
            repeated, end = False, time.monotonic() + 40
            while True:
                try:
                    if repeated:
                        await self.connect()
                    return await getattr(self.client, name)(*args, **kwargs)
                except errors.KafkaError as e:
                    if repeated and done and isinstance(e, done):
                        return None
                    if not THREE or not e.retriable and not isinstance(e, errors.KafkaConnectionError) or time.monotonic() > end:
                        raise
                repeated = True
                await asyncio.sleep(0.1)

        return call


def with_admin(test):
    @functools.wraps(test)
    def run_test():
        async def run_it():
            async with asyncio.timeout(120):
                admin = PatientAdmin()
                await admin.connect()
                try:
                    await test(admin)
                finally:
                    await admin.close()

        asyncio.run(run_it())

    return run_test


async def create(admin, name, partitions=1, **configs):
    topic = f"aio-{RUN}-{name}"
    codes = []

    async def created():
        response = await admin.create_topics([NewTopic(topic, partitions, REPLICAS, topic_configs=configs)])
        codes[:] = [error[1] for error in response.topic_errors]
        # Where brokers are restarted, an answer is lost with its broker, and the request repeated.
        return not THREE or codes[0] in (0, errors.TopicAlreadyExistsError.errno) or not errors.for_code(codes[0]).retriable

    await until(created, f"create {topic}")
    assert codes == [0] or THREE and codes == [errors.TopicAlreadyExistsError.errno], f"create {topic}: {codes}"

    async def there():
        described = (await admin.describe_topics([topic]))[0]["partitions"]
        return len(described) == partitions and all(p["leader"] >= 0 and p["error_code"] == 0 for p in described)

    await until(there, f"{topic} is there")
    return topic


def consumer(*topics, group=None, **more):
    return AIOKafkaConsumer(*topics, bootstrap_servers=BOOTSTRAP, group_id=group, **{
        "auto_offset_reset": "earliest", "enable_auto_commit": False, "heartbeat_interval_ms": 200, "fetch_max_wait_ms": 100, "retry_backoff_ms": 20, **({"session_timeout_ms": 3000} if THREE else {}), **more})


def producer(**more):
    return AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, **{"linger_ms": 5, "acks": "all", **({"enable_idempotence": True} if THREE else {}), **more})


async def produce(topic, values, partition=None, **more):
    """Sends the values in order and returns what was acknowledged as (partition, offset, value)."""
    async with producer(**more) as p:
        futures = [await p.send(topic, v.encode(), key=f"k{v}".encode(), partition=partition) for v in values]
        acks = await asyncio.gather(*futures)
    return [(a.partition, a.offset, v) for a, v in zip(acks, values)]


async def read(c, count, what):
    """Reads count records and shows that no other follows at once."""
    records, end = [], time.monotonic() + 40
    while len(records) < count:
        assert time.monotonic() < end, f"{what}: {len(records)} of {count} records within 40 s"
        for batch in (await c.getmany(timeout_ms=100)).values():
            records.extend(batch)
    for batch in (await c.getmany(timeout_ms=200)).values():
        records.extend(batch)
    same(count, len(records), what)
    return records


@with_admin
async def codecs(admin):
    for codec in (None, "gzip", "snappy", "lz4", "zstd"):
        topic = await create(admin, f"codec-{codec}", 3)
        acks = await produce(topic, [f"{codec}-{i}" for i in range(RECORDS)], compression_type=codec, enable_idempotence=False)
        async with consumer(topic) as c:
            written = sum((await c.end_offsets([TopicPartition(topic, p) for p in range(3)])).values()) if THREE else RECORDS
            records = await read(c, written, f"all records with {codec}")
        got = acknowledged(acks, ((r.partition, r.offset, r.value.decode()) for r in records))
        same(sorted(acks), got, f"each acknowledged record at its offset with {codec}")
        for p in range(3):
            offsets = [r.offset for r in records if r.partition == p]
            same(list(range(len(offsets))), offsets, f"offsets of partition {p} with {codec}")
            same([v for q, _, v in acks if q == p], [v for q, _, v in got if q == p], f"partition {p} has what was sent, in order, with {codec}")


@with_admin
async def headers_and_timestamps(admin):
    topic = await create(admin, "headers")
    headers = [("a", b"1"), ("a", b"2"), ("empty", b""), ("bytes", bytes(range(256)))]
    async with producer() as p:
        metadata = await p.send_and_wait(topic, b"v", key=b"k", headers=headers, timestamp_ms=1234567890123)
        same((0, 0, 1234567890123), (metadata.partition, metadata.offset, metadata.timestamp), "acknowledged")
        await p.send_and_wait(topic, None, key=b"gone", timestamp_ms=1234567890500)
        batch = p.create_batch()
        for i in range(3):
            batch.append(key=None, value=b"%d" % i, timestamp=1234567890900 + i)
        await (await p.send_batch(batch, topic, partition=0))
    async with consumer(topic) as c:
        first, second, *rest = await read(c, 5, "five records")
        same((1234567890123, 0, b"k", b"v", headers), (first.timestamp, first.timestamp_type, first.key, first.value, list(first.headers)), "the first record")
        same((b"gone", None, []), (second.key, second.value, list(second.headers)), "a null value")
        same([(2, b"0"), (3, b"1"), (4, b"2")], [(r.offset, r.value) for r in rest], "a batch that was made by hand")
        tp = TopicPartition(topic, 0)
        found = (await c.offsets_for_times({tp: 1234567890901}))[tp]
        same((3, 1234567890901), (found.offset, found.timestamp), "offset for a time within a batch")
        same(None, (await c.offsets_for_times({tp: 99999999999999}))[tp], "no offset for a time to come")
    topic = await create(admin, "log-append-time", **{"message.timestamp.type": "LogAppendTime"})
    async with producer() as p:
        at = (await p.send_and_wait(topic, b"v", timestamp_ms=1000)).timestamp
    assert at > 1600000000000, at
    async with consumer(topic) as c:
        record = (await read(c, 1, "one record"))[0]
    same((at, 1), (record.timestamp, record.timestamp_type), "the broker's time")


@with_admin
async def large_messages(admin):
    topic = await create(admin, "large", **{"max.message.bytes": "6000000"})
    large = bytes(i * 7 % 251 for i in range(5_000_000))
    async with producer(max_request_size=8_000_000) as p:
        await p.send_and_wait(topic, large)
        await fails(errors.MessageSizeTooLargeError, p.send_and_wait(await create(admin, "too-large"), large), "a record over max.message.bytes")
    async with consumer(topic, max_partition_fetch_bytes=1000) as c:  # a fetch gets at least one batch, however large
        assert (await read(c, 1, "one large record"))[0].value == large, "the large record came through changed"


@with_admin
async def seeks(admin):
    topic = await create(admin, "seeks")
    await produce(topic, [f"v{i}" for i in range(100)], 0)
    tp = TopicPartition(topic, 0)
    async with consumer() as c:
        c.assign([tp])
        same(({tp: 0}, {tp: 100}), (await c.beginning_offsets([tp]), await c.end_offsets([tp])), "first and last offset")
        c.seek(tp, 42)
        same(b"v42", (await read(c, 58, "from 42 on"))[0].value, "after a seek")
        await c.seek_to_end(tp)
        same(100, await c.position(tp), "position at the end")
        await c.seek_to_beginning(tp)
        same(b"v0", (await read(c, 100, "all again"))[0].value, "from the beginning")
        same(100, c.highwater(tp), "high watermark")
        c.seek(tp, 5000)  # outside the log: the reset policy decides
        same(b"v0", (await read(c, 100, "after an offset out of range"))[0].value, "auto.offset.reset")


class Member:
    """A member of a group: reads, notes what it gets and commits it."""

    def __init__(self, group, seen, topic=None, pattern=None, **config):
        self.consumer, self.seen, self.topic, self.pattern = consumer(group=group, **config), seen, topic, pattern
        self.stopping = False

    async def join(self):
        await self.consumer.start()
        self.consumer.subscribe(**({"topics": [self.topic]} if self.topic else {"pattern": self.pattern}))
        self.task = asyncio.create_task(self.run())
        return self

    async def run(self):
        while not self.stopping:
            got = await self.consumer.getmany(timeout_ms=50)
            for batch in got.values():
                self.seen.extend(r.value.decode() for r in batch)
            if got:
                try:
                    await self.consumer.commit()
                except (errors.CommitFailedError, errors.KafkaConnectionError):
                    if not THREE:  # there the records are delivered again
                        raise
        await self.consumer.stop()

    def assigned(self):
        if self.task.done():
            self.task.result()
        return {tp.partition for tp in self.consumer.assignment()}

    async def leave(self):
        self.stopping = True
        await asyncio.wait_for(self.task, 30)


async def described(admin, group):
    """The group's description: code, name, state, protocol type, protocol, members…"""
    found = []

    async def answered():
        found[:] = (await admin.describe_consumer_groups([group]))[0].groups
        return not THREE or not errors.for_code(found[0][0]).retriable

    await until(answered, f"description of {group}")
    return found[0]


async def stable(admin, group, count):
    _, _, state, _, _, members, *_ = await described(admin, group)
    return (state, len(members)) == ("Stable", count)


async def rebalance_with(admin, assignor):
    topic, group, seen = await create(admin, f"rebalance-{assignor.name}", 4), f"aio-{RUN}-rebalance-{assignor.name}", []
    await produce(topic, [f"v{i}" for i in range(100)])
    config = {"topic": topic, "partition_assignment_strategy": [assignor]}
    a = await Member(group, seen, **config).join()
    await until(lambda: len(delivered(seen)) >= 100 and len(a.assigned()) == 4, "one member reads all")
    b = await Member(group, seen, **config).join()
    await until(lambda: len(a.assigned()) == 2 and len(b.assigned()) == 2 and not a.assigned() & b.assigned(), f"two members share ({assignor.name})")
    await produce(topic, [f"w{i}" for i in range(100)])
    await until(lambda: len(delivered(seen)) >= 200, "both read on")
    if THREE:  # there members join again when their coordinator was away
        await until(lambda: stable(admin, group, 2), "two members of a stable group")
    else:
        assert await stable(admin, group, 2), "described group"
    await b.leave()
    await until(lambda: len(a.assigned()) == 4, "the one that is left takes over")
    await produce(topic, [f"x{i}" for i in range(20)])
    await until(lambda: len(delivered(seen)) >= 220, "and reads on")
    await a.leave()
    same(sorted([f"v{i}" for i in range(100)] + [f"w{i}" for i in range(100)] + [f"x{i}" for i in range(20)]), delivered(seen), "each record once")


@with_admin
async def rebalance(admin):
    for assignor in (RangePartitionAssignor, RoundRobinPartitionAssignor, StickyPartitionAssignor)[SMOKE * 2:]:
        await rebalance_with(admin, assignor)


@with_admin
async def pattern(admin):
    names, seen = [await create(admin, f"pattern-{n}") for n in ("one", "two")], []
    member = await Member(f"aio-{RUN}-pattern", seen, pattern=f"^aio-{RUN}-pattern-.*", metadata_max_age_ms=500).join()
    for topic in names:
        await produce(topic, [topic])
    await until(lambda: len(delivered(seen)) >= 2 and member.assigned(), "records of both topics")
    await produce(await create(admin, "pattern-three"), ["later"])
    await until(lambda: len(delivered(seen)) >= 3 and member.assigned(), "records of a topic that came later")
    await member.leave()
    same(sorted([*names, "later"]), delivered(seen), "each record once")


@with_admin
async def static_members(admin):
    topic, group, seen = await create(admin, "static", 2), f"aio-{RUN}-static", []
    a = await Member(group, seen, topic, group_instance_id="a", session_timeout_ms=20000).join()
    b = await Member(group, seen, topic, group_instance_id="b", session_timeout_ms=20000).join()
    await until(lambda: len(a.assigned()) == 1 and len(b.assigned()) == 1 and a.assigned() != b.assigned(), "two static members share")
    before = b.assigned()
    await b.leave()
    b = await Member(group, seen, topic, group_instance_id="b", session_timeout_ms=20000).join()
    await until(lambda: b.assigned() == before, "the static member has its partition again")
    await produce(topic, [f"v{i}" for i in range(10)])
    await until(lambda: len(delivered(seen)) >= 10, "all records")
    await a.leave()
    await b.leave()
    same(sorted(f"v{i}" for i in range(10)), delivered(seen), "each record once")
    members = (await described(admin, group))[5]
    same(2, len(members), "static members stay when they close")


@with_admin
async def offsets(admin):
    topic, group = await create(admin, "offsets", 2), f"aio-{RUN}-offsets"
    await produce(topic, [f"v{i}" for i in range(10)], 0)
    tp, other = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with consumer(topic, group=group) as c:
        await read(c, 10, "ten records")
        await c.commit({tp: OffsetAndMetadata(7, "a note")})
        same((7, None), (await c.committed(tp), await c.committed(other)), "committed offsets")
        await c.seek_to_committed(tp)
        same(7, await c.position(tp), "position")
    async with consumer(topic, group=group) as c:
        same([b"v7", b"v8", b"v9"], [r.value for r in await read(c, 3, "from the committed offset")], "goes on where it left off")
        await c.commit()
    await produce(topic, ["auto"], 0)
    async with consumer(topic, group=group, enable_auto_commit=True, auto_commit_interval_ms=100) as c:
        await read(c, 1, "one more")
    listed = await admin.list_consumer_group_offsets(group)
    same(11, listed[tp].offset, "committed at the end")


@with_admin
async def administration(admin):
    topic = await create(admin, "admin", 1, **{"retention.ms": "7200000"})
    async def again():
        code = (await admin.create_topics([NewTopic(topic, 1, 1)])).topic_errors[0][1]
        if not THREE or not errors.for_code(code).retriable:
            same(errors.TopicAlreadyExistsError.errno, code, "create twice")
            return True

    await until(again, "create twice")
    await fails(errors.InvalidPartitionsError, admin.create_partitions({topic: NewPartitions(1)}), "no more partitions")
    await admin.create_partitions({topic: NewPartitions(3)}, done=errors.InvalidPartitionsError)

    async def three():
        return len((await admin.describe_topics([topic]))[0]["partitions"]) == 3

    await until(three, "three partitions")
    async def alter():
        [response] = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"segment.bytes": "2097152"})])
        return not THREE or response.resources[0][0] == 0  # the broker that was asked may not know the topic yet

    await until(alter, "alter configs")

    async def altered():  # the request replaces all the configs of the topic
        [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        configs = {entry[0]: entry[1] for entry in response.resources[0][4]}
        if THREE and "segment.bytes" not in configs:
            return False  # the broker that was asked does not know the topic yet
        return (configs["segment.bytes"], configs["retention.ms"]) == ("2097152", "604800000")

    await until(altered, "altered configs")
    [response] = await admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")])
    assert "log.dirs" in [entry[0] for entry in response.resources[0][4]], "the broker's configs"
    assert 1 <= (await admin.describe_cluster())["controller_id"] <= REPLICAS, "controller"
    group = f"aio-{RUN}-admin"
    await produce(topic, [f"v{i}" for i in range(10)], 1)
    same({TopicPartition(topic, 1): 4}, await admin.delete_records({TopicPartition(topic, 1): RecordsToDelete(4)}), "records before 4 are deleted")
    async with consumer(topic, group=group) as c:
        same(b"v4", (await read(c, 6, "what is left"))[0].value, "the first record that is left")
        await c.commit()
    assert (group, "consumer") in [g[:2] for g in await admin.list_consumer_groups()], "the group is listed"
    assert 1 <= await admin.find_coordinator(group) <= REPLICAS, "coordinator"
    await admin.delete_topics([topic])

    async def gone():
        return topic not in await admin.list_topics()

    await until(gone, "deleted topic is gone")


@with_admin
async def idempotence(admin):
    topic = await create(admin, "idempotent", 2)
    acks = await produce(topic, [f"v{i}" for i in range(RECORDS)], enable_idempotence=True, max_batch_size=500)
    async with consumer(topic) as c:
        records = await read(c, RECORDS, "all records")
    same(sorted(acks), sorted((r.partition, r.offset, r.value.decode()) for r in records), "each record once, at its offset")


async def values_of(topic, count, isolation):
    async with consumer(topic, isolation_level=isolation) as c:
        return [r.value.decode() for r in await read(c, count, f"{isolation} of {topic}")]


@with_admin
async def transactions(admin):
    source, target = await create(admin, "tx-source"), await create(admin, "tx-target")
    group, transactional_id = f"aio-{RUN}-tx", f"aio-{RUN}-tx"
    p = producer(transactional_id=transactional_id)
    await p.start()
    for end, name in ((p.abort_transaction, "lost"), (p.commit_transaction, "kept")):
        await p.begin_transaction()
        for topic in (source, target):
            for i in range(2):
                await p.send(topic, f"{name}-{i}".encode(), partition=0)
        await p.flush()
        await end()
    for topic in (source, target):
        same(["kept-0", "kept-1"], await values_of(topic, 2, "read_committed"), "committed records")
        same(["lost-0", "lost-1", "kept-0", "kept-1"], await values_of(topic, 4, "read_uncommitted"), "all records")
    tp = TopicPartition(source, 0)
    async with consumer(source, group=group, isolation_level="read_committed") as c:
        offset = (await read(c, 2, "the committed records"))[-1].offset + 1
        same(offset + 1, c.last_stable_offset(tp), "last stable offset: behind the marker")
        for commit in (False, True):
            await p.begin_transaction()
            await p.send(target, b"again", partition=0)
            await p.send_offsets_to_transaction({tp: offset}, group)
            await (p.commit_transaction if commit else p.abort_transaction)()
            same(offset if commit else None, await c.committed(tp), f"committed offset, commit {commit}")
    same(["kept-0", "kept-1", "again"], await values_of(target, 3, "read_committed"), "after the transaction with offsets")
    await p.begin_transaction()
    await p.send_and_wait(target, b"of the first", partition=0)
    async with producer(transactional_id=transactional_id) as second:
        await fails(errors.ProducerFenced, p.commit_transaction(), "commit of a fenced producer")
        async with second.transaction():
            await second.send(target, b"of the second", partition=0)
        same(["kept-0", "kept-1", "again", "of the second"], await values_of(target, 4, "read_committed"), "after the fencing")
    await p.stop()


run = suite.Suite("aiokafka", "aiokafka", aiokafka.__version__)
run.part(["produce", "consume", "compression"], codecs)
run.part(["headers", "timestamps"], headers_and_timestamps)
run.part(["large messages"], large_messages)
run.part(["seeks"], seeks)
run.part(["groups"], rebalance)
run.part(["groups", "offsets"], offsets)
run.part(["pattern"], pattern)
run.part(["static members"], static_members)
run.part(["admin"], administration)
run.part(["idempotence"], idempotence)
run.part(["transactions"], transactions)
run.end()
