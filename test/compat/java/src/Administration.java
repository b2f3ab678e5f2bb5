import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;
import java.util.stream.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.config.TopicConfig;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.quota.*;

/** What the administrative client of every version has. */
class Administration extends Clients {
    static void run(Admin admin) throws Exception {
        cluster(admin);
        topics(admin);
        topicConfigs(admin);
        // One at a time, as all versions have the same broker.
        try (FileChannel file = FileChannel.open(Path.of(lock), StandardOpenOption.CREATE, StandardOpenOption.WRITE); FileLock held = file.lock()) { brokerConfigs(admin); }
        offsetsAndRecords(admin);
        logDirs(admin);
        replicas(admin);
        limits(admin);
        security(admin);
    }

    /** The broker; the first of three where one of them may just be away. */
    static Node firstNode(Admin admin) throws Exception {
        eventually(() -> admin.describeCluster().nodes().get().size() == REPLICAS, "all brokers are there");
        return admin.describeCluster().nodes().get().stream().min(Comparator.comparing(Node::id)).get();
    }

    static void cluster(Admin admin) throws Exception {
        Node node = firstNode(admin);
        if (!THREE) same(node.id(), admin.describeCluster().controller().get().id(), "controller");
        check(List.of(bootstrap.split(",")).contains(node.host() + ":" + node.port()), "address of the broker");
        check(!admin.describeCluster().clusterId().get().isEmpty(), "cluster id");
        check(admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("metadata.version"), "metadata.version is finalized");
        check(admin.describeFeatures().featureMetadata().get().supportedFeatures().get("metadata.version").maxVersion() > 0, "metadata.version is supported");
    }

    static void topics(Admin admin) throws Exception {
        String managed = name("managed");
        fails(InvalidReplicationFactorException.class, () -> admin.createTopics(List.of(new NewTopic(name("more"), 1, (short) (REPLICAS + 1)))).all().get(), "more replicas than brokers");
        fails(InvalidTopicException.class, () -> admin.createTopics(List.of(new NewTopic("no/slash", 1, (short) 1))).all().get(), "bad name");
        fails(InvalidPartitionsException.class, () -> admin.createTopics(List.of(new NewTopic(name("none"), 0, (short) 1))).all().get(), "no partitions");
        fails(InvalidConfigurationException.class,
            () -> admin.createTopics(List.of(new NewTopic(name("bad"), 1, (short) 1).configs(Map.of("retention.ms", "soon")))).all().get(), "bad config");
        NewTopic wanted = new NewTopic(managed, Optional.of(2), Optional.empty()).configs(Map.of("retention.ms", "3600000"));
        admin.createTopics(List.of(wanted), new CreateTopicsOptions().validateOnly(true)).all().get();
        check(!admin.listTopics().names().get().contains(managed), "validated only");
        CreateTopicsResult created = admin.createTopics(List.of(wanted));
        same(2, created.numPartitions(managed).get(), "partitions of the created topic");
        same((int) REPLICAS, created.replicationFactor(managed).get(), "replication factor by default");
        same("3600000", created.config(managed).get().get("retention.ms").value(), "config in the answer to create");
        fails(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(managed, 1, (short) 1))).all().get(), "create twice");
        fails(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(managed, NewPartitions.increaseTo(1))).all().get(), "fewer partitions");
        admin.createPartitions(Map.of(managed, NewPartitions.increaseTo(4))).all().get();
        eventually(() -> Newer.topic(admin, managed).partitions().size() == 4, "partitions after the increase");
        TopicDescription d = Newer.topic(admin, managed);
        Node node = firstNode(admin);
        for (int i = 0; i < 4; i++) {
            TopicPartitionInfo p = d.partitions().get(i);
            same(List.of(i, (int) REPLICAS), List.of(p.partition(), p.replicas().size()), "partition " + i);
            if (!THREE) same(List.of(node.id(), List.of(node), List.of(node)), List.of(p.leader().id(), p.replicas(), p.isr()), "replicas of partition " + i);
        }
        check(!d.isInternal(), "not internal");
        fails(UnknownTopicOrPartitionException.class, () -> Newer.topic(admin, name("absent")), "describe what is not there");
        admin.createTopics(List.of(new NewTopic(name("placed"), Map.of(0, List.of(node.id()), 1, List.of(node.id()))))).all().get();
        eventually(() -> Newer.topic(admin, name("placed")).partitions().size() == 2, "created by an assignment");
        admin.deleteTopics(List.of(managed, name("placed"))).all().get();
        eventually(() -> !admin.listTopics().names().get().contains(managed), "deleted");
        fails(UnknownTopicOrPartitionException.class, () -> admin.deleteTopics(List.of(managed)).all().get(), "delete twice");
    }

    static AlterConfigOp op(AlterConfigOp.OpType type, String name, String value) { return new AlterConfigOp(new ConfigEntry(name, value), type); }

    static ConfigEntry config(Admin admin, ConfigResource of, String name) throws Exception { return admin.describeConfigs(List.of(of)).all().get().get(of).get(name); }

    static void topicConfigs(Admin admin) throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, create(admin, "configured", 1, Map.of("retention.ms", "3600000")));
        admin.incrementalAlterConfigs(Map.of(topic, List.of(op(AlterConfigOp.OpType.SET, TopicConfig.MAX_MESSAGE_BYTES_CONFIG, "2000"),
            op(AlterConfigOp.OpType.DELETE, TopicConfig.RETENTION_MS_CONFIG, ""), op(AlterConfigOp.OpType.APPEND, TopicConfig.CLEANUP_POLICY_CONFIG, "compact")))).all().get();
        eventually(() -> config(admin, topic, "max.message.bytes").value().equals("2000"), "altered config");
        same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, config(admin, topic, "max.message.bytes").source(), "source of the altered config");
        same("604800000", config(admin, topic, "retention.ms").value(), "config that fell back to its default");
        same(ConfigEntry.ConfigSource.DEFAULT_CONFIG, config(admin, topic, "retention.ms").source(), "its source");
        same(Set.of("delete", "compact"), Set.of(config(admin, topic, "cleanup.policy").value().split(",")), "config that was appended to");
        admin.incrementalAlterConfigs(Map.of(topic, List.of(op(AlterConfigOp.OpType.SUBTRACT, TopicConfig.CLEANUP_POLICY_CONFIG, "delete")))).all().get();
        eventually(() -> config(admin, topic, "cleanup.policy").value().equals("compact"), "config that was subtracted from");
        Config full = admin.describeConfigs(List.of(topic), new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true)).all().get().get(topic);
        same(List.of("max.message.bytes", "message.max.bytes"), full.get("max.message.bytes").synonyms().stream().map(ConfigEntry.ConfigSynonym::name).collect(Collectors.toList()), "synonyms");
        same(ConfigEntry.ConfigType.INT, full.get("max.message.bytes").type(), "type of the config");
        check(!full.get("max.message.bytes").documentation().isEmpty(), "documentation");
        fails(InvalidConfigurationException.class,
            () -> admin.incrementalAlterConfigs(Map.of(topic, List.of(op(AlterConfigOp.OpType.SET, "no.such.config", "1")))).all().get(), "a config that nobody knows");
        admin.incrementalAlterConfigs(Map.of(topic, List.of(op(AlterConfigOp.OpType.SET, "segment.bytes", "2000000"))), new AlterConfigsOptions().validateOnly(true)).all().get();
        same("1073741824", config(admin, topic, "segment.bytes").value(), "validated only");
        ConfigResource absent = new ConfigResource(ConfigResource.Type.TOPIC, name("absent"));
        fails(UnknownTopicOrPartitionException.class, () -> admin.describeConfigs(List.of(absent)).all().get(), "configs of what is not there");
    }

    static void brokerConfigs(Admin admin) throws Exception {
        ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, firstNode(admin).idString()), all = new ConfigResource(ConfigResource.Type.BROKER, "");
        same(ConfigEntry.ConfigSource.STATIC_BROKER_CONFIG, config(admin, broker, "group.initial.rebalance.delay.ms").source(), "a config of the file");
        admin.incrementalAlterConfigs(Map.of(broker, List.of(op(AlterConfigOp.OpType.SET, "log.cleaner.threads", "1")), all, List.of(op(AlterConfigOp.OpType.SET, "log.cleaner.backoff.ms", "14000")))).all().get();
        eventually(() -> config(admin, broker, "log.cleaner.backoff.ms").value().equals("14000"), "a config of all brokers");
        same(ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, config(admin, broker, "log.cleaner.backoff.ms").source(), "its source");
        eventually(() -> config(admin, broker, "log.cleaner.threads").source() == ConfigEntry.ConfigSource.DYNAMIC_BROKER_CONFIG, "a config of the broker");
        fails(InvalidRequestException.class, () -> admin.incrementalAlterConfigs(Map.of(broker, List.of(op(AlterConfigOp.OpType.SET, "broker.id", "7")))).all().get(), "a config that cannot change");
        admin.incrementalAlterConfigs(Map.of(broker, List.of(op(AlterConfigOp.OpType.DELETE, "log.cleaner.threads", "")), all, List.of(op(AlterConfigOp.OpType.DELETE, "log.cleaner.backoff.ms", "")))).all().get();
        eventually(() -> config(admin, broker, "log.cleaner.backoff.ms").value().equals("15000"), "taken back");
        ConfigResource logger = new ConfigResource(ConfigResource.Type.BROKER_LOGGER, firstNode(admin).idString());
        check(!admin.describeConfigs(List.of(logger)).all().get().get(logger).entries().isEmpty(), "loggers");
    }

    static void offsetsAndRecords(Admin admin) throws Exception {
        String topic = create(admin, "offsets", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer(Map.of())) {
            for (int i = 0; i < 10; i++) p.send(new ProducerRecord<>(topic, 0, 1600000000000L + i, "k", "v" + i)).get();
        }
        same(0L, offset(admin, tp, OffsetSpec.earliest()).offset(), "earliest");
        same(10L, offset(admin, tp, OffsetSpec.latest()).offset(), "latest");
        same(7L, offset(admin, tp, OffsetSpec.forTimestamp(1600000000007L)).offset(), "by time");
        same(1600000000007L, offset(admin, tp, OffsetSpec.forTimestamp(1600000000007L)).timestamp(), "the time found");
        same(3L, admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(3))).lowWatermarks().get(tp).get().lowWatermark(), "first that is left");
        same(3L, offset(admin, tp, OffsetSpec.earliest()).offset(), "earliest after deletion");
        fails(OffsetOutOfRangeException.class, () -> admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(11))).all().get(), "delete more than there is");
        same(10L, admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).lowWatermarks().get(tp).get().lowWatermark(), "delete all");
    }

    static ListOffsetsResult.ListOffsetsResultInfo offset(Admin admin, TopicPartition tp, OffsetSpec spec) throws Exception {
        return admin.listOffsets(Map.of(tp, spec)).partitionResult(tp).get();
    }

    static void logDirs(Admin admin) throws Exception {
        String topic = create(admin, "sized", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> p = producer(Map.of())) { send(p, topic, 0, 10); }
        int broker = firstNode(admin).id();
        Map<String, LogDirDescription> dirs = Newer.logDirs(admin, broker);
        same(1, dirs.size(), "log dirs");
        LogDirDescription dir = dirs.values().iterator().next();
        same(null, dir.error(), "error of the log dir");
        eventually(() -> {
            ReplicaInfo replica = Newer.logDirs(admin, broker).values().iterator().next().replicaInfos().get(tp);
            return replica.size() > 100 && replica.offsetLag() == 0;
        }, "size of the log, and no lag");
        TopicPartitionReplica replica = new TopicPartitionReplica(topic, 0, broker);
        String path = dirs.keySet().iterator().next();
        same(path, admin.describeReplicaLogDirs(List.of(replica)).all().get().get(replica).getCurrentReplicaLogDir(), "where the replica is");
        admin.alterReplicaLogDirs(Map.of(replica, path)).all().get(); // where it is already
        fails(LogDirNotFoundException.class, () -> admin.alterReplicaLogDirs(Map.of(replica, "/no/such/dir")).all().get(), "a dir that is not there");
    }

    static void replicas(Admin admin) throws Exception {
        String topic = create(admin, "elected", 1);
        TopicPartition tp = new TopicPartition(topic, 0);
        Optional<Throwable> error = admin.electLeaders(ElectionType.PREFERRED, Set.of(tp)).partitions().get().get(tp);
        check(THREE || error.isPresent() && error.get() instanceof ElectionNotNeededException, "the preferred replica leads already: " + error);
        same(Map.of(), admin.listPartitionReassignments().reassignments().get(), "nothing is being moved");
        List<Integer> replicas = Newer.topic(admin, topic).partitions().get(0).replicas().stream().map(Node::id).collect(Collectors.toList());
        admin.alterPartitionReassignments(Map.of(tp, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
        fails(InvalidReplicaAssignmentException.class,
            () -> admin.alterPartitionReassignments(Map.of(tp, Optional.of(new NewPartitionReassignment(List.of(99))))).all().get(), "a broker that is not there");
        fails(NoReassignmentInProgressException.class, () -> admin.alterPartitionReassignments(Map.of(tp, Optional.empty())).all().get(), "cancel what is not going on");
    }

    static void limits(Admin admin) throws Exception {
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, name("limited")));
        ClientQuotaFilter filter = ClientQuotaFilter.containsOnly(List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, name("limited"))));
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", 1e6))))).all().get();
        eventually(() -> admin.describeClientQuotas(filter).entities().get().equals(Map.of(entity, Map.of("producer_byte_rate", 1e6))), "the limit of a client");
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("producer_byte_rate", null))))).all().get();
        eventually(() -> admin.describeClientQuotas(filter).entities().get().isEmpty(), "the limit is removed");
        fails(InvalidRequestException.class,
            () -> admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(new ClientQuotaAlteration.Op("no_such_limit", 1.0))))).all().get(), "a limit that nobody knows");
    }

    static void security(Admin admin) throws Exception {
        AclBinding acl = new AclBinding(new org.apache.kafka.common.resource.ResourcePattern(org.apache.kafka.common.resource.ResourceType.TOPIC, "t",
            org.apache.kafka.common.resource.PatternType.LITERAL), new AccessControlEntry("User:a", "*", AclOperation.READ, AclPermissionType.ALLOW));
        fails(SecurityDisabledException.class, () -> admin.describeAcls(AclBindingFilter.ANY).values().get(), "describe ACLs without an authorizer");
        fails(SecurityDisabledException.class, () -> admin.createAcls(List.of(acl)).all().get(), "create an ACL without an authorizer");
        fails(SecurityDisabledException.class, () -> admin.deleteAcls(List.of(acl.toFilter())).all().get(), "delete an ACL without an authorizer");
        same(Map.of(), admin.describeUserScramCredentials().all().get(), "credentials");
    }
}
