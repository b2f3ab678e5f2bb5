package host

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
)

func topic(n byte, name string) []byte {
	return metadata.Encode(&metadata.TopicRecord{Name: name, TopicID: kafka.UUID{n}})
}

func newLoader(t *testing.T, onFault func(error)) *Loader {
	spawner := env.NewSpawner(t.Context(), nil)
	t.Cleanup(spawner.Stop)
	return NewLoader(Options{Spawner: spawner, Metrics: metrics.NewRegistry(), OnFault: onFault})
}

func TestPublishersSeeAnImageBeforeItIsCurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoader(t, func(err error) { t.Error(err) })
		var calls []string
		for _, name := range []string{"first", "second"} {
			l.Register(func(image *metadata.Image, delta *metadata.Delta) {
				calls = append(calls, name)
				if l.Current().Offset >= image.Offset {
					t.Errorf("%s: offset %d is current before it is published", name, image.Offset)
				}
				if created := delta.CreatedTopics(); delta.Base() != l.Current() || len(created) == 0 && image.Offset == 2 {
					t.Errorf("%s: delta of %d created topics", name, len(created))
				}
			})
		}
		l.Follow(func(image *metadata.Image, _ *metadata.Delta) {
			calls = append(calls, "follower")
			if l.Current() != image {
				t.Errorf("a follower hears of offset %d while offset %d is current", image.Offset, l.Current().Offset)
			}
		})
		l.Start()
		if err := l.Submit(t.Context(), Batch{BaseOffset: 0, LastOffset: 2, Epoch: 1, Records: [][]byte{topic(1, "a"), topic(2, "b")}}); err != nil {
			t.Fatal(err)
		}
		if err := l.WaitFor(t.Context(), 2); err != nil {
			t.Fatal(err)
		}
		if err := l.Submit(t.Context(), Batch{BaseOffset: 3, LastOffset: 3, Epoch: 2}); err != nil {
			t.Fatal(err)
		}
		if err := l.WaitFor(t.Context(), 3); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if image := l.Current(); image.TopicCount() != 2 || image.Offset != 3 || image.Epoch != 2 {
			t.Errorf("current is offset %d epoch %d with %d topics", image.Offset, image.Epoch, image.TopicCount())
		}
		if !slices.Equal(calls, []string{"first", "second", "follower", "first", "second", "follower"}) {
			t.Errorf("calls are %v", calls)
		}
	})
}

func TestQueuedBatchesArePublishedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoader(t, func(err error) { t.Error(err) })
		publications := 0
		l.Register(func(*metadata.Image, *metadata.Delta) { publications++ })
		for i := range 5 {
			if err := l.Submit(t.Context(), Batch{BaseOffset: int64(i), LastOffset: int64(i), Records: [][]byte{topic(byte(i+1), string(rune('a'+i)))}}); err != nil {
				t.Fatal(err)
			}
		}
		l.Start()
		if err := l.WaitFor(t.Context(), 4); err != nil || publications != 1 || l.Current().TopicCount() != 5 {
			t.Errorf("%v, %d publications, %d topics", err, publications, l.Current().TopicCount())
		}
	})
}

// TestASnapshotReplacesTheImage lets a snapshot, and what follows it, come to a loader that has an
// image: publishers see what differs, nothing else.
func TestASnapshotReplacesTheImage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoader(t, func(err error) { t.Error(err) })
		submit := func(b Batch) {
			t.Helper()
			if err := l.Submit(t.Context(), b); err != nil {
				t.Error(err)
			}
		}
		var seen []string
		var kept *metadata.Topic
		l.Register(func(image *metadata.Image, delta *metadata.Delta) {
			if image.Offset == 2 { // what comes now is loaded together
				kept = image.TopicByName("kept")
				submit(Batch{BaseOffset: 3, LastOffset: 3, Epoch: 1, Records: [][]byte{topic(9, "overtaken")}})
				submit(Batch{Replaces: true, LastOffset: 20, Epoch: 4, Records: [][]byte{topic(1, "kept"), topic(3, "new")}})
				submit(Batch{BaseOffset: 21, LastOffset: 21, Epoch: 4, Records: [][]byte{topic(4, "newer")}})
				return
			}
			if delta.Base() != l.Current() {
				t.Error("the delta has another base than the current image")
			}
			for _, topic := range delta.DeletedTopics() {
				seen = append(seen, "-"+topic.Name)
			}
			for _, topic := range delta.CreatedTopics() {
				if topic != image.TopicByName(topic.Name) {
					t.Errorf("topic %s of the delta is not the image's", topic.Name)
				}
				seen = append(seen, "+"+topic.Name)
			}
		})
		submit(Batch{LastOffset: 2, Epoch: 1, Records: [][]byte{topic(1, "kept"), topic(2, "gone")}})
		l.Start()
		if err := l.WaitFor(t.Context(), 21); err != nil {
			t.Fatal(err)
		}
		if image := l.Current(); image.Offset != 21 || image.Epoch != 4 || image.TopicCount() != 3 || image.TopicByName("kept") != kept || kept == nil {
			t.Errorf("the image has offset %d, epoch %d and %d topics", image.Offset, image.Epoch, image.TopicCount())
		}
		if !slices.Equal(seen, []string{"-gone", "+new", "+newer"}) {
			t.Errorf("seen: %q", seen)
		}
	})
}

func TestWaitForEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoader(t, nil)
		l.Start()
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- l.WaitFor(ctx, 0) }()
		synctest.Wait()
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestAFullQueueHoldsTheQuorumBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLoader(t, nil)
		for i := range queueLength {
			if err := l.Submit(t.Context(), Batch{BaseOffset: int64(i), LastOffset: int64(i)}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Submit(ctx, Batch{}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

func TestABadLogStopsTheLoader(t *testing.T) {
	t.Parallel()
	good := [][]byte{topic(1, "a")}
	tests := []struct {
		name  string
		batch Batch
		want  string
	}{
		{"gap", Batch{BaseOffset: 2, LastOffset: 2, Epoch: 1, Records: good}, "does not follow offset 0"},
		{"repeated", Batch{BaseOffset: 0, LastOffset: 0, Epoch: 1, Records: good}, "does not follow offset 0"},
		{"last offset too small", Batch{BaseOffset: 1, LastOffset: 0, Epoch: 1, Records: good}, "does not follow"},
		{"older epoch", Batch{BaseOffset: 1, LastOffset: 1, Epoch: 0, Records: good}, "in epoch 1"},
		{"malformed", Batch{BaseOffset: 1, LastOffset: 1, Epoch: 1, Records: [][]byte{{1, 2}}}, "record 0 of the batch at offset 1"},
		{"older snapshot", Batch{Replaces: true, LastOffset: -1, Epoch: 1}, "older than offset 0"},
		{"snapshot of an older epoch", Batch{Replaces: true, LastOffset: 5, Epoch: 0}, "in epoch 1, which is loaded"},
		{"contradiction", Batch{BaseOffset: 1, LastOffset: 2, Epoch: 1, Records: append(good, good...)}, "already exists"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var faults []error
				l := newLoader(t, func(err error) { faults = append(faults, err) })
				l.Start()
				if err := l.Submit(t.Context(), Batch{BaseOffset: 0, LastOffset: 0, Epoch: 1}); err != nil {
					t.Fatal(err)
				}
				if err := l.WaitFor(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
				if err := l.Submit(t.Context(), test.batch); err != nil {
					t.Fatal(err)
				}
				if err := l.WaitFor(t.Context(), 5); err == nil || !strings.Contains(err.Error(), "has stopped at offset 0") {
					t.Errorf("waiting ended with %v", err)
				}
				if len(faults) != 1 || !strings.Contains(faults[0].Error(), test.want) {
					t.Errorf("faults are %v, want %q", faults, test.want)
				}
				if l.Current().Offset != 0 {
					t.Errorf("offset %d is current", l.Current().Offset)
				}
			})
		})
	}
}
