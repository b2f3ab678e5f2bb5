// Package expect has what the suites of Go clients in modules of their own share: what the run says of
// itself, and assertions.
package expect

import (
	"fmt"
	"os"
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
