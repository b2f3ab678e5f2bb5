package office

import (
	"errors"
	"testing"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/controller"
	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/quorum"
)

func settings(n int) (records []metadata.Record) {
	for range n {
		records = append(records, &metadata.ConfigRecord{ResourceType: 4, ResourceName: "1", Name: "a", Value: new("b")})
	}
	return records
}

// TestTheImageIsWhatWasProposed: a change that the quorum does not take is not in it, and the next one has its offsets; what is too
// large for one batch is refused, and what may be divided is proposed in pieces.
func TestTheImageIsWhatWasProposed(t *testing.T) {
	t.Parallel()
	static, _, err := config.NewBroker(nil)
	if err != nil {
		t.Fatal(err)
	}
	var refusal error
	var batches []int
	f := New(Options{Controller: controller.New(controller.Options{ClusterID: "c", Features: controller.Features(), NodeID: 1, Broker: static}), Random: env.NewSeededRandom(1),
		Propose: func(o uint64, records [][]byte, _ Done) error {
			if o != 7 {
				t.Errorf("proposes in office %d", o)
			}
			batches = append(batches, len(records))
			return refusal
		}})
	if err := f.ProposeOwn(settings(1)); err != nil || len(batches) > 0 || f.Held().IsSelf {
		t.Fatal("proposes without an office")
	}
	l := quorum.Leadership{LeaderID: 1, Epoch: 3, IsSelf: true, StartOffset: 11, Office: 7}
	if err := errors.Join(f.Begin(l, metadata.EmptyImage(), 0), f.Bootstrap()); err != nil || len(batches) != 1 || f.Held() != l {
		t.Fatal(err, batches)
	}
	start := l.StartOffset + int64(batches[0])
	if in := f.Input(); in.NextOffset != start || in.Image != f.Image() || f.Image().Offset != start-1 {
		t.Fatalf("next is offset %d, the image has %d; %d records were proposed at %d", in.NextOffset, f.Image().Offset, batches[0], l.StartOffset)
	}
	before := f.Image()
	refusal = kafka.ErrNotController
	if err := f.ProposeOwn(settings(2)); !errors.Is(err, refusal) || f.Image() != before || f.Input().NextOffset != start {
		t.Errorf("%v: the image of a change that was refused has offset %d", err, f.Image().Offset)
	}
	refusal = nil
	huge := []metadata.Record{&metadata.ConfigRecord{ResourceType: 4, ResourceName: "1", Name: "a", Value: new(string(make([]byte, quorum.MaxBatchBytes)))}}
	if err := f.ProposeOwn(huge); kafka.CodeOf(err) != kafka.ErrPolicyViolation || f.Image() != before {
		t.Errorf("a change that is too large: %v", err)
	}
	batches = nil
	if err := f.ProposeOwn(settings(2*divideRecords + 5)); err != nil || len(batches) != 3 || batches[2] != 5 || f.Input().NextOffset != start+2*divideRecords+5 {
		t.Errorf("%v: batches %v, next offset %d", err, batches, f.Input().NextOffset)
	}
	f.End()
	if f.Held().IsSelf || f.Image() != nil {
		t.Error("an office that has ended is held")
	}
}
