package producerstate

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/env"
)

func sampleState(seed uint64) *Manager {
	random := env.NewSeededRandom(seed)
	var m Manager
	offset := int64(0)
	for range 200 {
		n := int32(random.Uint64()%5) + 1
		w := write(int16(random.Uint64()%3), int32(random.Uint64()%1000), n, offset)
		w.ProducerID = int64(random.Uint64() % 20)
		w.Transactional = random.Uint64()%10 == 0
		m.Apply(w)
		if random.Uint64()%12 == 0 {
			m.ApplyMarker(Marker{ProducerID: w.ProducerID, Epoch: w.Epoch, CoordinatorEpoch: 1, TimestampMs: offset})
		}
		offset += int64(n)
	}
	return &m
}

func TestSnapshotKeepsTheWholeState(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		m := sampleState(seed)
		var loaded Manager
		if err := loaded.LoadSnapshot(m.EncodeSnapshot(), 0, math.MaxInt64); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want, got := m.Entries(), loaded.Entries()
		if len(want) != len(got) || !slices.Equal(m.open, loaded.open) {
			t.Fatalf("seed %d: %d entries, %d open; want %d, %d", seed, len(got), loaded.open, len(want), m.open)
		}
		for i := range want {
			w, g := want[i], got[i]
			wb, gb := w.Batches(), g.Batches()
			w.window, w.oldest, g.window, g.oldest = [5]Batch{}, 0, [5]Batch{}, 0
			// Kafka's format has one timestamp for the producer and its last batch.
			if len(wb) > 0 {
				wb[len(wb)-1].TimestampMs, gb[len(gb)-1].TimestampMs = 0, 0
			}
			if w != g || !reflect.DeepEqual(wb, gb) {
				t.Fatalf("seed %d: producer %d: got %+v %v, want %+v %v", seed, w.ProducerID, g, gb, w, wb)
			}
		}
	}
}

func TestSnapshotWithoutTrailerIsKafkas(t *testing.T) {
	t.Parallel()
	m := sampleState(1)
	full := m.EncodeSnapshot()
	plain := append([]byte(nil), full[:snapshotHeaderSize+m.Len()*snapshotEntrySize]...)
	binary.BigEndian.PutUint32(plain[2:], crc32.Checksum(plain[6:], castagnoli))
	entries, err := DecodeSnapshot(plain)
	if err != nil || len(entries) != m.Len() {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		if len(e.Batches()) > 1 {
			t.Fatalf("producer %d has more than its last batch", e.ProducerID)
		}
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	t.Parallel()
	good := sampleState(2).EncodeSnapshot()
	var m Manager
	m.Apply(write(0, 0, 1, 5))
	for cut := range len(good) {
		if err := m.LoadSnapshot(good[:cut], 0, math.MaxInt64); err == nil {
			t.Fatalf("cut at %d was accepted", cut)
		}
	}
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		var damage *SnapshotError
		if err := m.LoadSnapshot(bad, 0, math.MaxInt64); !errors.As(err, &damage) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
	}
	if m.Len() != 1 {
		t.Fatal("a refused snapshot changed the state")
	}
}

func TestLyingCountIsRefusedBeforeItAllocates(t *testing.T) {
	t.Parallel()
	data := make([]byte, snapshotHeaderSize)
	binary.BigEndian.PutUint16(data, snapshotVersion)
	binary.BigEndian.PutUint32(data[6:], math.MaxUint32)
	binary.BigEndian.PutUint32(data[2:], crc32.Checksum(data[6:], castagnoli))
	if _, err := DecodeSnapshot(data); err == nil {
		t.Fatal("accepted")
	}
}

func TestExpiredProducersAreNotLoaded(t *testing.T) {
	t.Parallel()
	var m, loaded Manager
	m.Apply(write(0, 0, 1, 5)) // timestamp 50
	if err := loaded.LoadSnapshot(m.EncodeSnapshot(), 1050, 1000); err != nil || loaded.Len() != 0 {
		t.Fatalf("%d loaded, %v", loaded.Len(), err)
	}
}

func FuzzSnapshot(f *testing.F) {
	f.Add(sampleState(3).EncodeSnapshot())
	f.Add((&Manager{}).EncodeSnapshot())
	golden, _ := filepath.Glob("testdata/*.snapshot")
	for _, name := range golden {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 6 { // let mutations past the CRC
			data = append([]byte(nil), data...)
			binary.BigEndian.PutUint32(data[2:], crc32.Checksum(data[6:], castagnoli))
		}
		m, err := decodeSnapshot(data)
		if err != nil {
			return
		}
		again, err := decodeSnapshot(m.EncodeSnapshot())
		if err != nil || again.Len() != m.Len() || !slices.Equal(again.open, m.open) {
			t.Fatalf("encoding what was decoded: %v, %d of %d", err, again.Len(), m.Len())
		}
	})
}
