package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
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

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	terms   [][]Term      // by partition
	acks    int
}

// Term is a leader's reign as a partition's writer sees it.
type Term struct {
	Broker      int32
	First, Last time.Time // acknowledgements
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
	c := &Insistent{seeds: seeds, topic: topic, batch: batch, cancel: cancel, changed: make(chan struct{}), terms: make([][]Term, partitions)}
	for p := range partitions {
		w := &writer{c: c, partition: int32(p), links: map[string]*link{}}
		c.wait.Go(func() { w.run(ctx) })
	}
	return c, nil
}

// Stop ends the writers.
func (c *Insistent) Stop() {
	c.cancel()
	c.wait.Wait()
}

func (c *Insistent) note(partition, broker int32) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acks++
	terms := c.terms[partition]
	if len(terms) > 0 && terms[len(terms)-1].Broker == broker {
		terms[len(terms)-1].Last = now
		return
	}
	c.terms[partition] = append(terms, Term{broker, now, now})
	close(c.changed)
	c.changed = make(chan struct{})
}

// Acknowledged is how many records have been acknowledged.
func (c *Insistent) Acknowledged() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.acks
}

// Led returns the partitions whose latest record a broker has acknowledged.
func (c *Insistent) Led(broker int32) (partitions []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, terms := range c.terms {
		if len(terms) > 0 && terms[len(terms)-1].Broker == broker {
			partitions = append(partitions, p)
		}
	}
	return partitions
}

// Gap is the longest time, of the partitions, from the last acknowledgement of the leader before the latest one to
// the first of the latest.
func (c *Insistent) Gap(partitions []int) (longest time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range partitions {
		if terms := c.terms[p]; len(terms) > 1 {
			longest = max(longest, terms[len(terms)-1].First.Sub(terms[len(terms)-2].Last))
		}
	}
	return longest
}

// AwaitOther waits until each of the partitions has had a record acknowledged by another broker than the given one,
// and returns when the last of them had its first.
func (c *Insistent) AwaitOther(ctx context.Context, partitions []int, broker int32) (time.Time, error) {
	for {
		c.mu.Lock()
		var last time.Time
		missing := 0
		for _, p := range partitions {
			terms := c.terms[p]
			if len(terms) == 0 || terms[len(terms)-1].Broker == broker {
				missing++
			} else if first := terms[len(terms)-1].First; first.After(last) {
				last = first
			}
		}
		changed := c.changed
		c.mu.Unlock()
		if missing == 0 {
			return last, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return last, fmt.Errorf("%d of %d partitions take no record: %w", missing, len(partitions), ctx.Err())
		}
	}
}

// writer writes to one partition.
type writer struct {
	c         *Insistent
	partition int32
	links     map[string]*link // by address
	leader    int32
	addr      string // of the leader, empty while it is not known
}

func (w *writer) run(ctx context.Context) {
	defer func() {
		for _, l := range w.links {
			l.conn.Close()
		}
	}()
	for ctx.Err() == nil {
		if w.addr == "" && !w.findLeader(ctx, "") {
			pause(ctx)
			continue
		}
		if err := w.write(ctx); err != nil {
			suspect := w.addr
			w.drop(suspect)
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
	l, err := w.link(w.addr)
	if err != nil {
		return err
	}
	request := kmsg.NewPtrProduceRequest()
	request.SetVersion(insistentProduce)
	request.Acks, request.TimeoutMillis = -1, 30_000
	request.Topics = []kmsg.ProduceRequestTopic{{Topic: w.c.topic, Partitions: []kmsg.ProduceRequestTopicPartition{{Partition: w.partition, Records: w.c.batch}}}}
	if err := l.send(request); err != nil {
		return err
	}
	leader, addr := w.leader, w.addr
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case answer, ok := <-l.answers:
			if !ok {
				return io.ErrUnexpectedEOF
			}
			response := request.ResponseKind()
			if err := response.ReadFrom(answer); err != nil {
				return err
			}
			if code := response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
				return fmt.Errorf("error %d", code)
			}
			w.c.note(w.partition, leader)
			return nil
		case <-time.After(doubtAfter):
			if w.findLeader(ctx, addr) && w.leader != leader {
				w.drop(addr)
				return nil // the record goes to the new leader next
			}
			w.leader, w.addr = leader, addr
		}
	}
}

// findLeader asks the brokers but the suspect who leads.
func (w *writer) findLeader(ctx context.Context, suspect string) bool {
	order := make([]string, 0, len(w.c.seeds))
	for i := range w.c.seeds { // different ones first, for different partitions
		if addr := w.c.seeds[(i+int(w.partition))%len(w.c.seeds)]; addr != suspect {
			order = append(order, addr)
		}
	}
	for _, addr := range order {
		if ctx.Err() != nil {
			return false
		}
		if w.ask(addr) {
			return true
		}
	}
	return false
}

func (w *writer) ask(addr string) bool {
	l, err := w.link(addr)
	if err != nil {
		return false
	}
	request := kmsg.NewPtrMetadataRequest()
	request.SetVersion(insistentMetadata)
	request.Topics = []kmsg.MetadataRequestTopic{{Topic: &w.c.topic}}
	if err := l.send(request); err != nil {
		w.drop(addr)
		return false
	}
	var answer []byte
	select {
	case answer = <-l.answers:
	case <-time.After(insistentTimeout):
	}
	response := request.ResponseKind().(*kmsg.MetadataResponse)
	if answer == nil || response.ReadFrom(answer) != nil {
		w.drop(addr)
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

// link is a connection on which one request is under way at a time.
type link struct {
	conn    net.Conn
	answers chan []byte // closed when the connection ends
	out     []byte
}

func (w *writer) link(addr string) (*link, error) {
	if l := w.links[addr]; l != nil {
		return l, nil
	}
	conn, err := net.DialTimeout("tcp", addr, insistentTimeout)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, answers: make(chan []byte, 1)}
	w.links[addr] = l
	go l.read()
	return l, nil
}

func (w *writer) drop(addr string) {
	if l := w.links[addr]; l != nil {
		l.conn.Close()
		delete(w.links, addr)
	}
}

func (l *link) send(request kmsg.Request) error {
	l.out = kmsg.NewRequestFormatter(kmsg.FormatterClientID("insistent")).AppendRequest(l.out[:0], request, 0)
	_, err := l.conn.Write(l.out)
	return err
}

// read hands over answers without their correlation ids until the connection ends.
func (l *link) read() {
	defer close(l.answers)
	in := bufio.NewReader(l.conn)
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		answer := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(in, answer); err != nil || len(answer) < 4 {
			return
		}
		l.answers <- answer[4:]
	}
}
