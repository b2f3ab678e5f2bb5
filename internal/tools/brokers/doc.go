// Package brokers is moldau brokers and moldau balance: what each broker carries, emptying and retiring one, and what the
// cluster's balancer does and why it does no more. cmd/moldau calls it; nothing here starts a goroutine.
package brokers
