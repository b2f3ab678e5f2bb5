package peer

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSilentNetworkIsNoticed: the system ends a connection between nodes whose other side is out of reach, and does not wait
// for minutes. How soon nodes find each other after a cut is in test/apptest/nemesis.
func TestSilentNetworkIsNoticed(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conn, err := Network(nil).open(t.Context(), Address{Host: "127.0.0.1", Port: uint16(listener.Addr().(*net.TCPAddr).Port)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ level, option, want int }{
		{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 3000}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
	} {
		var got int
		var failed error
		if err := raw.Control(func(fd uintptr) { got, failed = unix.GetsockoptInt(int(fd), c.level, c.option) }); err != nil || failed != nil || got != c.want {
			t.Errorf("option %d is %d, want %d: %v, %v", c.option, got, c.want, err, failed)
		}
	}
}
