//go:build unix

package eos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// verify ends the run: everything that was committed must come through, exactly, and stay.
func (h *harness) verify() {
	h.t.Helper()
	h.t.Logf("%v: the input ends", time.Since(h.began).Round(time.Millisecond))
	in := h.readCommitted(inputTopic)
	h.verifyInput(in)
	want := h.program.outputOf(in)
	total := 0
	for _, values := range want {
		total += len(values)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	if err := await(ctx, func() bool { return h.reader.seen.Load() >= int64(total) }); err != nil {
		h.t.Errorf("%d of %d records of output after %v", h.reader.seen.Load(), total, patience)
	}
	for _, w := range h.workers {
		w.stop()
	}
	h.t.Logf("%v: all instances have ended", time.Since(h.began).Round(time.Millisecond))
	h.verifyNothingIsOpen()
	live := h.reader.stop()
	h.verifyOutput(want, live)
	h.verifyOffsets(in)
	written := h.countUncommitted()
	h.broker.Kill()
	h.broker.Start()
	h.verifyUnchanged(live, "after SIGKILL")
	h.verifyNothingIsOpen()
	h.broker.Stop()
	h.broker.Start()
	h.verifyUnchanged(live, "after a clean restart")
	exits := 0
	for _, w := range h.workers {
		exits += w.exits
	}
	h.t.Logf("%d records of input made %d of output, exactly; %d more were written in aborted transactions; %v; %d times a program gave up by itself",
		len(in), len(live), written-len(live), h.done, exits)
}

// readCommitted reads a topic up to its last stable offset.
func (h *harness) readCommitted(topic string) []*kgo.Record {
	h.t.Helper()
	return h.read(topic, kgo.ReadCommitted())
}

func (h *harness) read(topic string, isolation kgo.IsolationLevel) []*kgo.Record {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	h.awaitStable(ctx, topic)
	ends, err := kadm.NewClient(h.client()).ListEndOffsets(ctx, topic)
	if err != nil {
		h.t.Fatal(err)
	}
	client := h.client(kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(isolation), kgo.KeepControlRecords(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100*time.Millisecond))
	defer client.Close()
	var records []*kgo.Record
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			h.t.Fatalf("%s was not read to its end within %v; left: %v", topic, patience, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				records = append(records, r)
			}
		})
	}
	return records
}

// awaitStable returns when no transaction is open in any of the topics; all topics if none is given.
func (h *harness) awaitStable(ctx context.Context, topics ...string) {
	h.t.Helper()
	admin := kadm.NewClient(h.client())
	var open []string
	if err := await(ctx, func() bool {
		open = nil
		ends, err1 := admin.ListEndOffsets(ctx, topics...)
		stable, err2 := admin.ListCommittedOffsets(ctx, topics...)
		if err1 != nil || err2 != nil {
			open = []string{fmt.Sprint(err1, err2)}
			return false
		}
		ends.Each(func(end kadm.ListedOffset) {
			if lso, _ := stable.Lookup(end.Topic, end.Partition); end.Err != nil || lso.Err != nil || lso.Offset != end.Offset {
				open = append(open, fmt.Sprintf("%s-%d: last stable offset %d, end %d (%v %v)", end.Topic, end.Partition, lso.Offset, end.Offset, end.Err, lso.Err))
			}
		})
		return len(open) == 0
	}); err != nil {
		h.t.Fatalf("transactions are still open after %v: %s", patience, strings.Join(open, "; "))
	}
}

// verifyInput checks that transactions of the input came in whole or not at all.
func (h *harness) verifyInput(in []*kgo.Record) {
	h.t.Helper()
	times := map[string]int{}
	for _, r := range in {
		times[string(r.Value)]++
	}
	known := 0
	for n, b := range h.input.batches {
		there := 0
		for _, value := range b.values {
			if times[value] > 1 {
				h.t.Errorf("input %q is there %d times", value, times[value])
			}
			there += min(times[value], 1)
		}
		known += there
		if there != 0 && there != len(b.values) || there == 0 && b.outcome == committed || there != 0 && b.outcome == aborted {
			h.t.Errorf("transaction %d of the input, with outcome %d, has %d of its %d records", n, b.outcome, there, len(b.values))
		}
	}
	if known != len(times) {
		h.t.Errorf("the input has %d records, %d of them of known transactions", len(times), known)
	}
}

// verifyOutput compares what was read live with what is expected.
func (h *harness) verifyOutput(want map[string][]string, got []placed) {
	h.t.Helper()
	byKey := map[string][]string{}
	for _, p := range got {
		byKey[p.key] = append(byKey[p.key], p.value)
	}
	reported := 0
	for key, values := range want {
		if slices.Equal(values, byKey[key]) {
			continue
		}
		at := 0
		for at < min(len(values), len(byKey[key])) && values[at] == byKey[key][at] {
			at++
		}
		h.t.Errorf("key %s: %d values, want %d; the first difference is at %d: got %q, want %q", key, len(byKey[key]), len(values), at,
			around(byKey[key], at), around(values, at))
		if reported++; reported == 5 {
			h.t.FailNow()
		}
	}
	for key := range byKey {
		if want[key] == nil {
			h.t.Errorf("key %s is in the output but not expected: %q", key, around(byKey[key], 0))
		}
	}
}

func around(values []string, at int) []string {
	return values[max(0, min(at-2, len(values))):min(at+4, len(values))]
}

// verifyOffsets checks that the group has committed the end of the input: past the last record of
// each partition, and not past its end.
func (h *harness) verifyOffsets(in []*kgo.Record) {
	h.t.Helper()
	admin := kadm.NewClient(h.client())
	offsets, err := admin.FetchOffsets(h.t.Context(), h.group())
	if err != nil {
		h.t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(h.t.Context(), inputTopic)
	if err != nil {
		h.t.Fatal(err)
	}
	last := map[int32]int64{}
	for _, r := range in {
		last[r.Partition] = max(last[r.Partition], r.Offset)
	}
	for partition, offset := range last {
		end, _ := ends.Lookup(inputTopic, partition)
		if o, ok := offsets.Lookup(inputTopic, partition); !ok || o.Err != nil || o.At <= offset || o.At > end.Offset {
			h.t.Errorf("the group's offset of %s-%d is %d (%v), its last record is at %d and its end %d", inputTopic, partition, o.At, o.Err, offset, end.Offset)
		}
	}
}

// verifyNothingIsOpen checks that every transaction comes to its end, in its coordinator and in all logs.
func (h *harness) verifyNothingIsOpen() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	admin := kadm.NewClient(h.client())
	var open []string
	if err := await(ctx, func() bool {
		open = nil
		listed, err := admin.ListTransactions(ctx, nil, nil)
		if err != nil {
			open = []string{err.Error()}
		}
		listed.Each(func(l kadm.ListedTransaction) {
			if l.State != "Empty" && l.State != "CompleteCommit" && l.State != "CompleteAbort" {
				open = append(open, l.TxnID+" "+l.State)
			}
		})
		return len(open) == 0 && len(listed) > 0
	}); err != nil {
		h.t.Errorf("transactions are not at their end after %v: %v", patience, open)
	}
	topics, err := admin.ListTopicsWithInternal(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	h.awaitStable(ctx, topics.Names()...)
	producers, err := admin.DescribeProducers(ctx, topics.TopicsSet())
	if err != nil {
		h.t.Fatal(err)
	}
	for _, p := range producers.SortedPartitions() {
		if p.Err != nil {
			h.t.Errorf("producers of %s-%d: %v", p.Topic, p.Partition, p.Err)
		}
		for _, a := range p.ActiveProducers.Sorted() {
			if a.CurrentTxnStartOffset >= 0 {
				h.t.Errorf("producer %d has an open transaction in %s-%d from offset %d on", a.ProducerID, p.Topic, p.Partition, a.CurrentTxnStartOffset)
			}
		}
	}
}

// countUncommitted counts the records of the output, those of aborted transactions too.
func (h *harness) countUncommitted() int {
	h.t.Helper()
	return len(h.read(outputTopic, kgo.ReadUncommitted()))
}

// verifyUnchanged reads the output anew and compares it with what was read while it was written.
func (h *harness) verifyUnchanged(live []placed, when string) {
	h.t.Helper()
	var again []placed
	for _, r := range h.readCommitted(outputTopic) {
		again = append(again, placed{r.Partition, r.Offset, string(r.Key), string(r.Value)})
	}
	order := func(a, b placed) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return int(a.offset - b.offset)
	}
	last := map[int32]int64{}
	for _, p := range live {
		if before, ok := last[p.partition]; ok && p.offset <= before {
			h.t.Errorf("the reader got %v after offset %d", p, before)
		}
		last[p.partition] = p.offset
	}
	live = slices.Clone(live)
	slices.SortStableFunc(live, order)
	slices.SortStableFunc(again, order)
	if !slices.Equal(live, again) {
		for i := range min(len(live), len(again)) {
			if live[i] != again[i] {
				h.t.Errorf("%s the output reads differently: %v, before %v", when, again[i], live[i])
				return
			}
		}
		h.t.Errorf("%s the output has %d records, before %d", when, len(again), len(live))
	}
}
