//go:build unix

package mirrormaker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// TestTwoClusters mirrors between two nodes of the same kind.
func TestTwoClusters(t *testing.T) {
	needsJava(t)
	mirror(t, programs.StartBroker(t), programs.StartBroker(t), false)
}

// TestExactlyOnce mirrors what transactions wrote; not even a kill makes anything come twice.
func TestExactlyOnce(t *testing.T) {
	needsJava(t)
	mirror(t, programs.StartBroker(t), programs.StartBroker(t), true)
}

// TestWithApacheKafka mirrors from Apache Kafka to Moldau and back.
func TestWithApacheKafka(t *testing.T) {
	needsJava(t)
	if programs.AgainstKafka() {
		t.Skip("both are Apache Kafka: see TestTwoClusters")
	}
	mirror(t, programs.StartApacheKafka(t), programs.StartBroker(t), false)
}

func needsJava(t *testing.T) {
	t.Helper()
	if os.Getenv("MIRRORMAKER") == "" {
		t.Skip("needs Java: test/compat/run mirrormaker")
	}
}

const (
	partitions = 3
	group      = "readers"
)

// cluster is one side.
type cluster struct {
	name   string
	broker programs.Broker
	addr   string
	other  *cluster
	admin  *kadm.Client
	topic  string // what is written here; the other has it as name.topic
	wrote  map[int32][]string
}

func (c *cluster) mirrored() string { return c.name + "." + c.topic }

type run struct {
	t           *testing.T
	east, west  *cluster
	config      string
	maker       *programs.Process
	exactlyOnce bool
}

func mirror(t *testing.T, a, b programs.Broker, exactlyOnce bool) {
	r := &run{t: t, exactlyOnce: exactlyOnce}
	r.east, r.west = r.cluster("east", a), r.cluster("west", b)
	r.east.other, r.west.other = r.west, r.east
	r.writeConfig()
	r.start("mirrormaker-1")
	r.both(func(c *cluster) { r.write(c, partitions) })
	r.both(r.recordsAreMirrored)
	r.both(r.configsFollow)
	r.both(r.offsetsAreTranslated)
	r.both(r.heartbeatsArrive)
	r.both(r.morePartitions)
	r.maker.Kill()
	r.both(func(c *cluster) { r.write(c, partitions+1) })
	r.start("mirrormaker-2")
	r.both(r.nothingIsLost)
	if !exactlyOnce { // Connect repeats itself there, on Apache Kafka too, where the broker with its offsets is killed
		r.both(r.killBroker)
	}
	r.both(r.nothingGoesRound)
	r.maker.Stop()
}

func (r *run) both(f func(c *cluster)) {
	r.t.Helper()
	f(r.east)
	f(r.west)
}

func (r *run) cluster(name string, broker programs.Broker) *cluster {
	r.t.Helper()
	addr := broker.Addr()
	c := &cluster{name: name, broker: broker, addr: addr, admin: kadm.NewClient(programs.Client(r.t, addr)), topic: name + "-orders", wrote: map[int32][]string{}}
	configs := map[string]*string{"retention.ms": kadm.StringPtr("123456789"), "compression.type": kadm.StringPtr("lz4")}
	if _, err := c.admin.CreateTopic(r.t.Context(), partitions, 1, configs, c.topic); err != nil {
		r.t.Fatal(err)
	}
	return c
}

// writeConfig makes MirrorMaker quick: what it looks for every ten minutes, it looks for every second.
func (r *run) writeConfig() {
	lines := []string{
		"clusters = east, west", "east.bootstrap.servers = " + r.east.addr, "west.bootstrap.servers = " + r.west.addr,
		"east->west.enabled = true", "west->east.enabled = true", "topics = .*-orders", "replication.factor = 1",
		"checkpoints.topic.replication.factor = 1", "heartbeats.topic.replication.factor = 1", "offset-syncs.topic.replication.factor = 1",
		"offset.storage.replication.factor = 1", "status.storage.replication.factor = 1", "config.storage.replication.factor = 1",
		"refresh.topics.interval.seconds = 1", "refresh.groups.interval.seconds = 1", "sync.topic.configs.interval.seconds = 1",
		"emit.checkpoints.interval.seconds = 1", "emit.heartbeats.interval.seconds = 1", "sync.group.offsets.enabled = true",
		"sync.group.offsets.interval.seconds = 1", "offset.lag.max = 0", "offset.flush.interval.ms = 500", "scheduled.rebalance.max.delay.ms = 500",
	}
	if r.exactlyOnce {
		lines = append(lines, "exactly.once.source.support = enabled", "dedicated.mode.enable.internal.rest = true", "east->west.source.consumer.isolation.level = read_committed",
			"west->east.source.consumer.isolation.level = read_committed",
			fmt.Sprintf("listeners = http://127.0.0.1:%d", kafkatest.FreePort(r.t)))
	}
	r.config = filepath.Join(r.t.TempDir(), "mirrormaker.properties")
	if err := os.WriteFile(r.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// await waits while MirrorMaker runs.
func (r *run) await(what string, condition func() error) {
	r.t.Helper()
	programs.Await(r.t, what, func() error {
		if err := r.maker.Running(); err != nil {
			r.t.Fatal(err)
		}
		return condition()
	})
}

func (r *run) start(name string) {
	r.t.Helper()
	r.maker = programs.Start(r.t, name, programs.Java("org.apache.kafka.connect.mirror.MirrorMaker", r.config))
}

func perPartition() int {
	if os.Getenv("SMOKE") != "" {
		return 100
	}
	return 5000
}

func (r *run) write(c *cluster, partitions int32) {
	r.t.Helper()
	opts := []kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}
	if r.exactlyOnce {
		opts = append(opts, kgo.TransactionalID("writer"))
	}
	client := programs.Client(r.t, c.addr, opts...)
	defer client.Close()
	var records, dropped []*kgo.Record
	for range perPartition() {
		for p := range partitions {
			value := fmt.Sprintf("%s %d %d", c.name, p, len(c.wrote[p]))
			c.wrote[p] = append(c.wrote[p], value)
			records = append(records, &kgo.Record{Topic: c.topic, Partition: p, Key: []byte(c.name), Value: []byte(value),
				Headers: []kgo.RecordHeader{{Key: "value", Value: []byte(value)}}})
			dropped = append(dropped, &kgo.Record{Topic: c.topic, Partition: p, Value: []byte("aborted")})
		}
	}
	if !r.exactlyOnce {
		if err := client.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
		return
	}
	for _, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		batch := map[kgo.TransactionEndTry][]*kgo.Record{kgo.TryAbort: dropped, kgo.TryCommit: records}[end]
		if err := errors.Join(client.BeginTransaction(), client.ProduceSync(r.t.Context(), batch...).FirstErr(), client.EndTransaction(r.t.Context(), end)); err != nil {
			r.t.Fatal(err)
		}
	}
}

// read returns the mirrored values by partition, and checks keys, headers and timestamps.
func (r *run) read(c *cluster) (map[int32][]string, error) {
	original, err := programs.Records(r.t, c.addr, c.topic)
	if err != nil {
		return nil, err
	}
	times := map[string]int64{}
	for _, record := range original {
		times[string(record.Value)] = record.Timestamp.UnixMilli()
	}
	records, err := programs.Records(r.t, c.other.addr, c.mirrored())
	if err != nil {
		return nil, err
	}
	got := map[int32][]string{}
	for _, record := range records {
		value := string(record.Value)
		if string(record.Key) != c.name || len(record.Headers) != 1 || string(record.Headers[0].Value) != value || record.Timestamp.UnixMilli() != times[value] {
			r.t.Fatalf("mirrored record %q has key %q, headers %v, time %v", value, record.Key, record.Headers, record.Timestamp)
		}
		got[record.Partition] = append(got[record.Partition], value)
	}
	return got, nil
}

// compare returns an error where a partition does not have what was written, in order.
func compare(got, want map[int32][]string) error {
	for p, values := range want {
		if !slices.Equal(got[p], values) {
			return fmt.Errorf("partition %d: %d records, not the %d that were written", p, len(got[p]), len(values))
		}
	}
	return nil
}

func (r *run) recordsAreMirrored(c *cluster) {
	r.t.Helper()
	r.await("records of "+c.mirrored(), func() error {
		got, err := r.read(c)
		return errors.Join(err, compare(got, c.wrote))
	})
}

func (r *run) awaitConfig(c *cluster, key, want string) {
	r.t.Helper()
	r.await(c.mirrored()+": "+key, func() error {
		configs, err := c.other.admin.DescribeTopicConfigs(r.t.Context(), c.mirrored())
		if err != nil {
			return err
		}
		for _, config := range configs[0].Configs {
			if config.Key == key && config.MaybeValue() != want {
				return fmt.Errorf("%q and not %q", config.MaybeValue(), want)
			}
		}
		return configs[0].Err
	})
}

func (r *run) configsFollow(c *cluster) {
	r.t.Helper()
	r.awaitConfig(c, "compression.type", "lz4")
	r.awaitConfig(c, "retention.ms", "123456789")
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("987654321")}}
	if _, err := c.admin.AlterTopicConfigs(r.t.Context(), change, c.topic); err != nil {
		r.t.Fatal(err)
	}
	r.awaitConfig(c, "retention.ms", "987654321")
}

// offsetsAreTranslated commits the end of each partition for a group here, and finds it there: a
// consumer that moves over goes on where it was.
func (r *run) offsetsAreTranslated(c *cluster) {
	r.t.Helper()
	ends, err := c.admin.ListCommittedOffsets(r.t.Context(), c.topic)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := c.admin.CommitAllOffsets(r.t.Context(), group, ends.Offsets()); err != nil {
		r.t.Fatal(err)
	}
	mirrored, err := programs.Records(r.t, c.other.addr, c.mirrored())
	if err != nil {
		r.t.Fatal(err)
	}
	next := map[int32]int64{}
	for _, record := range mirrored {
		next[record.Partition] = record.Offset + 1
	}
	r.await("offsets of the group for "+c.mirrored(), func() error {
		there, err := c.other.admin.FetchOffsets(r.t.Context(), group)
		if err != nil {
			return err
		}
		for p := range c.wrote {
			if offset, _ := there.Lookup(c.mirrored(), p); offset.At != next[p] {
				return fmt.Errorf("partition %d: %d and not %d", p, offset.At, next[p])
			}
		}
		return nil
	})
	checkpoints, err := programs.Records(r.t, c.other.addr, c.name+".checkpoints.internal")
	if err != nil || len(checkpoints) == 0 {
		r.t.Errorf("%d checkpoints of %s, %v", len(checkpoints), c.name, err)
	}
}

// heartbeatsArrive: each side has its own heartbeats and those of the other one.
func (r *run) heartbeatsArrive(c *cluster) {
	r.t.Helper()
	r.await("heartbeats of "+c.name, func() error {
		records, err := programs.Records(r.t, c.other.addr, c.name+".heartbeats")
		if err != nil {
			return err
		}
		if len(records) == 0 || !strings.Contains(string(records[0].Key), c.other.name) || !strings.Contains(string(records[0].Key), c.name) {
			return fmt.Errorf("%d of them", len(records))
		}
		return nil
	})
}

func (r *run) morePartitions(c *cluster) {
	r.t.Helper()
	if _, err := c.admin.UpdatePartitions(r.t.Context(), partitions+1, c.topic); err != nil {
		r.t.Fatal(err)
	}
	r.await("partitions of "+c.mirrored(), func() error {
		topics, err := c.other.admin.ListTopics(r.t.Context(), c.mirrored())
		if got := len(topics[c.mirrored()].Partitions); err == nil && got != partitions+1 {
			err = fmt.Errorf("%d and not %d", got, partitions+1)
		}
		return err
	})
}

// nothingIsLost: after a kill records may come twice, but for exactly once; none is missing, and they are in order.
func (r *run) nothingIsLost(c *cluster) {
	r.t.Helper()
	r.await("records of "+c.mirrored()+" after a kill", func() error {
		got, err := r.read(c)
		for p := range got {
			if r.exactlyOnce {
				break
			}
			seen := map[string]bool{}
			got[p] = slices.DeleteFunc(got[p], func(value string) bool {
				twice := seen[value]
				seen[value] = true
				return twice
			})
		}
		return errors.Join(err, compare(got, c.wrote))
	})
}

func (r *run) killBroker(c *cluster) {
	r.t.Helper()
	c.broker.Kill()
	c.broker.Start()
	r.write(c, partitions+1)
	r.both(r.nothingIsLost)
}

// nothingGoesRound: what came from here is not mirrored back.
func (r *run) nothingGoesRound(c *cluster) {
	r.t.Helper()
	topics, err := c.admin.ListTopics(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for name := range topics {
		if strings.Contains(name, c.name+".") && strings.Contains(name, "orders") {
			r.t.Errorf("%s has %s", c.name, name)
		}
	}
}
