package vfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestSendsWhatTheSystemRefusesTo sends a file of a file system that has no way for sendfile, beside one of a
// file system that has.
func TestSendsWhatTheSystemRefusesTo(t *testing.T) {
	t.Parallel()
	ordinary := filepath.Join(t.TempDir(), "ordinary")
	if err := os.WriteFile(ordinary, bytes.Repeat([]byte("0123456789"), 30_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{ordinary, "/proc/self/auxv"} {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file, err := OS{}.Open(path, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }()
		sockets, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		from, to := sockets[0], os.NewFile(uintptr(sockets[1]), "receiver")
		defer func() { _, _ = syscall.Close(from), to.Close() }()
		const skip = 7
		var got []byte
		buffer := make([]byte, 5000)
		full := 0
		for len(got) < len(want)-skip {
			n, err := file.(Sender).SendTo(uintptr(from), int64(skip+len(got)), len(want)-skip-len(got))
			if err != nil || n == 0 {
				t.Fatalf("%s: %d bytes sent after %d, %v", path, n, len(got), err)
			}
			for end := len(got) + n; len(got) < end; { // it is in the socket
				n, err := to.Read(buffer[:min(len(buffer), end-len(got))])
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, buffer[:n]...)
			}
		}
		if !bytes.Equal(got, want[skip:]) {
			t.Errorf("%s: other bytes than the file's", path)
		}
		if n, err := file.(Sender).SendTo(uintptr(from), int64(len(want)), 10); n != 0 || err != nil {
			t.Errorf("%s: %d bytes behind its end, %v", path, n, err)
		}
		for ; err == nil && full < 1<<20; full++ {
			_, err = file.(Sender).SendTo(uintptr(from), 0, 100)
		}
		if !errors.Is(err, syscall.EAGAIN) {
			t.Errorf("%s: a full socket: %v", path, err)
		}
	}
}
