package broker

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/quorum"
)

// TestVoterTakesMessagesWhereItIsAdded: a node answers a hello at its listener for brokers, too; as a voter that is
// reached there it would never vote, and a quorum of two would stop for good.
func TestVoterTakesMessagesWhereItIsAdded(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.start(0, 1)
	c.start(2)
	third := c.running[2]
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.VoterID, req.VoterDirectoryID = 3, third.dirs.DirectoryIDs[c.folder(2)]
	l := kmsg.NewAddRaftVoterRequestListener()
	l.Name, l.Host, l.Port = "CONTROLLER", "127.0.0.1", uint16(third.boundPort("PLAINTEXT"))
	req.Listeners = append(req.Listeners, l)
	resp, err := c.running[0].channel.Send(t.Context(), self, req)
	if err != nil {
		t.Fatal(err)
	}
	if r := resp.(*kmsg.AddRaftVoterResponse); kafka.ErrorCode(r.ErrorCode) != kafka.ErrInvalidRequest || !strings.Contains(fmt.Sprint(*r.ErrorMessage), "controller listener") {
		t.Errorf("%v", kafka.ErrorCode(r.ErrorCode))
	}
	if voters := c.running[0].quorum.Voters(); len(voters) != 2 {
		t.Errorf("the voters are %+v", voters)
	}
}

// TestVoterChangeThatIsNotCommittedInTime is answered as Kafka does, not as a fault of the server.
func TestVoterChangeThatIsNotCommittedInTime(t *testing.T) {
	t.Parallel()
	resp := answerOf(kmsg.NewPtrAddRaftVoterRequest(), context.DeadlineExceeded, quorum.Leadership{}).(*kmsg.AddRaftVoterResponse)
	if code := kafka.ErrorCode(resp.ErrorCode); code != kafka.ErrRequestTimedOut {
		t.Errorf("%v", code)
	}
}
