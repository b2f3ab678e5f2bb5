package controller

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// cluster is a controller with an image that each request's records are applied to at once.
type cluster struct {
	t      *testing.T
	c      *Controller
	image  *metadata.Image
	random env.Random
	permit func(partitions int) error
	// sessions are those of the brokers, nil for none.
	sessions *Sessions
	voters   []int32
}

func newCluster(t *testing.T, properties map[string]string) *cluster {
	return newClusterAt(t, properties, nil)
}

// newClusterAt is newCluster with the levels of features that the cluster begins with.
func newClusterAt(t *testing.T, properties map[string]string, formatted map[string]int16) *cluster {
	t.Helper()
	broker, _, err := config.NewBroker(properties)
	if err != nil {
		t.Fatal(err)
	}
	cl := &cluster{t: t, image: metadata.EmptyImage(), random: env.NewSeededRandom(7),
		c: New(Options{ClusterID: "cluster", Features: Features(), Formatted: formatted, NodeID: 1, Broker: broker})}
	cl.apply(cl.c.Bootstrap(Input{Image: cl.image}))
	return cl
}

func (cl *cluster) apply(records []metadata.Record) {
	cl.t.Helper()
	delta := metadata.NewDelta(cl.image)
	for _, r := range records {
		decoded, err := metadata.Decode(metadata.EncodeAt(r, delta.MetadataVersion()))
		if err == nil && !bytes.Equal(metadata.Encode(decoded), metadata.Encode(r)) {
			err = fmt.Errorf("at metadata.version %d %+v is read as %+v", delta.MetadataVersion(), r, decoded)
		}
		if err == nil {
			err = delta.Replay(decoded)
		}
		if err != nil {
			cl.t.Fatal(err)
		}
	}
	cl.image = delta.Apply(cl.image.Offset+int64(len(records)), 1)
}

func (cl *cluster) handle(req kmsg.Request) (kmsg.Response, []metadata.Record) {
	cl.t.Helper()
	result, err := cl.c.Handle(Input{Image: cl.image, NextOffset: cl.image.Offset + 1, Random: cl.random, Permit: cl.permit, Sessions: cl.sessions, Voters: cl.voters}, req)
	if err != nil {
		cl.t.Fatal(err)
	}
	cl.apply(result.Records)
	return result.Response, result.Records
}

func (cl *cluster) heartbeat(id int32, epoch int64, wantFence, wantShutdown bool) *kmsg.BrokerHeartbeatResponse {
	cl.t.Helper()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = id, epoch, cl.image.Offset
	req.WantFence, req.WantShutdown = wantFence, wantShutdown
	resp, _ := cl.handle(req)
	return resp.(*kmsg.BrokerHeartbeatResponse)
}

// TestScripts runs testdata/scripts. Each line of input is one topic or resource:
//
//	brokers 1 2 fenced=3 (registers) [rack=NAME] · fence ID · shutdown ID · unregister ID
//	register ID [clean] [fenced] (anew; clean proves that nothing is lost)
//	isr LEADER: NAME PARTITION ISR [leader-epoch=±N] [partition-epoch=±N] [stale=ID] [recovering] · isr LEADER stale
//	create [validate]: NAME [partitions=N] [rf=N] [assign=1,2;2,1] [CONFIG=VALUE …]
//	delete: NAME or id:NAME (its id) · partitions [validate]: NAME COUNT [assign=…]
//	alter [validate] | replace [validate]: topic:NAME or broker:NAME, then K=V, -K, K+=V or K-=V
//	producer-ids BROKER · describe
//	elect [unclean]: NAME PARTITION … (no lines: all partitions) · balance · elect-unclean · grow (what is due by time)
//	reassign [same-factor]: NAME PARTITION 1,2,3 (or cancel)
//	leaderless NAME PARTITION ISR (as after the loss of its leader)
//	quota [validate]: @TYPE=NAME (or <default>) …, KEY=VALUE and -KEY · permits N (the client's quota of partitions)
//	features [validate]: NAME LEVEL [TYPE] · bootstrap (as at the next start) · format NAME=LEVEL … (a cluster that begins so)
//	voters 1 2 3 · controller ID NAME=MIN-MAX … (registers) · supports ID NAME=MIN-MAX … (of a registered broker)
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		cl := newCluster(t, map[string]string{"num.partitions": "2"})
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			cl.t = t
			return cl.run(d)
		})
	})
}

func (cl *cluster) run(d *datadriven.TestData) string {
	var lines [][]string
	for line := range strings.Lines(d.Input) {
		lines = append(lines, strings.Fields(line))
	}
	validate := d.HasArg("validate")
	epoch := func(id int64) int64 { return cl.image.Broker(int32(id)).Epoch }
	argument := func() int64 {
		n, err := strconv.ParseInt(d.CmdArgs[0].Key, 10, 32)
		if err != nil {
			cl.t.Fatal(err)
		}
		return n
	}
	var out strings.Builder
	switch d.Cmd {
	case "brokers":
		cl.brokers(d.CmdArgs)
	case "register":
		r := registration{id: int32(argument()), fenced: d.HasArg("fenced")}
		if b := cl.image.Broker(r.id); b != nil && d.HasArg("clean") {
			r.previous = b.Epoch
		}
		cl.register(r)
	case "isr":
		cl.alterISR(&out, int32(argument()), d.HasArg("stale"), lines)
	case "balance":
		records, more := cl.c.BalanceLeaders(Input{Image: cl.image})
		cl.apply(records)
		fmt.Fprintf(&out, "%d records, more %v\n", len(records), more)
	case "grow":
		cl.apply(cl.c.GrowInternalTopics(Input{Image: cl.image, Random: cl.random}))
	case "elect-unclean":
		records, more := cl.c.ElectUncleanLeaders(Input{Image: cl.image})
		cl.apply(records)
		fmt.Fprintf(&out, "%d records, more %v\n", len(records), more)
	case "fence", "shutdown":
		r := cl.heartbeat(int32(argument()), epoch(argument()), d.Cmd == "fence", d.Cmd == "shutdown")
		fmt.Fprintf(&out, "fenced %v, shut down %v\n", r.IsFenced, r.ShouldShutdown)
	case "unregister":
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = int32(argument())
		resp, records := cl.handle(req)
		r := resp.(*kmsg.UnregisterBrokerResponse)
		fmt.Fprintf(&out, "%s\n%d records\n", outcome(r.ErrorCode, r.ErrorMessage), len(records))
	case "create":
		cl.create(&out, lines, validate)
	case "delete":
		cl.delete(&out, lines)
	case "partitions":
		cl.partitions(&out, lines, validate)
	case "alter":
		cl.alter(&out, lines, validate)
	case "replace":
		cl.replace(&out, lines, validate)
	case "producer-ids":
		req := kmsg.NewPtrAllocateProducerIDsRequest()
		req.BrokerID = int32(argument())
		req.BrokerEpoch = -1
		if b := cl.image.Broker(req.BrokerID); b != nil {
			req.BrokerEpoch = b.Epoch
		}
		resp, _ := cl.handle(req)
		r := resp.(*kmsg.AllocateProducerIDsResponse)
		fmt.Fprintf(&out, "%s %d+%d\n", kafka.ErrorCode(r.ErrorCode), r.ProducerIDStart, r.ProducerIDLen)
	case "elect":
		cl.elect(&out, lines, d.HasArg("unclean"))
	case "leaderless":
		cl.leaderless(d.CmdArgs[0].Key, d.CmdArgs[1].Key, d.CmdArgs[2].Key)
	case "reassign":
		cl.reassign(&out, lines, !d.HasArg("same-factor"))
	case "features":
		cl.features(&out, lines, validate)
	case "quota":
		cl.quota(&out, lines, validate)
	case "permits":
		cl.permits(int(argument()))
	case "format":
		levels := map[string]int16{}
		for _, a := range d.CmdArgs {
			levels[a.Key] = int16(cl.number(a.Vals[0]))
		}
		*cl = *newClusterAt(cl.t, map[string]string{"num.partitions": "2"}, levels)
	case "voters":
		cl.voters = nil
		for _, a := range d.CmdArgs {
			cl.voters = append(cl.voters, int32(cl.number(a.Key)))
		}
	case "controller":
		cl.registerController(&out, int32(argument()), d.CmdArgs[1:])
	case "supports":
		cl.supports(int32(argument()), d.CmdArgs[1:])
	case "bootstrap":
		cl.apply(cl.c.Bootstrap(Input{Image: cl.image}))
	case "describe":
		cl.describe(&out)
	default:
		cl.t.Fatalf("unknown command %s", d.Cmd)
	}
	return out.String()
}

func assignment(value string) [][]int32 {
	var all [][]int32
	for partition := range strings.SplitSeq(value, ";") {
		replicas := []int32{}
		for id := range strings.SplitSeq(partition, ",") {
			if n, err := strconv.Atoi(id); err == nil {
				replicas = append(replicas, int32(n))
			}
		}
		all = append(all, replicas)
	}
	return all
}

func outcome(code int16, message *string) string {
	if message == nil {
		return kafka.ErrorCode(code).Error()
	}
	return kafka.ErrorCode(code).Error() + ": " + *message
}

func (cl *cluster) create(out *strings.Builder, lines [][]string, validate bool) {
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.ValidateOnly = 7, validate
	for _, fields := range lines {
		topic := kmsg.CreateTopicsRequestTopic{Topic: fields[0], NumPartitions: -1, ReplicationFactor: -1}
		for _, field := range fields[1:] {
			key, value, hasValue := strings.Cut(field, "=")
			n, _ := strconv.Atoi(value)
			switch key {
			case "partitions":
				topic.NumPartitions = int32(n)
			case "rf":
				topic.ReplicationFactor = int16(n)
			case "assign":
				for i, replicas := range assignment(value) {
					topic.ReplicaAssignment = append(topic.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: replicas})
				}
			case "shifted":
				topic.ReplicaAssignment[n].Partition += 5
			default:
				c := kmsg.CreateTopicsRequestTopicConfig{Name: key}
				if hasValue {
					c.Value = &value
				}
				topic.Configs = append(topic.Configs, c)
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, _ := cl.handle(req)
	for _, topic := range resp.(*kmsg.CreateTopicsResponse).Topics {
		fmt.Fprintf(out, "%s: %s", topic.Topic, outcome(topic.ErrorCode, topic.ErrorMessage))
		if topic.ErrorCode == 0 {
			fmt.Fprintf(out, " partitions %d rf %d configs %d", topic.NumPartitions, topic.ReplicationFactor, len(topic.Configs))
			for _, c := range topic.Configs {
				if c.Source == int8(kafka.ConfigSourceDynamicTopic) {
					fmt.Fprintf(out, " %s=%s", c.Name, *c.Value)
				}
			}
		}
		out.WriteString("\n")
	}
}

func (cl *cluster) delete(out *strings.Builder, lines [][]string) {
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version = 6
	for _, fields := range lines {
		var topic kmsg.DeleteTopicsRequestTopic
		for _, field := range fields {
			if name, byID := strings.CutPrefix(field, "id:"); !byID {
				topic.Topic = &name
			} else if topic.TopicID = [16]byte{99}; cl.image.TopicByName(name) != nil {
				topic.TopicID = cl.image.TopicByName(name).ID
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, _ := cl.handle(req)
	for _, topic := range resp.(*kmsg.DeleteTopicsResponse).Topics {
		name := "null"
		if topic.Topic != nil {
			name = *topic.Topic
		}
		fmt.Fprintf(out, "%s: %s\n", name, outcome(topic.ErrorCode, topic.ErrorMessage))
	}
}

func (cl *cluster) partitions(out *strings.Builder, lines [][]string, validate bool) {
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Version, req.ValidateOnly = 3, validate
	for _, fields := range lines {
		count, _ := strconv.Atoi(fields[1])
		topic := kmsg.CreatePartitionsRequestTopic{Topic: fields[0], Count: int32(count)}
		if len(fields) > 2 {
			for _, replicas := range assignment(strings.TrimPrefix(fields[2], "assign=")) {
				topic.Assignment = append(topic.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: replicas})
			}
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, _ := cl.handle(req)
	for _, topic := range resp.(*kmsg.CreatePartitionsResponse).Topics {
		fmt.Fprintf(out, "%s: %s\n", topic.Topic, outcome(topic.ErrorCode, topic.ErrorMessage))
	}
}

func resource(field string) (kmsg.ConfigResourceType, string) {
	kind, name, _ := strings.Cut(field, ":")
	types := map[string]kmsg.ConfigResourceType{"topic": kmsg.ConfigResourceTypeTopic, "broker": kmsg.ConfigResourceTypeBroker, "logger": kmsg.ConfigResourceTypeBrokerLogger,
		"group": kmsg.ConfigResourceTypeGroupConfig, "client-metrics": kmsg.ConfigResourceTypeClientMetrics}
	return types[kind], name
}

func (cl *cluster) alter(out *strings.Builder, lines [][]string, validate bool) {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Version, req.ValidateOnly = 1, validate
	for _, fields := range lines {
		var r kmsg.IncrementalAlterConfigsRequestResource
		r.ResourceType, r.ResourceName = resource(fields[0])
		for _, field := range fields[1:] {
			key, value, hasValue := strings.Cut(field, "=")
			c := kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: key}
			switch {
			case strings.HasPrefix(key, "-"):
				c.Name, c.Op = key[1:], kmsg.IncrementalAlterConfigOpDelete
			case strings.HasSuffix(key, "+"):
				c.Name, c.Op = key[:len(key)-1], kmsg.IncrementalAlterConfigOpAppend
			case strings.HasSuffix(key, "-"):
				c.Name, c.Op = key[:len(key)-1], kmsg.IncrementalAlterConfigOpSubtract
			case strings.HasSuffix(key, "?"):
				c.Name, c.Op = key[:len(key)-1], 9
			}
			if hasValue {
				c.Value = &value
			}
			r.Configs = append(r.Configs, c)
		}
		req.Resources = append(req.Resources, r)
	}
	resp, records := cl.handle(req)
	for _, r := range resp.(*kmsg.IncrementalAlterConfigsResponse).Resources {
		fmt.Fprintf(out, "%d:%s: %s\n", r.ResourceType, r.ResourceName, outcome(r.ErrorCode, r.ErrorMessage))
	}
	fmt.Fprintf(out, "%d records\n", len(records))
}

func (cl *cluster) replace(out *strings.Builder, lines [][]string, validate bool) {
	req := kmsg.NewPtrAlterConfigsRequest()
	req.Version, req.ValidateOnly = 2, validate
	for _, fields := range lines {
		var r kmsg.AlterConfigsRequestResource
		r.ResourceType, r.ResourceName = resource(fields[0])
		for _, field := range fields[1:] {
			key, value, _ := strings.Cut(field, "=")
			r.Configs = append(r.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: key, Value: &value})
		}
		req.Resources = append(req.Resources, r)
	}
	resp, records := cl.handle(req)
	for _, r := range resp.(*kmsg.AlterConfigsResponse).Resources {
		fmt.Fprintf(out, "%d:%s: %s\n", r.ResourceType, r.ResourceName, outcome(r.ErrorCode, r.ErrorMessage))
	}
	fmt.Fprintf(out, "%d records\n", len(records))
}

func (cl *cluster) describe(out *strings.Builder) {
	for name, level := range cl.image.Features() {
		fmt.Fprintf(out, "feature %s=%d\n", name, level)
	}
	for b := range cl.image.Brokers() {
		fmt.Fprintf(out, "broker %d epoch %d fenced %v shutdown %v\n", b.ID, b.Epoch, b.Fenced, b.InControlledShutdown)
	}
	for topic := range cl.image.Topics() {
		for _, p := range topic.Partitions {
			fmt.Fprintf(out, "%s-%d leader %d epoch %d replicas %v isr %v%s\n", topic.Name, p.ID, p.Leader, p.LeaderEpoch, p.Replicas, p.ISR, unusual(p))
		}
	}
	for r := range cl.image.ConfigResources() {
		values := cl.image.Config(r)
		for _, name := range slices.Sorted(maps.Keys(values)) {
			fmt.Fprintf(out, "config %d:%s %s=%s\n", r.Type, r.Name, name, values[name])
		}
	}
	cl.describeQuotas(out)
}
