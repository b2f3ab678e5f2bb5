import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.*;

/** Apache Kafka's own Java clients against one broker: java ClientsTest.java BOOTSTRAP. */
public class ClientsTest {
    static String bootstrap;
    static final int RECORDS = System.getenv("SMOKE") != null && !System.getenv("SMOKE").isEmpty() ? 500 : 5000;

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        int passed = 0;
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            topicsAndConfigs(admin); passed++;
            for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) { produceAndConsume(admin, codec); passed++; }
            rebalance(admin, "org.apache.kafka.clients.consumer.CooperativeStickyAssignor", "cooperative"); passed++;
            rebalance(admin, "org.apache.kafka.clients.consumer.RangeAssignor", "eager"); passed++;
            staticMembers(admin); passed++;
            seekAndTimestamps(admin); passed++;
            groupAdministration(admin); passed++;
            rejectedRecords(admin); passed++;
            transactions(admin); passed++;
        }
        System.out.println("java: " + passed + " passed, 0 failed");
    }

    static void check(boolean ok, String what) { if (!ok) throw new AssertionError(what); }

    static void same(Object expected, Object got, String what) {
        if (!Objects.equals(expected, got)) throw new AssertionError(what + ": expected " + expected + ", got " + got);
    }

    static <E extends Throwable> void fails(Class<E> with, Callable<?> call, String what) throws Exception {
        try { call.call(); } catch (ExecutionException e) {
            if (with.isInstance(e.getCause())) return;
            throw e;
        }
        throw new AssertionError(what + ": no " + with.getSimpleName());
    }

    static String create(Admin admin, String name, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(name, partitions, (short) 1))).all().get();
        return name;
    }

    static KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        c.putAll(more);
        return new KafkaProducer<>(c, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, Map<String, Object> more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest", "enable.auto.commit", "false"));
        if (group != null) c.put("group.id", group);
        c.putAll(more);
        return new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
    }

    static void topicsAndConfigs(Admin admin) throws Exception {
        same(1, admin.describeCluster().nodes().get().size(), "brokers");
        check(!admin.describeCluster().clusterId().get().isEmpty(), "cluster id");
        CreateTopicsResult created = admin.createTopics(List.of(new NewTopic("managed", 2, (short) 1).configs(Map.of("retention.ms", "3600000"))));
        same(2, created.numPartitions("managed").get(), "partitions of the created topic");
        same("3600000", created.config("managed").get().get("retention.ms").value(), "config in the answer to create");
        fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic("managed", 1, (short) 1))).all().get(), "create twice");
        fails(InvalidReplicationFactorException.class, () -> admin.createTopics(List.of(new NewTopic("three", 1, (short) 3))).all().get(), "three replicas on one broker");
        fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("no/slash", 1, (short) 1))).all().get(), "bad name");
        fails(InvalidConfigurationException.class,
            () -> admin.createTopics(List.of(new NewTopic("bad", 1, (short) 1).configs(Map.of("retention.ms", "soon")))).all().get(), "bad config");
        admin.createPartitions(Map.of("managed", NewPartitions.increaseTo(4))).all().get();
        TopicDescription d = admin.describeTopics(List.of("managed")).allTopicNames().get().get("managed");
        same(4, d.partitions().size(), "partitions after the increase");
        same("managed", admin.describeTopics(TopicCollection.ofTopicIds(List.of(d.topicId()))).allTopicIds().get().get(d.topicId()).name(), "described by id");
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "managed");
        admin.incrementalAlterConfigs(Map.of(topic, List.of(new AlterConfigOp(new ConfigEntry(TopicConfig.MAX_MESSAGE_BYTES_CONFIG, "2000"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry(TopicConfig.RETENTION_MS_CONFIG, ""), AlterConfigOp.OpType.DELETE)))).all().get();
        Config config = admin.describeConfigs(List.of(topic)).all().get().get(topic);
        same("2000", config.get("max.message.bytes").value(), "altered config");
        same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config.get("max.message.bytes").source(), "source of the altered config");
        same("604800000", config.get("retention.ms").value(), "config that fell back to its default");
        check(admin.listTopics().names().get().contains("managed"), "listed");
        admin.deleteTopics(List.of("managed")).all().get();
        check(!admin.listTopics().names().get().contains("managed"), "deleted");
    }

    static void produceAndConsume(Admin admin, String codec) throws Exception {
        String topic = create(admin, "codec-" + codec, 3);
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
        try (KafkaConsumer<String, String> c = consumer("codec-group-" + codec, Map.of())) {
            c.subscribe(List.of(topic));
            int n = 0;
            for (long end = System.nanoTime() + 30_000_000_000L; n < RECORDS && System.nanoTime() < end; ) {
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(500))) {
                    String number = r.value().substring(6);
                    same(number, new String(r.headers().lastHeader("n").value()), "header");
                    same(1700000000000L + Integer.parseInt(number), r.timestamp(), "timestamp");
                    got.computeIfAbsent(r.partition(), k -> new ArrayList<>()).add(r.value());
                    n++;
                }
            }
            c.commitSync();
        }
        same(sent, got, "records, in order, with " + codec);
        Map<TopicPartition, OffsetAndMetadata> committed = admin.listConsumerGroupOffsets("codec-group-" + codec).partitionsToOffsetAndMetadata().get();
        for (Map.Entry<TopicPartition, OffsetAndMetadata> e : committed.entrySet())
            same((long) sent.getOrDefault(e.getKey().partition(), List.of()).size(), e.getValue().offset(), "committed offset of " + e.getKey());
        same(3, committed.size(), "partitions with a committed offset");
    }

    static void rebalance(Admin admin, String assignor, String name) throws Exception {
        String topic = create(admin, "rebalance-" + name, 4);
        Map<String, Object> config = Map.of("partition.assignment.strategy", assignor);
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        try (KafkaProducer<String, String> p = producer(Map.of()); KafkaConsumer<String, String> a = consumer("group-" + name, config)) {
            send(p, topic, 0, 200);
            a.subscribe(List.of(topic));
            pollUntil(List.of(a), seen, () -> seen.size() == 200 && a.assignment().size() == 4, "one member reads all");
            try (KafkaConsumer<String, String> b = consumer("group-" + name, config)) {
                b.subscribe(List.of(topic));
                pollUntil(List.of(a, b), seen, () -> a.assignment().size() == 2 && b.assignment().size() == 2, "two members share");
                send(p, topic, 200, 400);
                pollUntil(List.of(a, b), seen, () -> seen.size() == 400, "both read on");
                Set<TopicPartition> both = new HashSet<>(a.assignment());
                both.addAll(b.assignment());
                same(4, both.size(), "no partition is assigned twice");
            }
            pollUntil(List.of(a), seen, () -> a.assignment().size() == 4, "the one that is left takes over");
            send(p, topic, 400, 500);
            pollUntil(List.of(a), seen, () -> seen.size() == 500, "and reads on");
        }
        check(seen.values().stream().allMatch(n -> n == 1), "each record was delivered once: " + name);
    }

    static void send(KafkaProducer<String, String> p, String topic, int from, int to) throws Exception {
        List<Future<RecordMetadata>> acks = new ArrayList<>();
        for (int i = from; i < to; i++) acks.add(p.send(new ProducerRecord<>(topic, "k" + i, "v" + i)));
        for (Future<RecordMetadata> f : acks) f.get();
    }

    // Each consumer is polled on a thread of its own, as a rebalance needs all of them at once.
    static void pollUntil(List<KafkaConsumer<String, String>> consumers, Map<String, Integer> seen, BooleanSupplier done, String what) throws Exception {
        long end = System.nanoTime() + 40_000_000_000L;
        ExecutorService threads = Executors.newFixedThreadPool(consumers.size());
        try {
            while (!done.getAsBoolean()) {
                if (System.nanoTime() > end) throw new AssertionError(what + ": not within 40 s; saw " + seen.size() + " records, assignments "
                    + consumers.stream().map(c -> c.assignment().toString()).collect(Collectors.joining(" ")));
                List<Future<?>> polls = new ArrayList<>();
                for (KafkaConsumer<String, String> c : consumers) polls.add(threads.submit(() -> {
                    for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(100))) seen.merge(r.value(), 1, Integer::sum);
                    c.commitSync();
                }));
                for (Future<?> f : polls) {
                    try { f.get(); } catch (ExecutionException e) { if (!(e.getCause() instanceof RebalanceInProgressException)) throw e; }
                }
            }
        } finally { threads.shutdown(); }
    }

    interface BooleanSupplier { boolean getAsBoolean(); }

    static void staticMembers(Admin admin) throws Exception {
        String topic = create(admin, "static", 2);
        Map<String, Object> config = Map.of("group.instance.id", "pod-0", "session.timeout.ms", 20000);
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 0, 10); }
        try (KafkaConsumer<String, String> c = consumer("static-group", config)) {
            c.subscribe(List.of(topic));
            pollUntil(List.of(c), seen, () -> seen.size() == 10, "static member reads");
        }
        // It left without leaving the group; its successor of the same name takes its place.
        same(1, admin.describeConsumerGroups(List.of("static-group")).all().get().get("static-group").members().size(), "a static member stays");
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 10, 20); }
        try (KafkaConsumer<String, String> c = consumer("static-group", config)) {
            c.subscribe(List.of(topic));
            pollUntil(List.of(c), seen, () -> seen.size() == 20, "its successor reads on");
        }
        check(seen.values().stream().allMatch(n -> n == 1), "each record was delivered once");
        admin.removeMembersFromConsumerGroup("static-group", new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("pod-0")))).all().get();
        same(0, admin.describeConsumerGroups(List.of("static-group")).all().get().get("static-group").members().size(), "removed by the administrator");
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
            same(null, c.offsetsForTimes(Map.of(tp, 1700000000000L)).get(tp), "a time after all records");
            c.seek(tp, 57);
            List<ConsumerRecord<String, String>> records = new ArrayList<>();
            for (long end = System.nanoTime() + 20_000_000_000L; records.isEmpty() && System.nanoTime() < end; ) c.poll(Duration.ofMillis(200)).forEach(records::add);
            same(57L, records.get(0).offset(), "the record at the sought offset, from the middle of a batch");
        }
        ListOffsetsResult.ListOffsetsResultInfo max = admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp).get();
        same(99L, max.offset(), "offset of the largest timestamp");
    }

    static void groupAdministration(Admin admin) throws Exception {
        String topic = create(admin, "grouped", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 0, 10); }
        try (KafkaConsumer<String, String> c = consumer("administered", Map.of())) {
            c.subscribe(List.of(topic));
            pollUntil(List.of(c), seen, () -> seen.size() == 10, "member reads");
            ConsumerGroupDescription d = admin.describeConsumerGroups(List.of("administered")).all().get().get("administered");
            same(GroupState.STABLE, d.groupState(), "state with a member");
            same(Set.of(tp), d.members().iterator().next().assignment().topicPartitions(), "assignment in the description");
            fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of("administered")).all().get(), "delete a group with members");
            fails(UnknownMemberIdException.class,
                () -> admin.alterConsumerGroupOffsets("administered", Map.of(tp, new OffsetAndMetadata(1))).all().get(), "alter offsets of an active group");
        }
        same(GroupState.EMPTY, admin.describeConsumerGroups(List.of("administered")).all().get().get("administered").groupState(), "state without members");
        admin.alterConsumerGroupOffsets("administered", Map.of(tp, new OffsetAndMetadata(4, Optional.of(0), "by hand"))).all().get();
        OffsetAndMetadata altered = admin.listConsumerGroupOffsets("administered").partitionsToOffsetAndMetadata().get().get(tp);
        same(4L, altered.offset(), "altered offset");
        same("by hand", altered.metadata(), "its metadata");
        admin.deleteConsumerGroupOffsets("administered", Set.of(tp)).all().get();
        same(null, admin.listConsumerGroupOffsets("administered").partitionsToOffsetAndMetadata().get().get(tp), "deleted offset");
        check(admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals("administered")), "listed");
        admin.deleteConsumerGroups(List.of("administered")).all().get();
        check(admin.listGroups().all().get().stream().noneMatch(g -> g.groupId().equals("administered")), "deleted");
    }

    static void rejectedRecords(Admin admin) throws Exception {
        admin.createTopics(List.of(new NewTopic("strict", 1, (short) 1).configs(Map.of("max.message.bytes", "1000", "cleanup.policy", "compact")))).all().get();
        try (KafkaProducer<String, String> p = producer(Map.of())) {
            fails(RecordTooLargeException.class, () -> p.send(new ProducerRecord<>("strict", "k", "x".repeat(2000))).get(), "a record over the limit");
            fails(InvalidRecordException.class, () -> p.send(new ProducerRecord<>("strict", null, "v")).get(), "no key in a compacted topic");
            fails(InvalidTimestampException.class, () -> p.send(new ProducerRecord<>("strict", 0, System.currentTimeMillis() + 7200_000, "k", "v")).get(), "two hours ahead");
            same(0L, p.send(new ProducerRecord<>("strict", "k", "v")).get().offset(), "a good record after the refused ones");
        }
    }

    static void transactions(Admin admin) throws Exception {
        String topic = create(admin, "transactional", 2);
        Map<String, Object> config = Map.of("transactional.id", "tx-a");
        Map<Integer, List<String>> committed = new TreeMap<>(), all = new TreeMap<>();
        try (KafkaProducer<String, String> p = producer(config)) {
            p.initTransactions();
            for (String end : List.of("abort", "commit", "abort", "commit")) {
                p.beginTransaction();
                for (int i = 0; i < 20; i++) {
                    String value = end + all.size() + "-" + all.getOrDefault(i % 2, List.of()).size();
                    p.send(new ProducerRecord<>(topic, i % 2, "k", value));
                    all.computeIfAbsent(i % 2, k -> new ArrayList<>()).add(value);
                    if (end.equals("commit")) committed.computeIfAbsent(i % 2, k -> new ArrayList<>()).add(value);
                }
                p.flush();
                if (end.equals("commit")) p.commitTransaction(); else p.abortTransaction();
            }
            settled(admin, "tx-a");
            same(committed, readAll(topic, 2, "read_committed"), "read_committed sees what was committed, in order");
            same(all, readAll(topic, 2, "read_uncommitted"), "read_uncommitted sees everything, in order");
            openTransactionHoldsBack(p, topic, committed, all);
            transform(admin, p, topic);
        }
        fenced(topic, config);
        settled(admin, "tx-a");
        same(committed, readAll(topic, 2, "read_committed"), "read_committed sees nothing of the fenced producer");
        TransactionDescription d = admin.describeTransactions(List.of("tx-a")).all().get().get("tx-a");
        same(TransactionState.COMPLETE_COMMIT, d.state(), "state of the described transaction");
        check(admin.listTransactions().all().get().stream().anyMatch(t -> t.transactionalId().equals("tx-a")), "listed transaction");
    }

    // A producer hears of the end of its transaction before the markers are in every log.
    static void settled(Admin admin, String id) throws Exception {
        for (long end = System.nanoTime() + 30_000_000_000L; ; ) {
            TransactionState state = admin.describeTransactions(List.of(id)).all().get().get(id).state();
            if (state == TransactionState.COMPLETE_COMMIT || state == TransactionState.COMPLETE_ABORT) return;
            check(System.nanoTime() < end, "the transaction of " + id + " did not end within 30 s: " + state);
        }
    }

    // Reads from the beginning to the end that the isolation level gives: the last stable offset or the high watermark.
    static Map<Integer, List<String>> readAll(String topic, int partitions, String isolation) {
        Map<Integer, List<String>> got = new TreeMap<>();
        try (KafkaConsumer<String, String> c = consumer(null, Map.of("isolation.level", isolation))) {
            List<TopicPartition> tps = new ArrayList<>();
            for (int p = 0; p < partitions; p++) tps.add(new TopicPartition(topic, p));
            c.assign(tps);
            Map<TopicPartition, Long> ends = c.endOffsets(tps);
            for (long end = System.nanoTime() + 30_000_000_000L; tps.stream().anyMatch(tp -> c.position(tp) < ends.get(tp)); ) {
                check(System.nanoTime() < end, isolation + ": the end of " + topic + " was not reached within 30 s; ends " + ends);
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(100))) got.computeIfAbsent(r.partition(), k -> new ArrayList<>()).add(r.value());
            }
        }
        return got;
    }

    // What an open transaction wrote is past the last stable offset; it is aborted at the end.
    static void openTransactionHoldsBack(KafkaProducer<String, String> p, String topic, Map<Integer, List<String>> committed, Map<Integer, List<String>> all) {
        p.beginTransaction();
        p.send(new ProducerRecord<>(topic, 0, "k", "open"));
        p.flush();
        all.get(0).add("open");
        same(committed, readAll(topic, 2, "read_committed"), "read_committed stops before an open transaction");
        same(all, readAll(topic, 2, "read_uncommitted"), "read_uncommitted goes on");
        p.abortTransaction();
    }

    static void transform(Admin admin, KafkaProducer<String, String> p, String input) throws Exception {
        String output = create(admin, "transformed", 1);
        TopicPartition from = new TopicPartition(input, 0);
        Map<String, Object> config = Map.of("isolation.level", "read_committed");
        Map<Integer, List<String>> expected = Map.of(0, new ArrayList<>());
        try (KafkaConsumer<String, String> c = consumer("transformers", config)) {
            c.subscribe(List.of(input));
            List<ConsumerRecord<String, String>> in = new ArrayList<>();
            for (long end = System.nanoTime() + 30_000_000_000L; in.size() < 40; ) {
                check(System.nanoTime() < end, "40 committed records of the input were not read within 30 s: " + in.size());
                c.poll(Duration.ofMillis(100)).forEach(in::add);
            }
            Map<TopicPartition, OffsetAndMetadata> next = Map.of(from, new OffsetAndMetadata(c.position(from), Optional.empty(), "by the transaction"));
            for (boolean commit : List.of(false, true)) {
                p.beginTransaction();
                for (ConsumerRecord<String, String> r : in) {
                    p.send(new ProducerRecord<>(output, 0, r.key(), r.value().toUpperCase()));
                    if (commit) expected.get(0).add(r.value().toUpperCase());
                }
                p.sendOffsetsToTransaction(next, c.groupMetadata());
                p.flush();
                check(admin.listConsumerGroupOffsets("transformers").partitionsToOffsetAndMetadata().get().get(from) == null, "an offset of an open transaction is not visible");
                if (commit) p.commitTransaction(); else p.abortTransaction();
                if (!commit) check(c.committed(Set.of(from)).get(from) == null, "an offset of an aborted transaction is not visible");
            }
            same(next.get(from), c.committed(Set.of(from)).get(from), "the offset of the committed transaction");
        }
        settled(admin, "tx-a");
        same(expected, readAll(output, 1, "read_committed"), "the transformed records, once");
    }

    static void fenced(String topic, Map<String, Object> config) throws Exception {
        try (KafkaProducer<String, String> first = producer(config)) {
            first.initTransactions();
            first.beginTransaction();
            first.send(new ProducerRecord<>(topic, 0, "k", "of the first")).get();
            try (KafkaProducer<String, String> second = producer(config)) {
                second.initTransactions();
                try {
                    first.send(new ProducerRecord<>(topic, 0, "k", "fenced"));
                    first.commitTransaction();
                    throw new AssertionError("the first producer was not fenced");
                } catch (ProducerFencedException | InvalidProducerEpochException e) {
                    // Which of them depends on the request that meets the new epoch first.
                } catch (KafkaException e) {
                    check(e.getCause() instanceof ProducerFencedException || e.getCause() instanceof InvalidProducerEpochException, "fenced with " + e);
                }
                second.beginTransaction();
                second.send(new ProducerRecord<>("transformed", 0, "k", "of the second"));
                second.commitTransaction();
            }
        }
    }
}
