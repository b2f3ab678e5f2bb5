package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/moldau/moldau/internal/record"
)

// EncodeRecords makes a batch of the records that ids name.
func EncodeRecords(o record.BuilderOptions, createdMs int64, ids []RecordID) []byte {
	b := record.NewBuilder(o)
	for _, id := range ids {
		b.Append(createdMs, nil, encodeID(id, 16+id.Number%60)[:16+id.Number%60], nil)
	}
	return built(b)
}

func built(b *record.Builder) []byte {
	data, err := b.Build()
	if err != nil {
		panic(fmt.Sprintf("BUG: a batch of the simulation: %v", err))
	}
	return data
}

// encodeID makes a value that names a record, with room for sizeBytes.
func encodeID(id RecordID, sizeBytes int) []byte {
	value := binary.BigEndian.AppendUint64(make([]byte, 0, sizeBytes), uint64(id.Producer))
	return binary.BigEndian.AppendUint64(value, uint64(id.Number))
}

// DecodeID returns the name of a record by its value.
func DecodeID(value []byte) (RecordID, error) {
	if len(value) < 16 {
		return RecordID{}, fmt.Errorf("a value of %d bytes", len(value))
	}
	return RecordID{int(binary.BigEndian.Uint64(value)), int(binary.BigEndian.Uint64(value[8:]))}, nil
}
