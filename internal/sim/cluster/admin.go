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
