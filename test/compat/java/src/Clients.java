import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.function.BooleanSupplier;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.RebalanceInProgressException;
import org.apache.kafka.common.serialization.*;

/** What the tests share: the clients, the assertions, and waits with a deadline. */
class Clients {
    static final boolean SMOKE = System.getenv("SMOKE") != null && !System.getenv("SMOKE").isEmpty();
    static final int RECORDS = SMOKE ? 300 : 5000;
    static String bootstrap, version, lock;

    /** Versions of the client share one broker, so every name has the version in it. */
    /** How many replicas topics have: three where brokers are restarted while the suite runs. */
    static final boolean THREE = !System.getenv().getOrDefault("COMPAT_THREE", "").isEmpty();
    static final short REPLICAS = (short) (THREE ? 3 : 1);

    static String name(String base) { return "java-" + version + "-" + base; }

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

    interface Condition { boolean holds() throws Exception; }

    /** Asks again and again, for what a cluster may show a moment later. */
    static void eventually(Condition condition, String what) throws Exception {
        Throwable error = null;
        for (long end = System.nanoTime() + 40_000_000_000L; System.nanoTime() < end; Thread.sleep(20)) {
            try {
                if (condition.holds()) return;
                error = null;
            } catch (ExecutionException e) { error = e.getCause(); }
        }
        throw new AssertionError(what + ": not within 40 s", error);
    }

    static String create(Admin admin, String base, int partitions) throws Exception { return create(admin, base, partitions, Map.of()); }

    static String create(Admin admin, String base, int partitions, Map<String, String> configs) throws Exception {
        String topic = name(base);
        try {
            admin.createTopics(List.of(new NewTopic(topic, partitions, REPLICAS).configs(configs))).all().get();
        } catch (ExecutionException e) { // the client asks again where a broker is stopped before it answers
            if (!THREE || !(e.getCause() instanceof org.apache.kafka.common.errors.TopicExistsException)) throw e;
        }
        eventually(() -> Newer.topic(admin, topic).partitions().stream().allMatch(p -> p.leader() != null), "the new topic has leaders");
        return topic;
    }

    static KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", bootstrap));
        if (THREE) c.putAll(Map.of("acks", "all", "enable.idempotence", "true")); // which clients before 3.0 do not ask for
        c.putAll(more);
        return new KafkaProducer<>(c, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(String group, Map<String, Object> more) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "heartbeat.interval.ms", 300));
        if (group != null) c.put("group.id", group);
        if (THREE) c.put("session.timeout.ms", 3000); // who leaves tells a coordinator that may just be away
        c.putAll(more);
        return new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
    }

    static void send(KafkaProducer<String, String> p, String topic, int from, int to) throws Exception {
        List<Future<RecordMetadata>> acks = new ArrayList<>();
        for (int i = from; i < to; i++) acks.add(p.send(new ProducerRecord<>(topic, "k" + i, "v" + i)));
        for (Future<RecordMetadata> f : acks) f.get();
    }

    static List<TopicPartition> partitions(String topic, int count) {
        return IntStream.range(0, count).mapToObj(p -> new TopicPartition(topic, p)).collect(Collectors.toList());
    }

    /** Polls until there are so many records. */
    static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> c, int count) {
        List<ConsumerRecord<String, String>> got = new ArrayList<>();
        for (long end = System.nanoTime() + 40_000_000_000L; got.size() < count; ) {
            check(System.nanoTime() < end, count + " records were not read within 40 s, but " + got.size());
            c.poll(Duration.ofMillis(200)).forEach(got::add);
        }
        return got;
    }

    /** Polls each consumer on a thread of its own, as a rebalance needs all of them at once. */
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

    /** Reads from the beginning to the end that the isolation level gives: the last stable offset or the high watermark. */
    static Map<Integer, List<String>> readAll(String topic, int count, String isolation) {
        Map<Integer, List<String>> got = new TreeMap<>();
        try (KafkaConsumer<String, String> c = consumer(null, Map.of("isolation.level", isolation))) {
            List<TopicPartition> tps = partitions(topic, count);
            c.assign(tps);
            c.seekToBeginning(tps);
            Map<TopicPartition, Long> ends = c.endOffsets(tps);
            for (long end = System.nanoTime() + 40_000_000_000L; tps.stream().anyMatch(tp -> c.position(tp) < ends.get(tp)); ) {
                check(System.nanoTime() < end, isolation + ": the end of " + topic + " was not reached within 40 s; ends " + ends);
                for (ConsumerRecord<String, String> r : c.poll(Duration.ofMillis(100))) got.computeIfAbsent(r.partition(), k -> new ArrayList<>()).add(r.value());
            }
        }
        return got;
    }
}
