package load

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

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
