package epoch

import (
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/storage/checkpoint"
)

// TestRecoveryLeavesOutWhatCannotBe has one batch of several say another epoch than it was written in, as a flipped bit does.
func TestRecoveryLeavesOutWhatCannotBe(t *testing.T) {
	t.Parallel()
	known := New([]checkpoint.LeaderEpoch{{Epoch: 2, StartOffset: 0}, {Epoch: 4, StartOffset: 10}})
	for _, c := range []struct {
		name   string
		epochs []int32 // of batches of one record from offset 20 on
		want   string
	}{
		{"nothing is wrong", []int32{4, 4, 5, 7, 7}, "[{2 0} {4 10} {5 22} {7 23}]"},
		{"one is too new", []int32{4, 1000, 4, 5, 5}, "[{2 0} {4 10} {5 23}]"},
		{"the first is too new", []int32{1000, 4, 5, 5}, "[{2 0} {4 10} {5 22}]"},
		{"one is too old", []int32{5, 5, 1, 5, 6}, "[{2 0} {4 10} {5 20} {6 24}]"},
		{"one is too old behind the first of an epoch", []int32{5, 1, 5, 6}, "[{2 0} {4 10} {5 20} {6 23}]"},
		{"the last is too new", []int32{5, 5, 1000}, "[{2 0} {4 10} {5 20} {1000 22}]"}, // the metadata knows better
		{"none is known", []int32{-1, -1, 5}, "[{2 0} {4 10} {5 22}]"},
	} {
		r := Recovery{List: known}
		for i, epoch := range c.epochs {
			r.Add(epoch, int64(20+i))
		}
		if got := fmt.Sprint(r.List.All()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	r := Recovery{List: None}
	for i, epoch := range []int32{1 << 20, 3, 3, 4} {
		r.Add(epoch, int64(i))
	}
	if got := fmt.Sprint(r.List.All()); got != "[{3 1} {4 3}]" {
		t.Errorf("from nothing: %s", got)
	}
	if got := fmt.Sprint(known.WithoutAbove(3).All(), known.WithoutAbove(4) == known, known.StartOffset(), None.StartOffset()); got != "[{2 0}] true 0 -1" {
		t.Errorf("%s", got)
	}
}
