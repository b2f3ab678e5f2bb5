package cleaner

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestOffsetMapStaysWithinItsMemory(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sizeBytes  int64
		loadFactor float64
		expected   int64
		keys       int // that fit
	}{
		{24 * 1000, 0.9, -1, 900},
		{24 * 1000, 0.5, 1 << 40, 500},
		{24*1000 + 23, 1, -1, 999}, // one slot stays empty
		{24 * 1000, 0, -1, 900},    // no sensible factor
		{24 * 1000, 7, -1, 900},
		{0, 0.9, -1, 57}, // the least
		{-5, 0.9, -1, 57},
		{1 << 40, 0.9, 10, 57}, // no more than can come
		{1 << 40, 0.5, 1000, 1001},
	} {
		m := NewOffsetMap(c.sizeBytes, c.loadFactor, c.expected)
		if most := max(c.sizeBytes, minSlots*bytesPerSlot, 4*(c.expected+1)*bytesPerSlot); c.expected < 1<<30 && m.SizeBytes() > most {
			t.Errorf("%+v: %d bytes", c, m.SizeBytes())
		}
		fit := 0
		for m.put(fmt.Append(nil, fit), int64(fit)) {
			fit++
		}
		if fit != c.keys {
			t.Errorf("%+v: %d keys fit", c, fit)
		}
		// A full map still takes newer offsets of the keys that it has, and ends every search.
		if !m.put(fmt.Append(nil, 0), 1<<40) || m.newest(fmt.Append(nil, 0)) != 1<<40 || m.newest([]byte("not there")) != -1 {
			t.Errorf("%+v: wrong answers of a full map", c)
		}
	}
}

// TestOffsetMapAgainstAMap fills maps until nearly every search meets other keys' slots.
func TestOffsetMapAgainstAMap(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		m, want := NewOffsetMap(int64(random.IntN(300))*bytesPerSlot, 1, -1), map[string]int64{}
		for offset := range int64(3000) {
			key := fmt.Appendf(nil, "key %d", random.IntN(400))
			if random.IntN(20) == 0 {
				m.grow()
			}
			if len(m.slots) > 1<<14 {
				break
			}
			if m.put(key, offset) {
				want[string(key)] = offset
			} else if _, known := want[string(key)]; known {
				t.Fatalf("seed %d: a full map refuses a key that it has", seed)
			}
		}
		for i := range 400 {
			key := fmt.Appendf(nil, "key %d", i)
			offset, known := want[string(key)]
			if got := m.newest(key); known && got != offset || !known && got != -1 {
				t.Fatalf("seed %d: %s is at %d, want %d %v", seed, key, got, offset, known)
			}
		}
	}
}

// TestOffsetMapWrapsAround gives keys the last slot's place.
func TestOffsetMapWrapsAround(t *testing.T) {
	t.Parallel()
	m := NewOffsetMap(0, 0.9, -1)
	var keys [][]byte
	for i := 0; len(keys) < 10; i++ {
		key := fmt.Append(nil, i)
		if high, _ := keyHash(key); high%uint64(len(m.slots)) == uint64(len(m.slots)-1) {
			keys = append(keys, key)
		}
	}
	for i, key := range keys {
		m.put(key, int64(i))
	}
	for i, key := range keys {
		if m.newest(key) != int64(i) {
			t.Errorf("key %d is at %d", i, m.newest(key))
		}
	}
}

func TestOffsetsNeverFallBack(t *testing.T) {
	t.Parallel()
	m := NewOffsetMap(0, 0.9, -1)
	for _, offset := range []int64{5, 9, 7, 0} {
		m.put([]byte("k"), offset)
	}
	if got := m.newest([]byte("k")); got != 9 {
		t.Errorf("newest offset %d, want 9", got)
	}
	m.put(nil, 3)
	if got := m.newest([]byte{}); got != 3 {
		t.Errorf("the empty key is at %d", got)
	}
}
