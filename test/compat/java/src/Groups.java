import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;

/** Consumer groups of the classic protocol. */
class Groups extends Clients {
    static void run(Admin admin) throws Exception {
        rebalance(admin, "CooperativeStickyAssignor", "cooperative");
        rebalance(admin, "RangeAssignor", "eager");
        if (!SMOKE) for (String assignor : List.of("RoundRobinAssignor", "StickyAssignor")) rebalance(admin, assignor, assignor);
        incremental(admin);
        staticMembers(admin);
        commits(admin);
        pattern(admin);
        administration(admin);
    }

    static String assignor(String name) { return "org.apache.kafka.clients.consumer." + name; }

    static void rebalance(Admin admin, String assignor, String name) throws Exception {
        String topic = create(admin, "rebalance-" + name, 4), group = name("group-" + name);
        Map<String, Object> config = Map.of("partition.assignment.strategy", assignor(assignor));
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        try (KafkaProducer<String, String> p = producer(Map.of()); KafkaConsumer<String, String> a = consumer(group, config)) {
            send(p, topic, 0, 200);
            a.subscribe(List.of(topic));
            pollUntil(List.of(a), seen, () -> seen.size() == 200 && a.assignment().size() == 4, "one member reads all");
            try (KafkaConsumer<String, String> b = consumer(group, config)) {
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

    // With the cooperative assignor a member keeps what it keeps: only what moves is revoked.
    static void incremental(Admin admin) throws Exception {
        String topic = create(admin, "incremental", 4), group = name("incremental");
        Map<String, Object> config = Map.of("partition.assignment.strategy", assignor("CooperativeStickyAssignor"));
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        List<TopicPartition> revoked = new CopyOnWriteArrayList<>(), assigned = new CopyOnWriteArrayList<>();
        try (KafkaConsumer<String, String> a = consumer(group, config); KafkaConsumer<String, String> b = consumer(group, config)) {
            a.subscribe(List.of(topic), new ConsumerRebalanceListener() {
                public void onPartitionsRevoked(Collection<TopicPartition> tps) { revoked.addAll(tps); }
                public void onPartitionsAssigned(Collection<TopicPartition> tps) { assigned.addAll(tps); }
            });
            pollUntil(List.of(a), seen, () -> a.assignment().size() == 4, "alone");
            b.subscribe(List.of(topic));
            pollUntil(List.of(a, b), seen, () -> a.assignment().size() == 2 && b.assignment().size() == 2, "shared");
            same(2, revoked.size(), "only what moved was revoked: " + revoked);
            same(new HashSet<>(revoked), b.assignment(), "what was revoked is what the other has");
            same(4, assigned.size(), "nothing was assigned again: " + assigned);
        }
    }

    static void staticMembers(Admin admin) throws Exception {
        String topic = create(admin, "static", 2), group = name("static-group");
        Map<String, Object> config = Map.of("group.instance.id", "pod-0", "session.timeout.ms", 20000);
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 0, 10); }
        try (KafkaConsumer<String, String> c = consumer(group, config)) {
            c.subscribe(List.of(topic));
            pollUntil(List.of(c), seen, () -> seen.size() == 10, "static member reads");
        }
        // It left without leaving the group; its successor of the same name takes its place.
        same(1, admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), "a static member stays");
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 10, 20); }
        try (KafkaConsumer<String, String> c = consumer(group, config)) {
            c.subscribe(List.of(topic));
            pollUntil(List.of(c), seen, () -> seen.size() == 20, "its successor reads on");
            fencedInstance(group, topic, config, c);
        }
        check(seen.values().stream().allMatch(n -> n == 1), "each record was delivered once");
        same(Optional.of("pod-0"), admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().iterator().next().groupInstanceId(), "described instance");
        admin.removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(List.of(new MemberToRemove("pod-0")))).all().get();
        same(0, admin.describeConsumerGroups(List.of(group)).all().get().get(group).members().size(), "removed by the administrator");
    }

    // A second consumer of the same instance id takes over; the first is told.
    static void fencedInstance(String group, String topic, Map<String, Object> config, KafkaConsumer<String, String> first) throws Exception {
        try (KafkaConsumer<String, String> second = consumer(group, config)) {
            second.subscribe(List.of(topic));
            Map<String, Integer> none = new ConcurrentHashMap<>();
            pollUntil(List.of(second), none, () -> second.assignment().size() == 2, "the second of the name takes over");
            try {
                first.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(0)));
                throw new AssertionError("the first of the name was not fenced");
            } catch (FencedInstanceIdException | CommitFailedException e) { /* the latter where a heartbeat has told it before */ }
        }
    }

    static void commits(Admin admin) throws Exception {
        String topic = create(admin, "commits", 2), group = name("commits");
        List<TopicPartition> tps = partitions(topic, 2);
        try (KafkaProducer<String, String> p = producer(Map.of())) { for (int i = 0; i < 20; i++) p.send(new ProducerRecord<>(topic, i % 2, "k", "v" + i)).get(); }
        try (KafkaConsumer<String, String> c = consumer(group, Map.of())) {
            c.assign(tps); // a simple consumer: offsets without membership
            same(Collections.singletonMap(tps.get(0), null).get(tps.get(0)), c.committed(Set.copyOf(tps)).get(tps.get(0)), "nothing is committed at first");
            CompletableFuture<Map<TopicPartition, OffsetAndMetadata>> done = new CompletableFuture<>();
            c.commitAsync(Map.of(tps.get(0), new OffsetAndMetadata(3, Optional.of(0), "note")), (offsets, error) -> { if (error == null) done.complete(offsets); else done.completeExceptionally(error); });
            for (long end = System.nanoTime() + 20_000_000_000L; !done.isDone() && System.nanoTime() < end; ) c.poll(Duration.ofMillis(50));
            same(3L, done.get(1, TimeUnit.SECONDS).get(tps.get(0)).offset(), "offset of the callback");
            OffsetAndMetadata committed = c.committed(Set.copyOf(tps)).get(tps.get(0));
            same(List.of(3L, "note", Optional.of(0)), List.of(committed.offset(), committed.metadata(), committed.leaderEpoch()), "committed offset, metadata and epoch");
        }
        try (KafkaConsumer<String, String> c = consumer(group, Map.of())) {
            c.subscribe(List.of(topic));
            List<String> got = new ArrayList<>();
            poll(c, 17).forEach(r -> got.add(r.partition() + "@" + r.offset()));
            check(got.contains("0@3") && !got.contains("0@2") && got.contains("1@0"), "it goes on at the committed offset: " + got);
        }
        try (KafkaConsumer<String, String> c = consumer(group, Map.of("enable.auto.commit", "true", "auto.commit.interval.ms", 10))) {
            c.subscribe(List.of(topic));
            poll(c, 17);
        } // which commits, too
        same(List.of(10L, 10L), List.of(offset(admin, group, tps.get(0)), offset(admin, group, tps.get(1))), "offsets committed by themselves");
    }

    static long offset(Admin admin, String group, TopicPartition tp) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp).offset();
    }

    static void pattern(Admin admin) throws Exception {
        String one = create(admin, "pattern-one", 1), group = name("pattern");
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        try (KafkaConsumer<String, String> c = consumer(group, Map.of("metadata.max.age.ms", 200)); KafkaProducer<String, String> p = producer(Map.of())) {
            send(p, one, 0, 5);
            c.subscribe(Pattern.compile(Pattern.quote(name("pattern-")) + ".*"));
            pollUntil(List.of(c), seen, () -> seen.size() == 5, "the topic that is there");
            String two = create(admin, "pattern-two", 1);
            send(p, two, 5, 10);
            pollUntil(List.of(c), seen, () -> seen.size() == 10, "and the one that came later");
        }
        check(seen.values().stream().allMatch(n -> n == 1), "each record was delivered once");
    }

    static void administration(Admin admin) throws Exception {
        String topic = create(admin, "grouped", 1), group = name("administered");
        TopicPartition tp = new TopicPartition(topic, 0);
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 0, 10); }
        try (KafkaConsumer<String, String> c = consumer(group, Map.of("client.id", "the client"))) {
            c.subscribe(List.of(topic));
            pollUntil(List.of(c), seen, () -> seen.size() == 10, "member reads");
            ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            same("Stable", d.state().toString(), "state with a member");
            same("range", d.partitionAssignor(), "assignor");
            MemberDescription member = d.members().iterator().next();
            same(Set.of(tp), member.assignment().topicPartitions(), "assignment in the description");
            same("the client", member.clientId(), "client id of the member");
            check(member.host().startsWith("/"), "host of the member: " + member.host());
            fails(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get(), "delete a group with members");
            fails(UnknownMemberIdException.class, () -> admin.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(1))).all().get(), "alter offsets of an active group");
            fails(GroupSubscribedToTopicException.class, () -> admin.deleteConsumerGroupOffsets(group, Set.of(tp)).all().get(), "delete offsets of a topic in use");
        }
        same("Empty", admin.describeConsumerGroups(List.of(group)).all().get().get(group).state().toString(), "state without members");
        admin.alterConsumerGroupOffsets(group, Map.of(tp, new OffsetAndMetadata(4, Optional.of(0), "by hand"))).all().get();
        OffsetAndMetadata altered = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp);
        same(4L, altered.offset(), "altered offset");
        same("by hand", altered.metadata(), "its metadata");
        admin.deleteConsumerGroupOffsets(group, Set.of(tp)).all().get();
        same(null, admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(tp), "deleted offset");
        check(admin.listConsumerGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group)), "listed");
        admin.deleteConsumerGroups(List.of(group)).all().get();
        check(admin.listConsumerGroups().all().get().stream().noneMatch(g -> g.groupId().equals(group)), "deleted");
        fails(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get(), "delete it again");
    }
}
