package wire

// RequestHeader is the header of a request (versions 1 and 2).
type RequestHeader struct {
	APIKey        int16
	APIVersion    int16
	CorrelationID int32
	// ClientID is nil when the client sent none.
	ClientID *string
}
