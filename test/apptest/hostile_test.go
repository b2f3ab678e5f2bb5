package apptest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// served are the API keys of which every version is sent in damaged form.
var served = []int16{0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 19, 20, 22, 23, 32, 33, 37, 42, 44, 47, 60, 75}

// frame returns a whole request of the key and version, its arrays filled with one element.
func frame(key, version int16) []byte {
	request := kmsg.RequestForKey(key)
	request.SetVersion(version)
	fill(request)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("hostile")).AppendRequest(nil, request, 7)
}

// TestDamagedRequestsHarmNobody sends every API in every version with its bytes cut short or
// its lengths and counts lying, and then checks that the broker is alive, small and correct.
func TestDamagedRequestsHarmNobody(t *testing.T) {
	broker := kafkatest.StartBroker(t)
	seed := time.Now().UnixNano()
	if s := os.Getenv("MOLDAU_SEED"); s != "" {
		seed, _ = strconv.ParseInt(s, 10, 64)
	}
	t.Logf("MOLDAU_SEED=%d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 2))
	lies := [][]byte{
		{0x7f, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xfe}, {0, 0, 0, 0}, {0x10, 0, 0, 0},
		{0xff, 0xff, 0xff, 0xff, 0x0f}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, {0x80, 0x80, 0x80, 0x80, 0x80, 0x00},
	}
	// In the short run one position in twenty is tried, another set each time.
	share := 20
	if full() {
		share = 1
	}
	sent := 0
	for _, key := range served {
		for version := range kmsg.RequestForKey(key).MaxVersion() + 1 {
			whole := frame(key, version)
			for cut := range len(whole) {
				if random.IntN(share) == 0 {
					short := bytes.Clone(whole[:max(cut, 4)])
					binary.BigEndian.PutUint32(short, uint32(len(short)-4))
					sendAndLeave(t, broker, short)
					sent++
				}
			}
			for at := 4; at < len(whole); at++ {
				for _, lie := range lies {
					if random.IntN(share) == 0 {
						damaged := bytes.Clone(whole)
						copy(damaged[at:], lie)
						sendAndLeave(t, broker, damaged)
						sent++
					}
				}
			}
		}
	}
	for _, length := range []uint32{0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 104857601} {
		sendAndLeave(t, broker, append(binary.BigEndian.AppendUint32(nil, length), "abcdefgh"...))
	}
	sendAndLeave(t, broker, []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	sendAndLeave(t, broker, []byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03})
	t.Logf("%d damaged requests sent", sent)
	requireHealthy(t, broker)
	if out := broker.Output(); strings.Contains(out, "BUG") || strings.Contains(out, "panic") {
		t.Errorf("a handler panicked:\n%s", out)
	}
}

// sendAndLeave writes data on a connection of its own and closes it without reading.
func sendAndLeave(t *testing.T, broker *kafkatest.Broker, data []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", broker.Addr())
	if err != nil {
		t.Fatalf("the broker does not accept connections any more: %v", err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: thousands of these are opened
	_, _ = conn.Write(data)
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, _ = io.ReadFull(conn, make([]byte, 4))
}

// requireHealthy fails the test unless a produced record can be consumed and memory is sane.
func requireHealthy(t *testing.T, broker *kafkatest.Broker) {
	t.Helper()
	c := broker.Client(kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("health"), kgo.UnknownTopicRetries(10))
	if err := c.ProduceSync(t.Context(), &kgo.Record{Topic: "health", Value: []byte("alive")}).FirstErr(); err != nil {
		t.Fatalf("produce after the attack: %v", err)
	}
	fetches := c.PollFetches(t.Context())
	if err := fetches.Err(); err != nil || string(fetches.Records()[0].Value) != "alive" {
		t.Fatalf("consume after the attack: %v", err)
	}
	if rss := residentBytes(t, broker.Pid()); rss > 400<<20 {
		t.Errorf("the broker takes %d MiB after the attack", rss>>20)
	}
}

// residentBytes reads the resident set size of a process; 0 where the system has no /proc.
func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Log("LOUD SKIP of the memory check: it needs /proc")
		return 0
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var total, resident int64
	if _, err := fmt.Sscan(string(data), &total, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

// TestSilentConnectionsCostAlmostNothing opens 500 connections that announce a request of
// 1 MiB and stay silent, which once exhausted a heap of 700 MB elsewhere.
func TestSilentConnectionsCostAlmostNothing(t *testing.T) {
	broker := kafkatest.StartBroker(t)
	requireHealthy(t, broker)
	before := residentBytes(t, broker.Pid())
	for range 500 {
		conn, err := net.Dial("tcp", broker.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte{0, 0x10, 0, 0, 0, 0}); err != nil {
			t.Fatal(err)
		}
	}
	requireHealthy(t, broker) // others are served meanwhile
	grown := residentBytes(t, broker.Pid()) - before
	t.Logf("500 silent connections: %d KiB", grown>>10)
	if grown > 32<<20 {
		t.Errorf("500 silent connections took %d MiB", grown>>20)
	}
}
