package config

// groupResourceRows are the configs of single groups. Those of a group protocol that is not
// served are kept for when it is.
var groupResourceRows = []row{
	{"consumer.assignment.interval.ms", Int, "1000", atLeast(0), Medium, ClusterWide, Unused, "Time between two assignments of the consumer group."},
	{"consumer.heartbeat.interval.ms", Int, "5000", atLeast(1), Medium, ClusterWide, Unused, "Heartbeat interval of the consumer group."},
	{"consumer.session.timeout.ms", Int, "45000", atLeast(1), Medium, ClusterWide, Unused, "Session time-out of the consumer group."},
	{"share.assignment.interval.ms", Int, "1000", atLeast(0), Medium, ClusterWide, Unused, "Time between two assignments of the share group."},
	{"share.auto.offset.reset", String, "latest", offsetReset(), Medium, ClusterWide, Unused, "Where the share group begins to read: earliest, latest, or by_duration:PnDTnHnMn.nS before now."},
	{"share.delivery.count.limit", Int, "5", atLeast(2), Medium, ClusterWide, Unused, "Deliveries of a record to the share group before it counts as undeliverable."},
	{"share.heartbeat.interval.ms", Int, "5000", atLeast(1), Medium, ClusterWide, Unused, "Heartbeat interval of the share group."},
	{"share.isolation.level", String, "read_uncommitted", oneOf("read_committed", "read_uncommitted"), Medium, ClusterWide, Unused, "Whether the share group sees records of open and aborted transactions."},
	{"share.partition.max.record.locks", Int, "2000", atLeast(100), Medium, ClusterWide, Unused, "Records of one partition that the share group may have acquired at a time."},
	{"share.record.lock.duration.ms", Int, "30000", atLeast(1000), Medium, ClusterWide, Unused, "Time that a consumer of the share group has for a record."},
	{"share.renew.acknowledge.enable", Bool, "true", Validator{}, Medium, ClusterWide, Unused, "Whether consumers of the share group may prolong the time they have for a record."},
	{"share.session.timeout.ms", Int, "45000", atLeast(1), Medium, ClusterWide, Unused, "Session time-out of the share group."},
	{"streams.assignment.interval.ms", Int, "1000", atLeast(0), Medium, ClusterWide, Unused, "Time between two assignments of the streams group."},
	{"streams.heartbeat.interval.ms", Int, "5000", atLeast(1), Medium, ClusterWide, Unused, "Heartbeat interval of the streams group."},
	{"streams.initial.rebalance.delay.ms", Int, "3000", atLeast(0), Medium, ClusterWide, Unused, "Time for which the new streams group waits for more members."},
	{"streams.num.standby.replicas", Int, "0", atLeast(0), Medium, ClusterWide, Unused, "Standby replicas of a task of the streams group."},
	{"streams.session.timeout.ms", Int, "45000", atLeast(1), Medium, ClusterWide, Unused, "Session time-out of the streams group."},
}

// clientMetricsRows are the configs of client metrics subscriptions (KIP-714).
var clientMetricsRows = []row{
	{"interval.ms", Int, "300000", Validator{}, Medium, ClusterWide, Used, "Time between two pushes of a client's metrics, from 100 to 3600000."},
	{"match", List, "", listOf(), Medium, ClusterWide, Used, "Which clients are meant: selector=regular expression, all of which must match; every client where there is none."},
	{"metrics", List, "", listOf(), Medium, ClusterWide, Used, "Prefixes of the names of the metrics that clients push; * for all of them."},
}
