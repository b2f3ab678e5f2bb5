package controller

import (
	"math"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// brokerHeartbeat moves a broker between its states: fenced, until it has applied its own
// registration; unfenced; in controlled shutdown, until it leads nothing and the others know.
func (c *Controller) brokerHeartbeat(in Input, req *kmsg.BrokerHeartbeatRequest) Result {
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.Version = req.Version
	b, err := checkBrokerEpoch(in.Image, req.BrokerID, req.BrokerEpoch)
	if err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Result{Response: resp}
	}
	resp.IsCaughtUp, resp.IsFenced = req.CurrentMetadataOffset >= b.Epoch, b.Fenced
	changes := c.changePartitions(in.Image)
	switch {
	case b.Fenced:
		if resp.ShouldShutdown = req.WantShutdown; !req.WantShutdown && !req.WantFence && resp.IsCaughtUp {
			resp.IsFenced = false
			changes.unfence(b)
		}
	case req.WantFence:
		resp.IsFenced, resp.ShouldShutdown = true, req.WantShutdown
		changes.fence(b)
	case req.WantShutdown:
		resp.ShouldShutdown = changes.shutDown(b, in)
		resp.IsFenced = resp.ShouldShutdown && !changes.isAlone(b.ID)
	}
	changes.loseDirectories(b, req.OfflineLogDirs)
	changes.cordonDirectories(b, req.CordonedLogDirs)
	return Result{Response: resp, Records: changes.records, Divisible: true}
}

// Fence fences a broker whose session has ended, or that is known to be dead.
func (c *Controller) Fence(in Input, broker int32) []metadata.Record {
	b := in.Image.Broker(broker)
	if b == nil || b.Fenced {
		return nil
	}
	changes := c.changePartitions(in.Image)
	changes.fence(b)
	return changes.records
}

func (s *partitionChanges) fence(b *metadata.Broker) {
	s.with(b, func(b *metadata.Broker) { b.Fenced = true })
	s.brokerLeaves(b.ID)
	s.records = append(s.records, &metadata.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, Fenced: metadata.FencingFence})
}

func (s *partitionChanges) unfence(b *metadata.Broker) {
	s.with(b, func(b *metadata.Broker) { b.Fenced = false })
	s.brokerReturns(b.ID)
	s.records = append(s.records, &metadata.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, Fenced: metadata.FencingUnfence})
}

// shutDown takes one step of a controlled shutdown and reports whether the broker may go: when others lead
// what it has led, and all brokers know it. Then it is fenced.
func (s *partitionChanges) shutDown(b *metadata.Broker, in Input) (done bool) {
	leaving := &metadata.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch, InControlledShutdown: 1}
	if s.isAlone(b.ID) {
		if !b.InControlledShutdown {
			s.records = append(s.records, leaving)
		}
		return true
	}
	s.with(b, func(b *metadata.Broker) { b.InControlledShutdown = true })
	if in.Sessions.movesLeaders(b) { // it looks at every partition, and a leaving broker asks every 20 ms
		s.brokerLeaves(b.ID)
	}
	if !b.InControlledShutdown {
		s.records = append(s.records, leaving)
	}
	if len(s.records) > 0 {
		in.Sessions.beginShutdown(b, in.NextOffset+int64(len(s.records))-1)
		return false
	}
	if in.Sessions.shutdownOffset(b, in.NextOffset-1) > in.Sessions.lowestApplied(in.Image) {
		return false
	}
	s.fence(b)
	return true
}

// noOffset is the metadata offset of brokers that nobody waits for.
const noOffset int64 = math.MaxInt64
