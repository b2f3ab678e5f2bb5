package franzgo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func testLargeMessages(t *testing.T) {
	topic, size := named("large"), "6000000"
	createWith(t, topic, 1, map[string]*string{"max.message.bytes": &size})
	small := named("too-large")
	create(t, small, 1)
	large := make([]byte, 5_000_000)
	for i := range large {
		large[i] = byte(i * 7 % 251)
	}
	c := client(t, kgo.ProducerBatchMaxBytes(8_000_000), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: large}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: small, Value: large}).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a record over max.message.bytes: %v", err)
	}
	// A fetch gets at least one batch, however large.
	if r := read(t, client(t, kgo.ConsumeTopics(topic), kgo.FetchMaxPartitionBytes(1000)), 1)[0]; !bytes.Equal(r.Value, large) {
		t.Error("the large record came through changed")
	}
}

func testPattern(t *testing.T) {
	prefix := named("pattern")
	for _, name := range []string{"one", "two"} {
		create(t, prefix+"-"+name, 1)
		produce(t, client(t), prefix+"-"+name, 0, 10)
	}
	c := client(t, kgo.ConsumeRegex(), kgo.ConsumeTopics("^"+regexp.QuoteMeta(prefix)+"-.*"), kgo.MetadataMinAge(100*time.Millisecond), kgo.MetadataMaxAge(500*time.Millisecond))
	read(t, c, 20)
	create(t, prefix+"-three", 1)
	produce(t, client(t), prefix+"-three", 0, 10)
	for _, r := range read(t, c, 10) {
		if r.Topic != prefix+"-three" {
			t.Errorf("a record of %s again", r.Topic)
		}
	}
}

func testStaticMembers(t *testing.T) {
	if as.max != nil && !as.max.HasKey(kmsg.OffsetDelete.Int16()) { // OffsetDelete came with Kafka 2.4, too
		t.Skip("Kafka before 2.4 does not let static members leave by their names")
	}
	topic, group := named("static"), named("static")
	create(t, topic, 2)
	joined := make(chan []int32, 10)
	join := func(name string) *kgo.Client {
		return client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.InstanceID(name), kgo.SessionTimeout(20*time.Second), kgo.HeartbeatInterval(200*time.Millisecond),
			kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
				if len(assigned[topic]) > 0 {
					joined <- assigned[topic]
				}
			}))
	}
	admin := kadm.NewClient(client(t))
	members := func() string {
		var described kadm.DescribedGroups
		err := again(func() (err error) {
			if described, err = admin.DescribeGroups(t.Context(), group); err == nil && kerr.IsRetriable(described[group].Err) {
				err = described[group].Err
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range described[group].Members {
			assigned, _ := m.Assigned.AsConsumer()
			for _, topic := range assigned.Topics {
				names = append(names, fmt.Sprint(*m.InstanceID, topic.Partitions))
			}
		}
		slices.Sort(names)
		return fmt.Sprint(described[group].State, names)
	}
	join("a")
	b := join("b")
	until(t, "two static members share", func() bool { m := members(); return m == "Stable[a[0] b[1]]" || m == "Stable[a[1] b[0]]" })
	before := members()
	b.Close() // a static member does not leave
	for len(joined) > 0 {
		<-joined
	}
	b = join("b")
	select {
	case <-joined:
	case <-time.After(30 * time.Second):
		t.Fatal("the static member did not get its partition again within 30 s")
	}
	if restarted { // then members join again when their coordinator was away: in the end each has what it had
		until(t, "the group is as it was", func() bool { return members() == before })
	}
	if after := members(); after != before {
		t.Errorf("after the member came back: %s, before: %s", after, before)
	}
	produce(t, client(t), topic, 0, 10)
	var removed kadm.LeaveGroupResponses
	err := again(func() (err error) {
		removed, err = admin.LeaveGroup(t.Context(), kadm.LeaveGroup(group).InstanceIDs("a", "b"))
		return err
	})
	if err == nil && (!restarted || !errors.Is(removed.Error(), kerr.UnknownMemberID)) { // removed by the request whose answer was lost
		err = removed.Error()
	}
	if err != nil {
		t.Errorf("remove the members: %v", err)
	}
}

// testTransactions writes and takes back, and moves a group's offsets with what it writes.
func testTransactions(t *testing.T) {
	source, target, group := named("tx-source"), named("tx-target"), named("tx")
	create(t, source, 1)
	create(t, target, 1)
	produce(t, client(t), source, 0, 100)
	session, err := kgo.NewGroupTransactSession(kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.FetchMaxWait(200*time.Millisecond), kgo.MaxVersions(as.max), kgo.TransactionalID(group), kgo.ConsumerGroup(group), kgo.ConsumeTopics(source),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), kgo.HeartbeatInterval(200*time.Millisecond), kgo.FetchMaxBytes(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	written := 0
	for moved, round := 0, 0; moved < 100; round++ {
		fetches := session.PollRecords(ctx, 30)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of 100 records: %v", moved, err)
		}
		if err := session.Begin(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(ctx, &kgo.Record{Topic: target, Value: r.Value}, nil)
		})
		if err := session.Client().Flush(ctx); err != nil { // what is not sent yet, an abort would drop
			t.Fatal(err)
		}
		written += fetches.NumRecords()
		committed, err := session.End(ctx, kgo.TransactionEndTry(round%2 == 1)) // the even ones are aborted, and read again
		if err != nil || committed != (round%2 == 1) {
			t.Fatalf("end of transaction %d: committed %v, %v", round, committed, err)
		}
		if committed {
			moved += fetches.NumRecords()
		}
	}
	for i, r := range read(t, client(t, kgo.ConsumeTopics(target), kgo.FetchIsolationLevel(kgo.ReadCommitted())), 100) {
		if string(r.Value) != fmt.Sprintf("v%d", i) {
			t.Fatalf("record %d is %s", i, r.Value)
		}
	}
	if all := read(t, client(t, kgo.ConsumeTopics(target)), written); written <= 100 || len(all) != written {
		t.Errorf("%d records with the aborted ones instead of %d", len(all), written)
	}
}
