package broker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

// TestVoterRequests: what a controller asks the leader for, by what the metadata log says of it.
func TestVoterRequests(t *testing.T) {
	t.Parallel()
	at := func(port uint16) []quorum.VoterListener {
		return []quorum.VoterListener{{Name: "CONTROLLER", Host: "localhost", Port: port}}
	}
	self := quorum.VoterSpec{NodeID: 2, DirectoryID: kafka.UUID{2}, Listeners: at(9093)}
	other := quorum.VoterSpec{NodeID: 1, DirectoryID: kafka.UUID{1}, Listeners: at(9091)}
	moved, lost := self, self
	moved.Listeners, lost.DirectoryID = at(9999), kafka.UUID{3}
	two, turned := self, self // the leader's controller.listener.names may have another order
	two.Listeners = append(at(9093), quorum.VoterListener{Name: "OTHER", Host: "localhost", Port: 9094})
	turned.Listeners = []quorum.VoterListener{two.Listeners[1], two.Listeners[0]}
	for _, c := range []struct {
		what   string
		self   quorum.VoterSpec
		voters []quorum.VoterSpec
		joins  bool
		want   string
	}{
		{"known as it is", self, []quorum.VoterSpec{other, self}, true, "<nil>"},
		{"moved", self, []quorum.VoterSpec{other, moved}, false, "*kmsg.UpdateRaftVoterRequest"},
		{"observer", self, []quorum.VoterSpec{other}, false, "<nil>"},
		{"observer that joins", self, []quorum.VoterSpec{other}, true, "*kmsg.AddRaftVoterRequest"},
		{"two listeners in another order", two, []quorum.VoterSpec{turned}, true, "<nil>"},
		{"one listener more", two, []quorum.VoterSpec{self}, false, "*kmsg.UpdateRaftVoterRequest"},
		{"one listener less", self, []quorum.VoterSpec{two}, false, "*kmsg.UpdateRaftVoterRequest"},
		{"lost its disk", self, []quorum.VoterSpec{other, lost}, false, "<nil>"},
		{"lost its disk and joins", self, []quorum.VoterSpec{other, lost}, true, "*kmsg.RemoveRaftVoterRequest"},
	} {
		if got := fmt.Sprintf("%T", voterRequest(c.self, c.voters, c.joins)); got != c.want {
			t.Errorf("%s: asks for %s, want %s", c.what, got, c.want)
		}
	}
}

// TestHandOversAreNoComplaint unless they do not end.
func TestHandOversAreNoComplaint(t *testing.T) {
	t.Parallel()
	var c complaint
	start := time.Now()
	handOver := &kafka.Error{Code: kafka.ErrNotController, Message: "another one leads"}
	for i, step := range []struct {
		after time.Duration
		err   error
		want  bool
	}{
		{0, handOver, false}, {time.Second, fmt.Errorf("node 2: %w", kafka.ErrNotController), false}, {2 * time.Second, nil, false},
		{6 * time.Second, handOver, false}, {7 * time.Second, errNoLeader, false}, {8 * time.Second, context.DeadlineExceeded, true}, {9 * time.Second, context.DeadlineExceeded, false},
		{11 * time.Second, handOver, true}, {12 * time.Second, handOver, false},
	} {
		if got := c.isNew(step.err, start.Add(step.after)); got != step.want {
			t.Errorf("step %d, %v: %v", i, step.err, got)
		}
	}
}

// TestVoterListenersBeginWithTheDefault: others reach a controller through the first that controller.listener.names
// has, whatever the order in listeners.
func TestVoterListenersBeginWithTheDefault(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, map[string]string{"listeners": "PLAINTEXT://127.0.0.1:0,C2://127.0.0.1:0,C1://127.0.0.1:0", "controller.listener.names": "C1,C2"})
	if voters := n.b.quorum.Voters(); len(voters) != 1 || len(voters[0].Listeners) != 2 || voters[0].Listeners[0].Name != "C1" {
		t.Errorf("%+v", voters)
	}
}
