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
	if err := c.checkRegistration(in, req); err != nil {
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
	if in.Image.HasDirectories() {
		for _, dir := range req.LogDirs {
			r.LogDirs = append(r.LogDirs, dir)
		}
	}
	changes := c.changePartitions(in.Image)
	existing := in.Image.Broker(req.BrokerID)
	if existing != nil && existing.IncarnationID == req.IncarnationID {
		r.BrokerEpoch, r.Fenced, r.InControlledShutdown = existing.Epoch, existing.Fenced, existing.InControlledShutdown
		r.CordonedLogDirs = existing.CordonedLogDirs
	} else {
		changes.with(&metadata.Broker{ID: req.BrokerID, Fenced: true}, func(*metadata.Broker) {})
		// Who knows the epoch of the last registration vouches that nothing of that time is lost.
		if existing != nil && existing.Epoch == req.PreviousBrokerEpoch {
			changes.brokerLeaves(req.BrokerID)
		} else {
			changes.brokerLostData(req.BrokerID)
		}
		if existing == nil {
			changes.records = append(changes.records, c.noteJoining(in.Image, req.BrokerID)...)
		}
		r.BrokerEpoch = in.NextOffset + int64(len(changes.records))
	}
	resp.BrokerEpoch = r.BrokerEpoch
	return Result{Response: resp, Records: append(changes.records, r), Divisible: true}
}

func (c *Controller) checkRegistration(in Input, req *kmsg.BrokerRegistrationRequest) error {
	image := in.Image
	switch existing := image.Broker(req.BrokerID); {
	case req.ClusterID != c.o.ClusterID:
		return kafka.Errorf(kafka.ErrInconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", c.o.ClusterID, req.ClusterID)
	case existing != nil && existing.IncarnationID != req.IncarnationID && in.Sessions.isValid(existing) && !sharesDirectory(existing, req):
		return kafka.Errorf(kafka.ErrDuplicateBrokerRegistration,
			"Another broker is registered with id %d and alive: give this one another node.id, or wait until the session of the other has ended", req.BrokerID)
	case req.IsMigratingZkBroker:
		return kafka.Errorf(kafka.ErrBrokerIDNotRegistered, "Controller does not support registering ZK brokers.")
	case len(req.LogDirs) == 0 && image.HasDirectories():
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
		if level == 0 {
			continue // who has never heard of a feature runs without it
		}
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

// sharesDirectory reports whether a registration is from the log dirs of the one before. Then it is the
// same broker, restarted: a folder's lock keeps two processes from having it.
func sharesDirectory(existing *metadata.Broker, req *kmsg.BrokerRegistrationRequest) bool {
	return slices.ContainsFunc(req.LogDirs, func(dir [16]byte) bool { return slices.Contains(existing.LogDirs, kafka.UUID(dir)) })
}

// unregisterBroker forgets a broker. It keeps its replicas, and those that have no other stay in the ISR:
// under the same id it can come back and lead again.
func (c *Controller) unregisterBroker(in Input, req *kmsg.UnregisterBrokerRequest) Result {
	resp := kmsg.NewPtrUnregisterBrokerResponse()
	b := in.Image.Broker(req.BrokerID)
	if b == nil {
		err := kafka.Errorf(kafka.ErrBrokerIDNotRegistered, "Broker ID %d is not currently registered", req.BrokerID)
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		return Result{Response: resp}
	}
	changes := c.changePartitions(in.Image).with(b, func(b *metadata.Broker) { b.Fenced = true })
	changes.each(func(p *metadata.Partition) bool {
		return p.Leader == b.ID || slices.Contains(p.ISR, b.ID) || slices.Contains(p.ELR, b.ID)
	}, func(change *partitionChange) { change.loseData(b.ID) })
	records := append(changes.records, c.noteGone(in.Image, b.ID)...)
	return Result{Response: resp, Records: append(records, &metadata.UnregisterBrokerRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}), Divisible: true}
}
