import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;

/** Producers and consumers without groups: what was sent is what is read. */
class Records extends Clients {
    static byte[] bytes(String s) { return s.getBytes(StandardCharsets.UTF_8); }

    static void produce(Admin admin) throws Exception {
        acknowledgements(admin);
        shapesOfRecords(admin);
        rejectedRecords(admin);
        logAppendTime(admin);
    }

    static void acknowledgements(Admin admin) throws Exception {
        for (String acks : THREE ? List.of("all") : List.of("0", "1", "all")) { // what one replica has may be gone when its broker is
            String topic = create(admin, "acks-" + acks, 1);
            List<String> sent = new ArrayList<>();
            try (KafkaProducer<String, String> p = producer(Map.of("acks", acks, "enable.idempotence", Boolean.toString(THREE)))) {
                for (int i = 0; i < 100; i++) {
                    RecordMetadata m = p.send(new ProducerRecord<>(topic, "k", "v" + i)).get();
                    same(acks.equals("0") ? -1L : (long) i, m.offset(), "offset in the answer with acks=" + acks);
                    sent.add("v" + i);
                }
            }
            eventually(() -> sent.equals(readAll(topic, 1, "read_uncommitted").get(0)), "records sent with acks=" + acks);
        }
    }

    static void shapesOfRecords(Admin admin) throws Exception {
        String topic = create(admin, "shapes", 1);
        String large = "x".repeat(900_000);
        try (KafkaProducer<String, String> p = producer(Map.of())) {
            p.send(new ProducerRecord<String, String>(topic, 0, 1L, null, null, List.of())).get();
            p.send(new ProducerRecord<>(topic, 0, 2L, "", "")).get();
            p.send(new ProducerRecord<>(topic, 0, 3L, "ключ", "значение")).get();
            p.send(new ProducerRecord<>(topic, 0, 4L, "large", large)).get();
            p.send(new ProducerRecord<>(topic, 0, 5L, "headers", "v", List.of(new RecordHeader("a", bytes("1")), new RecordHeader("a", bytes("2")),
                new RecordHeader("empty", new byte[0]), new RecordHeader("null", (byte[]) null), new RecordHeader("", bytes("no name"))))).get();
        }
        try (KafkaConsumer<String, String> c = consumer(null, Map.of())) {
            c.assign(partitions(topic, 1));
            List<ConsumerRecord<String, String>> got = poll(c, 5);
            same(Arrays.asList(null, "", "ключ", "large", "headers"), List.of(0, 1, 2, 3, 4).stream().map(i -> got.get(i).key()).collect(java.util.stream.Collectors.toList()), "keys");
            same(Arrays.asList(null, "", "значение", large, "v"), List.of(0, 1, 2, 3, 4).stream().map(i -> got.get(i).value()).collect(java.util.stream.Collectors.toList()), "values");
            for (int i = 0; i < 5; i++) same(i + 1L, got.get(i).timestamp(), "timestamp " + i);
            Header[] headers = got.get(4).headers().toArray();
            same(5, headers.length, "headers");
            same("1", new String(headers[0].value()), "the first header of a name");
            same("2", new String(got.get(4).headers().lastHeader("a").value()), "the last header of a name");
            same(0, headers[2].value().length, "an empty header");
            same(null, headers[3].value(), "a header that is null");
            same("", headers[4].key(), "a header without name");
        }
    }

    static void rejectedRecords(Admin admin) throws Exception {
        String strict = create(admin, "strict", 1, Map.of("max.message.bytes", "1000", "cleanup.policy", "compact", "message.timestamp.type", "CreateTime"));
        try (KafkaProducer<String, String> p = producer(Map.of())) {
            fails(RecordTooLargeException.class, () -> p.send(new ProducerRecord<>(strict, "k", "x".repeat(2000))).get(), "a record over the limit");
            fails(InvalidRecordException.class, () -> p.send(new ProducerRecord<>(strict, null, "v")).get(), "no key in a compacted topic");
            fails(InvalidTimestampException.class, () -> p.send(new ProducerRecord<>(strict, 0, System.currentTimeMillis() + 7200_000, "k", "v")).get(), "two hours ahead");
            same(0L, p.send(new ProducerRecord<>(strict, "k", "v")).get().offset(), "a good record after the refused ones");
        }
        try (KafkaProducer<String, String> p = producer(Map.of("max.block.ms", 1500))) {
            fails(InvalidTopicException.class, () -> p.send(new ProducerRecord<>("no/slash", "k", "v")).get(), "a topic with a bad name");
        }
    }

    static void logAppendTime(Admin admin) throws Exception {
        String topic = create(admin, "append-time", 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        try (KafkaProducer<String, String> p = producer(Map.of())) {
            RecordMetadata m = p.send(new ProducerRecord<>(topic, 0, 5L, "k", "v")).get();
            check(m.timestamp() >= before, "the time in the answer is the broker's: " + m.timestamp());
        }
        try (KafkaConsumer<String, String> c = consumer(null, Map.of())) {
            c.assign(partitions(topic, 1));
            ConsumerRecord<String, String> r = poll(c, 1).get(0);
            check(r.timestamp() >= before, "the record's time is the broker's: " + r.timestamp());
            same(org.apache.kafka.common.record.TimestampType.LOG_APPEND_TIME, r.timestampType(), "type of the timestamp");
        }
    }

    static void consume(Admin admin) throws Exception {
        seekAndTimestamps(admin);
        pauseAndResume(admin);
        offsetReset(admin);
        smallFetches(admin);
    }

    static void seekAndTimestamps(Admin admin) throws Exception {
        String topic = create(admin, "seek", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer(Map.of("linger.ms", 50))) {
            for (int i = 0; i < 100; i++) p.send(new ProducerRecord<>(topic, 0, 1600000000000L + 10L * i, null, "v" + i));
        }
        try (KafkaConsumer<String, String> c = consumer(null, Map.of())) {
            c.assign(List.of(tp));
            same(0L, c.beginningOffsets(List.of(tp)).get(tp), "beginning");
            same(100L, c.endOffsets(List.of(tp)).get(tp), "end");
            OffsetAndTimestamp found = c.offsetsForTimes(Map.of(tp, 1600000000405L)).get(tp);
            same(41L, found.offset(), "offset for a time");
            same(1600000000410L, found.timestamp(), "timestamp of the record found");
            same(Optional.of(0), found.leaderEpoch(), "leader epoch of the record found");
            same(null, c.offsetsForTimes(Map.of(tp, 1700000000000L)).get(tp), "a time after all records");
            c.seek(tp, 57);
            same(57L, poll(c, 1).get(0).offset(), "the record at the sought offset, from the middle of a batch");
            c.seekToBeginning(List.of(tp));
            same(0L, poll(c, 1).get(0).offset(), "after seekToBeginning");
            c.seekToEnd(List.of(tp));
            same(100L, c.position(tp), "after seekToEnd");
            same(1, c.partitionsFor(topic).size(), "partitions by metadata");
            check(c.listTopics().containsKey(topic), "the topic is in the list of all");
        }
    }

    static void pauseAndResume(Admin admin) throws Exception {
        String topic = create(admin, "pause", 2);
        List<TopicPartition> tps = partitions(topic, 2);
        try (KafkaProducer<String, String> p = producer(Map.of()); KafkaConsumer<String, String> c = consumer(null, Map.of("max.poll.records", 7))) {
            for (int i = 0; i < 40; i++) p.send(new ProducerRecord<>(topic, i % 2, "k", "v" + i)).get();
            c.assign(tps);
            c.pause(List.of(tps.get(1)));
            List<ConsumerRecord<String, String>> got = poll(c, 20);
            check(got.stream().allMatch(r -> r.partition() == 0), "a paused partition gives nothing");
            same(0L, c.position(tps.get(1)), "position of the paused partition");
            same(Set.of(tps.get(1)), c.paused(), "paused");
            c.resume(c.paused());
            got = poll(c, 20);
            for (int i = 0; i < 20; i++) same("v" + (2 * i + 1), got.get(i).value(), "record " + i + " after resume");
            check(c.poll(Duration.ofMillis(50)).isEmpty(), "nothing is read twice");
        }
    }

    static void offsetReset(Admin admin) throws Exception {
        String topic = create(admin, "reset", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 0, 10); }
        admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(4))).all().get();
        try (KafkaConsumer<String, String> c = consumer(null, Map.of("auto.offset.reset", "none"))) {
            c.assign(List.of(tp));
            c.seek(tp, 1);
            try {
                for (long end = System.nanoTime() + 20_000_000_000L; System.nanoTime() < end; ) c.poll(Duration.ofMillis(100));
                throw new AssertionError("an offset before the first is not refused");
            } catch (org.apache.kafka.clients.consumer.OffsetOutOfRangeException e) { same(Map.of(tp, 1L), e.offsetOutOfRangePartitions(), "the offset that is out of range"); }
        }
        try (KafkaConsumer<String, String> c = consumer(null, Map.of())) {
            c.assign(List.of(tp));
            c.seek(tp, 1);
            same(4L, poll(c, 1).get(0).offset(), "earliest is the first that is left");
        }
        try (KafkaConsumer<String, String> c = consumer(name("latest"), Map.of("auto.offset.reset", "latest"))) {
            c.assign(List.of(tp));
            same(10L, c.position(tp), "latest is the end");
        }
    }

    // Limits of a fetch below a batch, and a time to wait for bytes that never come.
    static void smallFetches(Admin admin) throws Exception {
        String topic = create(admin, "small", 3);
        try (KafkaProducer<String, String> p = producer(Map.of("linger.ms", 5))) { send(p, topic, 0, RECORDS); }
        Map<String, Object> limits = Map.of("fetch.max.bytes", 2000, "max.partition.fetch.bytes", 500, "fetch.min.bytes", 1_000_000, "fetch.max.wait.ms", 5, "check.crcs", "true");
        try (KafkaConsumer<String, String> c = consumer(null, limits)) {
            c.assign(partitions(topic, 3));
            Map<Integer, Long> next = new HashMap<>();
            Set<String> values = new HashSet<>();
            for (ConsumerRecord<String, String> r : poll(c, RECORDS)) {
                same(next.getOrDefault(r.partition(), 0L), r.offset(), "offsets have no gap");
                next.put(r.partition(), r.offset() + 1);
                check(values.add(r.value()), "each record is read once: " + r.value());
            }
        }
    }

    static void compression(Admin admin) throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) throughGroup(admin, codec);
        // The topic's codec is another than the producer's: the broker compresses again.
        for (String codec : List.of("gzip", "snappy", "lz4", "zstd", "uncompressed")) {
            String topic = create(admin, "recompressed-" + codec, 1, Map.of("compression.type", codec));
            try (KafkaProducer<String, String> p = producer(Map.of("compression.type", codec.equals("lz4") ? "zstd" : "lz4", "linger.ms", 5))) { send(p, topic, 0, 100); }
            List<String> got = readAll(topic, 1, "read_committed").get(0);
            for (int i = 0; i < 100; i++) same("v" + i, got.get(i), "record " + i + " in a topic with " + codec);
        }
    }

    static void throughGroup(Admin admin, String codec) throws Exception {
        String topic = create(admin, "codec-" + codec, 3), group = name("codec-group-" + codec);
        Map<Integer, List<String>> sent = new TreeMap<>();
        try (KafkaProducer<String, String> p = producer(Map.of("compression.type", codec, "linger.ms", 5))) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (int i = 0; i < RECORDS; i++) {
                ProducerRecord<String, String> r = new ProducerRecord<>(topic, null, 1700000000000L + i, "key-" + i % 50, "value-" + i);
                r.headers().add(new RecordHeader("n", Integer.toString(i).getBytes()));
                acks.add(p.send(r));
            }
            long[] next = new long[3];
            for (int i = 0; i < RECORDS; i++) {
                RecordMetadata m = acks.get(i).get();
                same(next[m.partition()]++, m.offset(), "acknowledged offset in partition " + m.partition());
                sent.computeIfAbsent(m.partition(), k -> new ArrayList<>()).add("value-" + i);
            }
        }
        Map<Integer, List<String>> got = new TreeMap<>();
        try (KafkaConsumer<String, String> c = consumer(group, Map.of())) {
            c.subscribe(List.of(topic));
            for (ConsumerRecord<String, String> r : poll(c, RECORDS)) {
                String number = r.value().substring(6);
                same(number, new String(r.headers().lastHeader("n").value()), "header");
                same(1700000000000L + Integer.parseInt(number), r.timestamp(), "timestamp");
                got.computeIfAbsent(r.partition(), k -> new ArrayList<>()).add(r.value());
            }
            c.commitSync();
        }
        same(sent, got, "records, in order, with " + codec);
        Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        for (Map.Entry<TopicPartition, OffsetAndMetadata> e : committed.entrySet())
            same((long) sent.getOrDefault(e.getKey().partition(), List.of()).size(), e.getValue().offset(), "committed offset of " + e.getKey());
        same(3, committed.size(), "partitions with a committed offset");
    }

    // Two idempotent producers with five requests on the way each: no gap, nothing twice, each in its own order.
    static void idempotence(Admin admin) throws Exception {
        String topic = create(admin, "idempotent", 1);
        Map<String, Object> config = Map.of("enable.idempotence", "true", "max.in.flight.requests.per.connection", 5, "batch.size", 200);
        try (KafkaProducer<String, String> a = producer(config); KafkaProducer<String, String> b = producer(config)) {
            List<Future<RecordMetadata>> acks = new ArrayList<>();
            for (int i = 0; i < RECORDS; i++) {
                acks.add(a.send(new ProducerRecord<>(topic, 0, "a", "a" + i)));
                acks.add(b.send(new ProducerRecord<>(topic, 0, "b", "b" + i)));
            }
            Set<Long> offsets = new HashSet<>();
            for (Future<RecordMetadata> ack : acks) check(offsets.add(ack.get().offset()), "each record has an offset of its own");
            same(2 * RECORDS, offsets.size(), "acknowledged records");
        }
        int[] next = new int[2];
        for (String v : readAll(topic, 1, "read_committed").get(0)) same(next[v.charAt(0) - 'a']++, Integer.parseInt(v.substring(1)), "order of producer " + v.charAt(0));
        same(List.of(RECORDS, RECORDS), List.of(next[0], next[1]), "records of each producer");
    }
}
