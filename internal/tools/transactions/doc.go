// Package transactions is kafka-transactions: it shows transactional ids and the transactions of
// producers, and finds and ends transactions that hang. The command table in internal/tools calls
// Run; nothing here starts a goroutine.
package transactions
