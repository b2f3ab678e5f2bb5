package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn is a connection that sends a request in exactly the version it is given, right or wrong.
type conn struct {
	addr     string
	tcp      net.Conn
	clientID string
}

func dial(addr string) (*conn, error) {
	tcp, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{addr: addr, tcp: tcp, clientID: "parity"}, nil
}

// request sends r in the given version and returns the decoded answer; a closed connection is
// the error errClosed, since whether a broker closes is part of its behaviour.
func (c *conn) request(r kmsg.Request, version int16) (kmsg.Response, error) {
	r.SetVersion(version)
	if _, err := c.tcp.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.clientID)).AppendRequest(nil, r, 1)); err != nil {
		return nil, errClosed
	}
	if p, ok := r.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
		return nil, nil
	}
	return c.read(r)
}

// read reads the answer to r.
func (c *conn) read(r kmsg.Request) (kmsg.Response, error) {
	_ = c.tcp.SetReadDeadline(time.Now().Add(20 * time.Second))
	var head [4]byte
	if _, err := io.ReadFull(c.tcp, head[:]); err != nil {
		return nil, errClosed
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 4 || size > 100<<20 {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c.tcp, body); err != nil {
		return nil, errClosed
	}
	body = body[4:]                      // correlation id
	if r.IsFlexible() && r.Key() != 18 { // ApiVersions' answer has the old header in every version
		body = body[1:] // no tagged fields
	}
	response := r.ResponseKind()
	if err := response.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("undecodable answer: %w", err)
	}
	return response, nil
}

type closedError struct{}

func (closedError) Error() string { return "the broker closed the connection" }

var errClosed = closedError{}
