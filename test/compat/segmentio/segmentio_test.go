package segmentio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"github.com/moldau/moldau/test/compat/expect"
)

// TestKafkaGo runs the parts. gotest explains the names.
func TestKafkaGo(t *testing.T) {
	if expect.Bootstrap == "" {
		t.Fatal("BOOTSTRAP names no broker")
	}
	t.Run(expect.ClientVersion, func(t *testing.T) {
		for _, part := range []struct {
			features, name string
			test           func(*testing.T)
		}{
			{"produce+consume+compression", "codecs", testCodecs},
			{"acks", "acks", testAcks},
			{"headers+timestamps+offsets for times", "times", testTimes},
			{"seeks", "seeks", testSeeks},
			{"large messages", "large", testLargeMessages},
			{"groups", "rebalance", testRebalance},
			{"offsets", "offsets", testOffsets},
			{"admin", "topics", testTopics},
			{"admin", "configs", testConfigs},
			{"transactions", "offsets only", testTransactions},
			{"idempotence", "none", func(t *testing.T) { t.Skip("its writers are not idempotent") }},
		} {
			t.Run(part.features+":"+part.name, part.test)
		}
	})
}

func testCodecs(t *testing.T) {
	count := 2000
	if expect.Smoke {
		count = 300
	}
	for _, codec := range []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd} {
		topic := create(t, "codec-"+codec.String(), 3)
		write(t, topic, expect.Numbered("v", count), func(w *kafka.Writer) { w.Compression = codec })
		seen := map[string]bool{}
		for partition, end := range ends(t, topic, 0, 1, 2) {
			last := -1
			for i, m := range read(t, topic, partition, int(end), kafka.ReadUncommitted) {
				expect.Same(t, codec.String()+": offset", int64(i), m.Offset)
				expect.Same(t, "key", "k"+string(m.Value), string(m.Key))
				expect.Same(t, "headers", fmt.Sprintf("h=%s empty=", m.Value), fmt.Sprintf("%s=%s %s=%s", m.Headers[0].Key, m.Headers[0].Value, m.Headers[1].Key, m.Headers[1].Value))
				var n int
				if expect.Three && seen[string(m.Value)] { // written again when the answer was lost
					continue
				}
				if _, err := fmt.Sscanf(string(m.Value), "v%d", &n); err != nil || n <= last || seen[string(m.Value)] {
					t.Fatalf("%s: %s after v%d in partition %d, or twice", codec, m.Value, last, partition)
				}
				last, seen[string(m.Value)] = n, true
			}
		}
		expect.Same(t, codec.String()+": records", count, len(seen))
	}
}

func testAcks(t *testing.T) {
	all, want := []kafka.RequiredAcks{kafka.RequireNone, kafka.RequireOne, kafka.RequireAll}, "acks-0 acks-1 acks--1"
	if expect.Three { // what one replica has, or nobody confirmed, may be gone when its leader is
		all, want = all[2:], "acks--1"
	}
	topic := prepare(t, "acks", len(all), func(topic string) {
		for _, acks := range all {
			write(t, topic, []string{fmt.Sprintf("acks-%d", acks)}, func(w *kafka.Writer) { w.RequiredAcks = acks })
		}
	})
	expect.Same(t, "records by acks", want, values(read(t, topic, 0, len(all), kafka.ReadCommitted)))
	first := &kafka.Writer{Addr: kafka.TCP(expect.Brokers...), Topic: named("first-use"), AllowAutoTopicCreation: true}
	expect.Until(t, "the topic is made", func() bool {
		err := writeAll(t, first, kafka.Message{Value: []byte("hello")})
		if !errors.Is(err, kafka.UnknownTopicOrPartition) && !errors.Is(err, kafka.LeaderNotAvailable) {
			expect.Must(t, err)
		}
		return err == nil
	})
	expect.Must(t, first.Close())
	expect.Same(t, "a topic made on first use", "hello", values(read(t, first.Topic, 0, 1, kafka.ReadCommitted)))
}

func testTimes(t *testing.T) {
	start := time.UnixMilli(1234567890000)
	topic := prepare(t, "times", 11, func(topic string) {
		w := writer(topic)
		for i := range 10 {
			expect.Must(t, writeAll(t, w, kafka.Message{Value: fmt.Append(nil, i), Time: start.Add(time.Duration(i) * time.Second)}))
		}
		expect.Must(t, writeAll(t, w, kafka.Message{Key: []byte("gone"), Time: start.Add(time.Minute)}))
		expect.Must(t, w.Close())
	})
	messages := read(t, topic, 0, 11, kafka.ReadUncommitted)
	for i, m := range messages[:10] {
		expect.Same(t, "time", start.Add(time.Duration(i)*time.Second).UnixMilli(), m.Time.UnixMilli())
	}
	expect.Same(t, "a null value", "gone 0", fmt.Sprintf("%s %d", messages[10].Key, len(messages[10].Value)))
	got := listOffsets(t, topic, kafka.TimeOffsetOf(0, start.Add(3500*time.Millisecond)), kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0))[0]
	if _, ok := got.Offsets[4]; !ok || got.FirstOffset != 0 || got.LastOffset != 11 {
		t.Errorf("listed offsets: %+v", got)
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: expect.Brokers, Topic: topic, MaxWait: 100 * time.Millisecond})
	expect.Must(t, expect.Again(passes, func() error { return r.SetOffsetAt(t.Context(), start.Add(6500*time.Millisecond)) }))
	expect.Same(t, "from a time on", "7 8 9 ", values(receive(t, r, 4)))
	expect.Must(t, r.Close())
	var produced *kafka.ProduceResponse
	topic = prepare(t, "log-append-time", 1, func(topic string) {
		produce := func(ctx context.Context, topic string) (*kafka.ProduceResponse, error) { // each time with a reader of its own
			return client.Produce(ctx, &kafka.ProduceRequest{Topic: topic, RequiredAcks: kafka.RequireAll, Records: kafka.NewRecordReader(kafka.Record{Time: start, Value: kafka.NewBytes([]byte("v"))})})
		}
		produced = ask(t, produce, topic, func(r *kafka.ProduceResponse) error { return r.Error })
	}, kafka.ConfigEntry{ConfigName: "message.timestamp.type", ConfigValue: "LogAppendTime"})
	if time.Since(produced.LogAppendTime).Abs() > 5*time.Minute { // its readers take no notice of the broker's time
		t.Errorf("the broker's time is %v", produced.LogAppendTime)
	}
	expect.Same(t, "value", "v", values(read(t, topic, 0, 1, kafka.ReadUncommitted)))
}

func testSeeks(t *testing.T) {
	topic := prepare(t, "seeks", 100, func(topic string) { write(t, topic, expect.Numbered("v", 100)) })
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: expect.Brokers, Topic: topic, MaxWait: 100 * time.Millisecond})
	for _, offset := range []int64{42, 99, 7, kafka.FirstOffset} {
		expect.Must(t, r.SetOffset(offset))
		m, err := r.ReadMessage(t.Context())
		expect.Must(t, err)
		expect.Same(t, "record after a seek", fmt.Sprintf("v%d", max(offset, 0)), string(m.Value))
	}
	expect.Must(t, expect.Again(passes, func() error {
		lag, err := r.ReadLag(t.Context())
		if err == nil {
			expect.Same(t, "lag", 99, lag)
		}
		return err
	}))
	expect.Must(t, r.Close())
	expect.Must(t, expect.Again(passes, func() error { return testByHand(t, topic) }))
}

// testByHand writes to the topic and reads from it over a connection to its leader. Over another one, it must not be in its way that an
// answer was lost.
func testByHand(t *testing.T, topic string) error {
	t.Helper()
	conn, err := kafka.DialLeader(t.Context(), "tcp", expect.Brokers[0], topic, 0)
	if err != nil && expect.Three { // DialLeader asks the named broker alone
		conn, err = kafka.DialLeader(t.Context(), "tcp", expect.Brokers[1], topic, 0)
	}
	if err != nil {
		return err
	}
	first, last, err := conn.ReadOffsets()
	if err != nil {
		return err
	}
	if !expect.Three {
		expect.Same(t, "offsets", "0 100", fmt.Sprintf("%d %d", first, last))
	}
	expect.Same(t, "offsets", true, first == 0 && last >= 100)
	n, err := conn.WriteMessages(kafka.Message{Value: []byte("written by hand")})
	if err != nil {
		return err
	}
	expect.Same(t, "bytes written", len("written by hand"), n)
	if _, err = conn.Seek(100, kafka.SeekAbsolute); err != nil {
		return err
	}
	m, err := conn.ReadMessage(1000)
	if err != nil {
		return err
	}
	expect.Same(t, "read by hand", "100 written by hand", fmt.Sprintf("%d %s", m.Offset, m.Value))
	return conn.Close()
}

func testLargeMessages(t *testing.T) {
	small := create(t, "too-large", 1)
	large := make([]byte, 5_000_000)
	for i := range large {
		large[i] = byte(i * 7 % 251)
	}
	topic := prepare(t, "large", 1, func(topic string) {
		w := writer(topic, func(w *kafka.Writer) { w.BatchBytes = 8_000_000 })
		expect.Must(t, writeAll(t, w, kafka.Message{Value: large}))
		expect.Must(t, w.Close())
	}, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "6000000"})
	w := writer(small, func(w *kafka.Writer) { w.BatchBytes = 8_000_000 })
	err := expect.Again(passes, func() error {
		err := w.WriteMessages(t.Context(), kafka.Message{Value: large})
		var failed kafka.WriteErrors
		if errors.As(err, &failed) {
			return failed[0]
		}
		return err
	})
	if !errors.Is(err, kafka.MessageSizeTooLarge) {
		t.Errorf("a record over max.message.bytes: %v", err)
	}
	expect.Must(t, w.Close())
	if m := read(t, topic, 0, 1, kafka.ReadUncommitted)[0]; !bytes.Equal(m.Value, large) {
		t.Error("the large record came through changed")
	}
}
