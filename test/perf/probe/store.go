package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// store holds the topics' files.
type store struct {
	dir       string
	addr      *net.TCPAddr
	cluster   *cluster // nil for a probe alone
	producers atomic.Int64
	mu        sync.RWMutex // guards topics
	topics    map[string][]*partition
	waiting   atomic.Pointer[chan struct{}] // closed at the next append; nil while nobody waits
}

// partition is one file.
type partition struct {
	mu         sync.Mutex
	file       *os.File
	end, bytes int64
	batches    []located
}

// located says where the batch with a base offset begins.
type located struct{ offset, at int64 }

func newStore(dir string, addr *net.TCPAddr, peers *cluster) *store {
	return &store{dir: dir, addr: addr, cluster: peers, topics: map[string][]*partition{}}
}

func (s *store) partition(topic []byte, index int32) *partition {
	s.mu.RLock()
	defer s.mu.RUnlock()
	partitions := s.topics[string(topic)]
	if int(index) >= len(partitions) || index < 0 {
		return nil
	}
	return partitions[index]
}

// waitable returns a channel that is closed at the next append.
func (s *store) waitable() <-chan struct{} {
	for {
		if c := s.waiting.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		if s.waiting.CompareAndSwap(nil, &c) {
			return c
		}
	}
}

func (s *store) appended() {
	if c := s.waiting.Swap(nil); c != nil {
		close(*c)
	}
}

// control answers everything but produce and fetch.
func (s *store) control(request kmsg.Request) (kmsg.Response, error) {
	switch r := request.(type) {
	case *kmsg.ApiVersionsRequest:
		return apiVersions(), nil
	case *kmsg.MetadataRequest:
		return s.metadata(r), nil
	case *kmsg.CreateTopicsRequest:
		return s.create(r)
	case *kmsg.DeleteTopicsRequest:
		return s.delete(r), nil
	case *kmsg.InitProducerIDRequest:
		response := r.ResponseKind().(*kmsg.InitProducerIDResponse)
		response.ProducerID = s.producers.Add(1)
		return response, nil
	case *kmsg.ListOffsetsRequest:
		return s.listOffsets(r), nil
	}
	return nil, fmt.Errorf("the probe does not answer %s", kmsg.NameForKey(request.Key()))
}

func apiVersions() kmsg.Response {
	response := kmsg.NewPtrApiVersionsResponse()
	for _, v := range [][3]int16{
		{int16(kmsg.Produce), minProduceVersion, maxProduceVersion}, {int16(kmsg.Fetch), fetchVersion, fetchVersion},
		{int16(kmsg.ListOffsets), 1, 5}, {int16(kmsg.Metadata), 0, 9}, {int16(kmsg.ApiVersions), 0, 3},
		{int16(kmsg.CreateTopics), 2, 5}, {int16(kmsg.DeleteTopics), 1, 5}, {int16(kmsg.InitProducerID), 0, 4},
	} {
		key := kmsg.NewApiVersionsResponseApiKey()
		key.ApiKey, key.MinVersion, key.MaxVersion = v[0], v[1], v[2]
		response.ApiKeys = append(response.ApiKeys, key)
	}
	return response
}

func (s *store) metadata(request *kmsg.MetadataRequest) kmsg.Response {
	response := request.ResponseKind().(*kmsg.MetadataResponse)
	response.Brokers, response.ControllerID, response.ClusterID = s.brokers(), 1, kmsg.StringPtr("probe")
	var replicas []int32
	for _, b := range response.Brokers {
		replicas = append(replicas, b.NodeID)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range request.Topics {
		t := kmsg.NewMetadataResponseTopic()
		t.Topic = request.Topics[i].Topic
		partitions, ok := s.topics[*t.Topic]
		if !ok {
			t.ErrorCode = 3 // UNKNOWN_TOPIC_OR_PARTITION
		}
		for index := range partitions {
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Partition, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR = int32(index), s.cluster.leader(index), 0, replicas, replicas
			t.Partitions = append(t.Partitions, p)
		}
		response.Topics = append(response.Topics, t)
	}
	return response
}

func (s *store) brokers() (all []kmsg.MetadataResponseBroker) {
	addrs := []string{s.addr.String()}
	if s.cluster != nil {
		addrs = s.cluster.addrs
	}
	for i, addr := range addrs {
		host, port, _ := strings.Cut(addr, ":")
		number, _ := strconv.Atoi(port)
		broker := kmsg.NewMetadataResponseBroker()
		broker.NodeID, broker.Host, broker.Port = int32(i)+1, host, int32(number)
		all = append(all, broker)
	}
	return all
}

func (s *store) create(request *kmsg.CreateTopicsRequest) (kmsg.Response, error) {
	response := request.ResponseKind().(*kmsg.CreateTopicsResponse)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range request.Topics {
		t := &request.Topics[i]
		partitions := make([]*partition, max(1, t.NumPartitions))
		for index := range partitions {
			file, err := os.Create(filepath.Join(s.dir, fmt.Sprintf("%s-%d", t.Topic, index)))
			if err != nil {
				return nil, err
			}
			partitions[index] = &partition{file: file}
		}
		s.topics[t.Topic] = partitions
		answer := kmsg.NewCreateTopicsResponseTopic()
		answer.Topic, answer.NumPartitions, answer.ReplicationFactor = t.Topic, int32(len(partitions)), 1
		response.Topics = append(response.Topics, answer)
	}
	return response, nil
}

func (s *store) delete(request *kmsg.DeleteTopicsRequest) kmsg.Response {
	response := request.ResponseKind().(*kmsg.DeleteTopicsResponse)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range request.TopicNames {
		for _, p := range s.topics[name] {
			_ = os.Remove(p.file.Name())
			_ = p.file.Close()
		}
		delete(s.topics, name)
		answer := kmsg.NewDeleteTopicsResponseTopic()
		answer.Topic = kmsg.StringPtr(name)
		response.Topics = append(response.Topics, answer)
	}
	return response
}

func (s *store) listOffsets(request *kmsg.ListOffsetsRequest) kmsg.Response {
	response := request.ResponseKind().(*kmsg.ListOffsetsResponse)
	for i := range request.Topics {
		t := &request.Topics[i]
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = t.Topic
		for j := range t.Partitions {
			answer := kmsg.NewListOffsetsResponseTopicPartition()
			answer.Partition, answer.LeaderEpoch, answer.Offset = t.Partitions[j].Partition, 0, 0
			if p := s.partition([]byte(t.Topic), answer.Partition); p == nil {
				answer.ErrorCode = 3
			} else if t.Partitions[j].Timestamp != -2 { // the earliest is 0
				p.mu.Lock()
				answer.Offset = p.end
				p.mu.Unlock()
			}
			topic.Partitions = append(topic.Partitions, answer)
		}
		response.Topics = append(response.Topics, topic)
	}
	return response
}
