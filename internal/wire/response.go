package wire

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env/vfs"
)

// ResponseBody is a response on its way to a socket. One goroutine uses it at a time: the
// handler builds it, the connection's writer encodes it once and then calls Release once,
// whether or not it was written.
type ResponseBody interface {
	// Key is the API's key.
	Key() int16
	// SetThrottle puts the throttle time into the response where its version has the field.
	SetThrottle(timeMs int32)
	// AppendTo encodes the body in the given version.
	AppendTo(f *Frame, version int16)
	// EachError calls yield with every error code of the response that is not zero.
	EachError(yield func(code int16))
	// Release gives back what the response borrowed.
	Release()
}

// Message wraps a kmsg response that carries no records.
func Message(response kmsg.Response) ResponseBody { return &messageBody{response: response} }

// FetchBody is a Fetch response whose record bytes are written from where they lie.
type FetchBody struct {
	Response *kmsg.FetchResponse
	// Files are the partitions whose records are sent out of files instead of from RecordBatches, in the
	// response's order.
	Files []FetchFile
	// OnRelease returns the buffers that Response's RecordBatches lie in, and Files; may be nil.
	OnRelease func()
}

// FetchFile is where the records of a partition lie.
type FetchFile struct {
	Index int // of the partition among all of the response
	Range *vfs.Range
}

// ProduceBody is a Produce response.
type ProduceBody struct {
	Response *kmsg.ProduceResponse
	// OnRelease takes back the memory of Response; may be nil.
	OnRelease func()
}

type messageBody struct{ response kmsg.Response }

func (m *messageBody) Key() int16 { return m.response.Key() }

func (m *messageBody) SetThrottle(timeMs int32) {
	if t, ok := m.response.(kmsg.SetThrottleResponse); ok {
		t.SetThrottle(timeMs)
	}
}

func (m *messageBody) AppendTo(f *Frame, version int16) {
	m.response.SetVersion(version)
	f.buf = m.response.AppendTo(f.buf)
}

func (m *messageBody) EachError(yield func(code int16)) { eachError(m.response, yield) }

func (m *messageBody) Release() {}

// Key is Fetch's key.
func (b *FetchBody) Key() int16 { return KeyFetch }

// SetThrottle sets the throttle time.
func (b *FetchBody) SetThrottle(timeMs int32) { b.Response.ThrottleMillis = timeMs }

// EachError yields the session's and the partitions' errors.
func (b *FetchBody) EachError(yield func(code int16)) {
	yieldError(b.Response.ErrorCode, yield)
	for i := range b.Response.Topics {
		for j := range b.Response.Topics[i].Partitions {
			yieldError(b.Response.Topics[i].Partitions[j].ErrorCode, yield)
		}
	}
}

// Release returns the record buffers.
func (b *FetchBody) Release() {
	if release := b.OnRelease; release != nil {
		b.OnRelease = nil // before b itself may be used again
		release()
	}
}

// Key is Produce's key.
func (b *ProduceBody) Key() int16 { return KeyProduce }

// SetThrottle sets the throttle time.
func (b *ProduceBody) SetThrottle(timeMs int32) { b.Response.ThrottleMillis = timeMs }

// EachError yields the partitions' errors.
func (b *ProduceBody) EachError(yield func(code int16)) {
	for i := range b.Response.Topics {
		for j := range b.Response.Topics[i].Partitions {
			yieldError(b.Response.Topics[i].Partitions[j].ErrorCode, yield)
		}
	}
}

// Release gives the response's memory back.
func (b *ProduceBody) Release() {
	if b.OnRelease != nil {
		b.OnRelease()
	}
}

func yieldError(code int16, yield func(code int16)) {
	if code != 0 {
		yield(code)
	}
}
