package nemesis

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/apptest/history"
)

// convergence bounds how long a cluster without faults may take until it is whole again.
const convergence = time.Minute

// drain waits until no transaction is open, then reads all there is with consumers of their own.
func (w *workload) drain(ctx context.Context) error {
	ends := map[history.Key]int64{}
	err := eventually(ctx, convergence, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		stable, err := w.c.admin.ListCommittedOffsets(ctx, topic)
		if err != nil {
			return err
		}
		high, err := w.c.admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		high.Each(func(o kadm.ListedOffset) {
			lso, _ := stable.Lookup(topic, o.Partition)
			if o.Err != nil || lso.Err != nil {
				err = fmt.Errorf("%w, %w", o.Err, lso.Err)
			} else if lso.Offset != o.Offset {
				err = fmt.Errorf("a transaction hangs in partition %d: its last stable offset is %d, its end %d", o.Partition, lso.Offset, o.Offset)
			}
			ends[history.Key(o.Partition)] = o.Offset
		})
		return err
	})
	if err != nil {
		return err
	}
	for key, end := range ends {
		if err := w.readAll(ctx, key, end); err != nil {
			return err
		}
	}
	return nil
}

// readAll reads a partition from its start to its end as a process of its own.
func (w *workload) readAll(ctx context.Context, key history.Key, end int64) error {
	client := w.c.newClient(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {int32(key): kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, convergence)
	defer cancel()
	s := &process{w: w, id: int(w.processes.Add(1))}
	for next := int64(0); next < end; {
		o := s.operation(history.Poll)
		o.Final = true
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("partition %d: a consumer stands at offset %d and does not reach the end %d", key, next, end)
		}
		action := history.Action{At: w.now()}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				action.Read = append(action.Read, history.Message{Key: key, Offset: r.Offset, Value: int64(binary.BigEndian.Uint64(r.Value))})
			}
		})
		o.Actions = append(o.Actions, action)
		s.done(o, history.OK)
	}
	return nil
}
