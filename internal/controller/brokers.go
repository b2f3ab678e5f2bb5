package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// checkBrokerEpoch returns the broker if epoch is that of its present registration.
func checkBrokerEpoch(image *metadata.Image, id int32, epoch int64) (*metadata.Broker, error) {
	b := image.Broker(id)
	if b == nil {
		return nil, kafka.Errorf(kafka.ErrStaleBrokerEpoch, "No broker registration found for broker id %d", id)
	}
	if b.Epoch != epoch {
		return nil, kafka.Errorf(kafka.ErrStaleBrokerEpoch, "Expected broker epoch %d, but got broker epoch %d", b.Epoch, epoch)
	}
	return b, nil
}

// registerBroker registers one incarnation of a broker, fenced until its first heartbeats show
// that it has caught up. The same incarnation may register again, with other listeners say, and
// keeps its epoch.
func (c *Controller) registerBroker(in Input, req *kmsg.BrokerRegistrationRequest) Result {
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	resp.Version = req.Version
	if err := c.checkRegistration(in.Image, req); err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Result{Response: resp}
	}
	r := &metadata.RegisterBrokerRecord{BrokerID: req.BrokerID, IncarnationID: req.IncarnationID, Rack: req.Rack, Fenced: true}
	for _, l := range req.Listeners {
		r.Endpoints = append(r.Endpoints, metadata.Endpoint{Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: l.SecurityProtocol})
	}
	for _, f := range req.Features {
		r.Features = append(r.Features, metadata.SupportedFeature{Name: f.Name, MinVersion: f.MinSupportedVersion, MaxVersion: f.MaxSupportedVersion})
	}
	for _, dir := range req.LogDirs {
		r.LogDirs = append(r.LogDirs, dir)
	}
	var records []metadata.Record
	existing := in.Image.Broker(req.BrokerID)
	if existing != nil && existing.IncarnationID == req.IncarnationID {
		r.BrokerEpoch, r.Fenced, r.InControlledShutdown = existing.Epoch, existing.Fenced, existing.InControlledShutdown
	} else {
		if existing != nil {
			records = moveLeaders(in.Image, req.BrokerID) // what the last incarnation led
		}
		r.BrokerEpoch = in.NextOffset + int64(len(records))
	}
	resp.BrokerEpoch = r.BrokerEpoch
	return Result{Response: resp, Records: append(records, r), Divisible: true}
}

func (c *Controller) checkRegistration(image *metadata.Image, req *kmsg.BrokerRegistrationRequest) error {
	switch {
	case req.ClusterID != c.o.ClusterID:
		return kafka.Errorf(kafka.ErrInconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", c.o.ClusterID, req.ClusterID)
	case req.IsMigratingZkBroker:
		return kafka.Errorf(kafka.ErrBrokerIDNotRegistered, "Controller does not support registering ZK brokers.")
	case len(req.LogDirs) == 0:
		return kafka.Errorf(kafka.ErrInvalidRegistration, "No directories specified in request")
	}
	for i, dir := range req.LogDirs {
		// Kafka keeps the first hundred ids for itself.
		if id := kafka.UUID(dir); slices.Equal(id[:15], kafka.ZeroUUID[:15]) && id[15] < 100 {
			return kafka.Errorf(kafka.ErrInvalidRegistration, "Reserved directory ID in request")
		}
		if slices.Contains(req.LogDirs[:i], dir) {
			return kafka.Errorf(kafka.ErrInvalidRegistration, "Duplicate directory ID in request")
		}
		for b := range image.Brokers() {
			if b.ID != req.BrokerID && slices.Contains(b.LogDirs, kafka.UUID(dir)) {
				return kafka.Errorf(kafka.ErrInvalidRegistration, "Broker %d is already registered with directory %s", b.ID, kafka.UUID(dir))
			}
		}
	}
	for name, level := range image.Features() {
		lowest, highest := int16(0), int16(0)
		for _, f := range req.Features {
			if f.Name == name {
				lowest, highest = f.MinSupportedVersion, f.MaxSupportedVersion
			}
		}
		if level < lowest || level > highest {
			return kafka.Errorf(kafka.ErrUnsupportedVersion,
				"Unable to register because the broker does not support finalized version %d of %s. The broker wants a version between %d and %d, inclusive.",
				level, name, lowest, highest)
		}
	}
	return nil
}

// brokerHeartbeat moves a broker between its states: fenced, until it has applied its own
// registration; unfenced; in controlled shutdown.
func (c *Controller) brokerHeartbeat(in Input, req *kmsg.BrokerHeartbeatRequest) Result {
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.Version = req.Version
	b, err := checkBrokerEpoch(in.Image, req.BrokerID, req.BrokerEpoch)
	if err != nil {
		resp.ErrorCode = int16(kafka.CodeOf(err))
		return Result{Response: resp}
	}
	resp.IsCaughtUp, resp.IsFenced = req.CurrentMetadataOffset >= b.Epoch, b.Fenced
	change := &metadata.BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}
	var records []metadata.Record
	switch {
	case req.WantShutdown:
		// Partitions stay with the broker where no other replica could take over: its next
		// incarnation leads them again in a new epoch.
		resp.ShouldShutdown = true
		if !b.Fenced && !b.InControlledShutdown {
			change.InControlledShutdown = 1
			records = append(moveLeaders(in.Image, b.ID), change)
		}
	case req.WantFence:
		resp.IsFenced = true
		if !b.Fenced {
			change.Fenced = metadata.FencingFence
			records = append(moveLeaders(in.Image, b.ID), change)
		}
	case b.Fenced && resp.IsCaughtUp:
		resp.IsFenced = false
		change.Fenced = metadata.FencingUnfence
		records = append(renewLeaders(in.Image, b.ID), change)
	}
	records = append(records, loseDirectories(in.Image, b, req.OfflineLogDirs)...)
	return Result{Response: resp, Records: records, Divisible: true}
}

// unregisterBroker forgets a broker. It keeps its replicas, and its place in the ISR where it is the
// last there: under the same id it can come back and lead again.
func (c *Controller) unregisterBroker(in Input, req *kmsg.UnregisterBrokerRequest) Result {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	b := in.Image.Broker(req.BrokerID)
	if b == nil {
		err := kafka.Errorf(kafka.ErrBrokerIDNotRegistered, "Broker ID %d is not currently registered", req.BrokerID)
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		return Result{Response: resp}
	}
	var records []metadata.Record
	for topic := range in.Image.Topics() {
		for _, p := range topic.Partitions {
			if p.Leader == b.ID || len(p.ISR) > 1 && slices.Contains(p.ISR, b.ID) {
				records = append(records, withoutReplica(in.Image, topic.ID, p, b.ID))
			}
		}
	}
	return Result{Response: resp, Records: append(records, &metadata.UnregisterBrokerRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}), Divisible: true}
}

// moveLeaders gives the partitions that broker leads to another replica in sync, and takes the
// broker out of the ISR wherever somebody else is in it.
func moveLeaders(image *metadata.Image, broker int32) []metadata.Record {
	var records []metadata.Record
	for topic := range image.Topics() {
		for _, p := range topic.Partitions {
			at := slices.Index(p.ISR, broker)
			if at < 0 || len(p.ISR) == 1 {
				continue
			}
			records = append(records, withoutReplica(image, topic.ID, p, broker))
		}
	}
	return records
}

// withoutReplica takes broker out of the ISR, unless it is the last one there, and gives its
// leadership to another replica in sync that can take it, or to none.
func withoutReplica(image *metadata.Image, topicID kafka.UUID, p *metadata.Partition, broker int32) *metadata.PartitionChangeRecord {
	change := metadata.NewPartitionChangeRecord(topicID, p.ID)
	isr := p.ISR
	if at := slices.Index(p.ISR, broker); at >= 0 && len(p.ISR) > 1 {
		isr = slices.Delete(slices.Clone(p.ISR), at, at+1)
		change.ISR = isr
	}
	if p.Leader != broker {
		return change
	}
	change.Leader = kafka.NoLeader
	for _, replica := range p.Replicas {
		if replica != broker && slices.Contains(isr, replica) && mayLead(image, p, replica) {
			change.Leader = replica
			break
		}
	}
	return change
}

// mayLead reports whether a replica is on a broker that is there, in a log dir that is there.
func mayLead(image *metadata.Image, p *metadata.Partition, broker int32) bool {
	b := image.Broker(broker)
	directory, _ := p.Directory(broker)
	return b != nil && b.Active() && b.HasOnlineDirectory(directory)
}

// renewLeaders makes an unfenced broker the leader of the partitions that have none but it: in a
// new leader epoch, since what its last incarnation had not synced may be gone (KIP-101). What lies
// in a log dir that the broker does not have gets no leader.
func renewLeaders(image *metadata.Image, broker int32) []metadata.Record {
	var records []metadata.Record
	b := image.Broker(broker)
	for topic := range image.Topics() {
		for _, p := range topic.Partitions {
			if p.Leader != broker && p.Leader != kafka.NoLeader || !slices.Contains(p.ISR, broker) {
				continue
			}
			change := metadata.NewPartitionChangeRecord(topic.ID, p.ID)
			change.Leader = broker
			if directory, _ := p.Directory(broker); !b.HasOnlineDirectory(directory) {
				if p.Leader == kafka.NoLeader {
					continue
				}
				change.Leader = kafka.NoLeader
			}
			records = append(records, change)
		}
	}
	return records
}
