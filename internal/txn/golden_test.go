package txn

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/shard"
)

// TestKafkaRecords reads records that Apache Kafka wrote and writes them again. The bytes must be
// the same, but for the version of values that transaction.version 0 asks for, which only Kafka
// still writes.
func TestKafkaRecords(t *testing.T) {
	t.Parallel()
	states, versions, tombstones, rotations := map[State]int{}, map[byte]int{}, 0, 0
	for i, r := range kafkaRecords(t) {
		id, known, err := decodeKey(r.Key)
		if err != nil || !known || !bytes.Equal(key(id), r.Key) {
			t.Fatalf("record %d: key of %q, %v, %v", i, id, known, err)
		}
		if r.Value == nil {
			tombstones++
			continue
		}
		x, err := decode(id, r.Value)
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		again := x.record(Version2)
		states[x.state]++
		versions[r.Value[1]]++
		if x.nextProducerID != noFreshID {
			rotations++
		}
		if r.Value[1] == 0 {
			checkVersion0(t, i, x, r.Value)
			continue
		}
		if !bytes.Equal(again.Value, r.Value) {
			t.Errorf("record %d\n got %x\nwant %x", i, again.Value, r.Value)
		}
	}
	for state := StateEmpty; state <= StateCompleteAbort; state++ {
		if states[state] == 0 {
			t.Errorf("no record in state %v", state)
		}
	}
	if versions[0] == 0 || versions[1] == 0 || tombstones == 0 || rotations == 0 {
		t.Errorf("value versions %v, %d tombstones, %d rotations: something is missing", versions, tombstones, rotations)
	}
}

// checkVersion0 compares what was read from a value of version 0 with what is read after it was
// written in version 1, and with Kafka's bytes.
func checkVersion0(t *testing.T, i int, x *transaction, value []byte) {
	t.Helper()
	again, err := decode(x.id, x.record(Version2).Value)
	if err != nil || describeTransaction(again) != describeTransaction(x) || again.timeoutMs != x.timeoutMs {
		t.Errorf("record %d: %+v became %+v, %v", i, x, again, err)
	}
	v := kmsg.NewTxnMetadataValue()
	if err := v.ReadFrom(x.record(Version2).Value); err != nil {
		t.Fatal(err)
	}
	v.Version = 0
	if got := v.AppendTo(nil); !bytes.Equal(got, value) {
		t.Errorf("record %d\n got %x\nwant %x", i, got, value)
	}
}

func kafkaRecords(t testing.TB) (records []shard.Record) {
	t.Helper()
	data, err := os.ReadFile("testdata/kafka-4.3.1-records.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Fields(lines.Text())
		r := shard.Record{Key: unhex(t, fields[2])}
		if fields[3] != "-" {
			r.Value = unhex(t, fields[3])
		}
		records = append(records, r)
	}
	return records
}

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
