package controller

import "testing"

// TestTurnedOffItLeavesANewBrokerAlone, and who was there, until somebody asks: a broker that came meanwhile is given its share when all
// are evened out.
func TestTurnedOffItLeavesANewBrokerAlone(t *testing.T) {
	t.Parallel()
	w := newBalancing(t, 3, 24)
	w.set("moldau.balancer.mode", "off")
	w.run(2)
	w.addBroker(4, false)
	before := w.image.Offset
	w.run(120)
	w.expect(4, 0, 0)
	w.expectWhy("off", "moldau.balancer.mode")
	if w.joining() != "[]" || w.image.Offset != before {
		t.Errorf("joining %s, %d records", w.joining(), w.image.Offset-before)
	}
	w.set("moldau.balancer.joining.brokers", "1,2,3,4")
	w.run(60)
	if r, l := w.loads(4); r < 10 || l < 4 {
		t.Errorf("after it was asked for: %d replicas, %d leaders", r, l)
	}
}
