package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// transactionBrokerProbes ask what brokers and tools ask.
func transactionBrokerProbes() []probe {
	return []probe{batchedPartitionsProbe(4), batchedPartitionsProbe(5), markersProbe(1), markersProbe(2), describeProducersProbe(), memberOffsetsProbe(), offsetsNotAddedProbe(), describeManyProbe()}
}

func batchedPartitionsProbe(version int16) probe {
	id := fmt.Sprintf("p-txn-batched%d", version)
	one := func(b *broker, transactionalID, topic string, partition int32, verify bool) kmsg.AddPartitionsToTxnRequestTransaction {
		t := kmsg.NewAddPartitionsToTxnRequestTransaction()
		t.TransactionalID, t.VerifyOnly = transactionalID, verify
		t.ProducerID, t.ProducerEpoch = b.producer()
		t.Topics = []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: []int32{partition}}}
		return t
	}
	add := func(build func(b *broker) []kmsg.AddPartitionsToTxnRequestTransaction) step {
		return answered(version, func(b *broker) kmsg.Request {
			r := kmsg.NewPtrAddPartitionsToTxnRequest()
			r.Transactions = build(b)
			return r
		}, func(_ *broker, r kmsg.Response) int16 {
			if answer := r.(*kmsg.AddPartitionsToTxnResponse); len(answer.Transactions) > 0 && len(answer.Transactions[0].Topics) > 0 {
				return answer.Transactions[0].Topics[0].Partitions[0].ErrorCode
			}
			return 0
		})
	}
	single := func(transactionalID, topic string, partition int32, verify bool, change func(t *kmsg.AddPartitionsToTxnRequestTransaction)) step {
		return add(func(b *broker) []kmsg.AddPartitionsToTxnRequestTransaction {
			t := one(b, transactionalID, topic, partition, verify)
			if change != nil {
				change(&t)
			}
			return []kmsg.AddPartitionsToTxnRequestTransaction{t}
		})
	}
	older := func(t *kmsg.AddPartitionsToTxnRequestTransaction) { t.ProducerEpoch += 3 }
	other := func(t *kmsg.AddPartitionsToTxnRequestTransaction) { t.ProducerID += 1000 }
	nothing := func(t *kmsg.AddPartitionsToTxnRequestTransaction) { t.Topics = nil }
	return probe{fmt.Sprintf("txn add partitions v%d", version), []step{topic(id, 2), initTransactions(5, id, 60_000), single(id, id, 0, true, nil), single(id, id, 0, false, nil), single(id, id, 0, true, nil), single(id, id, 1, true, nil),
		single(id, id, 0, false, nil), single(id, "not-there", 0, false, nil), single(id, "not-there", 0, true, nil), single(id, id, 9, false, nil), single(id, id, 9, true, nil), single("", id, 0, false, nil), single("", id, 0, true, nil),
		single("not-there-id", id, 0, false, nil), single("not-there-id", id, 0, true, nil), single(id, id, 0, false, older), single(id, id, 0, true, older), single(id, id, 0, false, other), single(id, id, 0, true, other),
		single(id, id, 0, false, nothing), single(id, id, 0, true, nothing), describeTransactions(id), end(4, id, true, 0, 0), completed(id), single(id, id, 0, true, nil)}}
}

func writeMarker(version int16, topic string, partition int32, change func(m *kmsg.WriteTxnMarkersRequestMarker)) step {
	return ask(version, func(b *broker) kmsg.Request {
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		m.ProducerID, m.ProducerEpoch = b.producer()
		m.Topics = []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: []int32{partition}}}
		if change != nil {
			change(&m)
		}
		r := kmsg.NewPtrWriteTxnMarkersRequest()
		r.Markers = append(r.Markers, m)
		return r
	})
}

func describeProducers(topic string, partitions ...int32) step {
	r := kmsg.NewPtrDescribeProducersRequest()
	r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: topic, Partitions: partitions}}
	return askOf(0, r)
}

func markersProbe(version int16) probe {
	id := fmt.Sprintf("p-txn-markers%d", version)
	type marker = kmsg.WriteTxnMarkersRequestMarker
	with := func(epochs int16, coordinatorEpoch int32, transactionVersion int8, commit bool) func(m *marker) {
		return func(m *marker) {
			m.ProducerEpoch += epochs
			m.CoordinatorEpoch, m.TransactionVersion, m.Committed = coordinatorEpoch, transactionVersion, commit
		}
	}
	stable := ask(5, func(*broker) kmsg.Request {
		r := offsetsOf(id, 0, -1)
		r.IsolationLevel = 1
		return r
	})
	return probe{fmt.Sprintf("txn markers v%d", version), []step{topic(id, 2), initTransactions(5, id, 60_000), initTransactions(5, id, 60_000), addPartitions(3, id, id), sendIn(9, id, id, 0, 0), describeProducers(id, 0, 1),
		writeMarker(version, "not-there", 0, nil), writeMarker(version, id, 9, nil), writeMarker(version, "", 0, nil), writeMarker(version, id, 0, with(-1, 0, 0, false)), stable, writeMarker(version, id, 0, with(0, 5, 0, false)), stable, describeProducers(id, 0),
		writeMarker(version, id, 0, with(0, 4, 0, false)), writeMarker(version, id, 0, with(0, 5, 0, true)), writeMarker(version, id, 0, with(0, 5, 2, true)), writeMarker(version, id, 1, with(0, 0, 0, true)), describeProducers(id, 1), stable,
		sendIn(9, id, id, 0, 1), writeMarker(version, id, 0, with(0, 5, 2, true)), stable, writeMarker(version, id, 0, with(1, 5, 2, true)), stable, describeProducers(id, 0), sendIn(9, id, id, 0, 2),
		writeMarker(version, id, 0, func(m *marker) { m.Topics = nil }), writeMarker(version, id, 0, func(m *marker) { m.Topics[0].Partitions = nil }), askOf(version, kmsg.NewPtrWriteTxnMarkersRequest()),
		ready("p-txn-markers"), writeMarker(version, "__consumer_offsets", 0, nil), writeMarker(version, "__consumer_offsets", 99, nil)}}
}

func describeProducersProbe() probe {
	const id = "p-txn-producers"
	return probe{"txn describe producers", []step{topic(id, 2), describeProducers(id, 0, 1, 2, -1), describeProducers("not-there", 0), describeProducers("", 0), describeProducers("a/b", 0), describeProducers(id), askOf(0, kmsg.NewPtrDescribeProducersRequest()),
		initTransactions(5, id, 60_000), sendIn(12, id, id, 0, 0), sendIn(12, id, id, 0, 1), describeProducers(id, 0), end(5, id, true, 0, 0), completed(id), describeProducers(id, 0), sendIn(12, id, id, 0, 0), describeProducers(id, 0)}}
}

func describeManyProbe() probe {
	const id = "p-txn-many"
	return probe{"txn describe several", []step{topic(id, 1), initTransactions(5, id, 60_000), sendIn(12, id, id, 0, 0), describeTransactions(id, id, "not-there"), describeTransactions(), end(5, id, false, 0, 0), completed(id), describeTransactions(id)}}
}

func txnCommit(version int16, id, group, topic string, change func(b *broker, r *kmsg.TxnOffsetCommitRequest)) step {
	return answered(version, func(b *broker) kmsg.Request {
		r := kmsg.NewPtrTxnOffsetCommitRequest()
		r.TransactionalID, r.Group, r.Generation = id, group, -1
		r.ProducerID, r.ProducerEpoch = b.producer()
		p := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		p.Offset, p.LeaderEpoch = 42, -1
		r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{p}}}
		if change != nil {
			change(b, r)
		}
		return r
	}, func(_ *broker, r kmsg.Response) int16 {
		if answer := r.(*kmsg.TxnOffsetCommitResponse); len(answer.Topics) > 0 && len(answer.Topics[0].Partitions) > 0 {
			return answer.Topics[0].Partitions[0].ErrorCode
		}
		return 0
	})
}

// memberOffsetsProbe commits as members of a group.
func memberOffsetsProbe() probe {
	const id, group = "p-txn-members", "p-txn-members-group" // id is also the name of the topic
	join := func(b *broker, c *conn) (string, error) {
		response, err := c.request(joinRequest(group, "", 30_000, "consumer", "range"), 3)
		if err != nil {
			return "", err
		}
		answer := response.(*kmsg.JoinGroupResponse)
		b.state["member"], b.state["generation"] = answer.MemberID, answer.Generation
		sync := syncOf(group, answer.MemberID, answer.Generation)
		if _, err := c.request(sync, 3); err != nil {
			return "", err
		}
		return normalise(response), nil
	}
	as := func(version int16, change func(member string, generation int32, r *kmsg.TxnOffsetCommitRequest)) step {
		return txnCommit(version, id, group, id, func(b *broker, r *kmsg.TxnOffsetCommitRequest) {
			member, _ := b.state["member"].(string)
			generation, _ := b.state["generation"].(int32)
			change(member, generation, r)
		})
	}
	steps := []step{topic(id, 1), ready(group), initTransactions(5, id, 60_000), join}
	for _, version := range []int16{5, 4, 3} {
		steps = append(steps,
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.MemberID, r.Generation = m, g }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.MemberID, r.Generation = m, g+1 }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.MemberID, r.Generation = m, -1 }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.MemberID, r.Generation = "", g }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.MemberID, r.Generation = "nobody", g }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) {
				r.MemberID, r.Generation, r.InstanceID = m, g, ptr("static")
			}),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.InstanceID = ptr("static") }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) {}),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) {
				r.Topics[0].Partitions[0].Metadata = ptr(string(make([]byte, 5000)))
			}),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.Topics[0].Partitions[0].Offset = -5 }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.Topics = nil }),
			as(version, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.Topics[0].Partitions = nil }))
	}
	steps = append(steps, end(5, id, true, 0, 0), completed(id), as(5, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.ProducerEpoch-- }),
		as(5, func(m string, g int32, r *kmsg.TxnOffsetCommitRequest) { r.MemberID, r.Generation = m, g }), end(5, id, false, 0, 0), completed(id))
	return probe{"txn offsets of members", steps}
}

// offsetsNotAddedProbe commits offsets that no AddOffsetsToTxn announced.
func offsetsNotAddedProbe() probe {
	const id, group = "p-txn-unannounced", "p-txn-unannounced-group"
	var steps []step
	steps = append(steps, topic(id, 1), ready(group), initTransactions(5, id, 60_000))
	for version := int16(0); version <= 4; version++ {
		steps = append(steps, txnCommit(version, id, group, id, nil))
	}
	for _, version := range []int16{0, 3, 5} {
		steps = append(steps, txnCommit(version, "", group, id, nil), txnCommit(version, id, "", id, nil), txnCommit(version, "not-there", group, id, nil),
			txnCommit(version, id, group, id, func(_ *broker, r *kmsg.TxnOffsetCommitRequest) { r.ProducerID += 1000 }),
			txnCommit(version, id, group, id, func(_ *broker, r *kmsg.TxnOffsetCommitRequest) { r.ProducerEpoch += 3 }),
			txnCommit(version, id, group, "not-there", nil))
	}
	addOffsets := func(version int16, id, group string, epochs int16) step {
		return ask(version, func(b *broker) kmsg.Request {
			r := kmsg.NewPtrAddOffsetsToTxnRequest()
			r.TransactionalID, r.Group = id, group
			r.ProducerID, r.ProducerEpoch = b.producer()
			r.ProducerEpoch += epochs
			return r
		})
	}
	for _, version := range []int16{0, 1, 2, 3, 4} {
		steps = append(steps, addOffsets(version, "", group, 0), addOffsets(version, id, "", 0), addOffsets(version, "not-there", group, 0), addOffsets(version, id, group, 3))
	}
	return probe{"txn offsets not announced", append(steps, describeTransactions(id), end(4, id, false, 0, 0))}
}
