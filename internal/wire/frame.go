package wire

import (
	"encoding/binary"
	"net"

	"github.com/moldau/moldau/internal/env/vfs"
)

// Frame is one encoded response: bytes of its own, and between them slices and parts of files that
// belong to others (record batches), so that records are never copied. Its memory is reused by Reset.
type Frame struct {
	buf []byte
	// external is written before buf[at:].
	external []externalBytes
	files    int // of external
	size     int
}

type externalBytes struct {
	at   int
	part Part
}

// Part is bytes of a frame, or a part of a file instead.
type Part struct {
	Data []byte
	File *vfs.Range
}

func (p *Part) sizeBytes() int {
	if p.File != nil {
		return p.File.SizeBytes
	}
	return len(p.Data)
}

// frameSizeLength is the length of the size field that begins every frame.
const frameSizeLength = 4

// Reset empties f for the next response.
func (f *Frame) Reset() {
	f.buf = f.buf[:0]
	clear(f.external)
	f.external = f.external[:0]
	f.size, f.files = 0, 0
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
		f.size += e.part.sizeBytes()
	}
	binary.BigEndian.PutUint32(f.buf, uint32(f.size-frameSizeLength))
}

// HasFiles says that AppendParts must be used.
func (f *Frame) HasFiles() bool { return f.files > 0 }

// AppendBuffers appends the bytes of a frame without files in order, for net.Buffers' writev. They
// alias f and the body, so both stay untouched until the write has ended.
func (f *Frame) AppendBuffers(dst net.Buffers) net.Buffers {
	from := 0
	for _, e := range f.external {
		if e.at > from {
			dst = append(dst, f.buf[from:e.at])
		}
		dst = append(dst, e.part.Data)
		from = e.at
	}
	return append(dst, f.buf[from:])
}

// AppendParts appends the frame in order.
func (f *Frame) AppendParts(dst []Part) []Part {
	from := 0
	for _, e := range f.external {
		if e.at > from {
			dst = append(dst, Part{Data: f.buf[from:e.at]})
		}
		dst = append(dst, e.part)
		from = e.at
	}
	return append(dst, Part{Data: f.buf[from:]})
}

// Bytes returns a frame without files as one slice; tests use it.
func (f *Frame) Bytes() []byte {
	out := make([]byte, 0, f.size)
	for _, b := range f.AppendBuffers(nil) {
		out = append(out, b...)
	}
	return out
}

func (f *Frame) appendExternal(data []byte) {
	if len(data) > 0 {
		f.external = append(f.external, externalBytes{at: len(f.buf), part: Part{Data: data}})
	}
}

func (f *Frame) appendFile(file *vfs.Range) {
	f.external = append(f.external, externalBytes{at: len(f.buf), part: Part{File: file}})
	f.files++
}
