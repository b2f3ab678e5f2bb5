package config

// moldauRows are the broker configs that Apache Kafka does not have.
var moldauRows = []row{
	{"cluster.id", String, null, nonEmpty(), Medium, ReadOnly, Used, "Id of the cluster; a new cluster gives itself one where it is not given, and data of another cluster is refused."},
	{"client.metrics.export.enable", Bool, "false", Validator{}, Medium, ReadOnly, Used, "Whether clients may push their metrics (KIP-714), which are then shown with the node's own at http.listen."},
	{"log.reserve.bytes", Long, "268435456", atLeast(0), Medium, ReadOnly, Used, "Bytes of a log dir's volume that clients may not fill, at most a tenth of it; below them appends are refused. 0 turns the guard off."},
	{"moldau.balancer.concurrent.partitions", Int, "10", between(1, 1000), Medium, ClusterWide, Used, "Partitions that the balancer moves at the same time."},
	{"moldau.balancer.copy.bytes.per.second", Long, "52428800", atLeast(1048576), Medium, ClusterWide, Used, "Bytes a second that a broker copies at most of replicas that the balancer gives it, beside what is produced to them meanwhile; fewer where clients would wait longer."},
	{"moldau.balancer.dead.broker.timeout.ms", Long, "3600000", atLeast(-1), Medium, ClusterWide, Used, "Time after which the replicas of a broker that is not there are made anew on others; -1 leaves that to the operator."},
	{"moldau.balancer.disk.limit.percent", Int, "85", between(10, 99), Medium, ClusterWide, Used, "Used part of a disk above which the balancer gives it nothing more and takes replicas off it."},
	{"moldau.balancer.draining.brokers", List, "", brokerIDs(), Medium, ClusterWide, DynamicOnly, "Brokers that are being emptied: they get no new replicas and lead nothing."},
	{"moldau.balancer.joining.brokers", List, "", brokerIDs(), Medium, ClusterWide, DynamicOnly, "Brokers that are being given their share; the balancer takes out who has it."},
	{"moldau.balancer.mode", String, "elastic", oneOf("off", "elastic", "continuous"), Medium, ClusterWide, Used, "What is moved without being asked: nothing; what new brokers, dead ones and full disks need; or whatever evens out the load."},
	{"moldau.balancer.tolerance.percent", Int, "20", between(1, 100), Medium, ClusterWide, Used, "How far from the average a broker's load may be before the balancer moves something for it."},
	{"http.listen", String, "localhost:9080", Validator{}, Medium, ReadOnly, Used, "Address of health and metrics over HTTP, as host:port; empty turns it off."},
}
