package epoch

import (
	"reflect"
	"testing"

	"github.com/moldau/moldau/internal/storage/checkpoint"
)

func epochsOf(pairs ...int64) *List {
	var all []checkpoint.LeaderEpoch
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, checkpoint.LeaderEpoch{Epoch: int32(pairs[i]), StartOffset: pairs[i+1]})
	}
	return New(all)
}

func TestEpochsAreAssigned(t *testing.T) {
	t.Parallel()
	cases := []struct {
		before *List
		epoch  int32
		start  int64
		want   *List
	}{
		{epochsOf(), 0, 0, epochsOf(0, 0)},
		{epochsOf(0, 0), 2, 10, epochsOf(0, 0, 2, 10)},
		{epochsOf(0, 0, 2, 10), 2, 15, epochsOf(0, 0, 2, 10)}, // known
		{epochsOf(0, 0, 2, 10), 1, 15, epochsOf(0, 0, 2, 10)}, // older
		{epochsOf(0, 0, 2, 10), 3, 10, epochsOf(0, 0, 3, 10)}, // nothing was written in 2
		{epochsOf(0, 0, 2, 10, 3, 12), 4, 10, epochsOf(0, 0, 4, 10)},
		{epochsOf(0, 0), -1, 5, epochsOf(0, 0)},
	}
	for i, c := range cases {
		if got := c.before.With(c.epoch, c.start); !reflect.DeepEqual(got.all, c.want.all) {
			t.Errorf("case %d: %v, want %v", i, got.all, c.want.all)
		}
	}
}

func TestEpochsAreTruncated(t *testing.T) {
	t.Parallel()
	e := epochsOf(0, 0, 2, 10, 5, 20)
	for _, c := range []struct{ got, want *List }{
		{e.WithoutEnd(21), e},
		{e.WithoutEnd(20), epochsOf(0, 0, 2, 10)},
		{e.WithoutEnd(0), epochsOf()},
		{e.WithoutStart(0), e},
		{e.WithoutStart(5), epochsOf(0, 5, 2, 10, 5, 20)},
		{e.WithoutStart(10), epochsOf(2, 10, 5, 20)},
		{e.WithoutStart(25), epochsOf(5, 25)},
		{epochsOf(3, 7).WithoutStart(2), epochsOf(3, 7)},
	} {
		if !reflect.DeepEqual(c.got.all, c.want.all) {
			t.Errorf("%v, want %v", c.got.all, c.want.all)
		}
	}
}

func TestEndOffsetForEpoch(t *testing.T) {
	t.Parallel()
	e := epochsOf(1, 5, 3, 10, 6, 20)
	for _, c := range []struct {
		ask, epoch int32
		end        int64
	}{
		{-1, -1, -1}, {7, -1, -1}, {6, 6, 33}, {5, 3, 20}, {3, 3, 20}, {2, 1, 10}, {1, 1, 10}, {0, 0, 5},
	} {
		if epoch, end := e.EndOffset(c.ask, 33); epoch != c.epoch || end != c.end {
			t.Errorf("epoch %d: %d ends at %d, want %d at %d", c.ask, epoch, end, c.epoch, c.end)
		}
	}
	if epoch, end := epochsOf().EndOffset(0, 33); epoch != -1 || end != -1 {
		t.Errorf("no epochs: %d, %d", epoch, end)
	}
	for _, c := range []struct {
		offset int64
		epoch  int32
	}{{4, -1}, {5, 1}, {9, 1}, {10, 3}, {25, 6}} {
		if got := e.At(c.offset); got != c.epoch {
			t.Errorf("offset %d was written in %d, want %d", c.offset, got, c.epoch)
		}
	}
}
