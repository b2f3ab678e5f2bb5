import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;

/** Transactions: commit, abort, offsets, fencing; read_committed and read_uncommitted. */
class Transactions extends Clients {
    static void run(Admin admin) throws Exception {
        String topic = create(admin, "transactional", 2);
        Map<String, Object> config = Map.of("transactional.id", name("tx"));
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
            settled(topic, 2);
            same(committed, readAll(topic, 2, "read_committed"), "read_committed sees what was committed, in order");
            same(all, readAll(topic, 2, "read_uncommitted"), "read_uncommitted sees everything, in order");
            openTransactionHoldsBack(p, topic, committed, all);
            transform(admin, p, topic);
        }
        fenced(topic, config);
        settled(topic, 2);
        same(committed, readAll(topic, 2, "read_committed"), "read_committed sees nothing of the fenced producer");
        recovered(topic, config, committed);
        timedOut(admin);
    }

    // A producer hears of the end of its transaction before the markers are in every log.
    static void settled(String topic, int count) throws Exception {
        List<TopicPartition> tps = partitions(topic, count);
        try (KafkaConsumer<String, String> stable = consumer(null, Map.of("isolation.level", "read_committed")); KafkaConsumer<String, String> high = consumer(null, Map.of())) {
            eventually(() -> stable.endOffsets(tps).equals(high.endOffsets(tps)), "no transaction is open in " + topic);
        }
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
        String output = create(admin, "transformed", 1), group = name("transformers");
        TopicPartition from = new TopicPartition(input, 0);
        Map<Integer, List<String>> expected = Map.of(0, new ArrayList<>());
        try (KafkaConsumer<String, String> c = consumer(group, Map.of("isolation.level", "read_committed"))) {
            c.subscribe(List.of(input));
            List<ConsumerRecord<String, String>> in = poll(c, 40);
            Map<TopicPartition, OffsetAndMetadata> next = Map.of(from, new OffsetAndMetadata(c.position(from), Optional.empty(), "by the transaction"));
            for (boolean commit : List.of(false, true)) {
                p.beginTransaction();
                for (ConsumerRecord<String, String> r : in) {
                    p.send(new ProducerRecord<>(output, 0, r.key(), r.value().toUpperCase()));
                    if (commit) expected.get(0).add(r.value().toUpperCase());
                }
                p.sendOffsetsToTransaction(next, c.groupMetadata());
                p.flush();
                check(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(from) == null, "an offset of an open transaction is not visible");
                if (commit) p.commitTransaction(); else p.abortTransaction();
                if (!commit) check(c.committed(Set.of(from)).get(from) == null, "an offset of an aborted transaction is not visible");
            }
            same(next.get(from), c.committed(Set.of(from)).get(from), "the offset of the committed transaction");
            staleMember(p, next);
        }
        settled(output, 1);
        same(expected, readAll(output, 1, "read_committed"), "the transformed records, once");
    }

    // Offsets of a member whose generation is past are refused, and the transaction can be aborted.
    static void staleMember(KafkaProducer<String, String> p, Map<TopicPartition, OffsetAndMetadata> offsets) {
        p.beginTransaction();
        try {
            p.sendOffsetsToTransaction(offsets, new ConsumerGroupMetadata(name("transformers"), 99, "nobody", Optional.empty()));
            p.commitTransaction();
            throw new AssertionError("offsets of an unknown member were taken");
        } catch (CommitFailedException e) { p.abortTransaction(); }
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
                second.send(new ProducerRecord<>(name("transformed"), 0, "k", "of the second"));
                second.commitTransaction();
            }
        }
    }

    // A producer that ends in the middle: its successor of the same name aborts what it left, and commits its own.
    static void recovered(String topic, Map<String, Object> config, Map<Integer, List<String>> committed) throws Exception {
        KafkaProducer<String, String> first = producer(config);
        first.initTransactions();
        first.beginTransaction();
        first.send(new ProducerRecord<>(topic, 1, "k", "left behind")).get();
        first.close(java.time.Duration.ZERO);
        try (KafkaProducer<String, String> second = producer(config)) {
            second.initTransactions();
            second.beginTransaction();
            second.send(new ProducerRecord<>(topic, 1, "k", "of the successor"));
            second.commitTransaction();
        }
        committed.get(1).add("of the successor");
        settled(topic, 2);
        same(committed, readAll(topic, 2, "read_committed"), "what was left behind is aborted");
    }

    // The coordinator aborts what stays open for longer than it may.
    static void timedOut(Admin admin) throws Exception {
        String topic = create(admin, "timed-out", 1);
        try (KafkaProducer<String, String> p = producer(Map.of("transactional.id", name("slow"), "transaction.timeout.ms", 1000))) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>(topic, 0, "k", "slow")).get();
            settled(topic, 1);
            same(Map.of(), readAll(topic, 1, "read_committed"), "what timed out is aborted");
        }
    }
}
