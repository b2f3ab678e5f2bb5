package script

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// diskTopics are written alike to both brokers and then compared as files.
var diskTopics = []struct {
	name    string
	configs [][2]string
	fill    func(s *Session, topic string) error
}{
	{"disk-plain", nil, func(s *Session, topic string) error { return fillDisk(s, topic, record.CodecNone) }},
	{"disk-compressed", [][2]string{{"index.interval.bytes", "100"}}, func(s *Session, topic string) error {
		return fillDisk(s, topic, record.CodecGzip, record.CodecSnappy, record.CodecLZ4, record.CodecZstd)
	}},
	{"disk-recompressed", [][2]string{{"compression.type", "uncompressed"}}, func(s *Session, topic string) error {
		return fillDisk(s, topic, record.CodecLZ4, record.CodecNone)
	}},
	{"disk-by-time", [][2]string{{"segment.ms", "60000"}}, func(s *Session, topic string) error { return fillDisk(s, topic, record.CodecNone) }},
	{"disk-transactions", nil, fillWithTransactions},
}

// CompareDisk writes the same batches to both brokers, whose files are on this machine, and compares the files of the
// segments that are no longer written to. It returns how many files it has compared.
func CompareDisk(kafkaAddr, moldauAddr string) (int, []string, error) {
	var sides [2]map[string][]byte
	for i, addr := range []string{kafkaAddr, moldauAddr} {
		var err error
		if sides[i], err = diskOf(addr); err != nil {
			return 0, nil, fmt.Errorf("%s: %w", addr, err)
		}
	}
	var problems []string
	var names []string
	for name := range sides[0] {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		theirs := sides[0][name]
		ours, there := sides[1][name]
		// What follows in ours is a checksum that Kafka's readers pass over.
		ext := filepath.Ext(name)
		if (ext == ".snapshot" || ext == ".txnindex") && len(ours) > len(theirs) {
			ours = ours[:len(theirs)]
		}
		switch {
		case !there && ext == ".snapshot": // of a burst of segments only the last few are kept until the flush
		case !there:
			problems = append(problems, fmt.Sprintf("disk: %s is not there in Moldau", name))
		case !bytes.Equal(theirs, ours):
			at := 0
			for at < len(theirs) && at < len(ours) && theirs[at] == ours[at] {
				at++
			}
			problems = append(problems, fmt.Sprintf("disk: %s differs at byte %d: Apache Kafka has %d bytes, there %x, Moldau %d, there %x", name, at, len(theirs), theirs[at:min(at+24, len(theirs))], len(ours), ours[at:min(at+24, len(ours))]))
		}
	}
	for name := range sides[1] {
		if _, there := sides[0][name]; !there && filepath.Ext(name) != ".snapshot" { // flushes write more of them
			problems = append(problems, fmt.Sprintf("disk: %s is not there in Apache Kafka", name))
		}
	}
	return len(names), problems, nil
}

// diskOf fills the topics of one broker and returns their files.
func diskOf(addr string) (map[string][]byte, error) {
	b := &Broker{addr: addr, ids: map[string][16]byte{}}
	s := &Session{broker: b, subject: &subject{}, patience: answerTime, labels: map[string]string{}}
	defer func() {
		if s.conn != nil {
			_ = s.conn.Close()
		}
	}()
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis = 30_000
	partitions := map[string]int32{}
	var names []string
	for _, t := range diskTopics {
		topic := kmsg.NewCreateTopicsRequestTopic()
		topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.name, 1, 1
		for _, c := range append([][2]string{{"retention.ms", "-1"}, {"segment.bytes", "1048576"}}, t.configs...) {
			topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: c[0], Value: &c[1]})
		}
		r.Topics = append(r.Topics, topic)
		partitions[t.name] = 1
		names = append(names, t.name)
	}
	if _, err := s.fetch(r, 5); err != nil {
		return nil, err
	}
	if err := waitForTopics(s, names, partitions); err != nil {
		return nil, err
	}
	if err := b.learnLogDir(s); err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, t := range diskTopics {
		s.pid = fixedProducer
		if err := t.fill(s, t.name); err != nil {
			return nil, fmt.Errorf("%s: %w", t.name, err)
		}
		folder := filepath.Join(b.logDir, t.name+"-0")
		if err := waitForSnapshots(folder); err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}
		if err := readPartition(folder, s.pid, files); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// waitForSnapshots returns once the newest producer snapshot and the checkpoint of leader epochs are there, which
// Moldau writes with the flush that follows.
func waitForSnapshots(folder string) error {
	return until(func() (bool, error) {
		logs, err := filepath.Glob(filepath.Join(folder, "*.log"))
		if err != nil || len(logs) == 0 {
			return false, err
		}
		newest := strings.TrimSuffix(slices.Max(logs), ".log") + ".snapshot"
		_, noSnapshot := os.Stat(newest)
		_, noEpochs := os.Stat(filepath.Join(folder, "leader-epoch-checkpoint"))
		return noSnapshot == nil && noEpochs == nil, nil
	})
}

// diskBatches are of one kilobyte and of hundred kilobytes.
const diskBatches = 60

func fillDisk(s *Session, topic string, codecs ...record.Codec) error {
	random := rand.New(rand.NewPCG(1, 2))
	sequence := int32(0)
	for i := range diskBatches {
		o := record.BuilderOptions{Codec: codecs[i%len(codecs)], ProducerID: kafka.NoProducerID, ProducerEpoch: -1, BaseSequence: -1}
		records := 1 + i%7
		if i%3 == 0 {
			o.ProducerID, o.ProducerEpoch, o.BaseSequence = fixedProducer, 0, sequence
			sequence += int32(records)
		}
		if err := send1(s, topic, diskBatch(o, random, records, i)); err != nil {
			return err
		}
	}
	return nil
}

// diskBatch has records of up to 30 kilobytes, half of which can be compressed; times go back now and then.
func diskBatch(o record.BuilderOptions, random *rand.Rand, records, i int) []byte {
	builder := record.NewBuilder(o)
	for j := range records {
		value := make([]byte, random.IntN(30_000))
		for k := range value {
			if k%2 == 0 {
				value[k] = byte(random.IntN(256))
			}
		}
		at := int64(firstTimestamp + i*10_000 + j*700 - i%5*12_000)
		builder.Append(at, fmt.Appendf(nil, "key-%d", j), value, []record.Header{{Key: []byte("h"), Value: []byte{byte(i)}}})
	}
	b, err := builder.Build()
	if err != nil {
		panic(err)
	}
	return b
}

// send1 appends one batch, in the transaction of the case if the batch belongs to one.
func send1(s *Session, topic string, data []byte) error {
	r := produceRequest(topic, data)
	if record.Batch(data).IsTransactional() {
		r.TransactionID = ptr(s.txn())
	}
	return until(func() (bool, error) {
		response, err := s.fetch(r, 11)
		if err != nil {
			return false, err
		}
		code := response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
		return code == 0, codeErrorUnless(transient, code)
	})
}

func fillWithTransactions(s *Session, topic string) error {
	s.own = "disk-"
	random := rand.New(rand.NewPCG(3, 4))
	s.pid = 0
	if err := beginAs("")(s); err != nil {
		return err
	}
	sequence := int32(0)
	for i := range diskBatches {
		if i%6 == 0 {
			if err := addToTxn("", topic)(s); err != nil {
				return err
			}
		}
		if err := send1(s, topic, diskBatch(record.BuilderOptions{ProducerID: s.pid, ProducerEpoch: s.epoch, BaseSequence: sequence, Transactional: true}, random, 1+i%5, i)); err != nil {
			return err
		}
		sequence += int32(1 + i%5)
		if i%6 == 5 {
			if err := endTxn("", i%12 == 5)(s); err != nil {
				return err
			}
			if err := transactionState(s); err != nil { // its marker is written
				return err
			}
		}
	}
	return nil
}

var topicIDLine = regexp.MustCompile(`topic_id: \S+`)

// readPartition reads the files of a partition without what must differ: the producer id that the broker has given, and the
// times of markers. Of the last segment it reads the log alone, since its indexes are still written to.
func readPartition(folder string, pid int64, files map[string][]byte) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	last := ""
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".log") {
			last = max(last, strings.TrimSuffix(e.Name(), ".log"))
		}
	}
	for _, e := range entries {
		stem, ext := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name())), filepath.Ext(e.Name())
		if ext == ".tmp" || stem == last && ext != ".log" && ext != ".snapshot" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		switch ext {
		case ".log":
			content = alike(content, pid)
		case ".snapshot", ".txnindex":
			content = bytes.ReplaceAll(content, binary.BigEndian.AppendUint64(nil, uint64(pid)), []byte("producer"))
			if ext == ".snapshot" {
				content = withoutChecksum(content, pid != fixedProducer)
			}
		case ".timeindex":
			if pid != fixedProducer {
				content = withoutEntryTimes(content)
			}
		case ".metadata":
			content = topicIDLine.ReplaceAll(content, []byte("topic_id: ID"))
		default:
			content = bytes.TrimSpace(content)
		}
		files[filepath.Base(folder)+"/"+e.Name()] = content
	}
	return nil
}

// alike returns a log with the producer id replaced, and the times of markers.
func alike(log []byte, pid int64) []byte {
	log = slices.Clone(log)
	for rest := log; len(rest) > 61; {
		size := 12 + int(binary.BigEndian.Uint32(rest[8:]))
		b := rest[:min(size, len(rest))]
		if int64(binary.BigEndian.Uint64(b[43:])) == pid && pid != fixedProducer {
			copy(b[43:], "producer")
			clear(b[17:21])
		}
		if record.Batch(b).IsControl() {
			clear(b[27:43])
		}
		rest = rest[len(b):]
	}
	return log
}

// withoutEntryTimes clears the times in a time index, which are those of markers.
func withoutEntryTimes(index []byte) []byte {
	const entry, timestamp = 12, 8
	index = slices.Clone(index)
	for at := 0; at+entry <= len(index); at += entry {
		clear(index[at : at+timestamp])
	}
	return index
}

// withoutChecksum clears the checksum of a producer snapshot, which in Moldau covers what follows the entries, and where
// markers set them the times.
func withoutChecksum(snapshot []byte, markers bool) []byte {
	const head, entry, timestamp = 10, 43, 26
	snapshot = slices.Clone(snapshot)
	if len(snapshot) < head {
		return snapshot
	}
	clear(snapshot[2:6])
	for at := head; markers && at+entry <= len(snapshot); at += entry {
		clear(snapshot[at+timestamp : at+timestamp+8])
	}
	return snapshot
}
