package producerstate

import (
	"errors"
	"math"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

// write is one record batch of producer 7 with n records, the first having sequence seq.
func write(epoch int16, seq, n int32, firstOffset int64) Write {
	last := int32((int64(seq) + int64(n) - 1) & math.MaxInt32)
	return Write{
		ProducerID: 7, Epoch: epoch, FirstSequence: seq, LastSequence: last,
		FirstOffset: firstOffset, LastOffset: firstOffset + int64(n) - 1, TimestampMs: firstOffset * 10,
	}
}

func TestCheckFollowsSequencesAndEpochs(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		before   []Write
		w        Write
		noSeq    bool
		wantCode kafka.ErrorCode
	}{
		{name: "unknown producer may start anywhere", w: write(3, 42, 1, 0)},
		{name: "next sequence", before: []Write{write(0, 0, 3, 0)}, w: write(0, 3, 1, 3)},
		{name: "gap", before: []Write{write(0, 0, 3, 0)}, w: write(0, 4, 1, 3), wantCode: kafka.ErrOutOfOrderSequenceNumber},
		{name: "repeat beyond the window", before: []Write{write(0, 0, 1, 0), write(0, 1, 1, 1)}, w: write(0, 0, 2, 2), wantCode: kafka.ErrOutOfOrderSequenceNumber},
		{name: "wrap to zero", before: []Write{write(0, math.MaxInt32, 1, 0)}, w: write(0, 0, 1, 1)},
		{name: "wrap inside a batch", before: []Write{write(0, math.MaxInt32-1, 4, 0)}, w: write(0, 2, 1, 4)},
		{name: "older epoch", before: []Write{write(5, 0, 1, 0)}, w: write(4, 1, 1, 1), wantCode: kafka.ErrInvalidProducerEpoch},
		{name: "new epoch at zero", before: []Write{write(5, 9, 1, 0)}, w: write(6, 0, 1, 1)},
		{name: "new epoch not at zero", before: []Write{write(5, 9, 1, 0)}, w: write(6, 10, 1, 1), wantCode: kafka.ErrOutOfOrderSequenceNumber},
		{name: "coordinators have no sequences", before: []Write{write(5, 9, 1, 0)}, w: write(5, -1, 1, 1), noSeq: true},
		{name: "coordinators have epochs", before: []Write{write(5, 9, 1, 0)}, w: write(4, -1, 1, 1), noSeq: true, wantCode: kafka.ErrInvalidProducerEpoch},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var m Manager
			for _, w := range c.before {
				m.Apply(w)
			}
			if err := m.Check(c.w, !c.noSeq); kafka.CodeOf(err) != c.wantCode {
				t.Fatalf("Check = %v, want %v", err, c.wantCode)
			}
		})
	}
}

func TestDuplicatesOfTheLastFiveBatchesAreFound(t *testing.T) {
	t.Parallel()
	var m Manager
	for i := range int32(7) {
		m.Apply(write(1, i*2, 2, int64(100+i*2)))
	}
	for i := range int32(7) {
		b, found := m.FindDuplicate(write(1, i*2, 2, 0))
		if found != (i >= 2) {
			t.Fatalf("batch %d: found = %v", i, found)
		}
		if found && (b.FirstOffset() != int64(100+i*2) || b.LastOffset != int64(101+i*2) || b.TimestampMs != int64(100+i*2)*10) {
			t.Fatalf("batch %d: %+v", i, b)
		}
	}
	if _, found := m.FindDuplicate(write(1, 12, 1, 0)); found {
		t.Fatal("another range of sequences is no duplicate")
	}
	if _, found := m.FindDuplicate(write(2, 12, 2, 0)); found {
		t.Fatal("another epoch is no duplicate")
	}
	m.Apply(write(2, 0, 1, 200))
	if _, found := m.FindDuplicate(write(1, 12, 2, 0)); found {
		t.Fatal("a new epoch clears the window")
	}
}

func TestDuplicateAcrossTheSequenceWrap(t *testing.T) {
	t.Parallel()
	var m Manager
	w := write(0, math.MaxInt32-1, 4, 10)
	m.Apply(w)
	if b, found := m.FindDuplicate(w); !found || b.FirstOffset() != 10 || b.FirstSequence() != math.MaxInt32-1 {
		t.Fatalf("got %+v, %v", b, found)
	}
}

func TestTransactionsHoldBackAndEnd(t *testing.T) {
	t.Parallel()
	var m Manager
	w := write(0, 0, 2, 50)
	w.Transactional = true
	m.Apply(w)
	if offset, ok := m.FirstOpenTransaction(); !ok || offset != 50 || !m.HasOpenTransaction(7, 0) {
		t.Fatalf("first open transaction %d %v", offset, ok)
	}
	if err := m.Check(write(0, 2, 1, 52), true); !errors.Is(err, kafka.ErrInvalidTxnState) {
		t.Fatalf("a plain write inside a transaction: %v", err)
	}
	if n := m.Expire(math.MaxInt64, 1); n != 0 {
		t.Fatal("a producer with an open transaction expired")
	}
	m.ApplyMarker(Marker{ProducerID: 7, Epoch: 1, CoordinatorEpoch: 3, TimestampMs: 600})
	if _, ok := m.FirstOpenTransaction(); ok || m.HasOpenTransaction(7, 0) {
		t.Fatal("still open after the marker")
	}
	e := m.Entries()[0]
	if e.Epoch != 1 || e.CoordinatorEpoch != 3 || e.LastTimestampMs != 600 || e.LastSequence() != -1 {
		t.Fatalf("after the marker: %+v", e)
	}
	if err := m.Check(write(1, 0, 1, 53), true); err != nil {
		t.Fatalf("first write of the new epoch: %v", err)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	var m Manager
	m.Apply(write(0, 0, 1, 100)) // timestamp 1000
	if n := m.Expire(1999, 1000); n != 0 || m.Len() != 1 {
		t.Fatal("expired too soon")
	}
	if n := m.Expire(2000, 1000); n != 1 || m.Len() != 0 {
		t.Fatal("did not expire")
	}
}

// TestGuardsAreNotGivenTwice: an answer of a transaction's coordinator may come after this broker has followed and the state was
// made anew. Its guard must not be that of the next question.
func TestGuardsAreNotGivenTwice(t *testing.T) {
	t.Parallel()
	var m Manager
	v := Verification{ProducerID: 7, Epoch: 1}
	seen := map[Guard]bool{}
	for _, anew := range []func(){
		func() {}, m.Reset,
		func() {
			if err := m.LoadSnapshot(m.EncodeSnapshot(), 0, 1000); err != nil {
				t.Fatal(err)
			}
		},
	} {
		anew()
		guard, err := m.StartVerification(v)
		if err != nil || seen[guard] {
			t.Errorf("guard %d again, %v", guard, err)
		}
		seen[guard] = true
	}
}
