package group

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// TestKafkaRecords reads records that Apache Kafka wrote and writes them again: every byte must
// be the same, or Kafka's tools and external readers of the topic would not understand ours.
func TestKafkaRecords(t *testing.T) {
	t.Parallel()
	s := NewShard(DefaultConfig(), env.NewSeededRandom(1), NewMetrics(metrics.NewRegistry()))
	for i, r := range kafkaRecords(t) {
		if err := s.Replay(shard.Position{Offset: int64(i), ProducerID: kafka.NoProducerID}, r); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		var again shard.Record
		if r.Key[1] == byte(keyTypeGroupMetadata) {
			id, err := decodeGroupKey(r.Key)
			if err != nil {
				t.Fatal(err)
			}
			again = groupTombstone(id)
			if g := s.group(id); g != nil {
				again = groupMetadataRecord(g)
			}
		} else {
			k, err := decodeOffsetCommitKey(r.Key)
			if err != nil {
				t.Fatal(err)
			}
			again = offsetTombstone(k)
			if o, ok := s.offsetOf(k); ok {
				again = offsetCommitRecord(k, o)
			}
		}
		if !bytes.Equal(again.Key, r.Key) || !bytes.Equal(again.Value, r.Value) {
			t.Errorf("record %d\n got %x %x\nwant %x %x", i, again.Key, again.Value, r.Key, r.Value)
		}
	}
	if groups := s.sortedGroups(); len(groups) != 2 || groups[0].id != "simple-1" || groups[1].id != "simple-2" {
		t.Errorf("groups left: %v, want the two simple ones", groups)
	}
}

func kafkaRecords(t testing.TB) []shard.Record {
	data, err := os.ReadFile("testdata/kafka-4.3.1-records.txt")
	if err != nil {
		t.Fatal(err)
	}
	var records []shard.Record
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Fields(lines.Text())
		records = append(records, shard.Record{Key: unhex(t, fields[2]), Value: unhex(t, fields[3])})
	}
	return records
}

func unhex(t testing.TB, s string) []byte {
	if s == "null" {
		return nil
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOtherKindsAreSkipped: a log that was written by consumer, share or streams groups, too, is
// loaded; what is not understood is counted.
func TestOtherKindsAreSkipped(t *testing.T) {
	t.Parallel()
	registry := metrics.NewRegistry()
	s := NewShard(DefaultConfig(), env.NewSeededRandom(1), NewMetrics(registry))
	for keyType := byte(3); keyType < 30; keyType++ {
		if err := s.Replay(shard.Position{}, shard.Record{Key: []byte{0, keyType, 1, 2, 3}, Value: []byte{9}}); err != nil {
			t.Errorf("key type %d: %v", keyType, err)
		}
	}
	if got := registry.Counter("group_skipped_records_total", "").Value(); got != 27 {
		t.Errorf("skipped %d records, want 27", got)
	}
	if len(s.groups) != 0 {
		t.Errorf("%d groups came into being", len(s.groups))
	}
}

// TestGroupThatBecameAnotherKind: Kafka writes a tombstone for a classic group that becomes a
// consumer group; its offsets stay valid.
func TestGroupThatBecameAnotherKind(t *testing.T) {
	t.Parallel()
	registry := metrics.NewRegistry()
	s := NewShard(DefaultConfig(), env.NewSeededRandom(1), NewMetrics(registry))
	key := offsetKey{group: "g", topic: "t", partition: 3}
	g := s.createGroup("g")
	g.protocolType, g.generation = "consumer", 7
	for i, r := range []shard.Record{groupMetadataRecord(g), offsetCommitRecord(key, committedOffset{offset: 5, expireTimestampMs: noExpiry}), groupTombstone("g")} {
		if err := s.Replay(shard.Position{Offset: int64(i), ProducerID: kafka.NoProducerID}, r); err != nil {
			t.Fatal(err)
		}
	}
	if o, ok := s.offsetOf(key); !ok || o.offset != 5 {
		t.Errorf("offset %v %v, want 5", o.offset, ok)
	}
	if !s.group("g").isSimple() {
		t.Error("the group should be a simple one now")
	}
	if got := registry.Gauge("group_offsets", "").Value(); got != 1 {
		t.Errorf("gauge of offsets is %d, want 1", got)
	}
	s.Deactivate()
	if got := registry.Gauge("group_offsets", "").Value(); got != 0 {
		t.Errorf("gauge of offsets is %d after the shard is gone, want 0", got)
	}
}

// TestOldRecordVersions: values of older releases lack fields that later ones have.
func TestOldRecordVersions(t *testing.T) {
	t.Parallel()
	o, err := decodeOffsetCommit(unhex(t, "0000"+"0000000000000005"+"0001"+"6d"+"0000000000000007"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (committedOffset{offset: 5, leaderEpoch: -1, metadata: "m", commitTimestampMs: 7, expireTimestampMs: noExpiry}); o != want {
		t.Errorf("version 0: %+v, want %+v", o, want)
	}
	// Version 0 of a group: type, generation, protocol, leader, members without rebalance time-out.
	v, err := decodeGroupMetadata(unhex(t, "0000"+"0001"+"63"+"00000002"+"0001"+"70"+"0001"+"6d"+"00000001"+
		"0001"+"6d"+"0001"+"63"+"0001"+"68"+"00001770"+"00000000"+"00000000"))
	if err != nil {
		t.Fatal(err)
	}
	if v.CurrentStateTimestamp != -1 || v.Members[0].RebalanceTimeoutMillis != 6000 {
		t.Errorf("version 0: since %d, rebalance time-out %d; want -1 and the session time-out", v.CurrentStateTimestamp, v.Members[0].RebalanceTimeoutMillis)
	}
	if _, err := decodeOffsetCommit([]byte{0, 5, 0}); err == nil {
		t.Error("an unknown version was accepted")
	}
}

func FuzzReplay(f *testing.F) {
	for _, r := range kafkaRecords(f) {
		f.Add(r.Key, r.Value)
	}
	f.Add([]byte{0, 2, 0, 1, 'g'}, []byte{0, 3})
	f.Fuzz(func(t *testing.T, key, value []byte) {
		s := NewShard(DefaultConfig(), env.NewSeededRandom(1), NewMetrics(metrics.NewRegistry()))
		for _, r := range []shard.Record{{Key: key, Value: value}, {Key: key}} {
			if err := s.Replay(shard.Position{ProducerID: kafka.NoProducerID}, r); err != nil {
				return
			}
			s.Activate(0)
			s.Tick(s.NextDeadlineMs())
		}
	})
}

func FuzzSubscription(f *testing.F) {
	f.Add(subscription("t1+t2"))
	f.Add([]byte{0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		topics := map[string]struct{}{}
		addSubscribedTopics(b, topics)
		size := 0
		for topic := range topics {
			size += len(topic)
		}
		if size > len(b) {
			t.Errorf("%d bytes of topics out of %d", size, len(b))
		}
	})
}
