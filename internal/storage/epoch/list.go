// Package epoch is the list of a log's leader epochs, which storage keeps in memory and in
// leader-epoch-checkpoint. It is part of a deterministic core and owns no goroutine.
package epoch

import (
	"sort"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// List says at which offset each leader epoch begins; epochs and offsets ascend
// strictly. A list is never changed: every method that would returns another one.
type List struct{ all []checkpoint.LeaderEpoch }

// None is the list of an empty log.
var None = &List{}

// New returns a list of epochs as the checkpoint file has them.
func New(all []checkpoint.LeaderEpoch) *List {
	if len(all) == 0 {
		return None
	}
	return &List{all}
}

// StartOffset is where the oldest epoch begins, -1 without any.
func (e *List) StartOffset() int64 {
	if len(e.all) == 0 {
		return kafka.NoOffset
	}
	return e.all[0].StartOffset
}

// Latest returns the newest epoch, or -1.
func (e *List) Latest() int32 {
	if len(e.all) == 0 {
		return kafka.NoLeaderEpoch
	}
	return e.all[len(e.all)-1].Epoch
}

// With adds an epoch unless a newer or the same one is known. Epochs in which nothing was
// written, those that begin at startOffset or above, give way to it.
func (e *List) With(epoch int32, startOffset int64) *List {
	if epoch < 0 || epoch <= e.Latest() {
		return e
	}
	keep := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset >= startOffset })
	all := make([]checkpoint.LeaderEpoch, keep, keep+1)
	copy(all, e.all)
	return &List{append(all, checkpoint.LeaderEpoch{Epoch: epoch, StartOffset: startOffset})}
}

// WithoutEnd forgets epochs that begin at endOffset or above: nothing is left of them.
func (e *List) WithoutEnd(endOffset int64) *List {
	keep := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset >= endOffset })
	if keep == len(e.all) {
		return e
	}
	return New(e.all[:keep:keep])
}

// WithoutAbove forgets epochs that are newer than one.
func (e *List) WithoutAbove(epoch int32) *List {
	keep := sort.Search(len(e.all), func(i int) bool { return e.all[i].Epoch > epoch })
	if keep == len(e.all) {
		return e
	}
	return New(e.all[:keep:keep])
}

// Recovery adds the epochs of batches, which no checksum covers, to those of a list. Epochs do not descend, so of two batches that say so
// one is not what it says: the first, if it alone brought its epoch in and the second fits behind what was before it, else the second.
type Recovery struct {
	List   *List
	before *List // the latest epoch was added to by one batch; nil once there are more
}

// Add adds the epoch of the next batch.
func (r *Recovery) Add(epoch int32, startOffset int64) {
	if r.before != nil && epoch >= r.before.Latest() && epoch < r.List.Latest() && epoch >= 0 {
		r.List, r.before = r.before, nil
	}
	switch with := r.List.With(epoch, startOffset); {
	case with != r.List:
		r.before, r.List = r.List, with
	case epoch == r.List.Latest():
		r.before = nil
	}
}

// WithoutStart forgets what lies below startOffset; the epoch of startOffset begins there.
func (e *List) WithoutStart(startOffset int64) *List {
	first := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset > startOffset }) - 1
	if first < 0 || first == 0 && e.all[0].StartOffset == startOffset {
		return e
	}
	all := append([]checkpoint.LeaderEpoch(nil), e.all[first:]...)
	all[0].StartOffset = startOffset
	return &List{all}
}

// At returns the epoch in which offset was written, or -1.
func (e *List) At(offset int64) int32 {
	i := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset > offset })
	if i == 0 {
		return kafka.NoLeaderEpoch
	}
	return e.all[i-1].Epoch
}

// EndOffset answers for an epoch that may be unknown here (KIP-279): the largest known one
// that is not newer, and where the next begins.
func (e *List) EndOffset(epoch int32, logEndOffset int64) (int32, int64) {
	if epoch < 0 || len(e.all) == 0 || epoch > e.Latest() {
		return kafka.NoLeaderEpoch, kafka.NoOffset
	}
	if epoch == e.Latest() {
		return epoch, logEndOffset
	}
	next := sort.Search(len(e.all), func(i int) bool { return e.all[i].Epoch > epoch })
	if next == 0 {
		// Older than all that is left: nothing of it is here, so it ends where the log begins.
		return epoch, e.all[0].StartOffset
	}
	return e.all[next-1].Epoch, e.all[next].StartOffset
}

// All returns the epochs, ascending. They must not be changed.
func (e *List) All() []checkpoint.LeaderEpoch { return e.all }
