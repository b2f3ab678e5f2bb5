//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/perf/load"
)

func startProbe(t *testing.T) (addr string, admin *kadm.Client) {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go serve(socket, t.TempDir(), nil)
	client, err := kgo.NewClient(kgo.SeedBrokers(socket.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return socket.Addr().String(), kadm.NewClient(client)
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	addr, admin := startProbe(t)
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.Lz4Compression()} {
		topic := fmt.Sprintf("t-%v", codec)
		if _, err := admin.CreateTopic(ctx, 3, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(codec), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(5000), kgo.FetchMaxPartitionBytes(1000), kgo.ProducerBatchMaxBytes(2000))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		wanted := map[string]bool{}
		for i := range 1000 {
			key := fmt.Sprint(i)
			wanted[key] = true
			client.Produce(ctx, &kgo.Record{Key: []byte(key), Value: []byte("value of " + key), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(key)}}}, func(_ *kgo.Record, err error) {
				if err != nil {
					t.Error(err)
				}
			})
		}
		if err := client.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		for len(wanted) > 0 {
			fetches := client.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				if key := string(r.Key); !wanted[key] || string(r.Value) != "value of "+key || string(r.Headers[0].Value) != key {
					t.Errorf("unexpected or repeated: %s", key)
				}
				delete(wanted, string(r.Key))
			})
		}
	}
}

// TestAllProbesHaveWhatIsAcknowledged: the leader of each partition answers when the others have written, too.
func TestAllProbesHaveWhatIsAcknowledged(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var sockets []net.Listener
	var addrs, folders []string
	for range 3 {
		socket, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { socket.Close() })
		sockets, addrs, folders = append(sockets, socket), append(addrs, socket.Addr().String()), append(folders, t.TempDir())
	}
	for i, socket := range sockets {
		go serve(socket, folders[i], newCluster(i+1, strings.Join(addrs, ",")))
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(addrs[0]), kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, 3, -1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if err := client.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(i))).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for p := range 3 {
		var first []byte
		for i, folder := range folders {
			data, err := os.ReadFile(filepath.Join(folder, fmt.Sprintf("t-%d", p)))
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				first = data
			}
			if len(data) == 0 || !bytes.Equal(data, first) {
				t.Errorf("partition %d: %d bytes at probe %d, %d at the first", p, len(data), i+1, len(first))
			}
		}
	}
	if _, err := admin.DeleteTopic(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
			t.Errorf("%v is left (%v)", left, err)
		}
	}
}

func TestDamagedBatchesAreRefused(t *testing.T) {
	t.Parallel()
	p := &partition{}
	if _, _, err := p.append(make([]byte, 10)); err == nil {
		t.Error("a batch without a header is taken")
	}
	if walk([]byte{40, 0, 0}, 1) {
		t.Error("a record that ends beyond its batch is taken")
	}
}

func TestClientsDoTheirOrders(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	addr, admin := startProbe(t)
	if _, err := admin.CreateTopics(ctx, 2, 1, nil, "work", "paced", "live"); err != nil {
		t.Fatal(err)
	}
	for _, o := range []load.Order{
		{Mode: load.Produce, Topic: "work", Records: 3000, WarmUp: 500, Producers: 3, Keys: 10},
		{Mode: load.Consume, Topic: "work", Records: 3500},
		{Mode: load.CatchUp, Topic: "work", LiveTopic: "live", Records: 3500, Rate: 1000},
		{Mode: load.Paced, Topic: "paced", Rate: 2000, WarmUp: 10, Seconds: 1},
	} {
		o.Addr, o.BrokerPIDs, o.ValueBytes, o.Acks, o.Codec = addr, []int{os.Getpid()}, 100, "all", "none"
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := load.Main(ctx, text, &out); err != nil {
			t.Fatalf("%s: %v", o.Mode, err)
		}
		var r load.Result
		if err := json.Unmarshal(out.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if wanted := o.Records; o.Mode != load.Paced && r.Records != wanted || r.ValueBytes != int64(r.Records)*100 || r.BrokerCPUSeconds <= 0 || r.Seconds <= 0 {
			t.Errorf("%s: %+v", o.Mode, r)
		}
		if latency := r.Acknowledged; o.Mode != load.Consume && o.Mode != load.CatchUp && (latency.P50Ms <= 0 || latency.P999Ms < latency.P99Ms || latency.P99Ms < latency.P50Ms) {
			t.Errorf("%s: latencies %+v", o.Mode, latency)
		}
		if o.Mode == load.Paced && (r.Records < 1000 || r.EndToEnd.P50Ms <= 0) {
			t.Errorf("paced: %+v", r)
		}
	}
}
