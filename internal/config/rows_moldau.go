package config

// moldauRows are the broker configs that Apache Kafka does not have.
var moldauRows = []row{
	{"http.listen", String, "localhost:9080", Validator{}, Medium, ReadOnly, Used, "Address of health and metrics over HTTP, as host:port; empty turns it off."},
}
