package broker

import (
	"fmt"
	"testing"

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
	for _, c := range []struct {
		what   string
		voters []quorum.VoterSpec
		joins  bool
		want   string
	}{
		{"known as it is", []quorum.VoterSpec{other, self}, true, "<nil>"},
		{"moved", []quorum.VoterSpec{other, moved}, false, "*kmsg.UpdateRaftVoterRequest"},
		{"observer", []quorum.VoterSpec{other}, false, "<nil>"},
		{"observer that joins", []quorum.VoterSpec{other}, true, "*kmsg.AddRaftVoterRequest"},
		{"lost its disk", []quorum.VoterSpec{other, lost}, false, "<nil>"},
		{"lost its disk and joins", []quorum.VoterSpec{other, lost}, true, "*kmsg.RemoveRaftVoterRequest"},
	} {
		if got := fmt.Sprintf("%T", voterRequest(self, c.voters, c.joins)); got != c.want {
			t.Errorf("%s: asks for %s, want %s", c.what, got, c.want)
		}
	}
}
