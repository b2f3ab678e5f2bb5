package server

import (
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/wire"
)

// fileWriter writes frames with parts that lie in files, which the kernel sends without a copy in this
// process. A part that is not there any more as it was ends the connection: the response's size
// has been told. It belongs to whom the connection's frame belongs to.
type fileWriter struct {
	socket net.Conn
	raw    syscall.RawConn
	parts  []wire.Part
	left   []wire.Part // of parts; Data of the first is what is left of it
	// data is of the parts before the next file, pending what is left of it.
	data, pending net.Buffers

	// Of the file that is being sent.
	from int // so many bytes have gone
	err  error
	step func(socket uintptr) (done bool) // sendSome, made once
}

// newFileWriter returns nil for a socket that the kernel cannot send files to.
func newFileWriter(socket net.Conn) *fileWriter {
	conn, ok := socket.(syscall.Conn)
	if !ok || !vfs.CanSend {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	w := &fileWriter{socket: socket, raw: raw}
	w.step = w.sendSome
	return w
}

// begin makes frame the one to write.
func (w *fileWriter) begin(frame *wire.Frame) {
	w.parts = frame.AppendParts(w.parts[:0])
	w.left, w.from = w.parts, 0
}

// end lets go of the frame.
func (w *fileWriter) end() {
	clear(w.parts)
	w.left = nil
}

// write sends what is left and returns how many bytes went.
func (w *fileWriter) write() (n int64, err error) {
	for len(w.left) > 0 {
		var sent int64
		if w.left[0].File != nil {
			sent, err = w.send()
		} else {
			sent, err = w.writeData()
		}
		n += sent
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// writeData writes what comes before the next file, with one writev where the socket takes it: many partitions
// with few records each may lie there.
func (w *fileWriter) writeData() (n int64, err error) {
	w.data = w.data[:0]
	for i := 0; i < len(w.left) && w.left[i].File == nil; i++ {
		w.data = append(w.data, w.left[i].Data)
	}
	w.pending = w.data // not on the stack, from where it would escape
	n, err = w.pending.WriteTo(w.socket)
	clear(w.data)
	for gone := n; len(w.left) > 0 && w.left[0].File == nil; w.left = w.left[1:] {
		part := &w.left[0]
		if gone < int64(len(part.Data)) {
			part.Data = part.Data[gone:]
			break
		}
		gone -= int64(len(part.Data))
	}
	return n, err
}

// send sends what is left of a file.
func (w *fileWriter) send() (n int64, err error) {
	before := w.from
	w.err = nil
	if err = w.raw.Write(w.step); err == nil {
		err = w.err
	}
	n = int64(w.from - before)
	if err == nil {
		w.left, w.from = w.left[1:], 0
	}
	return n, err
}

// sendSome sends as much of a file as the socket takes; false where that is not all.
func (w *fileWriter) sendSome(socket uintptr) (done bool) {
	file := w.left[0].File
	for w.from < file.SizeBytes {
		n, err := file.SendTo(socket, w.from)
		switch {
		case errors.Is(err, syscall.EAGAIN):
			return false
		case err == nil && n == 0:
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			w.err = err
			return true
		}
		w.from += n
	}
	return true
}
