package fault

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// mtuBytes is that of the tunnels: larger than Ethernet's, so that a test's traffic costs fewer packets.
const mtuBytes = 8000

// Namespace is a network namespace with one address on a Network.
type Namespace struct {
	Address netip.Addr

	file   *os.File // the namespace
	tunnel *os.File // what its processes send to other addresses is read here
}

// inNewThread runs f in a thread that ends with it, since f leaves it in another namespace.
func inNewThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

func newNamespace(address netip.Addr) (n *Namespace, err error) {
	n = &Namespace{Address: address}
	err = inNewThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("a network namespace: %w", err)
		}
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return err
		}
		return n.open()
	})
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// open gives the namespace, which the thread is in, its two devices.
func (n *Namespace) open() error {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("/dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq("link")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("a tunnel: %w", err)
	}
	n.tunnel = os.NewFile(uintptr(fd), "tunnel of "+n.Address.String())
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	for _, step := range []struct {
		device  string
		request uint
		set     func(*unix.Ifreq) error
	}{
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
		{"link", unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(n.Address.AsSlice()) }},
		{"link", unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{"link", unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtuBytes); return nil }},
		{"link", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		request, err := unix.NewIfreq(step.device)
		if err != nil {
			return err
		}
		if err := step.set(request); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(socket, step.request, request); err != nil {
			return fmt.Errorf("device %s of %s, request %#x: %w", step.device, n.Address, step.request, err)
		}
	}
	return nil
}

func (n *Namespace) close() {
	for _, f := range []*os.File{n.tunnel, n.file} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// within runs f in a thread that is in the namespace. Sockets and processes that f creates stay there.
func (n *Namespace) within(f func() error) error {
	return inNewThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the namespace of %s: %w", n.Address, err)
		}
		return f()
	})
}

// Dial connects from the namespace to an address given in numbers, with which the socket is made in the caller's
// thread. It fits kgo.Dialer.
func (n *Namespace) Dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = n.within(func() error {
		dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: -1}
		conn, err = dialer.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Start starts a command in the namespace. The clock is that which its process will see, nil for the machine's.
func (n *Namespace) Start(cmd *exec.Cmd, clock *Clock) error {
	return n.within(func() error {
		if clock == nil {
			return cmd.Start()
		}
		return clock.start(cmd)
	})
}
