package audit

import (
	"errors"
	"fmt"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// errBadBatch ends the walk through a file: what follows a bad batch cannot be found.
var errBadBatch = errors.New("bad batch")

// walk is the way through the batches of one log, file after file.
type walk struct {
	nextOffset int64 // the least that the next batch may begin with
	epoch      int32
	endOffset  int64 // after the last good batch
	dense      bool  // offsets have no holes: nothing here is ever compacted
	oneEpoch   bool  // all batches are of that epoch
	// torn is where the last file ends in an incomplete or damaged batch; -1 for nowhere.
	torn    int64
	tornWhy error
}

// file walks one file and calls visit for each good batch. It stops at the first bad one.
func (a *auditor) file(path string, w *walk, visit func(position int64, b record.Batch) error) error {
	w.torn, w.tornWhy = -1, nil
	f, err := a.fs.Open(path, false)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	a.bytes += size
	var buffer []byte
	for position := int64(0); position < size; {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		b, err := readBatch(f, &buffer, position, size)
		if err == nil {
			err = w.check(b)
		}
		if err == nil {
			err = a.recordsOf(b)
		}
		if err != nil {
			w.torn, w.tornWhy = position, err
			return errBadBatch
		}
		a.batches++
		if err := visit(position, b); err != nil {
			return err
		}
		w.nextOffset, w.epoch, w.endOffset = b.NextOffset(), max(w.epoch, b.PartitionLeaderEpoch()), b.NextOffset()
		position += int64(len(b))
	}
	return nil
}

func readBatch(f vfs.File, buffer *[]byte, position, size int64) (record.Batch, error) {
	if size-position < record.BatchOverhead {
		return nil, record.ErrIncomplete
	}
	var header [record.BatchOverhead]byte
	if err := readFull(f, header[:], position); err != nil {
		return nil, err
	}
	n, err := record.SizeOf(header[:])
	if err != nil {
		return nil, err
	}
	if int64(n) > size-position {
		return nil, record.ErrIncomplete
	}
	if n > len(*buffer) {
		*buffer = make([]byte, n)
	}
	data := (*buffer)[:n]
	if err := readFull(f, data, position); err != nil {
		return nil, err
	}
	b, _, err := record.Next(data)
	if err != nil {
		return nil, err
	}
	return b, b.CheckCRC()
}

func (w *walk) check(b record.Batch) error {
	switch {
	case b.BaseOffset() < w.nextOffset, w.dense && b.BaseOffset() != w.nextOffset:
		return &record.CorruptError{Field: "base offset", Expected: w.nextOffset, Got: b.BaseOffset()}
	case b.LastOffsetDelta() < 0:
		return &record.CorruptError{Field: "last offset delta", Expected: 0, Got: int64(b.LastOffsetDelta())}
	case w.oneEpoch && b.PartitionLeaderEpoch() != w.epoch, b.PartitionLeaderEpoch() < w.epoch && b.PartitionLeaderEpoch() != kafka.NoLeaderEpoch:
		return &record.CorruptError{Field: "leader epoch", Expected: int64(w.epoch), Got: int64(b.PartitionLeaderEpoch())}
	}
	return nil
}

// recordsOf decompresses and parses the records.
func (a *auditor) recordsOf(b record.Batch) error {
	n := int64(0)
	for r, err := range b.Records(record.UncompressedLimit(len(b))) {
		if err != nil {
			return err
		}
		n++
		if b.IsControl() {
			if _, err := record.ParseControlKey(r.Key); err != nil {
				return err
			}
		}
	}
	if n != int64(b.Count()) {
		return fmt.Errorf("the batch says it has %d records and has %d", b.Count(), n)
	}
	a.records += n
	return nil
}
