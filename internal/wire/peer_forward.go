package wire

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// PeerForwardRequest carries a request to the active controller, for a client or for the node itself
// (key 20004).
type PeerForwardRequest struct {
	peerMessage
	// Principal, ClientID and Host are those of the client on whose behalf the request is made, all ""
	// for the node itself. The node that forwards has checked what the client may do.
	Principal string
	ClientID  string
	Host      string
	// APIKey and APIVersion say what Body is.
	APIKey     int16
	APIVersion int16
	// HasQuota says that the client's changes of topics count against its quota.
	HasQuota bool
	// Body aliases the request's bytes.
	Body []byte
}

// PeerForwardResponse is the controller's answer. An error code says why there is none.
type PeerForwardResponse struct {
	peerMessage
	ErrorCode    int16
	ErrorMessage *string
	// Offset is the metadata offset that has the change, and all that the answer rests on.
	Offset int64
	// Body aliases the response's bytes.
	Body []byte
}

// API returns the row of the request inside; false where no controller serves it in that version.
func (m *PeerForwardRequest) API() (*API, bool) {
	api, ok := lookupAny(m.APIKey)
	if !ok || m.APIKey >= KeyPeerHello && m.APIKey <= KeyPeerForward || api.Listeners&ControllerListener == 0 || !api.Serves(m.APIVersion) {
		return nil, false
	}
	return api, true
}

// Key returns 20004.
func (*PeerForwardRequest) Key() int16 { return KeyPeerForward }

// ResponseKind returns an empty PeerForwardResponse.
func (*PeerForwardRequest) ResponseKind() kmsg.Response { return &PeerForwardResponse{} }

// AppendTo encodes the request.
func (m *PeerForwardRequest) AppendTo(dst []byte) []byte {
	dst = kbin.AppendCompactString(dst, m.Principal)
	dst = kbin.AppendCompactString(dst, m.ClientID)
	dst = kbin.AppendCompactString(dst, m.Host)
	dst = kbin.AppendInt16(dst, m.APIKey)
	dst = kbin.AppendInt16(dst, m.APIVersion)
	dst = kbin.AppendBool(dst, m.HasQuota)
	dst = kbin.AppendCompactBytes(dst, m.Body)
	return appendNoTags(dst)
}

// ReadFrom decodes the request.
func (m *PeerForwardRequest) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.Principal = r.CompactString()
	m.ClientID = r.CompactString()
	m.Host = r.CompactString()
	m.APIKey = r.Int16()
	m.APIVersion = r.Int16()
	m.HasQuota = r.Bool()
	m.Body = r.CompactBytes()
	return r.complete("PeerForward request")
}

// Key returns 20004.
func (*PeerForwardResponse) Key() int16 { return KeyPeerForward }

// RequestKind returns an empty PeerForwardRequest.
func (*PeerForwardResponse) RequestKind() kmsg.Request { return &PeerForwardRequest{} }

// AppendTo encodes the response.
func (m *PeerForwardResponse) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, m.ErrorCode)
	dst = kbin.AppendCompactNullableString(dst, m.ErrorMessage)
	dst = kbin.AppendInt64(dst, m.Offset)
	dst = kbin.AppendCompactBytes(dst, m.Body)
	return appendNoTags(dst)
}

// ReadFrom decodes the response.
func (m *PeerForwardResponse) ReadFrom(src []byte) error {
	r := peerReader{kbin.Reader{Src: src}}
	m.ErrorCode = r.Int16()
	m.ErrorMessage = r.CompactNullableString()
	m.Offset = r.Int64()
	m.Body = r.CompactBytes()
	return r.complete("PeerForward response")
}

// DecodeForwarded decodes what the controller has answered to the request that was forwarded.
func DecodeForwarded(req kmsg.Request, body []byte) (response kmsg.Response, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: the decoder panicked: %v", ErrBadResponse, r)
		}
	}()
	response = req.ResponseKind()
	response.SetVersion(req.GetVersion())
	if err := response.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadResponse, err)
	}
	return response, nil
}
