import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;

/** What the client has had since 3.0 to 3.3: topic ids, the largest timestamp, transactions and producers described, the quorum. */
class Since33 extends Clients {
    static void run(String feature, Admin admin) throws Exception {
        switch (feature) {
            case "admin": topicIds(admin); quorum(admin); break;
            case "consume": largestTimestamp(admin); break;
            case "groups": offsetsOfGroups(admin); break;
            case "idempotence": producers(admin); break;
            case "transactions": transactions(admin); fencedByAdmin(admin); aborted(admin); break;
            default:
        }
    }

    static void topicIds(Admin admin) throws Exception {
        String topic = name("by-id");
        CreateTopicsResult created = admin.createTopics(List.of(new NewTopic(topic, 1, REPLICAS)));
        Uuid id = created.topicId(topic).get();
        eventually(() -> admin.listTopics().listings().get().stream().anyMatch(l -> l.topicId().equals(id)), "listed with its id");
        same(topic, admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get().get(id).name(), "described by id");
        admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
        fails(UnknownTopicIdException.class, () -> admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get(), "delete an id that is gone");
    }

    static void quorum(Admin admin) throws Exception {
        QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
        same((int) REPLICAS, quorum.voters().size(), "voters");
        check(quorum.voters().stream().anyMatch(v -> v.replicaId() == quorum.leaderId()), "the leader is a voter");
        check(quorum.voters().get(0).logEndOffset() > 0, "the end of the metadata log");
        fails(BrokerIdNotRegisteredException.class, () -> admin.unregisterBroker(99).all().get(), "unregister a broker that is not there");
    }

    static void largestTimestamp(Admin admin) throws Exception {
        TopicPartition tp = new TopicPartition(name("seek"), 0);
        same(99L, admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp).get().offset(), "offset of the largest timestamp");
        try (KafkaConsumer<String, String> c = consumer(null, Map.of())) {
            c.assign(List.of(tp));
            c.seek(tp, 90);
            poll(c, 10);
            eventually(() -> { c.poll(java.time.Duration.ofMillis(20)); return c.currentLag(tp).isPresent(); }, "lag is known");
            same(0L, c.currentLag(tp).getAsLong(), "lag at the end");
        }
    }

    static void offsetsOfGroups(Admin admin) throws Exception {
        String first = name("group-cooperative"), second = name("group-eager");
        Map<String, ListConsumerGroupOffsetsSpec> specs = Map.of(first, new ListConsumerGroupOffsetsSpec(), second, new ListConsumerGroupOffsetsSpec());
        ListConsumerGroupOffsetsResult result = admin.listConsumerGroupOffsets(specs, new ListConsumerGroupOffsetsOptions().requireStable(true));
        for (String group : specs.keySet()) {
            long sum = 0;
            for (OffsetAndMetadata o : result.partitionsToOffsetAndMetadata(group).get().values()) sum += o.offset();
            same(500L, sum, "committed offsets of " + group + ", asked for together");
        }
    }

    static void producers(Admin admin) throws Exception {
        TopicPartition tp = new TopicPartition(name("idempotent"), 0);
        List<ProducerState> states = admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers();
        same(List.of(RECORDS - 1, RECORDS - 1), states.stream().map(ProducerState::lastSequence).collect(Collectors.toList()), "last sequences of the two producers");
        check(states.stream().allMatch(s -> s.currentTransactionStartOffset().isEmpty()), "no transaction is open");
    }

    static void transactions(Admin admin) throws Exception {
        TransactionDescription d = admin.describeTransactions(List.of(name("tx"))).all().get().get(name("tx"));
        same(TransactionState.COMPLETE_COMMIT, d.state(), "state of the described transaction");
        eventually(() -> {
            try { return admin.listTransactions().all().get().stream().anyMatch(t -> t.transactionalId().equals(name("tx"))); }
            catch (ExecutionException e) {
                if (THREE && e.getCause() instanceof IllegalArgumentException) return false; // the client's own fault where a broker goes away
                throw e;
            }
        }, "listed transaction");
        fails(TransactionalIdNotFoundException.class, () -> admin.describeTransactions(List.of(name("nobody"))).all().get(), "a transactional id that nobody has");
        String topic = create(admin, "described", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer(Map.of("transactional.id", name("described"), "transaction.timeout.ms", 45_000))) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
            TransactionDescription open = admin.describeTransactions(List.of(name("described"))).all().get().get(name("described"));
            same(TransactionState.ONGOING, open.state(), "state of an open transaction");
            same(Set.of(tp), open.topicPartitions(), "its partitions");
            same(45_000L, open.transactionTimeoutMs(), "its timeout");
            same(OptionalLong.of(0), admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers().get(0).currentTransactionStartOffset(), "where it starts");
            Set<TransactionState> ongoing = Set.of(TransactionState.ONGOING);
            check(admin.listTransactions(new ListTransactionsOptions().filterStates(ongoing)).all().get().stream().anyMatch(t -> t.transactionalId().equals(name("described"))), "listed as ongoing");
            check(admin.listTransactions(new ListTransactionsOptions().filterStates(ongoing)).all().get().stream().noneMatch(t -> t.transactionalId().equals(name("tx"))), "the ended one is not");
            p.abortTransaction();
        }
    }

    static void fencedByAdmin(Admin admin) throws Exception {
        String topic = name("described");
        try (KafkaProducer<String, String> p = producer(Map.of("transactional.id", name("fenced")))) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>(topic, 0, "k", "of the fenced")).get();
            eventually(() -> { admin.fenceProducers(List.of(name("fenced"))).all().get(); return true; }, "fenced"); // old clients do not retry by themselves
            try {
                p.commitTransaction();
                throw new AssertionError("the administrator did not fence the producer");
            } catch (ProducerFencedException | InvalidProducerEpochException e) { /* as it should be */ }
        }
        Transactions.settled(topic, 1);
        same(Map.of(), readAll(topic, 1, "read_committed"), "nothing of it is committed");
    }

    // A transaction that hangs in a partition is ended by its first offset.
    static void aborted(Admin admin) throws Exception {
        String topic = create(admin, "hanging", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer(Map.of("transactional.id", name("hanging")))) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>(topic, 0, "k", "hangs")).get();
            ProducerState s = admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers().get(0);
            admin.abortTransaction(new AbortTransactionSpec(tp, s.producerId(), (short) s.producerEpoch(), s.coordinatorEpoch().orElse(0))).all().get();
            Transactions.settled(topic, 1);
            same(Map.of(), readAll(topic, 1, "read_committed"), "it is aborted");
        }
    }
}
