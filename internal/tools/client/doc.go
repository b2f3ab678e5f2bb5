// Package client is the one place where the tools turn Kafka's client properties into
// franz-go clients, and Kafka's errors into the words its tools print. Every tool that talks
// to a cluster calls it; the returned clients are owned, and closed, by the caller.
//
// Properties of the Java clients that franz-go has no use for are accepted when leaving them
// out is harmless. Those that would change what a user gets, such as SASL or TLS, are refused.
package client
