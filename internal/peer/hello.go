package peer

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/wire"
)

// Network opens a connection to an address. nil stands for TCP.
type Network func(ctx context.Context, address Address) (net.Conn, error)

func (n Network) open(ctx context.Context, address Address) (net.Conn, error) {
	if n != nil {
		return n(ctx, address)
	}
	hosts, err := net.DefaultResolver.LookupHost(ctx, address.Host) // not within the dialer's time-out: the first of the name servers may be down
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: connectTimeout, Control: limitSilence,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveInterval, Interval: keepAliveInterval, Count: int(silenceTimeout / keepAliveInterval)}}
	var first error
	for _, host := range hosts {
		socket, err := dialer.DialContext(ctx, "tcp", Address{Host: host, Port: address.Port}.hostPort())
		if err == nil {
			return socket, nil
		}
		first = cmp.Or(first, err)
	}
	return nil, first
}

const (
	// connectTimeout bounds connecting. TCP asks again after 1, 3, 7 … s, so that it would notice late that a network is
	// whole again; whoever dials does so again by itself.
	connectTimeout = time.Second
	// silenceTimeout is after how long a connection ends whose other side confirms nothing. A process that hangs or is stopped
	// does not matter, for which its system answers until its buffer is full. Without that TCP sends again what a network has lost at intervals that
	// double, and 10 s after a cut of 10 s nodes would not have found each other yet.
	silenceTimeout = 3 * time.Second
	// keepAliveInterval is how often the other side's system is asked where nothing else is said.
	keepAliveInterval = time.Second
	// helloTimeout bounds connecting and saying hello.
	helloTimeout = 5 * time.Second
	// maxHelloBytes bounds the answer to a hello.
	maxHelloBytes = 1 << 20
)

// Probe asks who is at an address and leaves. Who is there is not checked.
func Probe(ctx context.Context, self Self, address Address, network Network) (*wire.PeerHelloResponse, error) {
	socket, hello, err := greet(ctx, self, address, wire.PurposeProbe, network)
	if err != nil {
		return nil, err
	}
	_ = socket.Close()
	return hello, nil
}

// Refuses reports whether nobody listens at an address: its machine answers, and the process is gone. Silence says nothing.
func Refuses(ctx context.Context, self Self, address Address) bool {
	_, err := Probe(ctx, self, address, nil)
	return isRefused(err)
}

// greet connects to an address and says hello.
func greet(ctx context.Context, self Self, address Address, purpose wire.PeerPurpose, network Network) (net.Conn, *wire.PeerHelloResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	socket, err := network.open(ctx, address)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot connect to %s: %w", address, err)
	}
	// Whatever ends ctx ends the reads and writes.
	unhook := context.AfterFunc(ctx, func() { _ = socket.SetDeadline(time.Unix(1, 0)) })
	hello, err := exchangeHello(socket, self, purpose)
	if !unhook() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = socket.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, fmt.Errorf("cannot say hello to %s: %w", address, err)
	}
	return socket, hello, nil
}

func exchangeHello(socket net.Conn, self Self, purpose wire.PeerPurpose) (*wire.PeerHelloResponse, error) {
	request := &wire.PeerHelloRequest{FormatVersion: self.SpokenFormats().Min, MaxFormat: self.SpokenFormats().Max, ClusterID: self.ClusterID(), NodeID: self.NodeID,
		DirectoryID: self.DirectoryID, IncarnationID: self.IncarnationID, Purpose: purpose}
	if _, err := socket.Write(kmsg.NewRequestFormatter().AppendRequest(nil, request, 0)); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(socket, head[:]); err != nil {
		return nil, err
	}
	size, id := int32(binary.BigEndian.Uint32(head[:])), binary.BigEndian.Uint32(head[4:])
	if size < 4 || size > maxHelloBytes || id != 0 {
		return nil, fmt.Errorf("%w: an answer of %d bytes to request %d, which is none to a hello", wire.ErrBadResponse, size, id)
	}
	frame := make([]byte, size-4)
	if _, err := io.ReadFull(socket, frame); err != nil {
		return nil, err
	}
	response, err := wire.DecodeResponse(request, frame)
	if err != nil {
		return nil, err
	}
	return response.(*wire.PeerHelloResponse), nil
}

// checkHello says whether the node that has answered is the one that is wanted, and wants this one.
func checkHello(self Self, address Address, hello *wire.PeerHelloResponse) error {
	mismatch := func(what, want, got string) error { return &MismatchError{address, what, want, got} }
	theirs := wire.PeerFormats{Min: hello.FormatVersion, Max: hello.MaxFormat}
	_, understood := self.SpokenFormats().Common(theirs)
	ours, isSelf := self.ClusterID(), hello.IncarnationID == self.IncarnationID
	switch {
	case !understood:
		return mismatch("version of the requests between nodes", self.SpokenFormats().String(), theirs.String())
	case ours != "" && hello.ClusterID != "" && hello.ClusterID != ours:
		return mismatch("cluster.id", ours, hello.ClusterID)
	case address.NodeID != kafka.NoNode && hello.NodeID != address.NodeID:
		return mismatch("node.id", strconv.Itoa(int(address.NodeID)), strconv.Itoa(int(hello.NodeID)))
	case hello.NodeID == self.NodeID && !isSelf:
		return mismatch("node.id", "another one than its own", strconv.Itoa(int(hello.NodeID)))
	case hello.ErrorCode != 0:
		refusal := &kafka.Error{Code: kafka.ErrorCode(hello.ErrorCode), Message: address.String() + " refuses the hello"}
		if hello.ErrorMessage != nil {
			refusal.Message += ": " + *hello.ErrorMessage
		}
		return refusal
	}
	return nil
}
