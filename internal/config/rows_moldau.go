package config

// moldauRows are the broker configs that Apache Kafka does not have.
var moldauRows = []row{
	{"cluster.id", String, null, nonEmpty(), Medium, ReadOnly, Used, "Id of the cluster; a new cluster gives itself one where it is not given, and data of another cluster is refused."},
	{"http.listen", String, "localhost:9080", Validator{}, Medium, ReadOnly, Used, "Address of health and metrics over HTTP, as host:port; empty turns it off."},
}
