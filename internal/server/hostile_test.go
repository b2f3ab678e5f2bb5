package server

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

func sizeOf(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func TestHostileFirstBytes(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, nil)
	for name, c := range map[string]struct {
		bytes  []byte
		reason string
	}{
		"size zero":        {sizeOf(0), "request size"},
		"size seven":       {append(sizeOf(7), make([]byte, 7)...), "request size"},
		"size minus one":   {sizeOf(-1), "request size"},
		"size minimum":     {sizeOf(math.MinInt32), "request size"},
		"size maximum":     {sizeOf(math.MaxInt32), "request size"},
		"above the limit":  {sizeOf(100<<20 + 1), "request size"},
		"TLS":              {[]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}, "foreign protocol"},
		"HTTP":             {[]byte("GET / HTTP/1.1\r\n\r\n"), "foreign protocol"},
		"HTTP/2":           {[]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "foreign protocol"},
		"unknown key":      {append(sizeOf(10), 0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff), "unknown API"},
		"negative key":     {append(sizeOf(10), 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff), "unknown API"},
		"metadata 14":      {append(sizeOf(11), 0, 3, 0, 14, 0, 0, 0, 1, 0xff, 0xff, 0), "unknown API"},
		"produce 2":        {append(sizeOf(10), 0, 0, 0, 2, 0, 0, 0, 1, 0xff, 0xff), "unknown API"},
		"negative version": {append(sizeOf(10), 0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff), "unknown API"},
		"short body":       {append(sizeOf(10), 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff), "malformed request"},
	} {
		t.Run(name, func(t *testing.T) {
			before := s.counter("moldau_connections_broken_total", "reason", c.reason)
			conn := s.dial()
			conn.send(c.bytes)
			conn.wantClosed()
			if after := s.counter("moldau_connections_broken_total", "reason", c.reason); after == before {
				t.Errorf("not counted as %q", c.reason)
			}
		})
	}
	conn := s.dial()
	conn.send(frameOf(metadataRequest(1), 4))
	if id, _ := conn.receive(); id != 4 {
		t.Errorf("a healthy client got correlation id %d", id)
	}
}

func TestRequestCutAtEveryByte(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, nil)
	frame := frameOf(metadataRequest(9), 1)
	for cut := range frame {
		conn := s.dial()
		if cut > 0 {
			conn.send(frame[:cut])
		}
		if err := conn.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		conn.wantClosed()
	}
	// The same cuts inside a frame that says it is complete.
	for cut := range frame[4 : len(frame)-1] {
		conn := s.dial()
		conn.send(append(sizeOf(int32(cut)), frame[4:4+cut]...))
		conn.wantClosed()
	}
}

func TestAPIVersionsOfAnUnknownVersion(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, nil)
	conn := s.dial()
	for _, version := range []byte{5, 99} {
		conn.send(append(sizeOf(14), 0, 18, 0, version, 0, 0, 0, 7, 0xff, 0xff, 0, 1, 1, 0))
		id, rest := conn.receive()
		response := kmsg.NewPtrApiVersionsResponse()
		response.SetVersion(0)
		if err := response.ReadFrom(rest); err != nil || id != 7 {
			t.Fatalf("version %d: id %d, %v", version, id, err)
		}
		if response.ErrorCode != int16(kafka.ErrUnsupportedVersion) || len(response.ApiKeys) != 1 || response.ApiKeys[0].ApiKey != wire.KeyAPIVersions || response.ApiKeys[0].MaxVersion != 4 {
			t.Errorf("version %d: %+v", version, response)
		}
	}
	// The connection is kept.
	conn.send(frameOf(metadataRequest(9), 8))
	if id, _ := conn.receive(); id != 8 {
		t.Errorf("correlation id %d", id)
	}
}

// TestSilentConnectionsCostAlmostNothing is the announcement that exhausts Apache Kafka's heap:
// 500 clients announce 1 MiB each and send two bytes of it.
func TestSilentConnectionsCostAlmostNothing(t *testing.T) {
	s := startServer(t, Limits{}, nil)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapInuse + m.StackInuse)
	}
	before := heap()
	const clients = 500
	all := make([]*client, clients)
	for i := range all {
		all[i] = s.dial()
		all[i].send(append(sizeOf(1<<20), 0, 3))
	}
	eventually(t, "all requests have begun", func() bool { return s.memory.used.Value() >= clients*1024 })
	if used := s.memory.used.Value(); used > clients*1024 {
		t.Errorf("charged %d bytes, want %d", used, clients*1024)
	}
	// 20 KiB a connection: goroutines, sockets of both ends in this process, buffers.
	if grown := heap() - before; grown > clients*20<<10 {
		t.Errorf("memory grew by %d bytes, %d a connection", grown, grown/clients)
	}
	conn := s.dial()
	conn.send(frameOf(metadataRequest(1), 4))
	conn.receive()
}

func TestBufferGrowsWithWhatArrives(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{}, nil)
	conn := s.dial()
	const size = 1 << 20
	conn.send(append(sizeOf(size), make([]byte, 100_000)...))
	eventually(t, "100 KB have arrived", func() bool { return s.memory.used.Value() >= 100_000 })
	if used := s.memory.used.Value(); used > 262_144 {
		t.Errorf("%d bytes taken for 100000 that have arrived", used)
	}
	_ = conn.Close()
	eventually(t, "memory is given back", func() bool { return s.memory.used.Value() == 0 })
}

func TestPartialRequestTimesOut(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{PartialRequest: 30 * time.Millisecond}, nil)
	conn := s.dial()
	conn.send(append(sizeOf(100), 0, 3))
	conn.wantClosed()
	if n := s.counter("moldau_connections_broken_total", "reason", "partial request"); n != 1 {
		t.Errorf("%d partial requests counted", n)
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{MaxIdle: 30 * time.Millisecond}, nil)
	conn := s.dial()
	conn.send(frameOf(metadataRequest(1), 1))
	conn.receive()
	conn.wantClosed()
}

// TestBusyConnectionIsNotIdle keeps connections busy for longer than each of the limits: deadlines
// that were set for earlier requests pass meanwhile.
func TestBusyConnectionIsNotIdle(t *testing.T) {
	t.Parallel()
	const limit = 500 * time.Millisecond
	s := startServer(t, Limits{MaxIdle: limit, PartialRequest: limit}, nil)
	var all sync.WaitGroup
	for _, topics := range []int{1, 2000} { // the second does not fit the buffer of the connection
		all.Go(func() {
			request := metadataRequest(1)
			for range topics {
				topic := kmsg.NewMetadataRequestTopic()
				topic.Topic = kmsg.StringPtr("some-topic")
				request.Topics = append(request.Topics, topic)
			}
			conn, frame := s.dial(), frameOf(request, 5)
			for began := time.Now(); time.Since(began) < 3*limit; {
				half := len(frame) / 2
				conn.send(frame[:half])
				conn.send(frame[half:])
				if id, _, err := conn.tryReceive(); err != nil || id != 5 {
					t.Errorf("%d topics, after %s: id %d, %v", topics, time.Since(began), id, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	t.Run("per ip", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, Limits{MaxConnectionsPerIP: 2}, nil)
		for range 2 {
			conn := s.dial()
			conn.send(frameOf(metadataRequest(1), 1))
			conn.receive()
		}
		s.dial().wantClosed()
		if n := s.counter("moldau_connections_refused_total", "reason", "per ip"); n != 1 {
			t.Errorf("%d refused", n)
		}
	})
	t.Run("per ip override", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, Limits{MaxConnectionsPerIP: 100, MaxConnectionsPerIPOverrides: map[string]int{"127.0.0.1": 0}}, nil)
		s.dial().wantClosed()
		s = startServer(t, Limits{MaxConnectionsPerIP: -1, SendBufferBytes: 1 << 16, ReceiveBufferBytes: 1 << 16, MaxConnectionsPerIPOverrides: map[string]int{"127.0.0.1": 1}}, nil)
		conn := s.dial()
		conn.send(frameOf(metadataRequest(1), 1))
		conn.receive()
	})
	t.Run("broker", func(t *testing.T) {
		t.Parallel()
		s := startServer(t, Limits{MaxConnections: 1}, nil)
		first := s.dial()
		first.send(frameOf(metadataRequest(1), 1))
		first.receive()
		second := s.dial()
		second.send(frameOf(metadataRequest(1), 2))
		if n := s.counter("moldau_connections_accepted_total"); n > 2 {
			t.Errorf("%d accepted", n)
		}
		_ = first.Close()
		if id, _ := second.receive(); id != 2 {
			t.Errorf("correlation id %d", id)
		}
	})
}

func TestMemoryPressureClosesTheSlowest(t *testing.T) {
	t.Parallel()
	s := startServer(t, Limits{RequestMemoryBytes: 2 << 20, PartialRequest: time.Minute}, nil)
	slow := s.dial()
	slow.send(append(sizeOf(900<<10), make([]byte, 600<<10)...))
	eventually(t, "the slow request fills the budget", func() bool { return s.memory.used.Value() == 1<<20 })
	// A small request passes all the same.
	small := s.dial()
	small.send(frameOf(metadataRequest(1), 1))
	small.receive()
	// A big one has the slow one closed.
	big := s.dial()
	request := metadataRequest(1)
	for i := range 2500 {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(fmt.Sprintf("%0200d", i))
		request.Topics = append(request.Topics, topic)
	}
	big.send(frameOf(request, 9))
	slow.wantClosed()
	if id, _ := big.receive(); id != 9 {
		t.Errorf("correlation id %d", id)
	}
}

// TestRequestsThatWaitForMemoryHaveNone: a connection that has sent a large request is trusted with
// as large a buffer at once, but only once the budget has granted it.
func TestRequestsThatWaitForMemoryHaveNone(t *testing.T) {
	s := startServer(t, Limits{RequestMemoryBytes: 8 << 20, PartialRequest: time.Minute}, nil)
	const size, clients = 6 << 20, 8
	request := produceRequest(1)
	topic := kmsg.NewProduceRequestTopic()
	topic.Partitions = []kmsg.ProduceRequestTopicPartition{{Records: make([]byte, size)}}
	request.Topics = append(request.Topics, topic)
	frame := frameOf(request, 1)
	all := make([]*client, clients)
	for i := range all {
		all[i] = s.dial()
		all[i].send(frame)
		all[i].receive()
	}
	s.dial().send(append(sizeOf(size), make([]byte, size-1)...))
	eventually(t, "a request holds most of the budget", func() bool { return s.memory.used.Value() >= size })
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	for _, c := range all {
		c.send(append(sizeOf(size), 0, 3))
	}
	eventually(t, "all others wait for memory", func() bool {
		s.memory.mu.Lock()
		defer s.memory.mu.Unlock()
		return len(s.memory.waiting) == clients
	})
	if grown := heap() - before; grown > size {
		t.Errorf("requests without memory from the budget take %d bytes", grown)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frameOf(metadataRequest(9), 1))
	f.Add(append(sizeOf(14), 0, 18, 0, 99, 0, 0, 0, 7, 0xff, 0xff, 0, 1, 1, 0))
	f.Add(append(sizeOf(0), 1, 2, 3))
	f.Add([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := startServer(t, Limits{MaxRequestBytes: 1 << 20, StopGrace: time.Millisecond}, nil)
		conn := s.dial()
		_, _ = conn.Write(data)
		if err := conn.Conn.(*net.TCPConn).CloseWrite(); err == nil {
			_, _ = io.Copy(io.Discard, conn)
		}
		if n := s.counter("moldau_request_panics_total"); n != 0 {
			t.Errorf("%d panics", n)
		}
		eventually(t, "memory is given back", func() bool { return s.memory.used.Value() == 0 })
	})
}
