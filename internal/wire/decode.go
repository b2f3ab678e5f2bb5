package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// MinRequestBytes is the size of the smallest request: key, version and correlation id.
const MinRequestBytes = 8

// UnknownAPIError says that the client asked for an API key or version that is not served on
// its listener. The connection cannot go on, except after an ApiVersions request.
type UnknownAPIError struct {
	Key     int16
	Version int16
	// Name is empty for an unknown key.
	Name string
}

func (e *UnknownAPIError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("API key %d is not served", e.Key)
	}
	return fmt.Sprintf("version %d of %s is not served", e.Version, e.Name)
}

// ParseHeader parses the header of a request frame (without its size) and returns the API's row
// and the body, which aliases frame. The header's strings are copies. The version is not yet
// checked against what is served: see API.Serves. lastClientID, which may be nil, is used again where
// the client id is the same, as it is in all requests of most connections.
func ParseHeader(frame []byte, lastClientID *string) (h RequestHeader, api *API, body []byte, err error) {
	if len(frame) < MinRequestBytes {
		return h, nil, nil, fmt.Errorf("%w: %d bytes are too few for a header", ErrMalformed, len(frame))
	}
	h.APIKey = int16(binary.BigEndian.Uint16(frame))
	h.APIVersion = int16(binary.BigEndian.Uint16(frame[2:]))
	h.CorrelationID = int32(binary.BigEndian.Uint32(frame[4:]))
	api, known := lookupAny(h.APIKey)
	if !known {
		return h, nil, nil, &UnknownAPIError{Key: h.APIKey, Version: h.APIVersion}
	}
	in := inspector{src: frame[MinRequestBytes:]}
	// The client id keeps its two-byte length in flexible headers too.
	n, isNull := in.length(2)
	if in.problem == "" && !isNull {
		text := in.src
		in.skip64(n)
		if in.problem == "" {
			if h.ClientID = lastClientID; lastClientID == nil || *lastClientID != string(text[:n]) {
				id := string(text[:n])
				h.ClientID = &id
			}
		}
	}
	in.flexible = api.IsFlexible(h.APIVersion)
	in.tags(nil)
	if in.problem != "" {
		return h, api, nil, fmt.Errorf("%w: header of %s version %d: %s", ErrMalformed, api.Name, h.APIVersion, in.problem)
	}
	return h, api, in.src, nil
}

// DecodedBytes returns how much memory DecodeBody may allocate for body at most, or an error
// that is ErrMalformed.
func DecodedBytes(api *API, version int16, body []byte) (int64, error) {
	cost, err := inspect(api, version, body)
	if err == nil && api.Key == KeyPeerForward {
		inner, err := forwardedBytes(body)
		return cost + inner, err
	}
	return cost, err
}

// DecodeBody decodes a body that DecodedBytes accepted. Byte fields alias body; strings are copies.
func DecodeBody(api *API, version int16, body []byte) (request kmsg.Request, err error) {
	// kmsg does not panic on any input known; a panic here must cost one connection only.
	defer func() {
		if r := recover(); r != nil {
			request, err = nil, fmt.Errorf("%w: %s version %d: the decoder panicked: %v", ErrMalformed, api.Name, version, r)
		}
	}()
	request = api.NewRequest(version)
	if err := request.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: %s version %d: %w", ErrMalformed, api.Name, version, err)
	}
	return request, nil
}
