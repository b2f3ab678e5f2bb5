package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/record"
)

// Insistent is a client that writes one record after the other to each partition of a topic, acks=all, and
// tries again at once: what it then waits for is the cluster. Clients' own patience (metadata that is asked for
// at most every so often, pauses between retries, request time-outs) would hide that.
type Insistent struct {
	seeds  []string
	topic  string
	batch  []byte
	cancel context.CancelFunc
	wait   sync.WaitGroup
	*reigns
}

const (
	insistentRetry   = 2 * time.Millisecond
	insistentTimeout = 100 * time.Millisecond // for a connection, and for an answer about metadata
	// doubtAfter is how long an acknowledgement may take before another broker is asked who leads.
	doubtAfter = 20 * time.Millisecond
	// The latest versions that are not flexible: their headers are simple.
	insistentProduce, insistentMetadata = 8, 8
)

// StartInsistent begins to write. Stop ends it.
func StartInsistent(seeds []string, topic string, partitions, valueBytes int) (*Insistent, error) {
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	b.Append(time.Now().UnixMilli(), nil, make([]byte, valueBytes), nil)
	batch, err := b.Build()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Insistent{seeds: seeds, topic: topic, batch: batch, cancel: cancel, reigns: newReigns(partitions)}
	for p := range partitions {
		w := &writer{c: c, partition: int32(p), links: links{}}
		c.wait.Go(func() { w.run(ctx) })
	}
	return c, nil
}

// Stop ends the writers.
func (c *Insistent) Stop() {
	c.cancel()
	c.wait.Wait()
}

// writer writes to one partition.
type writer struct {
	c         *Insistent
	partition int32
	links     links
	leader    int32
	addr      string // of the leader, empty while it is not known
}

func (w *writer) run(ctx context.Context) {
	defer w.links.close()
	for ctx.Err() == nil {
		if w.addr == "" && !w.findLeader(ctx, "") {
			pause(ctx)
			continue
		}
		if err := w.write(ctx); err != nil {
			suspect := w.addr
			w.links.drop(suspect)
			w.addr = ""
			pause(ctx)
			w.findLeader(ctx, suspect)
		}
	}
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(insistentRetry):
	}
}

// write sends a record and waits for its acknowledgement, for as long as nobody else leads.
func (w *writer) write(ctx context.Context) error {
	l, err := w.links.to(w.addr)
	if err != nil {
		return err
	}
	request := kmsg.NewPtrProduceRequest()
	request.SetVersion(insistentProduce)
	request.Acks, request.TimeoutMillis = -1, 30_000
	request.Topics = []kmsg.ProduceRequestTopic{{Topic: w.c.topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: w.partition, Records: w.c.batch}}}}
	leader, addr := w.leader, w.addr
	response, err := l.await(ctx, request, func() bool {
		if w.findLeader(ctx, addr) && w.leader != leader {
			return true
		}
		w.leader, w.addr = leader, addr
		return false
	})
	if errors.Is(err, errMoved) {
		w.links.drop(addr)
		return nil // the record goes to the new leader next
	}
	if err != nil {
		return err
	}
	if code := response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		return fmt.Errorf("error %d", code)
	}
	w.c.note(int(w.partition), leader)
	return nil
}

// findLeader asks the brokers but the suspect who leads.
func (w *writer) findLeader(ctx context.Context, suspect string) bool {
	return anyBut(ctx, w.c.seeds, suspect, int(w.partition), w.ask)
}

func (w *writer) ask(addr string) bool {
	request := kmsg.NewPtrMetadataRequest()
	request.SetVersion(insistentMetadata)
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &w.c.topic}}
	response, ok := w.links.ask(addr, request).(*kmsg.MetadataResponse)
	if !ok {
		return false
	}
	for _, p := range response.Topics[0].Partitions {
		if p.Partition != w.partition || p.ErrorCode != 0 {
			continue
		}
		for _, b := range response.Brokers {
			if b.NodeID == p.Leader {
				w.leader, w.addr = p.Leader, fmt.Sprintf("%s:%d", b.Host, b.Port)
				return true
			}
		}
	}
	return false
}
