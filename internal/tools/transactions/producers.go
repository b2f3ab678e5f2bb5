package transactions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// producer is a producer as a partition knows it.
type producer = kmsg.DescribeProducersResponseTopicPartitionActiveProducer

// anyBroker stands for the leader of each partition.
const anyBroker int32 = -1

// brokerArgument is the broker that the user wants to be asked.
func (c *command) brokerArgument() int32 {
	if id, ok := c.Number("--broker-id"); ok {
		return int32(id)
	}
	return anyBroker
}

// partitionArguments is the partition that the user names.
func (c *command) partitionArguments() kafka.TopicPartition {
	partition, _ := c.Number("--partition")
	return kafka.TopicPartition{Topic: c.Value("--topic"), Partition: int32(partition)}
}

// byLeader groups partitions by their leaders; those without one at the moment are left out.
func (c *command) byLeader(ctx context.Context, partitions []kafka.TopicPartition, call string) (map[int32][]kafka.TopicPartition, error) {
	var names []string
	for _, tp := range partitions {
		names = append(names, tp.Topic)
	}
	slices.Sort(names)
	cluster, err := c.admin.Metadata(ctx, slices.Compact(names), call)
	if client.Code(err) == kafka.ErrInvalidTopicException {
		tp := partitions[0]
		err = &client.Error{Code: kafka.ErrInvalidTopicException, Message: fmt.Sprintf("Failed to fetch metadata for partition %s due to invalid topic `%s`", tp, tp.Topic)}
	}
	if err != nil {
		return nil, err
	}
	grouped := map[int32][]kafka.TopicPartition{}
	for _, tp := range partitions {
		topic, ok := cluster.Find(tp.Topic)
		if !ok {
			continue
		}
		i := slices.IndexFunc(topic.Partitions, func(p client.Partition) bool { return p.Index == tp.Partition && p.Leader >= 0 })
		if i >= 0 {
			grouped[topic.Partitions[i].Leader] = append(grouped[topic.Partitions[i].Leader], tp)
		}
	}
	return grouped, nil
}

// atBroker gives all partitions to one broker, as soon as it is in the cluster.
func (c *command) atBroker(ctx context.Context, partitions []kafka.TopicPartition, id int32, call string) (map[int32][]kafka.TopicPartition, error) {
	cluster, err := c.admin.Metadata(ctx, []string{}, call)
	if err != nil || !slices.ContainsFunc(cluster.Brokers, func(b kmsg.MetadataResponseBroker) bool { return b.NodeID == id }) {
		return nil, err
	}
	return map[int32][]kafka.TopicPartition{id: partitions}, nil
}

// producersOf asks a broker, or the leaders, for the producers of partitions.
func (c *command) producersOf(ctx context.Context, partitions []kafka.TopicPartition, broker int32) (map[kafka.TopicPartition][]producer, error) {
	call, lookUp := "describeProducers(api=METADATA)", c.byLeader
	if broker != anyBroker {
		call = "describeProducers(api=DESCRIBE_PRODUCERS)"
		lookUp = func(ctx context.Context, pending []kafka.TopicPartition, call string) (map[int32][]kafka.TopicPartition, error) {
			return c.atBroker(ctx, pending, broker, call)
		}
	}
	if err := c.admin.Connect(ctx, call); err != nil {
		return nil, err
	}
	found := map[kafka.TopicPartition][]producer{}
	pending := slices.Clone(partitions)
	err := c.retried(ctx, call, func(ctx context.Context) (bool, error) {
		grouped, err := lookUp(ctx, pending, call)
		if err != nil {
			return false, err
		}
		for _, target := range slices.Sorted(maps.Keys(grouped)) {
			if err := c.askProducers(ctx, target, broker, grouped[target], found); err != nil {
				return false, err
			}
		}
		pending = slices.DeleteFunc(pending, func(tp kafka.TopicPartition) bool { return found[tp] != nil })
		return len(pending) > 0, nil
	})
	return found, err
}

// askProducers puts what target answers into found; partitions that are to be asked for again stay
// away.
func (c *command) askProducers(ctx context.Context, target, broker int32, partitions []kafka.TopicPartition, found map[kafka.TopicPartition][]producer) error {
	req := kmsg.NewPtrDescribeProducersRequest()
	for _, tp := range partitions {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != tp.Topic {
			req.Topics = append(req.Topics, kmsg.DescribeProducersRequestTopic{Topic: tp.Topic})
		}
		last := &req.Topics[len(req.Topics)-1]
		last.Partitions = append(last.Partitions, tp.Partition)
	}
	answer, err := c.admin.Broker(int(target)).RetriableRequest(ctx, req)
	if err != nil {
		return err
	}
	resp, ok := answer.(*kmsg.DescribeProducersResponse)
	if !ok {
		return fmt.Errorf("broker %d answered something else than producers", target)
	}
	for _, topic := range resp.Topics {
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			tp := kafka.TopicPartition{Topic: topic.Topic, Partition: p.Partition}
			switch again, err := producersError(tp, broker, p); {
			case err != nil:
				return err
			case !again:
				found[tp] = append([]producer{}, p.ActiveProducers...)
			}
		}
	}
	return nil
}

func producersError(tp kafka.TopicPartition, broker int32, p *kmsg.DescribeProducersResponseTopicPartition) (again bool, err error) {
	message := ""
	switch code := kafka.ErrorCode(p.ErrorCode); {
	case code == kafka.ErrNone:
		return false, nil
	case code == kafka.ErrUnknownTopicOrPartition, code == kafka.ErrNotLeaderOrFollower && broker == anyBroker:
		return true, nil
	case code == kafka.ErrNotLeaderOrFollower:
		message = fmt.Sprintf("Failed to describe active producers for partition %s on brokerId %d", tp, broker)
	case code == kafka.ErrTopicAuthorizationFailed:
		message = fmt.Sprintf("Failed to describe active producers for partition %s due to authorization failure on topic `%s`", tp, tp.Topic)
	case code == kafka.ErrInvalidTopicException:
		message = fmt.Sprintf("Failed to fetch metadata for partition %s due to invalid topic error: %v", tp, client.FromCode(p.ErrorCode, p.ErrorMessage))
	default:
		message = fmt.Sprintf("Failed to describe active producers for partition %s due to unexpected error", tp)
	}
	return false, &client.Error{Code: kafka.ErrorCode(p.ErrorCode), Message: message}
}

func (c *command) describeProducers(ctx context.Context) error {
	tp, broker := c.partitionArguments(), c.brokerArgument()
	found, err := c.producersOf(ctx, []kafka.TopicPartition{tp}, broker)
	if err != nil {
		where := "leader"
		if broker != anyBroker {
			where = "broker " + text(broker)
		}
		return c.fail(fmt.Sprintf("Failed to describe producers for partition %s on %s", tp, where), err)
	}
	var rows [][]string
	for _, p := range found[tp] {
		rows = append(rows, []string{text(p.ProducerID), text(p.ProducerEpoch), text(max(p.CoordinatorEpoch, -1)), text(p.LastSequence), text(p.LastTimestamp), orNone(p.CurrentTxnStartOffset)})
	}
	c.streams.Table([]string{"ProducerId", "ProducerEpoch", "LatestCoordinatorEpoch", "LastSequence", "LastTimestamp", "CurrentTransactionStartOffset"}, rows)
	return nil
}

// abortSpec names the transaction that is to be aborted.
type abortSpec struct {
	tp               kafka.TopicPartition
	producerID       int64
	producerEpoch    int16
	coordinatorEpoch int32
}

func (a abortSpec) String() string {
	return fmt.Sprintf("AbortTransactionSpec(topicPartition=%s, producerId=%d, producerEpoch=%d, coordinatorEpoch=%d)", a.tp, a.producerID, a.producerEpoch, a.coordinatorEpoch)
}

// abort writes an abort marker into the partition, past the transaction's coordinator.
func (c *command) abort(ctx context.Context) error {
	spec := abortSpec{tp: c.partitionArguments()}
	if startOffset, ok := c.Number("--start-offset"); ok {
		found, err := c.producersOf(ctx, []kafka.TopicPartition{spec.tp}, anyBroker)
		if err != nil {
			return c.fail("Failed to validate producer state for partition "+spec.tp.String(), err)
		}
		all := found[spec.tp]
		i := slices.IndexFunc(all, func(p producer) bool { return p.CurrentTxnStartOffset >= 0 && p.CurrentTxnStartOffset == startOffset })
		if i < 0 {
			c.streams.Errorln(fmt.Sprintf("Could not find any open transactions starting at offset %d on partition %s", startOffset, spec.tp))
			return cli.Failed
		}
		spec.producerID, spec.producerEpoch, spec.coordinatorEpoch = all[i].ProducerID, int16(all[i].ProducerEpoch), all[i].CoordinatorEpoch
	} else {
		epoch, _ := c.Number("--producer-epoch")
		coordinatorEpoch, _ := c.Number("--coordinator-epoch")
		spec.producerID, _ = c.Number("--producer-id")
		spec.producerEpoch, spec.coordinatorEpoch = int16(epoch), int32(coordinatorEpoch)
	}
	// A producer whose first transaction hangs has not met a coordinator here yet; no epoch is
	// below 0.
	spec.coordinatorEpoch = max(spec.coordinatorEpoch, 0)
	if err := c.writeAbortMarker(ctx, spec); err != nil {
		return c.fail("Failed to abort transaction "+spec.String(), err)
	}
	return nil
}

func (c *command) writeAbortMarker(ctx context.Context, spec abortSpec) error {
	const call = "abortTransaction(api=METADATA)"
	if err := c.admin.Connect(ctx, call); err != nil {
		return err
	}
	return c.retried(ctx, call, func(ctx context.Context) (bool, error) {
		grouped, err := c.byLeader(ctx, []kafka.TopicPartition{spec.tp}, call)
		if err != nil || len(grouped) == 0 {
			return err == nil, err
		}
		leader := slices.Sorted(maps.Keys(grouped))[0]
		// Transaction version 0: the epoch of a marker that a tool writes is the transaction's own.
		req := kmsg.NewPtrWriteTxnMarkersRequest()
		req.Markers = []kmsg.WriteTxnMarkersRequestMarker{{
			ProducerID: spec.producerID, ProducerEpoch: spec.producerEpoch, CoordinatorEpoch: spec.coordinatorEpoch,
			Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: spec.tp.Topic, Partitions: []int32{spec.tp.Partition}}},
		}}
		answer, err := c.admin.Broker(int(leader)).RetriableRequest(ctx, req)
		if err != nil {
			return false, err
		}
		code, err := markerCode(answer)
		if err != nil {
			return false, err
		}
		return markerError(spec, code)
	})
}

func markerCode(answer kmsg.Response) (kafka.ErrorCode, error) {
	resp, ok := answer.(*kmsg.WriteTxnMarkersResponse)
	if !ok || len(resp.Markers) != 1 || len(resp.Markers[0].Topics) != 1 || len(resp.Markers[0].Topics[0].Partitions) != 1 {
		return 0, errors.New("WriteTxnMarkers response included unexpected marker entries") //nolint:staticcheck // the words of Kafka's tools
	}
	return kafka.ErrorCode(resp.Markers[0].Topics[0].Partitions[0].ErrorCode), nil
}

func markerError(spec abortSpec, code kafka.ErrorCode) (again bool, err error) {
	what := "WriteTxnMarkers request with " + spec.String() + " failed "
	switch code {
	case kafka.ErrNone:
		return false, nil
	case kafka.ErrNotLeaderOrFollower, kafka.ErrReplicaNotAvailable, kafka.ErrBrokerNotAvailable, kafka.ErrUnknownTopicOrPartition:
		return true, nil
	case kafka.ErrClusterAuthorizationFailed:
		what += "due to cluster authorization error"
	case kafka.ErrInvalidProducerEpoch:
		what += "due an invalid producer epoch"
	case kafka.ErrTransactionCoordinatorFenced:
		what += fmt.Sprintf("since the provided coordinator epoch %d has been fenced by the active coordinator", spec.coordinatorEpoch)
	default:
		what += "due to unexpected error: " + client.FromCode(int16(code), nil).Error()
	}
	return false, &client.Error{Code: code, Message: what}
}
