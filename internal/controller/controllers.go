package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// registerController notes what one incarnation of a controller supports (KIP-919): no level of a feature is
// finalized that a controller would fail on when it becomes active.
func (c *Controller) registerController(in Input, req *kmsg.ControllerRegistrationRequest) Result {
	resp := kmsg.NewPtrControllerRegistrationResponse()
	if !in.Image.HasControllerRegistrations() {
		err := kafka.Errorf(kafka.ErrUnsupportedVersion, "Level %d of metadata.version knows no registrations of controllers.", in.Image.MetadataVersion())
		resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
		return Result{Response: resp}
	}
	r := &metadata.RegisterControllerRecord{ControllerID: req.ControllerID, IncarnationID: req.IncarnationID}
	for _, l := range req.Listeners {
		r.Endpoints = append(r.Endpoints, metadata.Endpoint{Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: l.SecurityProtocol})
	}
	ranges := map[string]metadata.SupportedFeature{}
	for _, f := range req.Features {
		supported := metadata.SupportedFeature{Name: f.Name, MinVersion: f.MinSupportedVersion, MaxVersion: f.MaxSupportedVersion}
		r.Features, ranges[f.Name] = append(r.Features, supported), supported
	}
	for name, level := range in.Image.Features() {
		if f := ranges[name]; level < f.MinVersion || level > f.MaxVersion {
			err := kafka.Errorf(kafka.ErrUnsupportedVersion, "The cluster has finalized level %d of %s, and controller %d supports %s.", level, name, req.ControllerID, levelRange(f.MinVersion, f.MaxVersion))
			resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), errorText(err)
			return Result{Response: resp}
		}
	}
	return Result{Response: resp, Records: []metadata.Record{r}}
}
