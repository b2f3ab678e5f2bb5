package load

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// errMoved says that another broker has what was asked for.
var errMoved = errors.New("another broker leads or coordinates by now")

// link is a connection on which one request is under way at a time.
type link struct {
	conn    net.Conn
	answers chan []byte // closed when the connection ends
	out     []byte
}

// links are connections by address.
type links map[string]*link

func (all links) close() {
	for _, l := range all {
		l.conn.Close()
	}
}

func (all links) to(addr string) (*link, error) {
	if l := all[addr]; l != nil {
		return l, nil
	}
	conn, err := net.DialTimeout("tcp", addr, insistentTimeout)
	if err != nil {
		return nil, err
	}
	l := &link{conn: conn, answers: make(chan []byte, 1)}
	all[addr] = l
	go l.read()
	return l, nil
}

func (all links) drop(addr string) {
	if l := all[addr]; l != nil {
		l.conn.Close()
		delete(all, addr)
	}
}

func (l *link) send(request kmsg.Request) error {
	l.out = kmsg.NewRequestFormatter(kmsg.FormatterClientID("insistent")).AppendRequest(l.out[:0], request, 0)
	_, err := l.conn.Write(l.out)
	return err
}

// ask sends a small request to a broker and returns its answer, nil where there is none soon.
func (all links) ask(addr string, request kmsg.Request) kmsg.Response {
	l, err := all.to(addr)
	if err != nil {
		return nil
	}
	var answer []byte
	if err := l.send(request); err == nil {
		select {
		case answer = <-l.answers:
		case <-time.After(insistentTimeout):
		}
	}
	response := request.ResponseKind()
	if answer == nil || response.ReadFrom(answer) != nil {
		all.drop(addr)
		return nil
	}
	return response
}

// await sends a request and waits for its answer. Whenever that takes long, moved is called: true ends the wait with errMoved.
func (l *link) await(ctx context.Context, request kmsg.Request, moved func() bool) (kmsg.Response, error) {
	if err := l.send(request); err != nil {
		return nil, err
	}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case answer, ok := <-l.answers:
			if !ok {
				return nil, io.ErrUnexpectedEOF
			}
			response := request.ResponseKind()
			return response, response.ReadFrom(answer)
		case <-time.After(doubtAfter):
			if moved() {
				return nil, errMoved
			}
		}
	}
}

// anyBut asks the brokers but the suspect, beginning with a different one for different askers, until one knows.
func anyBut(ctx context.Context, seeds []string, suspect string, first int, knows func(addr string) bool) bool {
	for i := range seeds {
		addr := seeds[(i+first)%len(seeds)]
		if addr != suspect && ctx.Err() == nil && knows(addr) {
			return true
		}
	}
	return false
}

// read hands over answers without their correlation ids until the connection ends.
func (l *link) read() {
	defer close(l.answers)
	in := bufio.NewReader(l.conn)
	for {
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return
		}
		answer := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(in, answer); err != nil || len(answer) < 4 {
			return
		}
		l.answers <- answer[4:]
	}
}
