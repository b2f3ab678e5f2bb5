package lifecycle

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// life is a broker's life under a script that plays the controller and the clock.
type life struct {
	l     *Lifecycle
	nowMs int64
	facts Facts
	sent  kmsg.Request
}

func newLife() *life {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = 3, "c", kafka.UUID{1}
	return &life{l: New(Options{Registration: req, HeartbeatMs: 100, RegistrationTimeoutMs: 1000, LeaveTimeoutMs: 500, LeaveSilenceMs: 300}, 0), facts: Facts{Ready: true}}
}

// TestScripts: each line of a script is a command; the output is what the broker then says, first
// of all at its start.
//
//	at MS [metadata=OFFSET] [incarnation=N] [offline=N] [ready=0|1]
//	registered epoch=N | registered code=NAME
//	heard [fenced] [go] [code=NAME]
//	lost
//	leave
//	give up
func TestScripts(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		var s *life
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s = newLife()
			var out strings.Builder
			fmt.Fprintln(&out, s.step())
			for line := range strings.SplitSeq(strings.TrimSpace(d.Input), "\n") {
				s.do(t, line)
				fmt.Fprintln(&out, s.step())
			}
			return out.String()
		})
	})
}

func (s *life) do(t *testing.T, line string) {
	t.Helper()
	fields := strings.Fields(line)
	value := func(name string) (text string, number int64, ok bool) {
		for _, f := range fields[1:] {
			if k, v, _ := strings.Cut(f, "="); k == name {
				_, _ = fmt.Sscan(v, &number)
				return v, number, true
			}
		}
		return "", 0, false
	}
	code := func() int16 {
		name, _, ok := value("code")
		if !ok {
			return 0
		}
		for c := kafka.ErrorCode(-1); c < 200; c++ {
			if c.Error() == name {
				return int16(c)
			}
		}
		t.Fatalf("no error is called %s", name)
		return 0
	}
	switch fields[0] {
	case "at":
		if _, err := fmt.Sscan(fields[1], &s.nowMs); err != nil {
			t.Fatal(err)
		}
		if _, n, ok := value("metadata"); ok {
			s.facts.MetadataOffset = n
		}
		if _, n, ok := value("incarnation"); ok {
			s.facts.Incarnation = kafka.UUID{byte(n)}
		}
		if _, n, ok := value("shares"); ok {
			s.facts.SharesDirs = n == 1
		}
		if _, n, ok := value("ready"); ok {
			s.facts.Ready = n == 1
		}
		if _, n, ok := value("offline"); ok {
			s.facts.OfflineDirs = slices.Repeat([]kafka.UUID{{9}}, int(n))
		}
	case "registered":
		r := kmsg.NewPtrBrokerRegistrationResponse()
		_, epoch, _ := value("epoch")
		r.ErrorCode, r.BrokerEpoch = code(), epoch
		s.l.Answered(s.nowMs, s.facts, r, nil)
	case "heard":
		r := kmsg.NewPtrBrokerHeartbeatResponse()
		r.ErrorCode, r.IsFenced, r.ShouldShutdown = code(), slices.Contains(fields, "fenced"), slices.Contains(fields, "go")
		s.l.Answered(s.nowMs, s.facts, r, nil)
	case "lost":
		s.l.Answered(s.nowMs, s.facts, nil, errors.New("no controller"))
	case "give":
		s.l.GiveUp()
	case "leave":
		s.l.Leave(s.nowMs)
	default:
		t.Fatalf("unknown command %q", line)
	}
}

// step returns what the broker does now.
func (s *life) step() string {
	req := s.l.Next(s.nowMs, s.facts)
	what := ""
	switch r := req.(type) {
	case nil:
		if next := s.l.NextDeadlineMs(); next != never {
			what = fmt.Sprintf("waits until %d", next)
		} else {
			what = "waits"
		}
	case *kmsg.BrokerRegistrationRequest:
		what = "registers"
	case *kmsg.BrokerHeartbeatRequest:
		what = fmt.Sprintf("heartbeat epoch=%d metadata=%d", r.BrokerEpoch, r.CurrentMetadataOffset)
		if r.WantFence {
			what += " not ready"
		}
		if r.WantShutdown {
			what += " to leave"
		}
		if len(r.OfflineLogDirs) > 0 {
			what += fmt.Sprintf(" offline=%d", len(r.OfflineLogDirs))
		}
	}
	what = fmt.Sprintf("%d %s: %s", s.nowMs, s.l.State(), what)
	if s.l.IDInUse() {
		what += " (id in use)"
	}
	if s.l.GaveUp() {
		what += " (gave up)"
	}
	if err := s.l.Err(); err != nil {
		what += ": " + err.Error()
	}
	return what
}
