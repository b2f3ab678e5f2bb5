package script

import "slices"

// Differences returns all that are meant.
func Differences() []Difference {
	return slices.Concat(frameDifferences(), recordDifferences(), otherDifferences())
}

func frameDifferences() []Difference {
	return []Difference{
		{
			"frames: a compact length below that of null, a negative number of tags", "taken as null, as no tags", "the connection is closed",
			[]*rule{instead(`frame: (-1 tags|.* length -2$)`, `^`, `^closes the connection`)},
		},
		{
			"requests that get lost in Apache Kafka: null records, a protocol, resource or marker's partition named twice, metadata of a member that is no subscription, null transactions", "never answered", "answered, or refused",
			[]*rule{instead(``, `^no answer`, `^(Topics|Generation|Markers|Resources|empty|closes)`)},
		},
		{
			"a tag twice or out of order in the header of a change of configs", "UNKNOWN_SERVER_ERROR", "passed over",
			[]*rule{in(`^(Alter|IncrementalAlter)Configs .*(tags in the header out of order|tag twice in the header)`, `ErrorCode=UNKNOWN_SERVER_ERROR `, ``)},
		},
		{
			"a topic without partitions", "left out of the answer", "in the answer",
			[]*rule{instead(`^(Produce|ListOffsets|OffsetCommit) .*(Partitions=null|Partitions one shorter)$`, `^empty`, `^Topics=\[\{Topic(ID)?=[^}]*\}\]`)},
		},
		{
			"a topic, partition, resource or marker named twice", "answered once; twice by DescribeConfigs", "answered as often as named; once by DescribeConfigs",
			[]*rule{
				instead(`^(Produce|ListOffsets|OffsetDelete|WriteTxnMarkers|DescribeConfigs) .* twice$`, `^(Topics|Markers|Resources)=`, `^(Topics|Markers|Resources)=`),
				instead(`^DeleteTopics .* by name and by id$`, `INVALID_REQUEST`, `INVALID_REQUEST.*INVALID_REQUEST`),
			},
		},
		{
			"messages beside error codes", "often null or empty", "say what is wrong", nil, // see saysMore
		},
	}
}

func recordDifferences() []Difference {
	return []Difference{
		{
			"produce: unknown codec", "UNKNOWN_SERVER_ERROR", "UNSUPPORTED_COMPRESSION_TYPE",
			[]*rule{instead(`^Produce .* codec [57]$`, `UNKNOWN_SERVER_ERROR`, `ErrorCode=UNSUPPORTED_COMPRESSION_TYPE.*<\+0>`)},
		},
		{
			"produce: the LogAppendTime bit is set", "cleared silently", "INVALID_TIMESTAMP",
			[]*rule{instead(`^Produce .* append time bit$`, `BaseOffset=<\+0>`, `ErrorCode=INVALID_TIMESTAMP.*Offset=<\+0>`)},
		},
		{
			"produce: bytes after the batch", "ignored", "INVALID_RECORD",
			[]*rule{instead(`^Produce .* byte too many$`, `BaseOffset=<\+0>`, `ErrorCode=INVALID_RECORD.*Offset=<\+0>`)},
		},
		{
			"produce: a batch with a delete horizon, records whose offsets are not in order", "taken", "INVALID_RECORD",
			[]*rule{instead(`^Produce .* (delete horizon bit|record offset that lies)$`, `BaseOffset=<\+0>`, `ErrorCode=INVALID_RECORD.*Offset=<\+0>`)},
		},
		{
			"produce: records that cannot be decompressed", "UNKNOWN_SERVER_ERROR", "INVALID_RECORD",
			[]*rule{instead(`^Produce .* that is none$`, `ErrorCode=UNKNOWN_SERVER_ERROR`, `ErrorCode=INVALID_RECORD.*Offset=<\+0>`)},
		},
		{
			"produce: a length of the batch that is too short, a magic byte that no format has", "CORRUPT_MESSAGE", "INVALID_RECORD",
			[]*rule{instead(`^Produce .* (length too short|magic -1|Records=noise)$`, `ErrorCode=CORRUPT_MESSAGE`, `ErrorCode=INVALID_RECORD.*Offset=<\+0>`)},
		},
		{
			"produce: refusals of the request's form", "log start offset -1", "log start offset",
			[]*rule{in(`^Produce v([5-9]|1\d) `, `ErrorCode=INVALID_RECORD BaseOffset=-1 LogAppendTime=-1 LogStartOffset=-1`, `ErrorCode=INVALID_RECORD BaseOffset=-1 LogAppendTime=-1`)},
		},
		{
			"fetch and ListOffsets: unknown isolation levels; fetch: negative limits of bytes", "UNKNOWN_SERVER_ERROR", "taken as read_uncommitted, as 0",
			[]*rule{instead(`^(Fetch|ListOffsets) .* (IsolationLevel|MaxBytes|PartitionMaxBytes|Topics.Partitions.PartitionMaxBytes)=`, `ErrorCode=UNKNOWN_SERVER_ERROR`, `^Topics=\[\{Topic[^E]*Partitions=\[\{(HighWatermark|Timestamp)`)},
		},
		{
			"fetch: a session id without a session", "UNKNOWN_SERVER_ERROR for the lowest and the highest", "no session",
			[]*rule{instead(`^Fetch .* SessionID=-?21474836`, `ErrorCode=UNKNOWN_SERVER_ERROR`, `^Topics=`)},
		},
		{
			"leader epochs below -1, in Fetch and OffsetForLeaderEpoch", "as none given, the log's start", "an epoch that never was",
			[]*rule{
				instead(`^Fetch .*CurrentLeaderEpoch=-2`, `HighWatermark=7`, `FENCED_LEADER_EPOCH`),
				instead(`^Fetch .*LastFetchedEpoch=-2`, `HighWatermark=7`, `OFFSET_OUT_OF_RANGE`),
				in(`^OffsetForLeaderEpoch .*\.LeaderEpoch=-2`, `LeaderEpoch=-\d+\}`, `LeaderEpoch=-1 EndOffset=-1}`),
			},
		},
		{
			"fetch: tagged fields that only later versions have", "the connection is closed", "passed over",
			[]*rule{instead(`^Fetch v1[2-7] `, `^closes the connection`, `^Topics=`)},
		},
		{
			"WriteTxnMarkers: negative producer ids, epochs and transaction versions", "written, or UNKNOWN_SERVER_ERROR", "INVALID_REQUEST, INVALID_PRODUCER_EPOCH",
			[]*rule{instead(`^WriteTxnMarkers .*=-`, `^Markers=`, `ErrorCode=INVALID_(REQUEST|PRODUCER_EPOCH).*Offset=<\+0>`)},
		},
	}
}

func otherDifferences() []Difference {
	return []Difference{
		{
			"Metadata that may create topics", "answered before they are there: UNKNOWN_TOPIC_OR_PARTITION", "answered when they are there",
			[]*rule{in(`^Metadata v[0-3] Topics.Topic=~nobody$`, `ErrorCode=UNKNOWN_TOPIC_OR_PARTITION Topic="~nobody" Aut`, `Topic="~nobody" Partitions=[{Leader=1 LeaderEpoch=-1 Replicas=[1] ISR=[1]}] Aut`)},
		},
		{
			"Metadata 12 and above: a topic with neither name nor id; CreatePartitions: more than 10,000", "UNKNOWN_SERVER_ERROR", "INVALID_REQUEST, POLICY_VIOLATION",
			[]*rule{
				in(`^Metadata v1[23] (no name and no id|Topics.Topic=null)$`, `UNKNOWN_SERVER_ERROR`, `INVALID_REQUEST`),
				in(`^CreatePartitions .* Topics.Count=10003$`, `UNKNOWN_SERVER_ERROR`, `POLICY_VIOLATION`),
			},
		},
		{
			"DescribeTopicPartitions: an empty name", "UNKNOWN_SERVER_ERROR for all topics", "INVALID_TOPIC_EXCEPTION for it",
			[]*rule{instead(`^DescribeTopicPartitions .* Topics.Topic=empty$`, `UNKNOWN_SERVER_ERROR.*UNKNOWN_SERVER_ERROR`, `^Topics=\[\{ErrorCode=INVALID_TOPIC_EXCEPTION [^E]*Partitions`)},
		},
		{
			"`min.insync.replicas` in describe", "stored for the whole cluster, since eligible leader replicas are on", "a default",
			[]*rule{in(`^(CreateTopics|DescribeConfigs) `, `(\{Name="min.insync.replicas" Value="1" Source=)3`, `${1}5`)},
		},
		{
			"values of configs in the answer of CreateTopics", "as they were given", "as they were understood: without spaces around, `true` for `TRUE`",
			[]*rule{in(`^CreateTopics .* config `, `Value=" 5 "`, `Value="5"`), in(`^CreateTopics .* config `, `Value="TRUE"`, `Value="true"`)},
		},
		{
			"unknown operation in IncrementalAlterConfigs", "UNKNOWN_SERVER_ERROR", "INVALID_REQUEST",
			[]*rule{in(`^IncrementalAlterConfigs .*(unknown operation|Op=|Name one shorter)`, `UNKNOWN_SERVER_ERROR`, `INVALID_REQUEST`)},
		},
		{
			"JoinGroup: a dynamic member id and an instance id that has never joined", "UNKNOWN_SERVER_ERROR", "UNKNOWN_MEMBER_ID",
			[]*rule{instead(`^JoinGroup .* InstanceID=`, `^ErrorCode=UNKNOWN_SERVER_ERROR`, `^ErrorCode=UNKNOWN_MEMBER_ID`)},
		},
		{
			"CreateDelegationToken: an owner's name without a type", "UNKNOWN_SERVER_ERROR", "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
			[]*rule{in(`^CreateDelegationToken v3 OwnerPrincipalName=`, `UNKNOWN_SERVER_ERROR`, `DELEGATION_TOKEN_REQUEST_NOT_ALLOWED`)},
		},
		{
			"PushTelemetry: metrics that cannot be read", "taken, where no plug-in wants them", "INVALID_RECORD",
			[]*rule{in(`^PushTelemetry .*(CompressionType=[134]|Metrics=one byte)$`, `^empty$`, `ErrorCode=INVALID_RECORD`)},
		},
		{
			"AlterUserScramCredentials", "stored, also where no listener asks for them", "SECURITY_DISABLED",
			[]*rule{instead(`^AlterUserScramCredentials `, `^`, `^(Results=\[.*SECURITY_DISABLED|closes the connection$|empty$)`)},
		},
		{
			"AlterPartitionReassignments: a time-out below 0", "REQUEST_TIMED_OUT, also for each partition", "REQUEST_TIMED_OUT",
			[]*rule{in(`^AlterPartitionReassignments .* TimeoutMillis=-`, ` Topics=.*`, ``)},
		},
		{
			"UpdateFeatures: a time-out below 0", "counts for nothing", "REQUEST_TIMED_OUT",
			[]*rule{instead(`^UpdateFeatures .* TimeoutMillis=-`, `^(Results|empty)`, `^ErrorCode=REQUEST_TIMED_OUT`)},
		},
	}
}
