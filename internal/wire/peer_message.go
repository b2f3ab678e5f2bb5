package wire

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// peerMessage is what the private requests and responses have in common: one version in the flexible
// form, so that a tagged field can be added that older nodes skip.
type peerMessage struct{}

// MaxVersion returns 0, the only version.
func (peerMessage) MaxVersion() int16 { return 0 }

// SetVersion does nothing.
func (peerMessage) SetVersion(int16) {}

// GetVersion returns 0.
func (peerMessage) GetVersion() int16 { return 0 }

// IsFlexible returns true.
func (peerMessage) IsFlexible() bool { return true }

// peerReader reads the private messages. Requests were inspected before; responses were not: no length
// is believed that the bytes at hand cannot have.
type peerReader struct{ kbin.Reader }

// invalidate makes complete fail and every further read return nothing.
func (r *peerReader) invalidate() { r.Span(-1) }

// count reads the length of an array whose elements have at least so many bytes each.
func (r *peerReader) count(elementBytes int) int {
	n := int(r.Uvarint()) - 1
	if n < 0 || n > len(r.Src)/elementBytes {
		r.invalidate()
		return 0
	}
	return n
}

// skipTags skips a section of tagged fields; each has its number and its size at least.
func (r *peerReader) skipTags() { r.tags(func(uint32, *kbin.Reader) {}) }

// tags hands out a section of tagged fields; unknown ones are later versions'.
func (r *peerReader) tags(take func(tag uint32, value *kbin.Reader)) {
	n := int(r.Uvarint())
	if n > len(r.Src)/2 {
		r.invalidate()
		return
	}
	for range n {
		tag := r.Uvarint()
		value := kbin.Reader{Src: r.Span(int(r.Uvarint()))}
		if take(tag, &value); !value.Ok() {
			r.invalidate()
		}
	}
}

// complete ends a message; name is for the error.
func (r *peerReader) complete(name string) error {
	return r.completeWith(name, func(uint32, *kbin.Reader) {})
}

func (r *peerReader) completeWith(name string, take func(tag uint32, value *kbin.Reader)) error {
	r.tags(take)
	if err := r.Complete(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// appendNoTags ends a message or a struct in one.
func appendNoTags(dst []byte) []byte { return append(dst, 0) }

// forwardedBytes is what the request inside a PeerForward may take when it is decoded; nothing for one
// that no controller serves: whoever handles it says so.
func forwardedBytes(body []byte) (int64, error) {
	var f PeerForwardRequest
	if err := f.ReadFrom(body); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	api, ok := f.API()
	if !ok {
		return 0, nil
	}
	return inspect(api, f.APIVersion, f.Body)
}

// eachPeerError does what eachError does for what only peers ask, and reports whether response is such.
func eachPeerError(response kmsg.Response, yield func(code int16)) bool {
	switch r := response.(type) {
	case *PeerHelloResponse:
		yieldError(r.ErrorCode, yield)
	case *PeerRaftResponse:
		yieldError(r.ErrorCode, yield)
	case *PeerMetadataResponse:
		yieldError(r.ErrorCode, yield)
	case *PeerSnapshotResponse:
		yieldError(r.ErrorCode, yield)
	case *PeerForwardResponse:
		yieldError(r.ErrorCode, yield)
	case *PeerLoadResponse:
		yieldError(r.ErrorCode, yield)
	case *PeerBalancerResponse:
		yieldError(r.ErrorCode, yield)
	case *kmsg.BrokerHeartbeatResponse:
		yieldError(r.ErrorCode, yield)
	default:
		return false
	}
	return true
}

// ErrBadResponse is under every error about a response that does not follow its schema.
var ErrBadResponse = errors.New("malformed response")

// DecodeResponse decodes the answer to request: a frame without size and correlation id. Byte fields
// alias frame.
func DecodeResponse(request kmsg.Request, frame []byte) (response kmsg.Response, err error) {
	defer func() {
		if r := recover(); r != nil {
			response, err = nil, fmt.Errorf("%w: API key %d: the decoder panicked: %v", ErrBadResponse, request.Key(), r)
		}
	}()
	body := peerReader{kbin.Reader{Src: frame}}
	if request.IsFlexible() && request.Key() != KeyAPIVersions {
		if body.skipTags(); !body.Ok() {
			return nil, fmt.Errorf("%w: API key %d: the header is cut short", ErrBadResponse, request.Key())
		}
	}
	response = request.ResponseKind()
	if err := response.ReadFrom(body.Src); err != nil {
		return nil, fmt.Errorf("%w: API key %d: %w", ErrBadResponse, request.Key(), err)
	}
	return response, nil
}
