package franzgo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

var bootstrap = os.Getenv("BOOTSTRAP")

// as is the version of Kafka as whose client the parts run at the moment; they run one after another.
var as struct {
	name string
	max  *kversion.Versions // nil: whatever the client has
}

func named(name string) string { return fmt.Sprintf("fg-%d-%s-%s", os.Getpid(), as.name, name) }

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// restarted says that there are three brokers, of which test/compat/run restarts one after the other while the test runs.
var restarted = os.Getenv("COMPAT_THREE") != ""

// replicas is how many a topic gets.
func replicas() int16 {
	if restarted {
		return 3
	}
	return 1
}

// client returns a client of the broker under test.
func client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append([]kgo.Opt{kgo.SeedBrokers(strings.Split(bootstrap, ",")...), kgo.FetchMaxWait(200 * time.Millisecond)}, opts...)
	if as.max != nil {
		opts = append(opts, kgo.MaxVersions(as.max))
	}
	c, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// TestFranzGo runs the parts one after another against one broker: as the newest client, and in the suite as clients of
// older versions of Kafka, too. gotest explains the names.
func TestFranzGo(t *testing.T) {
	versions := []*kversion.Versions{nil}
	if bootstrap == "" {
		bootstrap = kafkatest.StartBroker(t, "group.initial.rebalance.delay.ms=100").Addr()
	} else if os.Getenv("SMOKE") != "" {
		versions = append(versions, kversion.V2_1_0())
	} else {
		versions = append(versions, kversion.V3_9_0(), kversion.V3_4_0(), kversion.V2_8_0(), kversion.V2_1_0())
	}
	for _, max := range versions {
		as.name, as.max = "newest", max
		name := os.Getenv("CLIENT_VERSION")
		if max != nil {
			as.name = max.VersionGuess()
			name += " as Kafka " + strings.TrimPrefix(as.name, "v")
		}
		t.Run(name, func(t *testing.T) {
			t.Run("produce+consume+compression:codecs", testCodecs)
			t.Run("many partitions:transport", testManyPartitions)
			t.Run("groups+cooperative rebalance:rebalance", testRebalance)
			t.Run("offsets for times:offsets", testOffsetsAndTimes)
			t.Run("admin:administration", testAdministration)
			t.Run("produce:first use", testFirstUse)
			t.Run("large messages:large", testLargeMessages)
			t.Run("pattern:pattern", testPattern)
			t.Run("static members:static", testStaticMembers)
			t.Run("transactions:transactions", testTransactions)
		})
	}
}

func create(t *testing.T, topic string, partitions int32) { createWith(t, topic, partitions, nil) }

func createWith(t *testing.T, topic string, partitions int32, configs map[string]*string) {
	t.Helper()
	admin := kadm.NewClient(client(t))
	err := again(func() error {
		_, err := admin.CreateTopic(t.Context(), partitions, replicas(), configs, topic)
		return err
	})
	if err != nil && (!restarted || !errors.Is(err, kerr.TopicAlreadyExists)) { // an answer is lost with its broker, and the client repeats the request
		t.Fatal(err)
	}
}

// again returns what call returns. Where brokers are restarted, it calls again while the error is one that passes: a broker that does not
// know yet what another one has answered, a leader or coordinator that is not there yet, or a broken connection. kadm leaves that to its users.
func again(call func() error) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := call()
		var broken net.Error
		passes := kerr.IsRetriable(err) || errors.Is(err, io.EOF) || errors.As(err, &broken)
		if err == nil || !restarted || !passes || time.Now().After(deadline) {
			return err
		}
		<-time.After(50 * time.Millisecond)
	}
}

func produce(t *testing.T, c *kgo.Client, topic string, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		c.Produce(t.Context(), &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "k%d", i%17), Value: fmt.Appendf(nil, "v%d", i),
			Headers: []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}}}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// read polls until count records have come and returns them.
func read(t *testing.T, c *kgo.Client, count int) []*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var records []*kgo.Record
	for len(records) < count {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("%d of %d records: %v", len(records), count, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func testCodecs(t *testing.T) {
	for _, codec := range []struct {
		name  string
		codec kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}} {
		t.Run(codec.name, func(t *testing.T) {
			topic := named(codec.name)
			create(t, topic, 1)
			produce(t, client(t, kgo.ProducerBatchCompression(codec.codec), kgo.ProducerLinger(5*time.Millisecond)), topic, 0, 1000)
			records := read(t, client(t, kgo.ConsumeTopics(topic)), 1000)
			for i, r := range records {
				if r.Offset != int64(i) || string(r.Value) != fmt.Sprintf("v%d", i) || string(r.Headers[0].Value) != fmt.Sprint(i) {
					t.Fatalf("record %d: offset %d, value %s, headers %v", i, r.Offset, r.Value, r.Headers)
				}
			}
		})
	}
}

func testManyPartitions(t *testing.T) {
	create(t, named("many"), 64)
	produce(t, client(t, kgo.RecordPartitioner(kgo.RoundRobinPartitioner())), named("many"), 0, 6400)
	next := map[int32]int64{}
	for _, r := range read(t, client(t, kgo.ConsumeTopics(named("many"))), 6400) {
		if r.Offset != next[r.Partition] {
			t.Fatalf("partition %d: offset %d after %d", r.Partition, r.Offset, next[r.Partition])
		}
		next[r.Partition]++
	}
	if len(next) != 64 {
		t.Errorf("records in %d of 64 partitions", len(next))
	}
}

func testRebalance(t *testing.T) {
	for name, balancer := range map[string]kgo.GroupBalancer{"range": kgo.RangeBalancer(), "cooperative": kgo.CooperativeStickyBalancer()} {
		t.Run(name, func(t *testing.T) {
			topic, group := named("rebalance-"+name), named("rebalance-"+name)
			create(t, topic, 6)
			produce(t, client(t), topic, 0, 600)
			g := &groupRun{seen: map[string]int{}}
			stop1 := g.join(t, group, topic, balancer)
			g.waitFor(t, 600)
			stop2 := g.join(t, group, topic, balancer)
			g.waitForMembers(t, group, 2)
			produce(t, client(t), topic, 600, 1200)
			g.waitFor(t, 1200)
			stop1()
			produce(t, client(t), topic, 1200, 1500)
			g.waitFor(t, 1500)
			stop2()
			for value, n := range g.seen {
				if n != 1 {
					t.Errorf("%s was delivered %d times", value, n)
				}
			}
		})
	}
}

// groupRun is what the members of one group have seen.
type groupRun struct {
	mu   sync.Mutex
	seen map[string]int
}

// join starts a member; the result makes it leave after committing.
func (g *groupRun) join(t *testing.T, group, topic string, balancer kgo.GroupBalancer) (leave func()) {
	t.Helper()
	session := 45 * time.Second // the client's own
	if restarted {              // a coordinator that is just away is not told that a member leaves
		session = 3 * time.Second
	}
	c := client(t, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.Balancers(balancer), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.SessionTimeout(session))
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for {
			fetches := c.PollFetches(ctx)
			if ctx.Err() != nil {
				c.AllowRebalance()
				return
			}
			g.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { g.seen[string(r.Value)]++ })
			g.mu.Unlock()
			if err := c.CommitUncommittedOffsets(t.Context()); err != nil {
				t.Errorf("commit: %v", err)
			}
			c.AllowRebalance()
		}
	})
	return func() {
		cancel()
		done.Wait()
		c.LeaveGroup()
	}
}

func (g *groupRun) waitFor(t *testing.T, count int) {
	t.Helper()
	until(t, fmt.Sprintf("%d records", count), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.seen) >= count
	})
}

func (g *groupRun) waitForMembers(t *testing.T, group string, members int) {
	t.Helper()
	admin := kadm.NewClient(client(t))
	until(t, fmt.Sprintf("%d members", members), func() bool {
		described, err := admin.DescribeGroups(t.Context(), group)
		return err == nil && described[group].State == "Stable" && len(described[group].Members) == members
	})
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within 30 s", what)
		case <-poll.C:
		}
	}
}

func testOffsetsAndTimes(t *testing.T) {
	topic := named("times")
	create(t, topic, 1)
	c := client(t, kgo.ProducerLinger(20*time.Millisecond))
	start := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	for i := range 100 {
		c.Produce(t.Context(), &kgo.Record{Topic: topic, Value: []byte("v"), Timestamp: start.Add(time.Duration(i) * time.Second)}, nil)
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	admin := kadm.NewClient(client(t))
	var listed kadm.ListedOffsets
	err := again(func() (err error) {
		if listed, err = admin.ListOffsetsAfterMilli(t.Context(), start.Add(41500*time.Millisecond).UnixMilli(), topic); err == nil {
			err = listed.Error()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := listed.Lookup(topic, 0); o.Offset != 42 || o.Timestamp != start.Add(42*time.Second).UnixMilli() {
		t.Errorf("offset for a time within a batch: got %+v, want 42", o)
	}
	// A consumer whose offset is outside the log starts over where its policy says.
	reader := client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(5000)}}), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if records := read(t, reader, 100); records[0].Offset != 0 {
		t.Errorf("after an offset out of range: first record at %d", records[0].Offset)
	}
}

func testAdministration(t *testing.T) {
	topic, group := named("admin"), named("simple")
	admin := kadm.NewClient(client(t))
	create(t, topic, 2)
	err := again(func() error {
		_, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic)
		return err
	})
	if !errors.Is(err, kerr.TopicAlreadyExists) {
		t.Errorf("create twice: %v", err)
	}
	err = again(func() error { // the broker that is asked may not know the topic yet
		made, err := admin.CreatePartitions(t.Context(), 2, topic) // two more
		if err == nil {
			err = made.Error()
		}
		return err
	})
	if err != nil && (!restarted || !errors.Is(err, kerr.InvalidPartitions)) { // made by the request whose answer was lost
		t.Error(err)
	}
	retention := "123456"
	alter := admin.AlterTopicConfigs
	if as.max != nil && !as.max.HasKey(kmsg.IncrementalAlterConfigs.Int16()) {
		alter = admin.AlterTopicConfigsState
	}
	err = again(func() error {
		altered, err := alter(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &retention}}, topic)
		if err == nil {
			err = altered[0].Err
		}
		return err
	})
	if err != nil {
		t.Errorf("alter: %v", err)
	}
	until(t, "retention.ms is 123456", func() bool {
		configs, err := admin.DescribeTopicConfigs(t.Context(), topic)
		return err == nil && slices.ContainsFunc(configs[0].Configs, func(c kadm.Config) bool { return c.Key == "retention.ms" && *c.Value == retention })
	})
	var topics kadm.TopicDetails
	err = again(func() (err error) {
		if topics, err = admin.ListTopics(t.Context(), topic); err == nil {
			err = topics.Error()
		}
		if err == nil && restarted && len(topics[topic].Partitions) < 4 {
			err = kerr.UnknownTopicOrPartition // so far
		}
		return err
	})
	if err != nil || len(topics[topic].Partitions) != 4 || as.max == nil && topics[topic].ID == (kadm.TopicID{}) {
		t.Errorf("4 partitions and an id: %v %+v", err, topics)
	}
	offsets := kadm.Offsets{}
	offsets.AddOffset(topic, 0, 7, -1)
	if err := again(func() error { return admin.CommitAllOffsets(t.Context(), group, offsets) }); err != nil {
		t.Error(err)
	}
	var fetched kadm.OffsetResponses
	err = again(func() (err error) {
		fetched, err = admin.FetchOffsets(t.Context(), group)
		return err
	})
	if o, ok := fetched.Lookup(topic, 0); err != nil || !ok || o.At != 7 {
		t.Errorf("committed offset: %v %+v", err, fetched)
	}
	err = again(func() error {
		_, err := admin.DeleteGroup(t.Context(), group)
		return err
	})
	if err != nil && (!restarted || !errors.Is(err, kerr.GroupIDNotFound)) { // deleted by the request whose answer was lost
		t.Error(err)
	}
	err = again(func() error {
		_, err := admin.DeleteTopic(t.Context(), topic)
		return err
	})
	if err != nil && (!restarted || !errors.Is(err, kerr.UnknownTopicOrPartition)) {
		t.Error(err)
	}
	until(t, "the deleted topic is gone", func() bool {
		topics, err := admin.ListTopics(t.Context())
		return err == nil && !topics.Has(topic)
	})
}

func testFirstUse(t *testing.T) {
	topic := named("first-use")
	c := client(t, kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(10))
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("hello")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if r := read(t, client(t, kgo.ConsumeTopics(topic)), 1)[0]; string(r.Value) != "hello" {
		t.Errorf("got %q", r.Value)
	}
}
