package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// NewBroker checks static properties and makes the node's configuration of them. A name that
// nobody knows and a value that is not valid are errors; so is what would weaken the
// operator's intent if it were silently left out, such as an authorizer.
func NewBroker(properties map[string]string) (*Broker, Warnings, error) {
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		d, ok := BrokerDef(name)
		if !ok && !hasOpenPrefix(name) || ok && d.Usage == DynamicOnly {
			return nil, Warnings{}, fmt.Errorf("%s", unknownName("broker", name, brokerDefsByName))
		}
		if ok {
			if _, err := d.Parse(properties[name]); err != nil {
				return nil, Warnings{}, err
			}
		}
	}
	v := values(maps.Clone(properties))
	if v == nil {
		v = values{}
	}
	return newBroker(v)
}

// newBroker makes a Broker of values that are valid one by one.
func newBroker(v values) (*Broker, Warnings, error) {
	if err := v.aliasNodeID(); err != nil {
		return nil, Warnings{}, err
	}
	b := &Broker{
		NodeID:                   v.int32("node.id"),
		ClusterID:                v.get("cluster.id").Text,
		Rack:                     v.text(brokerDefs["broker.rack"]),
		RegistrationTimeoutMs:    v.int32("initial.broker.registration.timeout.ms"),
		HTTPListen:               v.get("http.listen").Text,
		ExportClientMetrics:      v.bool("client.metrics.export.enable"),
		TelemetryMaxBytes:        v.int32("telemetry.max.bytes"),
		LogDirs:                  v.get("log.dirs").List,
		NumPartitions:            v.int32("num.partitions"),
		DefaultReplicationFactor: v.int16("default.replication.factor"),
		AutoCreateTopics:         v.bool("auto.create.topics.enable"),
		DeleteTopics:             v.bool("delete.topic.enable"),
		SocketRequestMaxBytes:    v.int32("socket.request.max.bytes"),
		SocketSendBufferBytes:    v.int32("socket.send.buffer.bytes"),
		SocketReceiveBufferBytes: v.int32("socket.receive.buffer.bytes"),
		QueuedMaxRequestBytes:    v.int64("queued.max.request.bytes"),
		ConnectionsMaxIdleMs:     v.int64("connections.max.idle.ms"),
		MaxConnections:           v.int32("max.connections"),
		MaxConnectionsPerIP:      v.int32("max.connections.per.ip"),
		ConnectionCreationRate:   v.int32("max.connection.creation.rate"),
		FetchMaxBytes:            v.int32("fetch.max.bytes"),
		QuotaSamples:             v.int32("quota.window.num"), QuotaSampleSeconds: v.int32("quota.window.size.seconds"),
		ReplicationQuotaSamples: v.int32("replication.quota.window.num"), ReplicationQuotaSampleSeconds: v.int32("replication.quota.window.size.seconds"),
		ControllerQuotaSamples: v.int32("controller.quota.window.num"), ControllerQuotaSampleSeconds: v.int32("controller.quota.window.size.seconds"),
		FetchSessionSlots:       v.int32("max.incremental.fetch.session.cache.slots"),
		MaxPartitionsPerRequest: v.int32("max.request.partition.size.limit"),
		given:                   v,
	}
	if _, given := v["min.insync.replicas"]; given {
		b.MinInSyncReplicas = v.int32("min.insync.replicas")
	}
	b.fillLogs(v)
	b.fillGroups(v)
	b.fillTransactions(v)
	b.fillReplication(v)
	for _, step := range []func(values) error{b.fillRoles, b.fillListeners, b.fillConnectionLimits, b.checkSecurity, b.checkValues} {
		if err := step(v); err != nil {
			return nil, Warnings{}, err
		}
	}
	return b, b.warnings(), nil
}

// aliasNodeID makes node.id and its older name broker.id one value.
func (v values) aliasNodeID() error {
	node, broker := v["node.id"], v["broker.id"]
	switch {
	case node == "" && broker != "":
		v["node.id"] = broker
		if v.int64("broker.id") < 0 {
			return &ValueError{Name: "broker.id", Value: broker, Allowed: "at least 0 is required"}
		}
	case node != "" && broker == "":
		v["broker.id"] = node
	case v.int64("node.id") != v.int64("broker.id") && broker != "":
		return fmt.Errorf("node.id is %s and broker.id is %s: they must be the same", node, broker)
	}
	return nil
}

func (b *Broker) fillLogs(v values) {
	if len(b.LogDirs) == 0 {
		b.LogDirs = v.get("log.dir").List
	}
	if b.MetadataLogDir = v.get("metadata.log.dir").Text; b.MetadataLogDir == "" {
		b.MetadataLogDir = b.LogDirs[0]
	}
	if b.CordonedLogDirs = v.get("cordoned.log.dirs").List; slices.Equal(b.CordonedLogDirs, []string{"*"}) {
		b.CordonedLogDirs = b.LogDirs
	}
	b.RetentionCheckIntervalMs = v.int64("log.retention.check.interval.ms")
	b.LogStartOffsetCheckpointIntervalMs = v.int32("log.flush.start.offset.checkpoint.interval.ms")
	b.RecoveryThreadsPerDir = v.int32("num.recovery.threads.per.data.dir")
	b.ProducerIDExpirationMs = v.int32("producer.id.expiration.ms")
	b.VerifyTransactionPartitions = v.bool("transaction.partition.verification.enable")
	b.ReserveBytes = v.int64("log.reserve.bytes")
	b.CleanerEnabled = v.bool("log.cleaner.enable")
	b.CleanerThreads = v.int32("log.cleaner.threads")
	b.CleanerDedupeBufferBytes = v.int64("log.cleaner.dedupe.buffer.size")
	b.CleanerLoadFactor = v.get("log.cleaner.io.buffer.load.factor").Double
	b.CleanerIOBufferBytes = v.int32("log.cleaner.io.buffer.size")
	b.CleanerIOBytesPerSecond = v.get("log.cleaner.io.max.bytes.per.second").Double
	b.CleanerBackoffMs = v.int64("log.cleaner.backoff.ms")
	b.MetadataSegmentBytes = v.int32("metadata.log.segment.bytes")
	b.MetadataMaxBytesBetweenSnapshots = v.int64("metadata.log.max.record.bytes.between.snapshots")
	b.MetadataMaxSnapshotIntervalMs = v.int64("metadata.log.max.snapshot.interval.ms")
}

func (b *Broker) fillGroups(v values) {
	b.OffsetsCommitTimeoutMs = v.int32("offsets.commit.timeout.ms")
	b.GroupMinSessionTimeoutMs = v.int32("group.min.session.timeout.ms")
	b.GroupMaxSessionTimeoutMs = v.int32("group.max.session.timeout.ms")
	b.GroupInitialRebalanceDelayMs = v.int32("group.initial.rebalance.delay.ms")
	b.GroupMaxSize = v.int32("group.max.size")
	b.OffsetMetadataMaxBytes = v.int32("offset.metadata.max.bytes")
	b.OffsetsRetentionMinutes = v.int32("offsets.retention.minutes")
	b.OffsetsRetentionCheckMs = v.int64("offsets.retention.check.interval.ms")
	b.OffsetsTopicPartitions = v.int32("offsets.topic.num.partitions")
	b.OffsetsTopicReplicationFactor = v.int16("offsets.topic.replication.factor")
	b.OffsetsTopicSegmentBytes = v.int32("offsets.topic.segment.bytes")
}

func (b *Broker) fillTransactions(v values) {
	b.AddPartitionsRetryBackoffMs = v.int32("add.partitions.to.txn.retry.backoff.ms")
	b.AddPartitionsRetryBackoffMaxMs = v.int32("add.partitions.to.txn.retry.backoff.max.ms")
	b.TransactionAbortCheckIntervalMs = v.int32("transaction.abort.timed.out.transaction.cleanup.interval.ms")
	b.TransactionMaxTimeoutMs = v.int32("transaction.max.timeout.ms")
	b.TransactionExpiryCheckIntervalMs = v.int32("transaction.remove.expired.transaction.cleanup.interval.ms")
	b.TransactionalIDExpirationMs = v.int32("transactional.id.expiration.ms")
	b.TransactionTopicPartitions = v.int32("transaction.state.log.num.partitions")
	b.TransactionTopicReplicationFactor = v.int16("transaction.state.log.replication.factor")
	b.TransactionTopicSegmentBytes = v.int32("transaction.state.log.segment.bytes")
	b.TransactionTopicMinInSyncReplicas = v.int32("transaction.state.log.min.isr")
}

// defaultSessionTimeoutMs is shorter than Kafka's nine seconds: heartbeats come every 100 ms.
const defaultSessionTimeoutMs = 1_500

func (b *Broker) fillReplication(v values) {
	b.BrokerSessionTimeoutMs = defaultSessionTimeoutMs
	if _, given := v["broker.session.timeout.ms"]; given {
		b.BrokerSessionTimeoutMs = v.int32("broker.session.timeout.ms")
	}
	b.Balancer = v.balancer()
	b.LeaderRebalance = v.bool("auto.leader.rebalance.enable")
	b.LeaderImbalanceCheckSeconds = v.int64("leader.imbalance.check.interval.seconds")
	b.ReplicaLagMaxMs = v.int64("replica.lag.time.max.ms")
	b.ReplicaFetchWaitMaxMs = v.int32("replica.fetch.wait.max.ms")
	b.ReplicaFetchMinBytes = v.int32("replica.fetch.min.bytes")
	b.ReplicaFetchMaxBytes = v.int32("replica.fetch.max.bytes")
	b.ReplicaFetchResponseMaxBytes = v.int32("replica.fetch.response.max.bytes")
	b.ReplicaFetchBackoffMs = v.int32("replica.fetch.backoff.ms")
	b.ReplicaSocketTimeoutMs = v.int32("replica.socket.timeout.ms")
	b.ReplicaSelector = v.get("replica.selector.class").Text
}

func (b *Broker) fillListeners(v values) error {
	protocols, err := parseProtocolMap(v.get("listener.security.protocol.map").Text)
	if err != nil {
		return err
	}
	controllerNames := v.get("controller.listener.names").List
	for i, name := range controllerNames {
		controllerNames[i] = strings.ToUpper(name)
		// Kafka too serves a controller listener in plain text where no map is given.
		if _, ok := v["listener.security.protocol.map"]; !ok && protocols[controllerNames[i]] == "" {
			protocols[controllerNames[i]] = plaintext
		}
	}
	all, err := parseListeners("listeners", v.get("listeners").List, protocols)
	if err != nil {
		return err
	}
	if err := checkPorts(all); err != nil {
		return err
	}
	for _, l := range all {
		if l.Protocol != plaintext {
			return &ValueError{Name: "listeners", Value: l.String(), Allowed: fmt.Sprintf("the security protocol %s is not supported yet, only PLAINTEXT", l.Protocol)}
		}
		if slices.Contains(controllerNames, l.Name) {
			b.ControllerListeners = append(b.ControllerListeners, l)
		} else {
			b.Listeners = append(b.Listeners, l)
		}
	}
	if err := b.checkListeners(v, controllerNames, protocols); err != nil {
		return err
	}
	b.ControllerListenerNames = controllerNames
	return b.fillAdvertised(v, protocols)
}

func (b *Broker) fillAdvertised(v values, protocols map[string]string) error {
	b.AdvertisedListeners, b.AdvertisedControllerListeners = slices.Clone(b.Listeners), slices.Clone(b.ControllerListeners)
	if v["advertised.listeners"] != "" {
		advertised, err := parseListeners("advertised.listeners", v.get("advertised.listeners").List, protocols)
		if err != nil {
			return err
		}
		b.AdvertisedListeners = nil
		for _, l := range advertised {
			of := func(c Listener) bool { return c.Name == l.Name }
			if hasListener(b.Listeners, l.Name) {
				b.AdvertisedListeners = append(b.AdvertisedListeners, l)
			} else if at := slices.IndexFunc(b.AdvertisedControllerListeners, of); at >= 0 {
				b.AdvertisedControllerListeners[at] = l
			} else {
				return &ValueError{Name: "advertised.listeners", Value: l.String(), Allowed: "each must have the name of one of listeners"}
			}
		}
	}
	for i, l := range b.AdvertisedControllerListeners {
		if l.Host == "0.0.0.0" || l.Host == "::" {
			b.AdvertisedControllerListeners[i].Host = "" // as in Kafka this machine's name takes its place
		}
	}
	for _, l := range b.AdvertisedListeners {
		if l.Host == "0.0.0.0" || l.Host == "::" {
			return &ValueError{Name: "advertised.listeners", Value: l.String(), Allowed: "an address that clients can connect to is required; set advertised.listeners"}
		}
	}
	return b.fillInterBroker(v)
}

func (b *Broker) fillInterBroker(v values) error {
	isAdvertised := func(name string) bool { return hasListener(b.AdvertisedListeners, name) }
	if b.IsBroker && len(b.AdvertisedListeners) == 0 {
		return &ValueError{Name: "advertised.listeners", Value: v.get("advertised.listeners").Text, Allowed: "at least one must not be in controller.listener.names"}
	}
	b.InterBrokerListener = strings.ToUpper(v.get("inter.broker.listener.name").Text)
	if b.InterBrokerListener != "" && v["security.inter.broker.protocol"] != "" {
		return fmt.Errorf("inter.broker.listener.name and security.inter.broker.protocol are both given: only one may be")
	}
	if b.InterBrokerListener == "" {
		b.InterBrokerListener = v.get("security.inter.broker.protocol").Text
		if v["security.inter.broker.protocol"] == "" && b.IsBroker && !b.IsClustered() && !isAdvertised(b.InterBrokerListener) {
			// With one node nobody connects to it: the first listener serves as its name.
			b.InterBrokerListener = b.AdvertisedListeners[0].Name
		}
	}
	if !b.IsBroker {
		if slices.Contains(b.ControllerListenerNames, b.InterBrokerListener) && v["inter.broker.listener.name"] != "" {
			return &ValueError{Name: "inter.broker.listener.name", Value: b.InterBrokerListener, Allowed: "a name that is not in controller.listener.names is required"}
		}
		return nil
	}
	if !isAdvertised(b.InterBrokerListener) {
		return &ValueError{Name: "inter.broker.listener.name", Value: b.InterBrokerListener, Allowed: "the name of one of advertised.listeners is required"}
	}
	return nil
}

func (b *Broker) fillConnectionLimits(v values) error {
	b.ListenerConnectionRates, b.ListenerMaxConnections = map[string]int32{}, map[string]int32{}
	for _, l := range slices.Concat(b.Listeners, b.ControllerListeners) {
		b.ListenerConnectionRates[l.Name] = v.int32OfListener(l.Name, "max.connection.creation.rate")
		b.ListenerMaxConnections[l.Name] = v.int32OfListener(l.Name, "max.connections")
	}
	b.MaxConnectionsPerIPOverrides = map[string]int32{}
	text := v.get("max.connections.per.ip.overrides").Text
	if text == "" {
		return nil
	}
	for item := range strings.SplitSeq(text, ",") {
		colon := strings.LastIndexByte(item, ':')
		if colon < 0 {
			colon = len(item)
		}
		address, limit := strings.TrimSpace(item[:colon]), strings.TrimPrefix(item[colon:], ":")
		n, err := strconv.ParseInt(strings.TrimSpace(limit), 10, 32)
		if err != nil || address == "" {
			return &ValueError{Name: "max.connections.per.ip.overrides", Value: item, Allowed: "address:number is required"}
		}
		b.MaxConnectionsPerIPOverrides[address] = int32(n)
	}
	return nil
}

// checkSecurity refuses what would let everybody in against the operator's intent.
func (b *Broker) checkSecurity(v values) error {
	if authorizer := v.get("authorizer.class.name").Text; authorizer != "" {
		return &ValueError{Name: "authorizer.class.name", Value: authorizer, Allowed: "authorization is not supported yet, and every client would be let in"}
	}
	return nil
}

// checkValues checks what single values cannot tell.
func (b *Broker) checkValues(v values) error {
	bad := func(name, allowed string) error {
		return &ValueError{Name: name, Value: v.get(name).Text, Allowed: allowed}
	}
	for _, name := range []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"} {
		if v[name] != "" && v.int64(name) == 0 {
			return bad(name, "at least 1, or -1 for no limit, is required")
		}
	}
	for _, d := range topicDefsByName { // as the defaults of topics they must be valid too
		if text, name := topicFallback(d, v); text != nil {
			if invalid, ok := errors.AsType[*ValueError](d.check(*text)); ok {
				return bad(name, invalid.Allowed)
			}
		}
	}
	if v.int64("log.cleaner.min.compaction.lag.ms") > v.int64("log.cleaner.max.compaction.lag.ms") {
		return bad("log.cleaner.min.compaction.lag.ms", "at most log.cleaner.max.compaction.lag.ms is required")
	}
	if threads := int64(b.CleanerThreads); threads > 0 && b.CleanerDedupeBufferBytes/threads <= leastDedupeBytes {
		return bad("log.cleaner.dedupe.buffer.size", "more than 1 MiB for each of log.cleaner.threads is required")
	}
	for _, dir := range b.CordonedLogDirs {
		if !slices.Contains(b.LogDirs, dir) {
			return bad("cordoned.log.dirs", "each must be one of log.dirs, or * alone for all of them")
		}
	}
	if n := b.QueuedMaxRequestBytes; n > 0 && n < int64(b.SocketRequestMaxBytes) {
		return bad("queued.max.request.bytes", "at least socket.request.max.bytes is required")
	}
	if b.GroupMinSessionTimeoutMs > b.GroupMaxSessionTimeoutMs {
		return bad("group.min.session.timeout.ms", "at most group.max.session.timeout.ms is required")
	}
	if err := v.checkGroupDefaults(); err != nil {
		return err
	}
	if b.ExportClientMetrics && b.HTTPListen == "" {
		return bad("client.metrics.export.enable", "http.listen, where the metrics are shown, is required")
	}
	if b.ReplicaFetchWaitMaxMs > b.ReplicaSocketTimeoutMs {
		return bad("replica.fetch.wait.max.ms", "at most replica.socket.timeout.ms is required")
	}
	if int64(b.ReplicaFetchWaitMaxMs) > b.ReplicaLagMaxMs {
		return bad("replica.fetch.wait.max.ms", "at most replica.lag.time.max.ms is required, or in-sync replicas would come and go")
	}
	if b.DefaultReplicationFactor < 1 {
		return bad("default.replication.factor", "at least 1 is required")
	}
	if b.MaxConnectionsPerIP == 0 && len(b.MaxConnectionsPerIPOverrides) == 0 {
		return bad("max.connections.per.ip", "at least 1 is required where max.connections.per.ip.overrides is not given")
	}
	return nil
}

// leastDedupeBytes is what a thread of the cleaner must have for its keys, and more.
const leastDedupeBytes = 1 << 20

// warnings names the given properties without use.
func (b *Broker) warnings() Warnings {
	var w Warnings
	for _, name := range slices.Sorted(maps.Keys(b.given)) {
		d := brokerDefs[name]
		if d == nil || d.Usage != Used {
			w.Unused = append(w.Unused, name)
		}
	}
	return w
}
