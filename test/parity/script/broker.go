package script

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// Broker is one side of the comparison.
type Broker struct {
	addr string
	port int
	ids  map[string][16]byte // of the topics that were there before the cases
	// logDir is where the broker keeps its logs.
	logDir string
}

// Settings are the broker configs that the script counts on.
var Settings = []string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=5", "transaction.state.log.num.partitions=5", "node.id=1"}

// workers is how many cases run at a time; most of their time they wait for the broker.
const workers = 12

// Ask runs the cases against the broker at addr, whose data folder must be fresh, and returns what
// it says in each.
func Ask(addr string, cases []Case) ([]string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	b := &Broker{addr: addr, ids: map[string][16]byte{}}
	if b.port, err = strconv.Atoi(port); err != nil {
		return nil, err
	}
	if err := b.prepare(cases); err != nil {
		return nil, fmt.Errorf("prepare %s: %w", addr, err)
	}
	answers := make([]string, len(cases))
	var next atomic.Int64
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(cases)); i = next.Add(1) - 1 {
				c := &cases[i]
				s := &Session{broker: b, own: c.own(), worker: worker, version: c.Version, patience: answerTime, subject: c.subject, labels: map[string]string{b.logDir: "<log dir>"}}
				if c.subject.pool != "" {
					s.labels[s.topic()] = "~topic"
				}
				answers[i] = s.run(c)
			}
		})
	}
	group.Wait()
	return answers, nil
}

// prepare makes what the cases share and each case's own topic, and waits until the broker has it.
func (b *Broker) prepare(cases []Case) error {
	s := &Session{broker: b, subject: &subject{}, patience: answerTime}
	defer func() {
		if s.conn != nil {
			_ = s.conn.Close()
		}
	}()
	wanted := map[string]int32{fixedTopic: 2}
	names := []string{fixedTopic, shortTopic, txnTopic}
	for i := range subjects {
		for worker := range workers {
			if pool := subjects[i].pool; pool != "" {
				names = append(names, (&Session{subject: &subjects[i], worker: worker}).topic())
			}
		}
	}
	for i := range cases {
		if cases[i].fresh {
			names = append(names, cases[i].own()+"topic")
		}
	}
	for _, name := range names {
		wanted[name] = max(wanted[name], 1)
	}
	for from := 0; from < len(names); from += 100 {
		if err := createTopics(s, names[from:min(from+100, len(names))], wanted); err != nil {
			return err
		}
	}
	for _, step := range []func(*Session) error{func(s *Session) error { return waitForTopics(s, names, wanted) }, b.learnLogDir, fillFixedTopic, readyCoordinators, commitFixedGroup, commitFixedTransaction, limitFixedClient} {
		if err := step(s); err != nil {
			return err
		}
	}
	return nil
}

func createTopics(s *Session, names []string, partitions map[string]int32) error {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis = 30_000
	for _, name := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions[name], 1
		t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms", Value: ptr("-1")}} // the records are old
		r.Topics = append(r.Topics, t)
	}
	response, err := s.fetch(r, 5)
	if err != nil {
		return err
	}
	for _, t := range response.(*kmsg.CreateTopicsResponse).Topics {
		if t.ErrorCode != 0 {
			return fmt.Errorf("topic %s: %w", t.Topic, kafka.ErrorCode(t.ErrorCode))
		}
	}
	return nil
}

// waitForTopics returns when the broker leads every partition: Apache Kafka's controller answers
// before the broker has applied it.
func waitForTopics(s *Session, names []string, partitions map[string]int32) error {
	return until(func() (bool, error) {
		r := kmsg.NewPtrListOffsetsRequest()
		r.ReplicaID = -1
		for _, name := range names {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = name
			for p := range partitions[name] {
				partition := kmsg.NewListOffsetsRequestTopicPartition()
				partition.Partition, partition.Timestamp = p, -1
				t.Partitions = append(t.Partitions, partition)
			}
			r.Topics = append(r.Topics, t)
		}
		response, err := s.fetch(r, 5)
		if err != nil {
			return false, err
		}
		for _, t := range response.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if p.ErrorCode != 0 {
					return false, nil
				}
			}
		}
		all := kmsg.NewPtrMetadataRequest()
		answer, err := s.fetch(all, 12)
		if err != nil {
			return false, err
		}
		for _, t := range answer.(*kmsg.MetadataResponse).Topics {
			s.broker.ids[*t.Topic] = t.TopicID
		}
		return true, nil
	})
}

// until repeats a question until it is answered as hoped for.
func until(ask func() (bool, error)) error {
	for deadline := time.Now().Add(5 * time.Minute); ; {
		done, err := ask()
		if done || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("still not so after five minutes")
		}
	}
}

func (b *Broker) learnLogDir(s *Session) error {
	response, err := s.fetch(kmsg.NewPtrDescribeLogDirsRequest(), 1)
	if err != nil {
		return err
	}
	b.logDir = response.(*kmsg.DescribeLogDirsResponse).Dirs[0].Dir
	return nil
}

// fixedProducer is a producer id that no broker gives: fetched batches must not depend on what was asked before.
const fixedProducer = 123_456_789_012

// firstTimestamp is that of the first record of the fixed topic; the others follow by the second.
const firstTimestamp = 1_700_000_000_000

func batchOf(o record.BuilderOptions, values ...string) []byte {
	builder := record.NewBuilder(o)
	for i, v := range values {
		builder.Append(firstTimestamp+int64(i)*1000, []byte("key"), []byte(v), nil)
	}
	b, err := builder.Build()
	if err != nil {
		panic(err)
	}
	return b
}

func produceRequest(topic string, data []byte) *kmsg.ProduceRequest {
	r := kmsg.NewPtrProduceRequest()
	r.Acks, r.TimeoutMillis = -1, 5000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = data
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

func fillFixedTopic(s *Session) error {
	for _, data := range [][]byte{
		batchOf(record.NoProducer(record.CodecNone), "one", "two", "three"), batchOf(record.NoProducer(record.CodecNone), "four", "five"),
		batchOf(record.BuilderOptions{ProducerID: fixedProducer, ProducerEpoch: 0, BaseSequence: 0}, "six", "seven"),
	} {
		response, err := s.fetch(produceRequest(fixedTopic, data), 7)
		if err != nil {
			return err
		}
		if code := response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
			return fmt.Errorf("produce: %w", kafka.ErrorCode(code))
		}
	}
	return nil
}

// readyCoordinators returns when all shards of both coordinators answer; their topics are made on
// first use.
func readyCoordinators(s *Session) error {
	for i := range 40 {
		if err := ready(fmt.Sprint("ready-", i))(s); err != nil {
			return err
		}
		other := *s
		if err := beginAs(fmt.Sprint("ready-", i))(&other); err != nil {
			return err
		}
		s.conn = other.conn
	}
	return nil
}

func commitFixedGroup(s *Session) error {
	_, err := s.fetch(commitRequest(fixedGroup, fixedTopic, [16]byte{}), 8)
	return err
}

func commitFixedTransaction(s *Session) error {
	for _, step := range []func(*Session) error{beginAs(fixedTxn), addToTxn(fixedTxn, txnTopic), endTxn(fixedTxn, true)} {
		if err := step(s); err != nil {
			return err
		}
	}
	return nil
}
