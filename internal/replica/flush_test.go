package replica

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/storage"
)

// TestAwaitCommitWaitsForTheFlush: an fsync does not count against the request's timeout, and a
// change of the configs lets a produce go that waits for one.
func TestAwaitCommitWaitsForTheFlush(t *testing.T) {
	t.Parallel()
	flushing := storage.DefaultLogConfig()
	flushing.FlushMessages = 1
	for name, release := range map[string]func(h *harness) error{
		"flush": func(h *harness) error { _, err := h.options.Storage.CommitDir(0, 0, nil); return err },
		"config": func(h *harness) error {
			h.configs["a"] = TopicConfig{Log: storage.DefaultLogConfig(), MinInSyncReplicas: 1}
			value := "9223372036854775807"
			h.apply(&metadata.ConfigRecord{ResourceType: kafka.ConfigResourceTopic, ResourceName: "a", Name: "flush.messages", Value: &value})
			return nil
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.configs["a"] = TopicConfig{Log: flushing, MinInSyncReplicas: 1}
			h.create("a", 1)
			tp, end := tpOf("a", 0), h.produce("a", 0, 0, "x").LastOffset+1
			results := make(chan error, 3)
			go func() { results <- h.AwaitCommit(t.Context(), tp, 0, end, 0) }()
			go func() { results <- h.AwaitCounted(t.Context(), tp, 0, end, 0) }()
			h.WhenCommitted(tp, 0, end, func(err error) { results <- err })
			synctest.Wait()
			if len(results) > 0 {
				t.Fatalf("%s: answered before the flush: %v", name, <-results)
			}
			if err := release(h); err != nil {
				t.Fatal(err)
			}
			for range cap(results) {
				if err := <-results; err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
}

// TestFailedFlushAnswersTheWaiting: the records may or may not be on disk, and no later fsync could tell.
func TestFailedFlushAnswersTheWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		mem, failing := vfs.NewMem(), false
		if err := mem.MkdirAll("/data"); err != nil {
			t.Fatal(err)
		}
		syncs := 0
		h := newHarnessOn(t, vfs.NewFault(mem, func(op vfs.Op, _ string) error {
			if op == vfs.OpSync && failing {
				if syncs++; syncs == 1 {
					return vfs.ErrInjected
				}
			}
			return nil
		}))
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
		flushing := storage.DefaultLogConfig()
		flushing.FlushMessages = 1
		h.configs["a"] = TopicConfig{Log: flushing, MinInSyncReplicas: 1}
		h.create("a", 2)
		results := make(chan error, 4)
		for p := range int32(2) {
			tp, end := tpOf("a", p), h.produce("a", p, 0, "x").LastOffset+1
			go func() { results <- h.AwaitCommit(t.Context(), tp, 0, end, time.Minute) }()
			go func() { results <- h.AwaitCounted(t.Context(), tp, 0, end, time.Minute) }()
		}
		synctest.Wait()
		failing = true
		if _, err := h.options.Storage.CommitDir(0, 0, nil); err == nil {
			t.Fatal("the flush did not fail")
		}
		for range cap(results) {
			if err := <-results; kafka.CodeOf(err) != kafka.ErrKafkaStorageError {
				t.Errorf("got %v", err)
			}
		}
		_, _ = h.options.Storage.CommitDir(0, 0, nil)
		_ = h.options.Storage.FlushDir(0, time.Now().Add(time.Hour).UnixMilli())
		if syncs != 1 {
			t.Errorf("%d syncs; after one has failed none is tried again", syncs)
		}
	})
}

// TestFetchSeesWhatIsFlushed: a parked fetch comes back with what a group commit has counted.
func TestFetchSeesWhatIsFlushed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		flushing := storage.DefaultLogConfig()
		flushing.FlushMessages = 1
		h.configs["a"] = TopicConfig{Log: flushing, MinInSyncReplicas: 1}
		h.create("a", 1)
		start := time.Now()
		bytes := make(chan int, 1)
		go func() {
			var buffers Buffers
			results := h.Fetch(t.Context(), request(time.Minute, 100, partitionOf("a", 0, 0)), &buffers)
			bytes <- len(results[0].Records)
		}()
		synctest.Wait()
		sizes := 0
		for range 2 { // one record is not enough
			h.produce("a", 0, 0, "x")
			synctest.Wait()
			if len(bytes) > 0 {
				t.Fatal("the fetch came back before the flush")
			}
			if _, err := h.options.Storage.CommitDir(0, 0, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r, err := h.Lookup(tpOf("a", 0))
			if err != nil {
				t.Fatal(err)
			}
			sizes = int(r.Log().SizeBytes())
			if (len(bytes) > 0) != (sizes >= 100) {
				t.Fatalf("%d bytes are flushed; fetches that came back: %d", sizes, len(bytes))
			}
		}
		if got := <-bytes; got != sizes || time.Since(start) != 0 {
			t.Errorf("%d of %d bytes after %s", got, sizes, time.Since(start))
		}
	})
}
