package broker

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/storage"
)

// TestCoordinatorsTopicsAreCompacted commits offsets and ends transactions again and again, deletes
// a group, compacts the coordinators' topics and starts the node anew: they have shrunk to what
// counts, the tombstones of the deleted group go with their time, and nobody has forgotten anything.
func TestCoordinatorsTopicsAreCompacted(t *testing.T) {
	n := newConfigNode(t, map[string]string{"offsets.topic.num.partitions": "1", "transaction.state.log.num.partitions": "1",
		"offsets.topic.replication.factor": "1", "transaction.state.log.replication.factor": "1", "transaction.state.log.min.isr": "1"})
	n.topic("t", nil)
	want := map[string]int64{}
	commit := func(group string, offset int64) {
		t.Helper()
		o := kadm.Offsets{}
		o.Add(kadm.Offset{Topic: "t", Partition: 0, At: offset, LeaderEpoch: -1, Metadata: strings.Repeat("m", 100)})
		if err := kadm.NewClient(n.client).CommitAllOffsets(t.Context(), group, o); err != nil {
			t.Fatal(err)
		}
		want[group] = offset
	}
	commit("first", 0)
	transact(n, "first", 1)
	offsets, transactions := &configTopic{configNode: n, name: "__consumer_offsets"}, &configTopic{configNode: n, name: "__transaction_state"}
	for _, p := range []*configTopic{offsets, transactions} {
		n.alter(ofTopic(p.name, "internal.segment.bytes", ptr("5000")))
		n.alter(ofTopic(p.name, "min.cleanable.dirty.ratio", ptr("0")))
	}
	for i := range int64(100) {
		for g := range 5 {
			commit(fmt.Sprint("group-", g), i)
		}
	}
	transact(n, "tx", 40)
	if _, err := kadm.NewClient(n.client).DeleteGroups(t.Context(), "group-3"); err != nil {
		t.Fatal(err)
	}
	delete(want, "group-3")
	fill := func() { // closes the segments of what was written before
		for i := range int64(50) {
			commit("group-0", 1000+i)
		}
		transact(n, "other", 15)
	}
	fill()
	before := []int64{offsets.log().SizeBytes(), transactions.log().SizeBytes()}
	for i, p := range []*configTopic{offsets, transactions} {
		if !p.clean(p.nowMs()) || p.log().SizeBytes() > before[i]/4 {
			t.Errorf("%s: %d of %d bytes are left", p.name, p.log().SizeBytes(), before[i])
		}
	}
	if !mentions(offsets, "group-3") {
		t.Error("the tombstones of the deleted group went at once")
	}
	fill()
	offsets.clean(offsets.nowMs() + 2*dayMs)
	if mentions(offsets, "group-3") {
		t.Error("the tombstones of the deleted group stay after delete.retention.ms")
	}
	n.restart(nil)
	for group, at := range want {
		fetched, err := kadm.NewClient(n.client).FetchOffsets(t.Context(), group)
		if o, found := fetched.Lookup("t", 0); err != nil || !found || o.At != at {
			t.Errorf("%s: offset %d (found %v), %v; want %d", group, o.At, found, err, at)
		}
	}
	if fetched, err := kadm.NewClient(n.client).FetchOffsets(t.Context(), "group-3"); err != nil || len(fetched) != 0 {
		t.Errorf("the deleted group is back: %v, %v", fetched, err)
	}
	described, err := kadm.NewClient(n.client).DescribeTransactions(t.Context(), "first", "tx", "other")
	if err != nil || len(described) != 3 || described["tx"].State != "CompleteCommit" || described["tx"].ProducerEpoch < 39 {
		t.Errorf("%+v, %v", described, err)
	}
	transact(n, "tx", 2)
}

// mentions reports whether a record's key has a text in it, in what can be compacted.
func mentions(p *configTopic, text string) bool {
	p.t.Helper()
	for offset := p.log().LogStartOffset(); offset < p.log().CleanedOffset(); {
		r, err := p.log().Read(storage.ReadRequest{Offset: offset, MaxBytes: 1, MinOneBatch: true, UpTo: p.log().LogEndOffset()})
		if err != nil {
			p.t.Fatal(err)
		}
		b := record.Batch(r.Records)
		for rec, err := range b.Records(1 << 20) {
			if err != nil {
				p.t.Fatal(err)
			}
			if bytes.Contains(rec.Key, []byte(text)) {
				return true
			}
		}
		offset = b.NextOffset()
	}
	return false
}

// transact commits so many transactions of one record.
func transact(n *configNode, id string, count int) {
	n.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String()), kgo.TransactionalID(id), kgo.DefaultProduceTopic("t"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer client.Close()
	for range count {
		err := client.BeginTransaction()
		if err == nil {
			err = client.ProduceSync(n.t.Context(), &kgo.Record{Key: []byte("k"), Value: []byte("v")}).FirstErr()
		}
		if err == nil {
			err = client.EndTransaction(n.t.Context(), kgo.TryCommit)
		}
		if err != nil {
			n.t.Fatal(err)
		}
	}
}
