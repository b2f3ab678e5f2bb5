package config

// moldauRows are the broker configs that Apache Kafka does not have.
var moldauRows = []row{
	{"cluster.id", String, null, nonEmpty(), Medium, ReadOnly, Used, "Id of the cluster; a new cluster gives itself one where it is not given, and data of another cluster is refused."},
	{"client.metrics.export.enable", Bool, "false", Validator{}, Medium, ReadOnly, Used, "Whether clients may push their metrics (KIP-714), which are then shown with the node's own at http.listen."},
	{"log.reserve.bytes", Long, "268435456", atLeast(0), Medium, ReadOnly, Used, "Bytes of a log dir's volume that clients may not fill, at most a tenth of it; below them appends are refused. 0 turns the guard off."},
	{"http.listen", String, "localhost:9080", Validator{}, Medium, ReadOnly, Used, "Address of health and metrics over HTTP, as host:port; empty turns it off."},
}
