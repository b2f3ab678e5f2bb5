// Package host runs the fetchers of the partitions that other brokers lead: one goroutine and one
// connection per source broker, as long as that broker leads something that is followed here. The
// metadata loader calls Follow and Unfollow, which only leave word; the goroutine takes it up between two
// requests.
package host
