package record

import (
	"errors"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
)

func FuzzNext(f *testing.F) {
	f.Add([]byte(sample(f, CodecNone, 2)))
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		rest := data
		for {
			b, next, err := Next(rest)
			if err != nil {
				if _, corrupt := errors.AsType[*CorruptError](err); !corrupt && !errors.Is(err, ErrIncomplete) {
					t.Fatalf("unexpected error %v", err)
				}
				return
			}
			if total += len(b); len(b) < BatchOverhead || total+len(next) != len(data) {
				t.Fatalf("batch of %d bytes, %d taken, %d left of %d", len(b), total, len(next), len(data))
			}
			rest = next
		}
	})
}

// FuzzValidate renews the CRC, so that mutations reach the records.
func FuzzValidate(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add([]byte(sample(f, codec, 3)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := Next(data)
		if err != nil {
			return
		}
		b.sealCRC()
		r, err := Validate(b, lenient())
		if err != nil {
			if kafka.CodeOf(err) == kafka.ErrUnknownServerError || kafka.MessageOf(err) == nil {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		// What Validate accepts must be readable, and say the same.
		n, maxTimestamp := int32(0), int64(-1)
		for rec, err := range b.Records(UncompressedLimit(len(b))) {
			if err != nil {
				t.Fatalf("accepted, but not readable: %v", err)
			}
			if rec.OffsetDelta != n {
				t.Fatalf("record %d has offset delta %d", n, rec.OffsetDelta)
			}
			n++
			maxTimestamp = max(maxTimestamp, rec.Timestamp)
		}
		if n != r.Count || maxTimestamp != r.MaxTimestamp {
			t.Fatalf("Validate says %+v, the records are %d up to %d", r, n, maxTimestamp)
		}
	})
}

func FuzzRecords(f *testing.F) {
	for _, codec := range allCodecs {
		f.Add([]byte(sample(f, codec, 3)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, _, err := Next(data)
		if err != nil {
			return
		}
		size := 0
		for r, err := range b.Records(1 << 20) {
			if err != nil {
				return
			}
			if size += len(r.Key) + len(r.Value); size > 1<<20+len(b) {
				t.Fatal("more bytes came out than the limit allows")
			}
		}
	})
}

func FuzzControl(f *testing.F) {
	f.Add(KRaftVoters{[]KRaftVoter{{1, [16]byte{9}, []KRaftEndpoint{{"L", "h", 1}}, 0, 1}}}.Encode())
	f.Add(LeaderChange{Version: 1, Voters: []LeaderChangeVoter{{ID: 1}}}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = ParseControlKey(data)
		_, _ = ParseEndTxnMarker(data)
		_, _ = ParseLeaderChange(data)
		_, _ = ParseSnapshotHeader(data)
		_, _ = ParseSnapshotFooter(data)
		_, _ = ParseKRaftVersion(data)
		_, _ = ParseKRaftVoters(data)
	})
}
