package follower

import (
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/record"
)

// The tests here are named after faults of Apache Kafka's replication by which records were lost or replicas
// came to differ. What needs several replicas is in internal/replica and internal/partition.

// TestDamagedBatchesAreRefusedAndFetchedAgain: what a leader's disk or the network has damaged does not spread.
func TestDamagedBatchesAreRefusedAndFetchedAgain(t *testing.T) {
	t.Parallel()
	good := func() record.Batch { return batch(t, 2, 1, "good", "better") }
	for name, damage := range map[string]func(b record.Batch) []byte{
		"a flipped bit":            func(b record.Batch) []byte { b[len(b)-2] ^= 4; return b },
		"a flipped bit of the CRC": func(b record.Batch) []byte { b[17] ^= 4; return b },
		"a later epoch":            func(b record.Batch) []byte { b.SetPartitionLeaderEpoch(2); return b },
		"an earlier offset":        func(b record.Batch) []byte { b.SetBaseOffset(1); return b },
		"offsets that go back":     func(b record.Batch) []byte { return append(b, batch(t, 3, 1, "back")...) },
		"half a batch":             func(b record.Batch) []byte { return b[:len(b)-3] },
		"a length that lies":       func(b record.Batch) []byte { b[10] ^= 0x40; return b },
		"another format":           func(b record.Batch) []byte { b[16] = 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t, nil)
			p := h.open("a", 0, 1)
			h.Follow(p, 1)
			h.send()
			h.answer(0, map[*partition.Partition]answer{p: withRecords(2, batch(t, 0, 1, "x", "y"))})
			wait := int64(firstBackoffMs)
			for i := range 3 {
				if i > 0 {
					h.nowMs += wait
					wait *= 2
				}
				h.send()
				if asked := h.asked(p); asked.FetchOffset != 2 {
					t.Fatalf("try %d asks for %+v", i, asked)
				}
				a := withRecords(4, damage(good()))
				h.answer(0, map[*partition.Partition]answer{p: a})
				if p.Log().LogEndOffset() != 2 || p.Log().HighWatermark() != 2 {
					t.Fatalf("the log ends at %d, committed is %d", p.Log().LogEndOffset(), p.Log().HighWatermark())
				}
				if got := h.options.Metrics.damaged.Value(); got != int64(i+1) {
					t.Errorf("%d refusals are counted after %d", got, i+1)
				}
			}
			h.nowMs += wait
			h.send()
			h.answer(0, map[*partition.Partition]answer{p: withRecords(4, good())})
			if p.Log().LogEndOffset() != 4 || p.Log().HighWatermark() != 4 {
				t.Errorf("then the log ends at %d", p.Log().LogEndOffset())
			}
		})
	}
}

// TestKafka18723BatchesOfLaterEpochs: batches that were appended in a later epoch than the fetch's are not taken from it, not
// even the good ones before them in the same answer.
func TestKafka18723BatchesOfLaterEpochs(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	p := h.open("a", 0, 5)
	h.Follow(p, 5)
	h.send()
	h.answer(0, map[*partition.Partition]answer{p: withRecords(2, batch(t, 0, 5, "x"), batch(t, 1, 6, "y"))})
	if p.Log().LogEndOffset() != 0 || p.Log().LatestEpoch() != kafka.NoLeaderEpoch {
		t.Errorf("the log ends at %d in epoch %d", p.Log().LogEndOffset(), p.Log().LatestEpoch())
	}
}

// followerOf has records of two epochs: 0 to 2 of epoch 1, 3 and 4 of epoch 3, all but the last committed.
func followerOf(t *testing.T, leaderEpoch int32) (*harness, *partition.Partition) {
	h := newHarness(t, nil)
	p := h.open("a", 0, 3)
	h.Follow(p, 3)
	h.send()
	h.answer(0, map[*partition.Partition]answer{p: withRecords(4, batch(t, 0, 1, "a", "b", "c"), batch(t, 3, 3, "d"), batch(t, 4, 3, "e"))})
	if p.Log().LogEndOffset() != 5 || p.Log().HighWatermark() != 4 {
		t.Fatalf("the log ends at %d, committed is %d", p.Log().LogEndOffset(), p.Log().HighWatermark())
	}
	h.lead(p, leaderEpoch)
	h.Follow(p, leaderEpoch)
	return h, p
}

// TestKafka14704NoHighWatermarkBeforeTruncation: an answer that says that the logs diverge moves no high watermark, or what
// is about to be cut off would count as committed.
func TestKafka14704NoHighWatermarkBeforeTruncation(t *testing.T) {
	t.Parallel()
	h, p := followerOf(t, 4)
	if names := wanted(h.send()); len(names) != 1 || names[0].FetchOffset != 5 || names[0].LastFetchedEpoch != 3 {
		t.Fatalf("asks for %+v", names)
	}
	a := offsets(9, 0)
	a.DivergingEpoch.Epoch, a.DivergingEpoch.EndOffset = 3, 4
	h.answer(0, map[*partition.Partition]answer{p: a})
	if p.Log().LogEndOffset() != 4 || p.Log().HighWatermark() != 4 {
		t.Fatalf("the log ends at %d, committed is %d", p.Log().LogEndOffset(), p.Log().HighWatermark())
	}
	if names := wanted(h.send()); len(names) != 1 || names[0].FetchOffset != 4 || names[0].LastFetchedEpoch != 3 {
		t.Fatalf("then asks for %+v", names)
	}
	h.answer(0, map[*partition.Partition]answer{p: withRecords(6, batch(t, 4, 4, "E", "F"))})
	if p.Log().LogEndOffset() != 6 || p.Log().HighWatermark() != 6 {
		t.Errorf("the log ends at %d, committed is %d", p.Log().LogEndOffset(), p.Log().HighWatermark())
	}
}

// TestKafka15510EmptyAnswersForgetNoEpoch: an answer without records leaves the last fetched epoch as it is, without which
// the next one could not find out that the logs diverge.
func TestKafka15510EmptyAnswersForgetNoEpoch(t *testing.T) {
	t.Parallel()
	h, p := followerOf(t, 4)
	for i := range 3 {
		h.send()
		if asked := h.asked(p); asked.LastFetchedEpoch != 3 {
			t.Fatalf("fetch %d asks for %+v", i, asked)
		}
		h.answer(500, map[*partition.Partition]answer{p: offsets(5, 0)})
	}
}

// TestKafka7414OutOfRangeIsNotFatal: a follower behind the beginning of its leader's log starts over there, and a leader that
// cannot say where is asked again.
func TestKafka7414OutOfRangeIsNotFatal(t *testing.T) {
	t.Parallel()
	h, p := followerOf(t, 4)
	h.send()
	h.answer(0, map[*partition.Partition]answer{p: refusal(kafka.ErrOffsetOutOfRange)})
	if p.Log().LogEndOffset() != 5 {
		t.Fatalf("the log ends at %d", p.Log().LogEndOffset())
	}
	h.nowMs += firstBackoffMs
	h.send()
	a := refusal(kafka.ErrOffsetOutOfRange)
	a.LogStartOffset = 20
	h.answer(0, map[*partition.Partition]answer{p: a})
	// KAFKA-9491: the high watermark comes along, or the replica would lead with one below its beginning.
	if l := p.Log(); l.LogStartOffset() != 20 || l.LogEndOffset() != 20 || l.HighWatermark() != 20 {
		t.Fatalf("the log is %d to %d, committed is %d", l.LogStartOffset(), l.LogEndOffset(), l.HighWatermark())
	}
	if names := wanted(h.send()); len(names) != 1 || names[0].FetchOffset != 20 || names[0].LastFetchedEpoch != -1 || names[0].LogStartOffset != 20 {
		t.Fatalf("then asks for %+v", names)
	}
	late := withRecords(21, batch(t, 20, 4, "u"))
	late.LogStartOffset = 20
	h.answer(0, map[*partition.Partition]answer{p: late})
	if p.Log().LogEndOffset() != 21 {
		t.Errorf("then the log ends at %d", p.Log().LogEndOffset())
	}
}

// TestFollowerBeginsLaterThanItsLeaderEnds: after an unclean election the leader may have less than what a follower has deleted.
func TestFollowerBeginsLaterThanItsLeaderEnds(t *testing.T) {
	t.Parallel()
	h := newHarness(t, nil)
	p := h.open("a", 0, 3)
	if err := p.StartAt(3, 20, startMs); err != nil {
		t.Fatal(err)
	}
	h.Follow(p, 3)
	if names := wanted(h.send()); len(names) != 1 || names[0].FetchOffset != 20 || names[0].LogStartOffset != 20 {
		t.Fatalf("asks for %+v", names)
	}
	a := refusal(kafka.ErrOffsetOutOfRange)
	a.LogStartOffset = 2
	h.answer(0, map[*partition.Partition]answer{p: a})
	if names := wanted(h.send()); len(names) != 1 || names[0].FetchOffset != 2 || names[0].LogStartOffset != 2 {
		t.Fatalf("then asks for %+v", names)
	}
	some := withRecords(3, batch(t, 2, 3, "c"))
	some.LogStartOffset = 2
	h.answer(0, map[*partition.Partition]answer{p: some})
	if l := p.Log(); l.LogStartOffset() != 2 || l.LogEndOffset() != 3 || l.HighWatermark() != 3 {
		t.Errorf("the log is %d to %d, committed is %d", l.LogStartOffset(), l.LogEndOffset(), l.HighWatermark())
	}
}

// TestKIP279EpochsThatTheFollowerDoesNotHave: a leader that answers with an epoch that the follower does not know is asked
// again from the end of the last one before it, until both know the same.
func TestKIP279EpochsThatTheFollowerDoesNotHave(t *testing.T) {
	t.Parallel()
	h, p := followerOf(t, 5)
	h.send()
	a := offsets(4, 0) // it has 0 to 2 of epoch 1 and 3 to 8 of epoch 2
	a.DivergingEpoch.Epoch, a.DivergingEpoch.EndOffset = 2, 9
	h.answer(0, map[*partition.Partition]answer{p: a})
	if p.Log().LogEndOffset() != 3 {
		t.Fatalf("the log ends at %d", p.Log().LogEndOffset())
	}
	if names := wanted(h.send()); len(names) != 1 || names[0].FetchOffset != 3 || names[0].LastFetchedEpoch != 1 {
		t.Fatalf("then asks for %+v", names)
	}
	h.answer(0, map[*partition.Partition]answer{p: withRecords(4, batch(t, 3, 2, "D"))})
	if p.Log().LogEndOffset() != 4 || p.Log().LatestEpoch() != 2 {
		t.Errorf("the log ends at %d in epoch %d", p.Log().LogEndOffset(), p.Log().LatestEpoch())
	}
}
