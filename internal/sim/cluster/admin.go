package cluster

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// admin is the client that creates topics, and changes the cluster, one request at a time.
type admin struct {
	client
	created int
}

func (w *World) addAdmin() {
	w.admin = &admin{client: newClient(w, "admin")}
	w.after(w.between(0, 50), w.admin.step)
}

// do sends a request for the controller to any node.
func (a *admin) do(req kmsg.Request, done func(kmsg.Response, error)) {
	node := int32(1 + a.w.random.IntN(len(a.w.nodes)))
	a.ask(node, func(p *process, answer func(any)) {
		p.forward.send(req, requestTimeoutMs, func(resp kmsg.Response, err error) {
			if err != nil {
				answer(kafka.CodeOf(err))
				return
			}
			answer(resp)
		})
	}, func(answer any, err error) {
		resp, _ := answer.(kmsg.Response)
		done(resp, err)
	})
}

func (a *admin) step() {
	w := a.w
	if a.created == len(w.plan.topics) {
		w.addClients()
		a.change()
		return
	}
	t := w.plan.topics[a.created]
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = t.name, t.partitions, t.factor
	for _, name := range slices.Sorted(maps.Keys(t.configs)) {
		value := t.configs[name]
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: name, Value: &value})
	}
	req.Topics = append(req.Topics, topic)
	a.do(req, func(resp kmsg.Response, err error) {
		code := kafka.CodeOf(err)
		if r, ok := resp.(*kmsg.CreateTopicsResponse); ok {
			code = kafka.ErrorCode(r.Topics[0].ErrorCode)
		}
		w.note("admin creates %s: %v %v", t.name, code, err)
		if err == nil && (code == kafka.ErrNone || code == kafka.ErrTopicAlreadyExists) {
			a.created++
		}
		w.after(w.between(5, 100), a.step)
	})
}

// temporaryTopic comes and goes.
const temporaryTopic = "temporary"

// change changes something of the cluster, and does so again some time later.
func (a *admin) change() {
	w := a.w
	if w.healing {
		a.settleVoters()
		return
	}
	again := func() { w.after(w.between(50, 1000), a.change) }
	a.refresh(func() {
		if w.plan.changesVoters && w.oneIn(3) {
			a.changeVoters(again)
			return
		}
		switch w.random.IntN(4) {
		case 0:
			a.createOrDelete(again)
		case 1:
			a.reassign(again)
		case 2:
			a.elect(again)
		default:
			again()
		}
	})
}

func (a *admin) createOrDelete(done func()) {
	w := a.w
	name := temporaryTopic
	if t := a.image.TopicByName(name); t != nil {
		req := kmsg.NewPtrDeleteTopicsRequest()
		req.SetVersion(6)
		req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &name})
		a.do(req, func(resp kmsg.Response, err error) {
			if r, ok := resp.(*kmsg.DeleteTopicsResponse); ok && err == nil && r.Topics[0].ErrorCode == 0 {
				w.count["deleted topics"]++
				w.check.deleted[t.ID] = w.latest.Offset
				w.note("admin deletes %s with id %s", name, t.ID)
			}
			done()
		})
		return
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, int32(w.between(1, 2)), 3
	minISR := "2"
	topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "min.insync.replicas", Value: &minISR})
	if flush := "1"; w.plan.flushed {
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: "flush.messages", Value: &flush})
	}
	req.Topics = append(req.Topics, topic)
	a.do(req, func(_ kmsg.Response, err error) {
		w.note("admin creates %s: %v", name, err)
		done()
	})
}

// reassign has a partition lie on other brokers, or its replicas in another order; or gives that up.
func (a *admin) reassign(done func()) {
	w := a.w
	p := a.image.Partition("clicks", 0)
	if p == nil {
		done()
		return
	}
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	topic := kmsg.NewAlterPartitionAssignmentsRequestTopic()
	topic.Topic = "clicks"
	wanted := kmsg.NewAlterPartitionAssignmentsRequestTopicPartition()
	if !p.IsReassigning() || w.oneIn(2) {
		for _, i := range w.random.Perm(len(w.nodes))[:len(p.Replicas)-len(p.AddingReplicas)] {
			wanted.Replicas = append(wanted.Replicas, w.nodes[i].id)
		}
	}
	topic.Partitions = append(topic.Partitions, wanted)
	req.Topics = append(req.Topics, topic)
	a.do(req, func(_ kmsg.Response, err error) {
		w.note("admin reassigns clicks-0 to %v: %v", wanted.Replicas, err)
		if err == nil {
			w.count["reassigned"]++
		}
		done()
	})
}

// elect has the preferred leaders lead; beyond the fault budget any replica.
func (a *admin) elect(done func()) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.SetVersion(req.MaxVersion())
	if a.w.budget.isExceeded {
		req.ElectionType = 1
	}
	a.do(req, func(_ kmsg.Response, err error) {
		if err == nil {
			a.w.count["elections"]++
		}
		done()
	})
}
