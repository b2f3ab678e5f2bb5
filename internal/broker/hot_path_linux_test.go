// Under the race detector pools drop at random what they are given.
//go:build !race

package broker

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/record"
)

// wireClient is a connection to a node that allocates nothing per request, so that the process's
// allocations are the node's.
type wireClient struct {
	net.Conn
	t      testing.TB
	answer []byte
}

func newWireClient(n *configNode) *wireClient {
	n.t.Helper()
	conn, err := net.Dial("tcp", n.b.server.Addr("PLAINTEXT").String())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = conn.Close() })
	return &wireClient{Conn: conn, t: n.t, answer: make([]byte, 64<<10)}
}

const clientID = "hot-path"

func frameOf(r kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, r, 1)
}

// exchange sends a frame and returns the answer's body, valid until the next call.
func (c *wireClient) exchange(frame []byte) []byte {
	_, err := c.Write(frame)
	if err == nil {
		_, err = io.ReadFull(c, c.answer[:4])
	}
	size := binary.BigEndian.Uint32(c.answer)
	if err == nil {
		_, err = io.ReadFull(c, c.answer[:size])
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return c.answer[4:size]
}

// exchangeFetch is exchange of a Fetch, whose error must be none.
func (c *wireClient) exchangeFetch(frame []byte) {
	if code := binary.BigEndian.Uint16(c.exchange(frame)[5:]); code != 0 { // behind no tags and the throttle time
		c.t.Fatalf("error %d", code)
	}
}

// ask sends r and decodes the answer.
func ask[R kmsg.Response](c *wireClient, r kmsg.Request) R {
	c.t.Helper()
	body := c.exchange(frameOf(r))
	response := r.ResponseKind()
	response.SetVersion(r.GetVersion())
	if response.IsFlexible() {
		body = body[1:] // no tags in the header
	}
	if err := response.ReadFrom(body); err != nil {
		c.t.Fatal(err)
	}
	return response.(R)
}

// hotRequest is a request that is sent again and again.
type hotRequest struct {
	name        string
	allocations int // of the node, for one
	run         func()
}

// hotRequests prepares a node for the requests that most of a cluster's are.
func hotRequests(n *configNode) []hotRequest {
	n.autoCreate("topic")
	c := newWireClient(n)
	produce, heartbeat := produceFrame(n, "topic"), heartbeatFrame(c)
	c.exchange(produce) // what is fetched
	fetch := frameOf(fetchOf("topic", 0, 1))
	full := fetchOf("topic", 1, 100)
	full.SessionEpoch = 0
	session := ask[*kmsg.FetchResponse](c, full)
	poll := fetchOf("topic", 0, 0)
	poll.SessionID, poll.SessionEpoch = session.SessionID, 0
	polls := frameOf(poll)
	return []hotRequest{
		{"produce of one batch to one partition", 5, func() { c.exchange(produce) }},
		{"fetch of one batch", 8, func() { c.exchangeFetch(fetch) }},
		{"poll of 100 partitions in a session, without news", 3, func() {
			binary.BigEndian.PutUint32(polls[sessionEpochAt:], binary.BigEndian.Uint32(polls[sessionEpochAt:])+1)
			c.exchangeFetch(polls)
		}},
		{"heartbeat", 14, func() { c.exchange(heartbeat) }},
	}
}

// sessionEpochAt is where the epoch stands in a frame of fetchOf: behind size, key, version,
// correlation id, client id, no tags; replica id, three limits, the isolation level, the session id.
const sessionEpochAt = 4 + 2 + 2 + 4 + (2 + len(clientID)) + 1 + 4 + 3*4 + 1 + 4

// TestAllocationsOfTheHotPath holds what the node allocates for a request, over a real connection,
// to what it was brought down to. Who spares an allocation writes the new number down.
func TestAllocationsOfTheHotPath(t *testing.T) { // not parallel: it counts what the process allocates
	n := newConfigNode(t, map[string]string{"group.initial.rebalance.delay.ms": "0", "num.partitions": "100"})
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // a collection would empty the pools
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))  // of which each processor has its own
	for _, request := range hotRequests(n) {
		if got := allocationsOf(request.run); got != request.allocations {
			t.Errorf("%s: %d allocations, want %d", request.name, got, request.allocations)
		}
	}
}

// allocationsOf is how often the process allocates per run, to the nearest number: what runs beside it
// allocates a few times in all.
func allocationsOf(run func()) int {
	const runs = 1000
	for range runs / 5 { // fills pools and queues
		run()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		run()
	}
	runtime.ReadMemStats(&after)
	return int(after.Mallocs-before.Mallocs+runs/2) / runs
}

// BenchmarkHotPath is the same from socket to socket; the client's system calls are in it.
func BenchmarkHotPath(b *testing.B) {
	n := newConfigNode(b, map[string]string{"group.initial.rebalance.delay.ms": "0", "num.partitions": "100"})
	for _, request := range hotRequests(n) {
		b.Run(strings.ReplaceAll(request.name, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			before := processCPU(b)
			for b.Loop() {
				request.run()
			}
			b.ReportMetric(float64((processCPU(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
		})
	}
}

// processCPU is the time that this process has computed: on a shared machine it says more than the
// clock on the wall.
func processCPU(tb testing.TB) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// autoCreate creates a topic by asking for it, and waits until the partitions have a leader.
func (n *configNode) autoCreate(topic string) {
	n.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String()), kgo.AllowAutoTopicCreation(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		n.t.Fatal(err)
	}
	defer client.Close()
	if err := client.ProduceSync(n.t.Context(), &kgo.Record{Topic: topic, Value: []byte("first")}).FirstErr(); err != nil {
		n.t.Fatal(err)
	}
}

func produceFrame(n *configNode, topic string) []byte {
	r := kmsg.NewPtrProduceRequest()
	r.SetVersion(12)
	r.Acks, r.TimeoutMillis = -1, 30_000
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = n.producerBatch(record.NoProducer(record.CodecNone), time.Now().UnixMilli())
	of := kmsg.NewProduceRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, p)
	r.Topics = append(r.Topics, of)
	return frameOf(r)
}

// fetchOf asks for partitions of a topic from their first record on, without waiting and outside of a
// session.
func fetchOf(topic string, from, to int32) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.SetVersion(12)
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = 0, 1, 1<<20
	r.SessionEpoch = -1
	of := kmsg.NewFetchRequestTopic()
	of.Topic = topic
	for i := from; i < to; i++ {
		p := kmsg.NewFetchRequestTopicPartition()
		p.Partition, p.PartitionMaxBytes = i, 1 // one batch at least
		of.Partitions = append(of.Partitions, p)
	}
	if len(of.Partitions) > 0 {
		r.Topics = append(r.Topics, of)
	}
	return r
}

// heartbeatFrame joins a group and returns its member's heartbeat.
func heartbeatFrame(c *wireClient) []byte {
	c.t.Helper()
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.SetVersion(3)
	find.CoordinatorKey = "g"
	for ask[*kmsg.FindCoordinatorResponse](c, find).ErrorCode != 0 {
	}
	join := kmsg.NewPtrJoinGroupRequest()
	join.SetVersion(7)
	join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = "g", 60_000, 60_000, "consumer"
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "range"
	join.Protocols = append(join.Protocols, protocol)
	joined := ask[*kmsg.JoinGroupResponse](c, join)
	for joined.ErrorCode != 0 { // the first tells the member's id, others that the coordinator loads
		if joined.MemberID != "" {
			join.MemberID = joined.MemberID
		}
		joined = ask[*kmsg.JoinGroupResponse](c, join)
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.SetVersion(3)
	sync.Group, sync.Generation, sync.MemberID = "g", joined.Generation, joined.MemberID
	if code := ask[*kmsg.SyncGroupResponse](c, sync).ErrorCode; code != 0 {
		c.t.Fatalf("sync: %d", code)
	}
	heartbeat := kmsg.NewPtrHeartbeatRequest()
	heartbeat.SetVersion(4)
	heartbeat.Group, heartbeat.Generation, heartbeat.MemberID = "g", joined.Generation, joined.MemberID
	if code := ask[*kmsg.HeartbeatResponse](c, heartbeat).ErrorCode; code != 0 {
		c.t.Fatalf("heartbeat: %d", code)
	}
	return frameOf(heartbeat)
}
