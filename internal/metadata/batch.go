package metadata

import "fmt"

// Batch is a run of committed metadata records, or a whole snapshot. The records must not be
// changed after it was handed over.
type Batch struct {
	// Replaces says that the records are a whole snapshot that takes the place of what was loaded
	// before: this node lagged behind what others still have as a log. The publishers get what differs.
	Replaces   bool
	BaseOffset int64 // one past the last offset loaded before; 0 where it replaces them
	LastOffset int64 // may lie past the last record: control records have offsets too
	Epoch      int32
	Records    [][]byte
}

// Replay makes one image, and what it changes about the current one, of several batches.
type Replay struct {
	base   *Image // the current one
	delta  *Delta // from base, or after a snapshot from nothing
	offset int64
	epoch  int32
}

// NewReplay begins behind base.
func NewReplay(base *Image) *Replay {
	return &Replay{base: base, delta: NewDelta(base), offset: base.Offset, epoch: base.Epoch}
}

// End returns the new image and what it changes about the current one.
func (r *Replay) End() (*Image, *Delta) {
	image := r.delta.Apply(r.offset, r.epoch)
	if r.delta.Base() == r.base {
		return image, r.delta
	}
	// The image shares what has not changed with the current one.
	difference := Difference(r.base, image)
	return difference.Apply(r.offset, r.epoch), difference
}

// Add takes the batch that follows.
func (r *Replay) Add(b Batch) error {
	if b.Replaces {
		if b.LastOffset < r.offset || b.Epoch < r.epoch {
			return fmt.Errorf("metadata snapshot up to offset %d in epoch %d is older than offset %d in epoch %d, which is loaded", b.LastOffset, b.Epoch, r.offset, r.epoch)
		}
		r.delta = NewDelta(EmptyImage())
	} else if b.BaseOffset != r.offset+1 || b.LastOffset < b.BaseOffset+int64(len(b.Records))-1 || b.Epoch < r.epoch {
		return fmt.Errorf("metadata batch of offsets %d to %d in epoch %d with %d records does not follow offset %d in epoch %d",
			b.BaseOffset, b.LastOffset, b.Epoch, len(b.Records), r.offset, r.epoch)
	}
	for i, data := range b.Records {
		record, err := Decode(data)
		if err == nil {
			err = r.delta.Replay(record)
		}
		if err != nil {
			return fmt.Errorf("metadata record %d of the batch at offset %d: %w", i, b.BaseOffset, err)
		}
	}
	r.offset, r.epoch = b.LastOffset, b.Epoch
	return nil
}
