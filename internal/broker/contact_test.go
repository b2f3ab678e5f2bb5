package broker

import (
	"testing"

	"github.com/moldau/moldau/internal/peer"
)

// A broker that sends and hears nothing is out of contact after its session; what it sends does not count.
func TestContactNeedsAnswersOfAMajority(t *testing.T) {
	t.Parallel()
	two, three := peer.Address{NodeID: 2, Host: "two", Port: 1}, peer.Address{NodeID: 3, Host: "three", Port: 1}
	var c contact
	want := func(nowMs int64, lost bool, when string) {
		t.Helper()
		if c.isLost(nowMs) != lost {
			t.Errorf("%s: at %d ms lost is %t", when, nowMs, !lost)
		}
	}
	want(1e9, false, "before any voter is known")
	c.setVoters(true, []peer.Address{two, three}, 1000, 1500)
	want(2499, false, "voters that have not had the time to answer")
	want(2500, true, "no voter answers")
	c.answered(two, 2600, 1500)
	want(4099, false, "one other voter of three answers")
	want(4100, true, "it answers no more")
	c.answered(peer.Address{NodeID: 9}, 4200, 1500)
	want(4200, true, "somebody answers who is no voter")
	c.setVoters(false, []peer.Address{two, three}, 4200, 1500)
	want(4200, true, "a broker that is no voter needs both")
	c.answered(three, 4300, 1500)
	want(4300, true, "one of two")
	c.answered(two, 4400, 1500)
	want(4401, false, "both")
	c.setVoters(true, nil, 5000, 1500)
	want(1e9, false, "it is the only voter")
}
