"""One instance that consumes, makes upper case of it, and produces, in transactions that carry the group's offsets, on librdkafka."""
import os
import signal
import sys

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

BOOTSTRAP, GROUP, ID = os.environ["EOS_BOOTSTRAP"], os.environ["EOS_GROUP"], os.environ["EOS_ID"]
stopping = False


def stop(*_):
    global stopping
    stopping = True


def until_done(step):
    """Repeats what librdkafka says may be repeated, such as a commit whose answer did not come in time."""
    while True:
        try:
            return step()
        except KafkaException as e:
            if not e.args[0].retriable():
                raise
            print("again after", e, flush=True)


def transaction(consumer, producer, records):
    failed = []
    producer.begin_transaction()
    try:
        for r in records:
            producer.produce(os.environ["EOS_OUTPUT"], key=r.key(), value=r.value().upper(), on_delivery=lambda error, _: error and failed.append(error))
        producer.flush()
        if failed:
            raise KafkaException(failed[0])
        last = {(r.topic(), r.partition()): r.offset() for r in records}
        offsets = [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]
        until_done(lambda: producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 10))
        until_done(lambda: producer.commit_transaction(10))
    except KafkaException as e:
        if e.args[0].fatal():
            raise
        print("aborts after", e, flush=True)
        until_done(lambda: producer.abort_transaction(10))
        rewind(consumer)


def rewind(consumer):
    """Goes back to what the group has committed."""
    for tp in until_done(lambda: consumer.committed(consumer.assignment(), 10)):
        if tp.offset < 0:
            tp.offset = 0
        consumer.seek(tp)


def main():
    signal.signal(signal.SIGTERM, stop)
    # Without "none" librdkafka 2.16 forgets its brokers when none can be reached, except for the group's coordinator that a producer
    # remembers: send_offsets_to_transaction() waits for that one for ever, whatever its time-out, if the broker comes back soon
    # (librdkafka issue 5511).
    common = {"bootstrap.servers": BOOTSTRAP, "metadata.recovery.strategy": "none", "reconnect.backoff.max.ms": 200}
    producer = Producer({**common, "transactional.id": ID, "transaction.timeout.ms": 5000, "linger.ms": 0})
    consumer = Consumer({**common, "group.id": GROUP, "isolation.level": "read_committed", "auto.offset.reset": "earliest",
                         "enable.auto.commit": False, "session.timeout.ms": 2000, "heartbeat.interval.ms": 300,
                         "fetch.wait.max.ms": 100})
    until_done(lambda: producer.init_transactions(10))
    consumer.subscribe([os.environ["EOS_INPUT"]])
    while not stopping:
        records = [r for r in consumer.consume(50, 0.1) if not r.error()]
        if records:
            transaction(consumer, producer, records)
    consumer.close()


try:
    main()
except KafkaException as e:
    print("ends after", e, flush=True)
    sys.exit(3)
