package wire

import (
	"encoding/binary"
	"net"
)

// Frame is one encoded response: bytes of its own, and between them slices that belong to
// others (record batches), so that records are never copied. Its memory is reused by Reset.
type Frame struct {
	buf []byte
	// external slices are written before buf[at:].
	external []externalBytes
	size     int
}

type externalBytes struct {
	at   int
	data []byte
}

// frameSizeLength is the length of the size field that begins every frame.
const frameSizeLength = 4

// Reset empties f for the next response.
func (f *Frame) Reset() {
	f.buf = f.buf[:0]
	clear(f.external)
	f.external = f.external[:0]
	f.size = 0
}

// SizeBytes is the size of the whole frame on the wire.
func (f *Frame) SizeBytes() int { return f.size }

// Capacity is how many bytes f holds on to for reuse.
func (f *Frame) Capacity() int { return cap(f.buf) }

// Encode makes f the response to the request with this header.
func (f *Frame) Encode(api *API, version int16, correlationID int32, body ResponseBody) {
	f.Reset()
	f.buf = append(f.buf, 0, 0, 0, 0)
	f.buf = binary.BigEndian.AppendUint32(f.buf, uint32(correlationID))
	// The header of ApiVersions stays at version 0: a client that does not know yet what the
	// broker speaks must be able to read it (KIP-511).
	if api.IsFlexible(version) && api.Key != KeyAPIVersions {
		f.buf = append(f.buf, 0)
	}
	body.AppendTo(f, version)
	f.size = len(f.buf)
	for _, e := range f.external {
		f.size += len(e.data)
	}
	binary.BigEndian.PutUint32(f.buf, uint32(f.size-frameSizeLength))
}

// AppendBuffers appends the frame's bytes in order, for net.Buffers' writev. They alias f and
// the body, so both stay untouched until the write has ended.
func (f *Frame) AppendBuffers(dst net.Buffers) net.Buffers {
	from := 0
	for _, e := range f.external {
		if e.at > from {
			dst = append(dst, f.buf[from:e.at])
		}
		dst = append(dst, e.data)
		from = e.at
	}
	return append(dst, f.buf[from:])
}

// Bytes returns the frame as one slice; tests use it.
func (f *Frame) Bytes() []byte {
	out := make([]byte, 0, f.size)
	for _, b := range f.AppendBuffers(nil) {
		out = append(out, b...)
	}
	return out
}

func (f *Frame) appendExternal(data []byte) {
	if len(data) > 0 {
		f.external = append(f.external, externalBytes{at: len(f.buf), data: data})
	}
}
