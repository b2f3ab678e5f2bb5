package controller

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// The script commands brokers, register and isr, and what they share with other tests.

// supported is what brokers of this release register with.
func supported() (features []kmsg.BrokerRegistrationRequestFeature) {
	for _, f := range Features() {
		features = append(features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.MinLevel, MaxSupportedVersion: f.MaxLevel})
	}
	return features
}

// registration is one of a new incarnation.
type registration struct {
	id       int32
	fenced   bool
	previous int64 // the epoch of which nothing is lost, 0 for none
	rack     *string
}

func registrationOf(r registration, incarnation int64) *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = r.id, "cluster", [16]byte{byte(r.id), byte(incarnation), byte(incarnation >> 8)}
	req.LogDirs, req.Rack, req.Features = [][16]byte{{byte(r.id)}}, r.rack, supported()
	if r.previous != 0 {
		req.PreviousBrokerEpoch = r.previous
	}
	return req
}

// register registers a broker and, unless it is to stay fenced, unfences it.
func (cl *cluster) register(r registration) {
	cl.t.Helper()
	resp, _ := cl.handle(registrationOf(r, cl.image.Offset))
	registered := resp.(*kmsg.BrokerRegistrationResponse)
	if registered.ErrorCode != 0 {
		cl.t.Fatalf("registration: %s", kafka.ErrorCode(registered.ErrorCode))
	}
	if !r.fenced {
		cl.heartbeat(r.id, registered.BrokerEpoch, false, false)
	}
}

func (cl *cluster) addBroker(id int32, fenced bool) {
	cl.t.Helper()
	cl.register(registration{id: id, fenced: fenced})
}

func (cl *cluster) brokers(args []datadriven.CmdArg) {
	var rack *string
	for _, arg := range args {
		if arg.Key == "rack" {
			rack = &arg.Vals[0]
		}
	}
	for _, arg := range args {
		text := arg.Key
		switch arg.Key {
		case "rack":
			continue
		case "fenced":
			text = arg.Vals[0]
		}
		cl.register(registration{id: int32(cl.number(text)), fenced: arg.Key == "fenced", rack: rack})
	}
}

// alterISR has a leader ask for changes of the in-sync replicas.
func (cl *cluster) alterISR(out *strings.Builder, leader int32, stale bool, lines [][]string) {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.Version, req.BrokerID, req.BrokerEpoch = 3, leader, cl.image.Broker(leader).Epoch
	if stale {
		req.BrokerEpoch--
	}
	for _, fields := range lines {
		topic := kmsg.AlterPartitionRequestTopic{TopicID: [16]byte{99}}
		asked := kmsg.AlterPartitionRequestTopicPartition{Partition: int32(cl.number(fields[1]))}
		if p := cl.image.Partition(fields[0], asked.Partition); p != nil {
			asked.LeaderEpoch, asked.PartitionEpoch = p.LeaderEpoch, p.PartitionEpoch
		}
		if t := cl.image.TopicByName(fields[0]); t != nil {
			topic.TopicID = t.ID
		}
		for _, id := range assignment(fields[2])[0] {
			member := kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: kafka.NoBrokerEpoch}
			if b := cl.image.Broker(id); b != nil {
				member.BrokerEpoch = b.Epoch
			}
			asked.NewEpochISR = append(asked.NewEpochISR, member)
		}
		for _, field := range fields[3:] {
			key, value, _ := strings.Cut(field, "=")
			switch key {
			case "leader-epoch":
				asked.LeaderEpoch += int32(cl.number(value))
			case "partition-epoch":
				asked.PartitionEpoch += int32(cl.number(value))
			case "stale":
				for i := range asked.NewEpochISR {
					if strconv.Itoa(int(asked.NewEpochISR[i].BrokerID)) == value {
						asked.NewEpochISR[i].BrokerEpoch--
					}
				}
			case "recovering":
				asked.LeaderRecoveryState = metadata.RecoveringLeader
			case "damaged":
				asked.LeaderRecoveryState = metadata.DamagedReplica
			case "nobody":
				asked.NewEpochISR = nil
			}
		}
		topic.Partitions = append(topic.Partitions, asked)
		req.Topics = append(req.Topics, topic)
	}
	resp, records := cl.handle(req)
	answer := resp.(*kmsg.AlterPartitionResponse)
	if answer.ErrorCode != 0 {
		fmt.Fprintf(out, "%s\n", kafka.ErrorCode(answer.ErrorCode))
	}
	for i, topic := range answer.Topics {
		p := topic.Partitions[0]
		fmt.Fprintf(out, "%s-%d: %s", lines[i][0], p.Partition, kafka.ErrorCode(p.ErrorCode))
		if p.ErrorCode == 0 {
			fmt.Fprintf(out, " leader %d epoch %d isr %v partition epoch %d", p.LeaderID, p.LeaderEpoch, p.ISR, p.PartitionEpoch)
		}
		out.WriteString("\n")
	}
	fmt.Fprintf(out, "%d records\n", len(records))
}

// unusual is what a partition in good order has not.
func unusual(p *metadata.Partition) string {
	var out strings.Builder
	for _, list := range []struct {
		name string
		ids  []int32
	}{{"elr", p.ELR}, {"last", p.LastKnownELR}, {"adding", p.AddingReplicas}, {"removing", p.RemovingReplicas}} {
		if len(list.ids) > 0 {
			fmt.Fprintf(&out, " %s %v", list.name, list.ids)
		}
	}
	if p.LeaderRecoveryState != metadata.RecoveredLeader {
		out.WriteString(" recovering")
	}
	return out.String()
}
