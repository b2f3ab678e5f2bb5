package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// withRecords makes a topic with one batch of three records and one of two.
func withRecords(name string, partitions int32) []step {
	return []step{topic(name, partitions),
		askProduce(7, name, 0, -1, func() []byte { return batch(1_700_000_000_000, "a", "b", "c") }),
		askProduce(7, name, 0, -1, func() []byte { return batch(1_700_000_005_000, "d", "e") })}
}

func fetchProbes() []probe {
	var all []probe
	for v := int16(4); v <= 12; v++ {
		name := fmt.Sprintf("p-fetch-%d", v)
		all = append(all, probe{fmt.Sprintf("fetch in version %d", v), append(withRecords(name, 1),
			askFetch(v, fetchOf(name, 0, 0)), askFetch(v, fetchOf(name, 0, 4)), askFetch(v, fetchOf(name, 0, 5)), askFetch(v, fetchOf(name, 0, 6)), askFetch(v, fetchOf(name, 0, -1)),
			askFetch(v, fetchOf(name, 7, 0)), askFetch(v, fetchOf("not-there", 0, 0)))})
	}
	limited := func(partitionMax, max int32) func(*broker) *kmsg.FetchRequest {
		return func(*broker) *kmsg.FetchRequest {
			r := fetchOf("p-fetch-limits", 0, 0)(nil)
			r.MaxBytes = max
			r.Topics[0].Partitions[0].PartitionMaxBytes = partitionMax
			return r
		}
	}
	epoch := func(current int32) func(*broker) *kmsg.FetchRequest {
		return func(*broker) *kmsg.FetchRequest {
			r := fetchOf("p-fetch-limits", 0, 0)(nil)
			r.Topics[0].Partitions[0].CurrentLeaderEpoch = current
			return r
		}
	}
	all = append(all, probe{"fetch limits and epochs", append(withRecords("p-fetch-limits", 1), askFetch(11, limited(1, 1<<20)), askFetch(11, limited(1<<20, 1)), askFetch(11, limited(100, 100)), askFetch(11, limited(0, 0)),
		askFetch(11, epoch(0)), askFetch(11, epoch(5)), askFetch(11, epoch(-1)), askFetch(11, committed("p-fetch-limits")), askFetch(11, waiting("p-fetch-limits")))})
	all = append(all, probe{"fetch by topic id", append(withRecords("p-fetch-id", 1), learnID("p-fetch-id"), fetchByID(13, func(b *broker) [16]byte { return b.id("p-fetch-id") }), fetchByID(16, func(b *broker) [16]byte { return b.id("p-fetch-id") }),
		fetchByID(18, func(b *broker) [16]byte { return b.id("p-fetch-id") }), fetchByID(13, func(*broker) [16]byte { return [16]byte{4} }), fetchByID(17, func(*broker) [16]byte { return [16]byte{} }))})
	all = append(all, sessionProbe())
	return all
}

func fetchOf(topic string, partition int32, offset int64) func(*broker) *kmsg.FetchRequest {
	return func(*broker) *kmsg.FetchRequest {
		r := kmsg.NewPtrFetchRequest()
		r.ReplicaID, r.MaxWaitMillis, r.MinBytes, r.MaxBytes, r.SessionEpoch = -1, 1, 1, 1<<20, -1
		t := kmsg.NewFetchRequestTopic()
		t.Topic = topic
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
		t.Partitions = append(t.Partitions, p)
		r.Topics = append(r.Topics, t)
		return r
	}
}

func committed(topic string) func(*broker) *kmsg.FetchRequest {
	return func(*broker) *kmsg.FetchRequest {
		r := fetchOf(topic, 0, 0)(nil)
		r.IsolationLevel = 1
		return r
	}
}

// waiting asks at the end of the log and for more bytes than there are.
func waiting(topic string) func(*broker) *kmsg.FetchRequest {
	return func(*broker) *kmsg.FetchRequest {
		r := fetchOf(topic, 0, 5)(nil)
		r.MaxWaitMillis, r.MinBytes = 300, 1000
		return r
	}
}

// askFetch says, beside the answer, whether the broker took the time it was given.
func askFetch(version int16, build func(*broker) *kmsg.FetchRequest) step {
	return func(b *broker, c *conn) (string, error) {
		began, r := time.Now(), build(b)
		answer, err := ask(version, func(*broker) kmsg.Request { return r })(b, c)
		if r.MaxWaitMillis > 100 {
			answer += fmt.Sprintf("waited: %t\n", time.Since(began) > time.Duration(r.MaxWaitMillis)*time.Millisecond*9/10)
		}
		return answer, err
	}
}

func fetchByID(version int16, id func(*broker) [16]byte) step {
	return askFetch(version, func(b *broker) *kmsg.FetchRequest {
		r := fetchOf("", 0, 0)(nil)
		r.Topics[0].TopicID = id(b)
		if version >= 15 {
			r.ReplicaID = -1
		}
		return r
	})
}

// sessionProbe walks through an incremental fetch session (KIP-227).
func sessionProbe() probe {
	first := func(b *broker, c *conn) (string, error) {
		r := fetchOf("p-session", 0, 5)(nil)
		more := r.Topics[0].Partitions[0]
		more.Partition, more.FetchOffset = 1, 0
		r.Topics[0].Partitions = append(r.Topics[0].Partitions, more)
		r.SessionEpoch = 0
		response, err := c.request(r, 11)
		if err != nil {
			return "", err
		}
		b.state["session"] = response.(*kmsg.FetchResponse).SessionID
		return normalise(response), nil
	}
	incremental := func(epoch int32, change func(r *kmsg.FetchRequest)) step {
		return askFetch(11, func(b *broker) *kmsg.FetchRequest {
			r := fetchOf("p-session", 0, 0)(nil)
			r.SessionID, r.SessionEpoch, r.Topics = b.state["session"].(int32), epoch, nil
			if change != nil {
				change(r)
			}
			return r
		})
	}
	full := fetchOf("p-session", 0, 3)(nil).Topics
	return probe{"fetch session", append(withRecords("p-session", 2), first,
		incremental(1, nil),
		askProduce(7, "p-session", 1, -1, func() []byte { return batch(1_700_000_000_000, "x") }),
		incremental(2, nil),
		incremental(3, func(r *kmsg.FetchRequest) { r.Topics = full }),
		incremental(9, nil), // an epoch that does not follow
		incremental(4, func(r *kmsg.FetchRequest) {
			f := kmsg.NewFetchRequestForgottenTopic()
			f.Topic, f.Partitions = "p-session", []int32{0, 1}
			r.ForgottenTopics = append(r.ForgottenTopics, f)
		}),
		incremental(5, func(r *kmsg.FetchRequest) { r.SessionID = 12345 }),
		incremental(-1, nil), // close
		incremental(1, nil),
	)}
}
