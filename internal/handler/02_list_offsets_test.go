package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

func listOffset(d *dataPlane, version int16, topic string, p int32, timestamp int64, epoch int32) kmsg.ListOffsetsResponseTopicPartition {
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(version)
	req.ReplicaID = -1
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp, rp.CurrentLeaderEpoch = p, timestamp, epoch
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic, rt.Partitions = topic, []kmsg.ListOffsetsRequestTopicPartition{rp}
	req.Topics = []kmsg.ListOffsetsRequestTopic{rt}
	resp := answerOf[*kmsg.ListOffsetsResponse](d, d.list, req)
	return resp.Topics[0].Partitions[0]
}

// answerOf handles req, encodes the answer in its version and decodes it again.
func answerOf[R kmsg.Response](d *dataPlane, h Handler, req kmsg.Request) R {
	d.tb.Helper()
	reply := h.Handle(d.tb.Context(), dataRequest(req, "test"))
	response := req.ResponseKind()
	if err := response.ReadFrom(encodedBody(d.tb, reply, req.GetVersion())); err != nil {
		d.tb.Fatal(err)
	}
	return response.(R)
}

func TestListOffsets(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 1, 1)
	d.create("secret", 1, 1)
	d.create("remote", 1, 2)
	d.denied[security.Topic("secret")] = true
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b")))
	for _, c := range []struct {
		name       string
		version    int16
		topic      string
		partition  int32
		timestamp  int64
		epoch      int32
		want       kafka.ErrorCode
		wantOffset int64
	}{
		{"latest", 1, "t", 0, kafka.LatestTimestamp, -1, 0, 2},
		{"latest", 11, "t", 0, kafka.LatestTimestamp, 0, 0, 2},
		{"earliest", 1, "t", 0, kafka.EarliestTimestamp, -1, 0, 0},
		{"max timestamp", 7, "t", 0, kafka.MaxTimestamp, -1, 0, 0},
		{"max timestamp too early", 6, "t", 0, kafka.MaxTimestamp, -1, kafka.ErrUnsupportedVersion, -1},
		{"earliest local", 8, "t", 0, kafka.EarliestLocalTimestamp, -1, 0, 0},
		{"earliest local too early", 7, "t", 0, kafka.EarliestLocalTimestamp, -1, kafka.ErrUnsupportedVersion, -1},
		{"latest tiered", 9, "t", 0, kafka.LatestTieredTimestamp, -1, 0, -1},
		{"latest tiered too early", 8, "t", 0, kafka.LatestTieredTimestamp, -1, kafka.ErrUnsupportedVersion, -1},
		{"earliest pending upload", 11, "t", 0, kafka.EarliestPendingUploadTimestamp, -1, 0, -1},
		{"earliest pending upload too early", 10, "t", 0, kafka.EarliestPendingUploadTimestamp, -1, kafka.ErrUnsupportedVersion, -1},
		{"not a special timestamp", 11, "t", 0, -7, -1, kafka.ErrUnsupportedVersion, -1},
		{"first record", 11, "t", 0, 0, -1, 0, 0},
		{"no record", 11, "t", 0, 1 << 60, -1, 0, -1},
		{"unknown topic", 11, "nope", 0, 0, -1, kafka.ErrUnknownTopicOrPartition, -1},
		{"unknown partition", 11, "t", 4, 0, -1, kafka.ErrUnknownTopicOrPartition, -1},
		{"not allowed", 11, "secret", 0, 0, -1, kafka.ErrTopicAuthorizationFailed, -1},
		{"led elsewhere", 11, "remote", 0, 0, -1, kafka.ErrNotLeaderOrFollower, -1},
		{"future epoch", 11, "t", 0, 0, 4, kafka.ErrUnknownLeaderEpoch, -1},
	} {
		got := listOffset(d, c.version, c.topic, c.partition, c.timestamp, c.epoch)
		if kafka.ErrorCode(got.ErrorCode) != c.want || got.Offset != c.wantOffset || got.Partition != c.partition {
			t.Errorf("%s in version %d: %v, offset %d; want %v, %d", c.name, c.version, kafka.ErrorCode(got.ErrorCode), got.Offset, c.want, c.wantOffset)
		}
	}
}

func TestListOffsetsRefusesRepeatedPartitions(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 2, 1)
	req := kmsg.NewPtrListOffsetsRequest()
	req.SetVersion(8)
	for _, p := range []int32{0, 1, 0} {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p, kafka.LatestTimestamp
		req.Topics = append(req.Topics, kmsg.ListOffsetsRequestTopic{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{rp}})
	}
	resp := answerOf[*kmsg.ListOffsetsResponse](d, d.list, req)
	for i, want := range []kafka.ErrorCode{kafka.ErrInvalidRequest, kafka.ErrNone, kafka.ErrInvalidRequest} {
		if got := kafka.ErrorCode(resp.Topics[i].Partitions[0].ErrorCode); got != want {
			t.Errorf("partition %d: %v, want %v", i, got, want)
		}
	}
}

func TestListOffsetsOldClientsGetTheOldCode(t *testing.T) {
	t.Parallel()
	for version, want := range map[int16]kafka.ErrorCode{4: kafka.ErrLeaderNotAvailable, 5: kafka.ErrOffsetNotAvailable} {
		if got := errorCodeOfListOffsets(kafka.ErrOffsetNotAvailable, version); got != want {
			t.Errorf("version %d: %v", version, got)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("t", 1, 1)
	d.create("secret", 1, 1)
	d.denied[security.Topic("secret")] = true
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "a", "b")))
	change := metadata.NewPartitionChangeRecord(topicIDOf("t"), 0)
	change.Leader = 1
	d.apply(change) // epoch 1
	d.doProduce(withProduce(newProduceRequest(9, 1), "t", 0, records(t, -1, "c")))
	for _, c := range []struct {
		topic          string
		current, epoch int32
		want           kafka.ErrorCode
		wantEpoch      int32
		wantEnd        int64
	}{
		{"t", -1, 0, 0, 0, 2}, {"t", 1, 0, 0, 0, 2}, {"t", 1, 1, 0, 1, 3}, {"t", -1, 2, 0, -1, -1}, {"t", -1, -1, 0, -1, -1},
		{"t", 0, 0, kafka.ErrFencedLeaderEpoch, -1, -1}, {"t", 2, 0, kafka.ErrUnknownLeaderEpoch, -1, -1},
		{"nope", -1, 0, kafka.ErrUnknownTopicOrPartition, -1, -1}, {"secret", -1, 0, kafka.ErrTopicAuthorizationFailed, -1, -1},
	} {
		for version := int16(2); version <= 4; version++ {
			req := kmsg.NewPtrOffsetForLeaderEpochRequest()
			req.SetVersion(version)
			rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			rp.CurrentLeaderEpoch, rp.LeaderEpoch = c.current, c.epoch
			req.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: c.topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{rp}}}
			p := answerOf[*kmsg.OffsetForLeaderEpochResponse](d, d.epochs, req).Topics[0].Partitions[0]
			if kafka.ErrorCode(p.ErrorCode) != c.want || p.LeaderEpoch != c.wantEpoch || p.EndOffset != c.wantEnd {
				t.Errorf("version %d: %+v gets %+v", version, c, p)
			}
		}
	}
}
