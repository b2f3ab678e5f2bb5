package config

// Broker is a node's own configuration: typed fields for what this version uses.
type Broker struct {
	NodeID    int32
	ClusterID string // "" where it is not given
	Rack      *string
	// Of a cluster of several nodes.
	BrokerSessionTimeoutMs       int32 // 1,500 where it is not given
	LeaderRebalance              bool  // auto.leader.rebalance.enable
	LeaderImbalanceCheckSeconds  int64
	ReplicaLagMaxMs              int64
	ReplicaFetchWaitMaxMs        int32
	ReplicaFetchMinBytes         int32
	ReplicaFetchMaxBytes         int32
	ReplicaFetchResponseMaxBytes int32
	ReplicaFetchBackoffMs        int32
	ReplicaSocketTimeoutMs       int32
	ReplicaSelector              string
	Balancer                     Balancer
	// RegistrationTimeoutMs is initial.broker.registration.timeout.ms.
	RegistrationTimeoutMs int32

	// IsBroker and IsController are process.roles; at least one is true.
	IsBroker, IsController bool
	// QuorumVoters are controller.quorum.voters, QuorumServers controller.quorum.bootstrap.servers.
	QuorumVoters, QuorumServers []QuorumAddress
	// AutoJoin says that a controller adds itself to the voters (KIP-853).
	AutoJoin bool
	// ControllerListenerNames are those of the controllers, wherever they are.
	ControllerListenerNames []string

	Listeners           []Listener // that clients and brokers connect to; a broker has at least one
	ControllerListeners []Listener // that ask the controller directly; there may be none
	AdvertisedListeners []Listener // of Listeners; an empty Host is for the caller to fill in
	// AdvertisedControllerListeners are those of ControllerListeners, likewise.
	AdvertisedControllerListeners []Listener
	InterBrokerListener           string
	HTTPListen                    string // "" turns the HTTP listener off
	// ExportClientMetrics says that clients may push their metrics, TelemetryMaxBytes at a time.
	ExportClientMetrics bool
	TelemetryMaxBytes   int32

	LogDirs         []string
	CordonedLogDirs []string // of LogDirs, those that get no new replicas
	MetadataLogDir  string

	// Topics. Replication factors left at their defaults are min(3, brokers) (DESIGN decision
	// 13): whoever creates a topic caps them unless Explicit says that the operator chose.
	NumPartitions            int32
	DefaultReplicationFactor int16
	// MinInSyncReplicas is this node's min.insync.replicas, 0 where it is not given: the controller stores it
	// for the cluster.
	MinInSyncReplicas int32
	AutoCreateTopics  bool
	DeleteTopics      bool

	// Network.
	SocketRequestMaxBytes        int32
	SocketSendBufferBytes        int32
	SocketReceiveBufferBytes     int32
	QueuedMaxRequestBytes        int64 // -1: no setting
	ConnectionsMaxIdleMs         int64
	MaxConnections               int32
	MaxConnectionsPerIP          int32
	ConnectionCreationRate       int32
	MaxConnectionsPerIPOverrides map[string]int32
	// By listener; those without settings of their own have the broker's.
	ListenerConnectionRates map[string]int32
	ListenerMaxConnections  map[string]int32
	FetchMaxBytes           int32
	FetchSessionSlots       int32
	MaxPartitionsPerRequest int32 // max.request.partition.size.limit

	// Quotas.
	QuotaSamples                  int32
	QuotaSampleSeconds            int32
	ControllerQuotaSamples        int32
	ReplicationQuotaSamples       int32
	ReplicationQuotaSampleSeconds int32
	ControllerQuotaSampleSeconds  int32

	// Log maintenance.
	RetentionCheckIntervalMs           int64
	LogStartOffsetCheckpointIntervalMs int32
	RecoveryThreadsPerDir              int32
	ProducerIDExpirationMs             int32
	VerifyTransactionPartitions        bool

	ReserveBytes int64 // log.reserve.bytes

	// Compaction.
	CleanerEnabled           bool
	CleanerThreads           int32
	CleanerDedupeBufferBytes int64
	CleanerLoadFactor        float64
	CleanerIOBufferBytes     int32
	CleanerIOBytesPerSecond  float64
	CleanerBackoffMs         int64

	// Metadata log.
	MetadataSegmentBytes             int32
	MetadataMaxBytesBetweenSnapshots int64
	MetadataMaxSnapshotIntervalMs    int64

	// Groups and their offsets.
	OffsetsCommitTimeoutMs        int32
	GroupMinSessionTimeoutMs      int32
	GroupMaxSessionTimeoutMs      int32
	GroupInitialRebalanceDelayMs  int32
	GroupMaxSize                  int32
	OffsetMetadataMaxBytes        int32
	OffsetsRetentionMinutes       int32
	OffsetsRetentionCheckMs       int64
	OffsetsTopicPartitions        int32
	OffsetsTopicReplicationFactor int16
	OffsetsTopicSegmentBytes      int32

	// Transactions.
	AddPartitionsRetryBackoffMs       int32
	AddPartitionsRetryBackoffMaxMs    int32
	TransactionAbortCheckIntervalMs   int32
	TransactionMaxTimeoutMs           int32
	TransactionExpiryCheckIntervalMs  int32
	TransactionalIDExpirationMs       int32
	TransactionTopicPartitions        int32
	TransactionTopicReplicationFactor int16
	TransactionTopicSegmentBytes      int32
	TransactionTopicMinInSyncReplicas int32

	given map[string]string // static properties as written
}

// Warnings are remarks on a valid configuration.
type Warnings struct {
	// Unused are the given properties that this version accepts and makes no use of, by name.
	Unused []string
}

// Explicit reports whether a static property was given (and not left at its default).
func (b *Broker) Explicit(name string) bool {
	_, ok := b.given[name]
	return ok
}
