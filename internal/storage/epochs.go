package storage

import (
	"sort"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// epochList says at which offset each leader epoch begins; epochs and offsets ascend
// strictly. A list is never changed: every method that would returns another one.
type epochList struct{ all []checkpoint.LeaderEpoch }

var noEpochs = &epochList{}

func newEpochList(all []checkpoint.LeaderEpoch) *epochList {
	if len(all) == 0 {
		return noEpochs
	}
	return &epochList{all}
}

func (e *epochList) latest() int32 {
	if len(e.all) == 0 {
		return kafka.NoLeaderEpoch
	}
	return e.all[len(e.all)-1].Epoch
}

// with adds an epoch unless a newer or the same one is known. Epochs in which nothing was
// written, those that begin at startOffset or above, give way to it.
func (e *epochList) with(epoch int32, startOffset int64) *epochList {
	if epoch < 0 || epoch <= e.latest() {
		return e
	}
	keep := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset >= startOffset })
	all := make([]checkpoint.LeaderEpoch, keep, keep+1)
	copy(all, e.all)
	return &epochList{append(all, checkpoint.LeaderEpoch{Epoch: epoch, StartOffset: startOffset})}
}

// withoutEnd forgets epochs that begin at endOffset or above: nothing is left of them.
func (e *epochList) withoutEnd(endOffset int64) *epochList {
	keep := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset >= endOffset })
	if keep == len(e.all) {
		return e
	}
	return newEpochList(e.all[:keep:keep])
}

// withoutStart forgets what lies below startOffset; the epoch of startOffset begins there.
func (e *epochList) withoutStart(startOffset int64) *epochList {
	first := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset > startOffset }) - 1
	if first < 0 || first == 0 && e.all[0].StartOffset == startOffset {
		return e
	}
	all := append([]checkpoint.LeaderEpoch(nil), e.all[first:]...)
	all[0].StartOffset = startOffset
	return &epochList{all}
}

// at returns the epoch in which offset was written, or -1.
func (e *epochList) at(offset int64) int32 {
	i := sort.Search(len(e.all), func(i int) bool { return e.all[i].StartOffset > offset })
	if i == 0 {
		return kafka.NoLeaderEpoch
	}
	return e.all[i-1].Epoch
}

// endOffset answers for an epoch that may be unknown here (KIP-279): the largest known one
// that is not newer, and where the next begins.
func (e *epochList) endOffset(epoch int32, logEndOffset int64) (int32, int64) {
	if epoch < 0 || len(e.all) == 0 || epoch > e.latest() {
		return kafka.NoLeaderEpoch, kafka.NoOffset
	}
	if epoch == e.latest() {
		return epoch, logEndOffset
	}
	next := sort.Search(len(e.all), func(i int) bool { return e.all[i].Epoch > epoch })
	if next == 0 {
		// Older than all that is left: nothing of it is here, so it ends where the log begins.
		return epoch, e.all[0].StartOffset
	}
	return e.all[next-1].Epoch, e.all[next].StartOffset
}
