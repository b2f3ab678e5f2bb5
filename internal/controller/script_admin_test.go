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

// The script commands elect, reassign and features.

func (cl *cluster) number(text string) int64 {
	cl.t.Helper()
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		cl.t.Fatal(err)
	}
	return n
}

func (cl *cluster) elect(out *strings.Builder, lines [][]string, unclean bool) {
	req := kmsg.NewPtrElectLeadersRequest()
	req.Version = 2
	if unclean {
		req.ElectionType = electionTypeUnclean
	}
	for _, fields := range lines {
		topic := kmsg.ElectLeadersRequestTopic{Topic: fields[0]}
		for _, field := range fields[1:] {
			topic.Partitions = append(topic.Partitions, int32(cl.number(field)))
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, records := cl.handle(req)
	for _, topic := range resp.(*kmsg.ElectLeadersResponse).Topics {
		fmt.Fprintf(out, "%s:\n", topic.Topic)
		for _, p := range topic.Partitions {
			fmt.Fprintf(out, "  %d: %s\n", p.Partition, outcome(p.ErrorCode, p.ErrorMessage))
		}
	}
	fmt.Fprintf(out, "%d records\n", len(records))
}

func (cl *cluster) leaderless(topic, partition, isr string) {
	change := metadata.NewPartitionChangeRecord(cl.image.TopicByName(topic).ID, int32(cl.number(partition)))
	change.Leader, change.ISR = kafka.NoLeader, assignment(isr)[0]
	cl.apply([]metadata.Record{change})
}

func (cl *cluster) reassign(out *strings.Builder, lines [][]string, mayChangeFactor bool) {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.Version, req.AllowReplicationFactorChange = 1, mayChangeFactor
	for _, fields := range lines {
		p := kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: int32(cl.number(fields[1]))}
		if fields[2] != "cancel" {
			p.Replicas = assignment(fields[2])[0]
		}
		req.Topics = append(req.Topics, kmsg.AlterPartitionAssignmentsRequestTopic{Topic: fields[0], Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{p}})
	}
	resp, records := cl.handle(req)
	for _, topic := range resp.(*kmsg.AlterPartitionAssignmentsResponse).Topics {
		p := topic.Partitions[0]
		fmt.Fprintf(out, "%s-%d: %s\n", topic.Topic, p.Partition, outcome(p.ErrorCode, p.ErrorMessage))
	}
	fmt.Fprintf(out, "%d records\n", len(records))
}

func (cl *cluster) features(out *strings.Builder, lines [][]string, validate bool) {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.Version, req.ValidateOnly = 2, validate
	for _, fields := range lines {
		u := kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: fields[0], MaxVersionLevel: int16(cl.number(fields[1])), UpgradeType: featureUpgrade}
		if len(fields) > 2 {
			u.UpgradeType = int8(cl.number(fields[2]))
		}
		req.FeatureUpdates = append(req.FeatureUpdates, u)
	}
	resp, records := cl.handle(req)
	r := resp.(*kmsg.UpdateFeaturesResponse)
	fmt.Fprintf(out, "%s\n%d records\n", outcome(r.ErrorCode, r.ErrorMessage), len(records))
}

// ranges reads NAME=MIN-MAX.
func (cl *cluster) ranges(args []datadriven.CmdArg) (features []metadata.SupportedFeature) {
	for _, a := range args {
		lowest, highest, _ := strings.Cut(a.Vals[0], "-")
		features = append(features, metadata.SupportedFeature{Name: a.Key, MinVersion: int16(cl.number(lowest)), MaxVersion: int16(cl.number(highest))})
	}
	return features
}

func (cl *cluster) registerController(out *strings.Builder, id int32, args []datadriven.CmdArg) {
	req := kmsg.NewPtrControllerRegistrationRequest()
	req.ControllerID, req.IncarnationID = id, kafka.UUID{byte(id), 1}
	for _, f := range cl.ranges(args) {
		req.Features = append(req.Features, kmsg.ControllerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.MinVersion, MaxSupportedVersion: f.MaxVersion})
	}
	resp, records := cl.handle(req)
	r := resp.(*kmsg.ControllerRegistrationResponse)
	fmt.Fprintf(out, "%s\n%d records\n", outcome(r.ErrorCode, r.ErrorMessage), len(records))
}

// supports has a registered broker be of another release.
func (cl *cluster) supports(id int32, args []datadriven.CmdArg) {
	b := cl.image.Broker(id)
	r := &metadata.RegisterBrokerRecord{BrokerID: id, BrokerEpoch: b.Epoch, IncarnationID: b.IncarnationID, LogDirs: b.LogDirs, Features: cl.ranges(args)}
	cl.apply([]metadata.Record{r})
}
