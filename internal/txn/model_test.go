package txn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// model is a small world of version 2 around a shard: clients that share transactional ids and
// whose requests and answers get lost, repeated and late; partitions that know which transactions are
// open; a coordinator that crashes. It knows only what was promised: each id and epoch has one owner,
// each transaction one outcome, a commit that was answered is one, and everything ends.
type model struct {
	*testing.T
	seed    uint64
	random  *rand.Rand
	s       *Shard
	log     []shard.Record
	nowMs   int64
	freshID int64

	clients   []*modelClient
	owners    map[Producer]int
	committed map[Producer]bool // answered to their producers
	outcomes  map[Producer]bool // by id and epoch of the writes: committed or not
	open      map[kafka.TopicPartition]map[Producer]bool
	markers   []Markers
	late      []func() // requests that will come once more
}

type modelClient struct {
	number    int
	id        string
	p         Producer
	hasWrites bool
}

func TestHistories(t *testing.T) {
	t.Parallel()
	seeds := uint64(150)
	for seed := range seeds {
		m := &model{T: t, seed: seed, random: rand.New(rand.NewPCG(seed, 4)), owners: map[Producer]int{}, committed: map[Producer]bool{}, outcomes: map[Producer]bool{},
			open: map[kafka.TopicPartition]map[Producer]bool{}, nowMs: 1, freshID: 1000, s: NewShard(testConfig(), NewMetrics(metrics.NewRegistry()))}
		m.take(m.s.Activate(m.nowMs))
		for i := range 5 {
			m.clients = append(m.clients, &modelClient{number: i, id: fmt.Sprint("id", i%2), p: NoProducer})
		}
		for range 400 {
			m.step()
		}
		m.settle()
	}
}

func (m *model) fail(format string, args ...any) {
	m.Helper()
	m.Fatalf("seed %d: "+format, append([]any{m.seed}, args...)...)
}

func (m *model) take(e shard.Effects) (response any) {
	m.log = append(m.log, e.Records...)
	for _, n := range e.Notices {
		switch n := n.(type) {
		case Markers:
			m.markers = append(m.markers, n)
		case ProducerIDWanted:
			m.freshID++
			m.take(m.s.AbortTimedOut(0, n.TransactionalID, m.freshID, m.nowMs))
		}
	}
	if len(e.Responses) > 0 {
		response = e.Responses[0].Value
	}
	return response
}

func (m *model) step() {
	c := m.clients[m.random.IntN(len(m.clients))]
	switch n := m.random.IntN(100); {
	case n < 8:
		m.init(c, nil)
	case n < 12 && c.p != NoProducer:
		p := c.p
		m.init(c, &p)
	case n < 45 && c.p != NoProducer:
		m.write(c)
	case n < 65 && c.p != NoProducer:
		m.end(c, m.random.IntN(3) > 0)
	case n < 75 && len(m.late) > 0:
		i := m.random.IntN(len(m.late))
		m.late[i]() // and perhaps again
	case n < 90 && len(m.markers) > 0:
		m.writeMarkers(m.random.IntN(len(m.markers)))
	case n < 92:
		m.crash()
	case n < 95:
		m.nowMs += m.random.Int64N(40_000)
		m.take(m.s.Tick(m.nowMs))
	case n < 97:
		m.jump(c.id)
	}
}

// jump brings a producer near its last epochs, as 32,000 requests would.
func (m *model) jump(id string) {
	t := m.s.transactions[id]
	if t == nil || !t.state.isIdle() || t.epoch > math.MaxInt16-10 {
		return
	}
	owner, hasOwner := m.owners[Producer{t.producerID, t.epoch}]
	m.s.change(t, func() { t.epoch, t.lastEpoch = math.MaxInt16-4, kafka.NoProducerEpoch })
	m.log = append(m.log, m.s.end().Records...)
	if hasOwner {
		m.own(m.clients[owner], Producer{t.producerID, t.epoch})
	}
}

// own notes that c was given p.
func (m *model) own(c *modelClient, p Producer) {
	m.Helper()
	if owner, ok := m.owners[p]; ok && owner != c.number {
		m.fail("%+v belongs to client %d and was given to %d", p, owner, c.number)
	}
	m.owners[p] = c.number
	c.p, c.hasWrites = p, false
}

// isHeard decides whether an answer reaches the client; a request may also come once more later.
func (m *model) isHeard(again func()) bool {
	if m.random.IntN(4) == 0 && len(m.late) < 30 {
		m.late = append(m.late, again)
	}
	return m.random.IntN(8) > 0
}

func (m *model) init(c *modelClient, expected *Producer) {
	m.freshID++
	r := m.take(m.s.InitProducerID(1, InitRequest{TransactionalID: c.id, TimeoutMs: 60_000, Expected: expected, FreshID: m.freshID}, m.nowMs)).(Result)
	if r.Code == kafka.ErrNone && m.isHeard(func() {}) {
		m.own(c, r.Producer)
	}
}

// write adds a partition and, if that is granted, writes there.
func (m *model) write(c *modelClient) {
	tp, p := kafka.TopicPartition{Topic: "t", Partition: m.random.Int32N(4)}, c.p
	request := func() {
		r := m.take(m.s.AddPartitions(1, AddRequest{TransactionalID: c.id, Producer: p, Partitions: []kafka.TopicPartition{tp}, Version: Version2}, m.nowMs)).(Result)
		if r.Code != kafka.ErrNone {
			return
		}
		if _, ended := m.outcomes[p]; ended {
			m.fail("%+v may write to %v after its transaction has ended", p, tp)
		}
		if m.open[tp] == nil {
			m.open[tp] = map[Producer]bool{}
		}
		m.open[tp][p] = true
		if c.p == p {
			c.hasWrites = true
		}
	}
	m.isHeard(request)
	request()
}

func (m *model) end(c *modelClient, commit bool) {
	p, hadWrites := c.p, c.hasWrites
	m.freshID++
	request := func() (Result, bool) {
		r := m.take(m.s.EndTransaction(1, EndRequest{TransactionalID: c.id, Producer: p, Commit: commit, Version: Version2, FreshID: m.freshID}, m.nowMs)).(Result)
		return r, r.Code == kafka.ErrNone
	}
	heard := m.isHeard(func() { request() })
	r, ok := request()
	switch {
	case !ok || !heard:
	case c.p == p:
		if commit && hadWrites {
			m.committed[p] = true
		}
		m.own(c, r.Producer)
	}
}

// writeMarkers writes the markers of a transaction, perhaps not for the last time.
func (m *model) writeMarkers(i int) {
	k := m.markers[i]
	writes := Producer{k.Producer.ID, k.Producer.Epoch - 1}
	if before, ended := m.outcomes[writes]; ended && before != k.Commit {
		m.fail("%+v has two outcomes", writes)
	}
	m.outcomes[writes] = k.Commit
	for _, tp := range k.Partitions {
		for p := range m.open[tp] {
			if p.ID == k.Producer.ID && p.Epoch < k.Producer.Epoch {
				if p != writes {
					m.fail("the marker %+v ends %+v in %v", k.Producer, p, tp)
				}
				delete(m.open[tp], p)
			}
		}
	}
	if m.random.IntN(10) > 0 { // else the coordinator does not learn of it
		m.markers = append(m.markers[:i:i], m.markers[i+1:]...)
		m.take(m.s.CompleteMarkers(0, k, m.nowMs))
	}
}

func (m *model) crash() {
	m.s, m.markers = NewShard(testConfig(), NewMetrics(metrics.NewRegistry())), nil
	for i, r := range m.log {
		if err := m.s.Replay(shard.Position{Offset: int64(i), ProducerID: kafka.NoProducerID}, r); err != nil {
			m.fail("%v", err)
		}
	}
	m.take(m.s.Activate(m.nowMs))
}

// settle lets every time-out pass and every marker be written: then nothing is open any more, and
// what was promised holds.
func (m *model) settle() {
	m.crash()
	for range 3 {
		m.nowMs += 100_000
		m.take(m.s.Tick(m.nowMs))
		for round := 0; len(m.markers) > 0; round++ {
			if round > 1000 {
				m.fail("markers are not written after 1000 attempts")
			}
			m.writeMarkers(0)
		}
	}
	for tp, open := range m.open {
		for p := range open {
			m.fail("%+v is open in %v for ever", p, tp)
		}
	}
	for p := range m.committed {
		if committed, ended := m.outcomes[p]; !ended || !committed {
			m.fail("the commit of %+v was answered, but ended %t, committed %t", p, ended, committed)
		}
	}
	if len(m.outcomes) == 0 {
		m.fail("nothing has ended")
	}
}
