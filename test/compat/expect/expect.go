// Package expect has what the suites of Go clients in modules of their own share: what the run says of
// itself, and assertions.
package expect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// What test/compat/run says: addresses of brokers (the first of them, and all), how many replicas topics have, the client's version,
// whether counts are small.
var (
	Bootstrap     = os.Getenv("BOOTSTRAP")
	Brokers       = strings.Split(Bootstrap, ",")
	Three         = os.Getenv("COMPAT_THREE") != "" // nodes, of which one after the other is restarted
	Replicas      = replicas()
	ClientVersion = os.Getenv("CLIENT_VERSION")
	Smoke         = os.Getenv("SMOKE") != ""
)

func replicas() int16 {
	if Three {
		return 3
	}
	return 1
}

// Run keeps topics and groups apart when suites run against the same broker.
var Run = os.Getpid()

// Elected says whether an election of the preferred leader ended well: ELECTION_NOT_NEEDED, or, where leaders have moved, none or PREFERRED_LEADER_NOT_AVAILABLE.
func Elected(code int) bool {
	const preferredLeaderNotAvailable, electionNotNeeded = 80, 84
	return code == electionNotNeeded || Three && (code == 0 || code == preferredLeaderNotAvailable)
}

// IsNode says whether id is that of a node: of the only one, or of any, where leaders, coordinators and controllers move.
func IsNode(id int) bool { return id == 1 || Three && id > 1 && id <= len(Brokers) }

// Again returns what call returns. Where nodes are restarted, it calls again as long as the connection breaks or the error is one that
// passes once the node is back or another one has taken over: what a client leaves to its users to repeat.
func Again(passes func(error) bool, call func() error) error {
	deadline := time.Now().Add(Patience)
	for {
		err := call()
		if err == nil || !Three || !disconnected(err) && !passes(err) || time.Now().After(deadline) {
			return err
		}
		<-time.After(100 * time.Millisecond)
	}
}

func disconnected(err error) bool {
	var failed net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &failed)
}

// Delivered returns the values in order. Where nodes are restarted, each is there once, however often it was delivered: an offset whose
// commit was lost with the coordinator is read again.
func Delivered(values []string) []string {
	values = slices.Sorted(slices.Values(values))
	if Three {
		values = slices.Compact(values)
	}
	return values
}

// Patience bounds every wait. It is far above what is needed, since test machines are shared.
const Patience = 40 * time.Second

// Must ends the test with an error, if there is one.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Same ends the test unless it got what it wants.
func Same[T comparable](t *testing.T, what string, want, got T) {
	t.Helper()
	if want != got {
		t.Fatalf("%s: expected %v, got %v", what, want, got)
	}
}

// Until waits until condition holds.
func Until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(Patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("%s: not within %v", what, Patience)
		case <-poll.C:
		}
	}
}

// Numbered returns n values that begin with prefix.
func Numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return list
}
