package kafka

// Special values of the protocol.
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoOffset        int64 = -1
	NoTimestamp     int64 = -1
	NoLeaderEpoch   int32 = -1
	NoBrokerEpoch   int64 = -1
	NoLeader        int32 = -1
	NoNode          int32 = -1
)

// Timestamps that ListOffsets takes as questions.
const (
	LatestTimestamp                int64 = -1
	EarliestTimestamp              int64 = -2
	MaxTimestamp                   int64 = -3
	EarliestLocalTimestamp         int64 = -4
	LatestTieredTimestamp          int64 = -5
	EarliestPendingUploadTimestamp int64 = -6
)

// IsolationLevel is what a consumer may see of open transactions.
type IsolationLevel int8

const (
	ReadUncommitted IsolationLevel = 0
	ReadCommitted   IsolationLevel = 1
	// ReadToEnd is between brokers only: what is not committed, too, of leaders and followers alike.
	ReadToEnd IsolationLevel = 2
)

// ConfigResourceType is the kind of thing a config belongs to.
type ConfigResourceType int8

const (
	ConfigResourceUnknown       ConfigResourceType = 0
	ConfigResourceTopic         ConfigResourceType = 2
	ConfigResourceBroker        ConfigResourceType = 4
	ConfigResourceBrokerLogger  ConfigResourceType = 8
	ConfigResourceClientMetrics ConfigResourceType = 16
	ConfigResourceGroup         ConfigResourceType = 32
)

// ConfigResource names one thing that has configs; an empty broker name is the
// cluster-wide default.
type ConfigResource struct {
	Type ConfigResourceType
	Name string
}

// ConfigSource says where a config's value comes from (DescribeConfigs).
type ConfigSource int8

const (
	ConfigSourceUnknown              ConfigSource = 0
	ConfigSourceDynamicTopic         ConfigSource = 1
	ConfigSourceDynamicBroker        ConfigSource = 2
	ConfigSourceDynamicDefaultBroker ConfigSource = 3
	ConfigSourceStaticBroker         ConfigSource = 4
	ConfigSourceDefault              ConfigSource = 5
	ConfigSourceDynamicBrokerLogger  ConfigSource = 6
	ConfigSourceClientMetrics        ConfigSource = 7
	ConfigSourceGroup                ConfigSource = 8
)
