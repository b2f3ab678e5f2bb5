package broker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// registerControllerRetry is when the active controller is asked again to register this node's controller. One of
// an older release cannot: the next one may.
const registerControllerRetry = 2 * time.Second

// voterIDs are the nodes of the quorum.
func (b *broker) voterIDs() (ids []int32) {
	for _, v := range b.quorum.Voters() {
		ids = append(ids, v.NodeID)
	}
	return ids
}

// noticeController has followControllers look where the metadata knows another incarnation of this node's
// controller, or none.
func (b *broker) noticeController(image *metadata.Image, _ *metadata.Delta) {
	if b.isControllerKnown(image) {
		return
	}
	select {
	case b.unregistered <- struct{}{}:
	default:
	}
}

// isControllerKnown reports whether the metadata has this incarnation of the node's controller, or cannot
// have any.
func (b *broker) isControllerKnown(image *metadata.Image) bool {
	if image.FeatureLevel(metadata.MetadataVersionFeature) == 0 || !image.HasControllerRegistrations() {
		return true
	}
	for c := range image.Controllers() {
		if c.ID == b.config.NodeID {
			return c.IncarnationID == b.incarnation
		}
	}
	return false
}

// followControllers registers this node's controller (KIP-919), with the levels of features that it
// supports, until the metadata shows it.
func (b *broker) followControllers(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.unregistered:
		}
		for said := false; !b.isControllerKnown(b.loader.Current()) && ctx.Err() == nil; {
			err := b.registerController(ctx)
			if err == nil {
				break
			}
			if !said && ctx.Err() == nil {
				slog.Info("the active controller has not registered this one; it is asked again", "error", err)
				said = true
			}
			timer := time.NewTimer(registerControllerRetry)
			select {
			case <-ctx.Done():
				timer.Stop()
			case <-timer.C:
			}
		}
	}
}

func (b *broker) registerController(ctx context.Context) error {
	req := kmsg.NewPtrControllerRegistrationRequest()
	req.ControllerID, req.IncarnationID = b.config.NodeID, b.incarnation
	listeners, err := b.filledIn(b.config.AdvertisedControllerListeners)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		listener := kmsg.NewControllerRegistrationRequestListener()
		listener.Name, listener.Host, listener.Port = l.Name, l.Host, uint16(l.Port)
		req.Listeners = append(req.Listeners, listener)
	}
	for _, f := range controller.Features() {
		feature := kmsg.NewControllerRegistrationRequestFeature()
		feature.Name, feature.MinSupportedVersion, feature.MaxSupportedVersion = f.Name, f.MinLevel, f.MaxLevel
		req.Features = append(req.Features, feature)
	}
	resp, err := b.channel.Send(ctx, self, req)
	if err != nil {
		return err
	}
	r := resp.(*kmsg.ControllerRegistrationResponse)
	if code := kafka.ErrorCode(r.ErrorCode); code != kafka.ErrNone {
		text := ""
		if r.ErrorMessage != nil {
			text = ": " + *r.ErrorMessage
		}
		return fmt.Errorf("%w%s", code, text)
	}
	return nil
}
