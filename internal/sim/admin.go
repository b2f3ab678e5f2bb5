package sim

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

const (
	ordersPartitions = 2
	temporaryTopics  = 3
)

var permanentTopics = []string{"orders", "clicks"}

// lastingTopics are created first and never changed or deleted.
var lastingTopics = []string{kafka.ConsumerOffsetsTopic, kafka.TransactionStateTopic, InputTopic, OutputTopic, tableTopic}

// admin is the client that creates, deletes and changes topics, one request at a time. What
// it was told must be true of every image from then on.
type admin struct {
	w       *World
	conn    *connection
	facts   map[string]*topicFact // by name
	names   []string
	unknown string // the topic of a request whose answer was lost
	// handling is the process that has the last request and has not answered it.
	handling *process
}

// topicFact is what the admin knows of a topic.
type topicFact struct {
	exists     bool
	id         kafka.UUID
	partitions int
	configs    map[string]string
}

func (w *World) addAdmin() {
	a := &admin{w: w, facts: map[string]*topicFact{}}
	a.conn = w.connect("admin", false, func() { w.After(w.Between(20, 300), a.step) })
	w.admin = a
	a.names = slices.Concat(lastingTopics, permanentTopics)
	for i := range temporaryTopics {
		a.names = append(a.names, fmt.Sprintf("temporary-%d", i))
	}
	w.After(0, a.step)
}

func (a *admin) next() { a.w.After(a.w.Between(50, 1500), a.step) }

func (a *admin) step() {
	w := a.w
	if a.conn.inFlight > 0 {
		return
	}
	p := a.conn.node.process
	if p == nil || !p.serving || p.failing || p == a.handling {
		w.After(100, a.step)
		return
	}
	if a.unknown != "" {
		a.learn(p.metadata.image, a.unknown) // as an admin who looks whether it worked
		a.unknown = ""
	}
	for _, name := range a.names[:len(lastingTopics)+len(permanentTopics)] {
		if a.facts[name] == nil || !a.facts[name].exists {
			a.create(name)
			return
		}
	}
	w.addClients()
	if w.healing {
		return
	}
	name := a.names[len(lastingTopics)+w.random.IntN(len(a.names)-len(lastingTopics))]
	fact := a.facts[name]
	permanent := name == permanentTopics[0] || name == permanentTopics[1]
	switch {
	case fact == nil || !fact.exists:
		a.create(name)
	case !permanent && w.OneIn(3):
		a.delete(name)
	case !permanent && w.OneIn(4):
		a.createPartitions(name, fact.partitions+1)
	default:
		a.alter(name)
	}
}

// learn takes over what an image says of a topic.
func (a *admin) learn(image *metadata.Image, name string) {
	fact := &topicFact{configs: map[string]string{}}
	if topic := image.TopicByName(name); topic != nil {
		fact.exists, fact.id, fact.partitions = true, topic.ID, len(topic.Partitions)
		for key, value := range image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: name}) {
			fact.configs[key] = value
		}
	}
	a.facts[name] = fact
}

// audit compares everything the admin was told with an image.
func (a *admin) audit(image *metadata.Image) error {
	for _, name := range a.names {
		fact, topic := a.facts[name], image.TopicByName(name)
		switch {
		case fact == nil || name == a.unknown:
		case fact.exists != (topic != nil):
			return fmt.Errorf("topic %s: existed %v, exists %v", name, fact.exists, topic != nil)
		case topic == nil:
		case topic.ID != fact.id || len(topic.Partitions) != fact.partitions:
			return fmt.Errorf("topic %s has id %s and %d partitions, had id %s and %d", name, topic.ID, len(topic.Partitions), fact.id, fact.partitions)
		default:
			configs := image.Config(kafka.ConfigResource{Type: kafka.ConfigResourceTopic, Name: name})
			if difference := State(fact.configs).Difference(State(configs)); difference != "" {
				return fmt.Errorf("topic %s had and has config %s", name, difference)
			}
		}
	}
	return nil
}

// request sends one request about a topic; told runs, where the answer leaves, if it is no error.
func (a *admin) request(name string, req kmsg.Request, codeOf func(kmsg.Response) int16, told func(p *process, resp kmsg.Response)) {
	w := a.w
	a.unknown = name
	a.conn.send(kmsg.NameForKey(req.Key()), func(p *process, answer func()) {
		a.handling = p
		p.metadata.handle(req, func(resp kmsg.Response, err error) {
			a.handling = nil
			if err == nil {
				err = errorOf(kafka.ErrorCode(codeOf(resp)))
			}
			w.Note("admin %s %s: %v", kmsg.NameForKey(req.Key()), name, err)
			if p.alive() && err == nil {
				told(p, resp)
				a.unknown = ""
			}
			answer()
		})
	}, a.next)
}

func (a *admin) create(name string) {
	w := a.w
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(w.Between(1, 3)), 1
	configs := map[string]string{}
	set := func(key, value string) {
		configs[key] = value
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	set("internal.segment.bytes", strconv.FormatInt(w.Between(1500, 6000), 10))
	set("index.interval.bytes", strconv.FormatInt(w.Between(100, 1000), 10))
	switch name {
	case kafka.ConsumerOffsetsTopic, kafka.TransactionStateTopic:
		topic.NumPartitions = CoordinatorPartitions
	case InputTopic:
		topic.NumPartitions = Copiers
	case tableTopic:
		topic.NumPartitions = 1
		set("cleanup.policy", "compact")
		set("min.cleanable.dirty.ratio", []string{"0.01", "0.5"}[w.random.IntN(2)])
		set("delete.retention.ms", strconv.FormatInt(w.Between(0, 20000), 10))
		set("min.compaction.lag.ms", strconv.FormatInt(w.Between(0, 2000), 10))
	case OutputTopic:
		topic.NumPartitions = OutputPartitions
	case permanentTopics[0], permanentTopics[1]:
		topic.NumPartitions = ordersPartitions
		if w.OneIn(3) {
			set("flush.messages", strconv.FormatInt(w.Between(1, 6), 10))
		}
	}
	if name == kafka.ConsumerOffsetsTopic || name == kafka.TransactionStateTopic {
		set("cleanup.policy", "compact")
		set("min.cleanable.dirty.ratio", "0.3")
		set("delete.retention.ms", strconv.FormatInt(w.Between(0, 20000), 10))
	}
	if w.flushed && slices.Contains(lastingTopics, name) {
		set("flush.messages", "1")
	}
	req.Topics = append(req.Topics, topic)
	a.request(name, req, func(r kmsg.Response) int16 { return r.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode }, func(_ *process, r kmsg.Response) {
		w.stats.TopicsCreated++
		a.facts[name] = &topicFact{true, r.(*kmsg.CreateTopicsResponse).Topics[0].TopicID, int(topic.NumPartitions), configs}
	})
}

func (a *admin) delete(name string) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.SetVersion(6)
	req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &name})
	a.request(name, req, func(r kmsg.Response) int16 { return r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode }, func(*process, kmsg.Response) {
		a.w.stats.TopicsDeleted++
		a.facts[name] = &topicFact{configs: map[string]string{}}
	})
}

func (a *admin) createPartitions(name string, count int) {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Topics = append(req.Topics, kmsg.CreatePartitionsRequestTopic{Topic: name, Count: int32(count)})
	a.request(name, req, func(r kmsg.Response) int16 { return r.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode }, func(*process, kmsg.Response) {
		a.facts[name].partitions = count
	})
}

func (a *admin) alter(name string) {
	w := a.w
	drawn := [][2]string{
		{"retention.bytes", "-1"}, {"retention.bytes", "6000"}, {"retention.bytes", "20000"}, {"retention.ms", "-1"}, {"retention.ms", "30000"},
		{"flush.messages", "9223372036854775807"}, {"flush.messages", "3"}, {"flush.messages", "1"}, {"flush.ms", "200"}, {"flush.ms", "0"}, {"flush.ms", "9223372036854775807"},
		{"message.timestamp.type", "LogAppendTime"}, {"message.timestamp.type", "CreateTime"},
		{"segment.ms", "5000"}, {"segment.ms", "604800000"}, {"file.delete.delay.ms", "1000"}, {"internal.segment.bytes", "2500"}, {"internal.segment.bytes", "5000"},
	}[w.random.IntN(18)]
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeTopic, name
	resource.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: drawn[0], Op: kmsg.IncrementalAlterConfigOpSet, Value: &drawn[1]}}
	req.Resources = append(req.Resources, resource)
	a.request(name, req, func(r kmsg.Response) int16 {
		return r.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode
	}, func(*process, kmsg.Response) { a.facts[name].configs[drawn[0]] = drawn[1] })
}
