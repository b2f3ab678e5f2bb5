package cleaner

import (
	"crypto/sha256"
	"encoding/binary"
)

// bytesPerSlot is what a slot of an OffsetMap takes.
const bytesPerSlot = 24

// minSlots is the least that an OffsetMap is made with, so that every round makes progress.
const minSlots = 64

// OffsetMap remembers the newest offset of each key by 128 bits of the key's SHA-256: two keys
// never meet by accident, nor can a producer make them meet (Kafka's MD5 lets it). Its memory is
// bounded; when it is full, what follows in the log waits for the next round.
type OffsetMap struct {
	slots   []slot
	used    int
	limit   int
	highest int64 // the last offset that the map knows about
}

// slot holds offset+1, so that zero is an empty one.
type slot struct {
	high, low uint64
	next      int64
}

// NewOffsetMap returns a map within sizeBytes that may become loadFactor full. expected bounds the
// number of keys that can come, so that a small log takes little memory.
func NewOffsetMap(sizeBytes int64, loadFactor float64, expected int64) *OffsetMap {
	if loadFactor <= 0 || loadFactor > 1 {
		loadFactor = 0.9
	}
	slots := max(sizeBytes/bytesPerSlot, minSlots)
	if expected >= 0 && float64(expected)+1 < float64(slots)*loadFactor {
		slots = max(int64(float64(expected+1)/loadFactor)+1, minSlots)
	}
	// One slot always stays empty, or the search for a key that is not there would not end.
	return &OffsetMap{slots: make([]slot, slots), limit: max(1, min(int(float64(slots)*loadFactor), int(slots)-1)), highest: -1}
}

// put notes that key has a record at offset; false if the map is full. Offsets ascend.
func (m *OffsetMap) put(key []byte, offset int64) bool {
	s := m.find(key)
	if s.next == 0 {
		if m.used >= m.limit {
			return false
		}
		m.used++
		s.high, s.low = keyHash(key)
	}
	s.next = max(s.next, offset+1)
	return true
}

// newest returns the offset of the key's newest record, -1 if the map has none.
func (m *OffsetMap) newest(key []byte) int64 { return m.find(key).next - 1 }

// find returns the key's slot, or the empty one where it belongs.
func (m *OffsetMap) find(key []byte) *slot {
	high, low := keyHash(key)
	for i := high % uint64(len(m.slots)); ; i++ {
		if i == uint64(len(m.slots)) {
			i = 0
		}
		if s := &m.slots[i]; s.next == 0 || s.high == high && s.low == low {
			return s
		}
	}
}

func keyHash(key []byte) (high, low uint64) {
	sum := sha256.Sum256(key)
	return binary.BigEndian.Uint64(sum[:]), binary.BigEndian.Uint64(sum[8:])
}

// SizeBytes is the memory that the map takes.
func (m *OffsetMap) SizeBytes() int64 { return int64(len(m.slots)) * bytesPerSlot }
