package apptest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafkatest"
)

// TestRestart compares all that Kafka's tools show of a broker before and after restarts, by
// SIGTERM and by SIGKILL.
func TestRestart(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	b := kafkatest.StartBroker(t, "group.initial.rebalance.delay.ms=0", "num.partitions=1")
	tool := func(in, name string, args ...string) string {
		return s.must(in, name, append(args, "--bootstrap-server", b.Addr())...)
	}
	tool("", "kafka-topics.sh", "--create", "--topic", "orders", "--partitions", "3", "--config", "retention.ms=100000000", "--config", "segment.bytes=1048576")
	tool("", "kafka-topics.sh", "--create", "--topic", "gone")
	tool("", "kafka-topics.sh", "--alter", "--topic", "orders", "--partitions", "4")
	tool("", "kafka-configs.sh", "--alter", "--topic", "orders", "--add-config", "max.message.bytes=1543210", "--delete-config", "retention.ms")
	tool("", "kafka-configs.sh", "--alter", "--broker-defaults", "--add-config", "log.retention.ms=123456789")
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "h:%d\tkey%d\t%d%s\n", i, i%50, i, strings.Repeat(" order", 200))
	}
	tool(lines.String(), "kafka-console-producer.sh", "--topic", "orders", "--compression-codec=none", "--reader-property", "parse.key=true", "--reader-property", "parse.headers=true")
	tool("1\n2\n3\n", "kafka-console-producer.sh", "--topic", "implicit")
	tool("", "kafka-console-consumer.sh", "--topic", "orders", "--group", "billing", "--from-beginning", "--max-messages", "1234")
	tool("", "kafka-consumer-groups.sh", "--reset-offsets", "--group", "planned", "--topic", "implicit", "--to-offset", "2", "--execute")
	tool("", "kafka-consumer-groups.sh", "--reset-offsets", "--group", "deleted", "--topic", "implicit", "--to-offset", "2", "--execute")
	tool("", "kafka-consumer-groups.sh", "--delete", "--group", "deleted")
	tool("", "kafka-topics.sh", "--delete", "--topic", "gone")

	look := func() string {
		return strings.Join([]string{
			tool("", "kafka-cluster.sh", "cluster-id"),
			tool("", "kafka-topics.sh", "--describe"),
			tool("", "kafka-configs.sh", "--describe", "--entity-type", "topics"),
			tool("", "kafka-configs.sh", "--describe", "--broker-defaults"),
			tool("", "kafka-get-offsets.sh"),
			tool("", "kafka-get-offsets.sh", "--time", "max-timestamp"),
			tool("", "kafka-consumer-groups.sh", "--list", "--state"),
			tool("", "kafka-consumer-groups.sh", "--describe", "--all-groups"),
			tool("", "kafka-console-consumer.sh", "--include", "orders|implicit", "--from-beginning", "--max-messages", "3003", "--formatter-property", "print.key=true",
				"--formatter-property", "print.headers=true", "--formatter-property", "print.timestamp=true", "--formatter-property", "print.offset=true", "--formatter-property", "print.partition=true"),
		}, "\n")
	}
	sorted := func(text string) string { return strings.Join(slices.Sorted(strings.SplitSeq(text, "\n")), "\n") }
	before := sorted(look())
	for _, want := range []string{`Topic: orders\t.*PartitionCount: 4\t`, `max\.message\.bytes=1543210`, `log\.retention\.ms=123456789`, `(?m)^planned +implicit +0 +2 +3 +1 `,
		`(?m)^billing +Empty`, `(?m)^CreateTime:\d+\tPartition:\d\tOffset:\d+\th:2999\tkey49\t2999 order`} {
		requireMatch(t, "the broker", before, want)
	}
	if strings.Contains(before, "gone") || strings.Contains(before, "deleted ") || strings.Contains(before, "retention.ms=100000000") {
		t.Error("what was deleted is still there")
	}
	for _, end := range []struct {
		name string
		run  func()
	}{{"SIGTERM", b.Stop}, {"SIGKILL", b.Kill}, {"SIGKILL again", b.Kill}, {"SIGTERM after SIGKILL", b.Stop}} {
		end.run()
		_, err := os.Stat(filepath.Join(b.DataDir, ".kafka_cleanshutdown"))
		if clean := strings.HasPrefix(end.name, "SIGTERM"); clean != (err == nil) {
			t.Errorf("%s: .kafka_cleanshutdown: %v", end.name, err)
		}
		b.Start()
		if after := sorted(look()); after != before {
			t.Fatalf("after %s the tools show something else:\n%s", end.name, firstDifference(before, after))
		}
	}
	// It goes on as well: records are added behind the others, the group where it was.
	tool("4\n", "kafka-console-producer.sh", "--topic", "implicit")
	if got := tool("", "kafka-get-offsets.sh", "--topic", "implicit"); got != "implicit:0:4\n" {
		t.Errorf("after another record the topic ends at %q", got)
	}
	if got := tool("", "kafka-console-consumer.sh", "--topic", "implicit", "--group", "planned", "--max-messages", "2"); got != "3\n4\n" {
		t.Errorf("the group goes on with %q", got)
	}
}

func firstDifference(before, after string) string {
	b, a := strings.Split(before, "\n"), strings.Split(after, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "before: " + b[i] + "\nafter:  " + a[i]
		}
	}
	return fmt.Sprintf("%d lines before, %d after", len(b), len(a))
}

const (
	manyTopics        = 20
	partitionsOfEach  = 100
	bulkBytes         = 64 << 20
	mostBytesOfAStart = 24 << 20
	mostTimeOfAStart  = 10 * time.Second
)

// TestRestartWithManyPartitions restarts a broker that has 2,000 partitions and one long log: it
// must be there soon, and must not have read what it has.
func TestRestartWithManyPartitions(t *testing.T) {
	t.Parallel()
	b := kafkatest.StartBroker(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	admin := kadm.NewClient(b.Client())
	var names []string
	for i := range manyTopics {
		names = append(names, fmt.Sprintf("topic-%02d", i))
	}
	createdAt := time.Now()
	created, err := admin.CreateTopics(ctx, partitionsOfEach, 1, nil, names...)
	if err == nil {
		err = created.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d partitions were created in %v", manyTopics*partitionsOfEach, time.Since(createdAt))
	touch := func() {
		t.Helper()
		client := b.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
		defer client.Close()
		var records []*kgo.Record
		for _, name := range names {
			for p := range int32(partitionsOfEach) {
				records = append(records, &kgo.Record{Topic: name, Partition: p, Value: []byte("small")})
			}
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	touch()
	produceBulk(ctx, t, b, names[0])

	b.Stop()
	requireFastStart(t, b, "after a clean stop")
	touch()
	b.Kill()
	requireFastStart(t, b, "after a kill")
	b.Kill()
	requireFastStart(t, b, "after a second kill")

	ends, err := kadm.NewClient(b.Client()).ListEndOffsets(ctx, names...)
	if err != nil {
		t.Fatal(err)
	}
	count, total := 0, int64(0)
	ends.Each(func(o kadm.ListedOffset) { count, total = count+1, total+o.Offset })
	if want := int64(2*manyTopics*partitionsOfEach + bulkBytes>>19); count != manyTopics*partitionsOfEach || total != want {
		t.Errorf("%d partitions with %d records, want %d records", count, total, want)
	}
}

// produceBulk writes records that no codec makes small to partition 0.
func produceBulk(ctx context.Context, t *testing.T, b *kafkatest.Broker, topic string) {
	t.Helper()
	client := b.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer client.Close()
	value := make([]byte, 1<<19)
	if _, err := rand.Read(value); err != nil {
		t.Fatal(err)
	}
	for range bulkBytes >> 19 {
		client.Produce(ctx, &kgo.Record{Topic: topic, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func requireFastStart(t *testing.T, b *kafkatest.Broker, when string) {
	t.Helper()
	startedAt := time.Now()
	b.Start()
	took, readBytes := time.Since(startedAt), bytesRead(t, b.Pid())
	t.Logf("%s: ready in %v, %d KiB read", when, took, readBytes>>10)
	if took > mostTimeOfAStart {
		t.Errorf("%s: ready only after %v", when, took)
	}
	if readBytes > mostBytesOfAStart {
		t.Errorf("%s: the start read %d MiB, as if it read whole logs (%d MiB)", when, readBytes>>20, bulkBytes>>20)
	}
}

// bytesRead is what a process has read through system calls; 0 where the system does not say.
func bytesRead(t *testing.T, pid int) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Log("LOUD SKIP of the check of bytes read: it needs /proc")
		return 0
	}
	rchar := regexp.MustCompile(`(?m)^rchar: (\d+)$`).FindStringSubmatch(read(t, fmt.Sprintf("/proc/%d/io", pid)))
	if rchar == nil {
		t.Fatal("no rchar in /proc/PID/io")
	}
	n, err := strconv.ParseInt(rchar[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
