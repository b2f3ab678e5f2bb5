// Package franzgo runs franz-go, the Go client, against the moldau binary: produce, consume,
// groups with rebalances, administration. BOOTSTRAP names another broker to run against.
package franzgo
