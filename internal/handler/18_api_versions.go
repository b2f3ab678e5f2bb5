package handler

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/wire"
)

// firstAPIVersionsWithSoftware is the version from which clients name their software, and
// firstAPIVersionsWithLevelZero the one whose clients can read features that start at level 0.
const (
	firstAPIVersionsWithSoftware  = 3
	firstAPIVersionsWithLevelZero = 4
)

// APIVersions answers what the listener serves (API key 18). Requests of a version that is not
// served do not come here: the server answers them in version 0.
type APIVersions struct {
	// Set is the table of handlers: only what is in it is advertised.
	Set      *Set
	Features []controller.Feature
	Metadata func() *metadata.Image
}

// Handle remembers the client's software and answers the version table and the features.
func (h *APIVersions) Handle(_ context.Context, r *Request) Reply {
	req := r.Body.(*kmsg.ApiVersionsRequest)
	resp := kmsg.NewPtrApiVersionsResponse()
	if r.Version() >= firstAPIVersionsWithSoftware {
		if !validSoftware(req.ClientSoftwareName) || !validSoftware(req.ClientSoftwareVersion) {
			resp.ErrorCode = int16(kafka.ErrInvalidRequest)
			return Respond(resp)
		}
		r.Conn.ClientSoftwareName, r.Conn.ClientSoftwareVersion = req.ClientSoftwareName, req.ClientSoftwareVersion
	}
	kind := wire.BrokerListener
	if r.Conn.Controller {
		kind = wire.ControllerListener
	}
	for _, api := range wire.APIs() {
		if api.Listeners&kind == 0 || h.Set.Lookup(api.Key) == nil {
			continue
		}
		key := kmsg.NewApiVersionsResponseApiKey()
		key.ApiKey, key.MinVersion, key.MaxVersion = api.Key, api.MinAdvertised, api.MaxAdvertised
		resp.ApiKeys = append(resp.ApiKeys, key)
	}
	h.addFeatures(resp, r.Version())
	return Respond(resp)
}

func (h *APIVersions) addFeatures(resp *kmsg.ApiVersionsResponse, version int16) {
	for _, f := range h.Features {
		if f.MinLevel == 0 && version < firstAPIVersionsWithLevelZero {
			continue // older clients fail on a level 0 (KAFKA-17492)
		}
		supported := kmsg.NewApiVersionsResponseSupportedFeature()
		supported.Name, supported.MinVersion, supported.MaxVersion = f.Name, f.MinLevel, f.MaxLevel
		resp.SupportedFeatures = append(resp.SupportedFeatures, supported)
	}
	image := h.Metadata()
	resp.FinalizedFeaturesEpoch = image.Offset
	add := func(name string, level int16) {
		finalized := kmsg.NewApiVersionsResponseFinalizedFeature()
		finalized.Name, finalized.MinVersionLevel, finalized.MaxVersionLevel = name, level, level
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, finalized)
	}
	add(controller.KRaftVersionFeature, controller.KRaftVersion)
	for name, level := range image.Features() {
		if level > 0 { // else turned off
			add(name, level)
		}
	}
}

// validSoftware reports whether s is letters and digits, with dots and dashes inside (KIP-511).
func validSoftware(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '.' || c == '-') && i > 0 && i < len(s)-1:
		default:
			return false
		}
	}
	return s != ""
}
