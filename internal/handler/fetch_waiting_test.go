package handler

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// askedOnce has something happen when an authorizer is asked next.
type askedOnce struct {
	security.Authorizer
	then func()
}

func (a *askedOnce) Authorize(p security.Principal, host string, o security.Operation, r security.Resource) bool {
	if then := a.then; then != nil {
		a.then = nil
		then()
	}
	return a.Authorizer.Authorize(p, host, o, r)
}

// TestFollowersWaitForWhatTheyDoNotName: a follower's fetch that names one idle partition of its session, or none, hears at once of what
// happens to another that stands, whenever that is.
func TestFollowersWaitForWhatTheyDoNotName(t *testing.T) {
	t.Parallel()
	const (
		mostWait = time.Minute
		meantime = time.Second / 2 // before the session looks at everything
	)
	produce := func(d *dataPlane) {
		d.doProduce(withProduce(newProduceRequest(9, 1), "other", 0, records(d.tb, -1, "a")))
	}
	for name, c := range map[string]struct {
		after     time.Duration // the fetch has begun; 0 for between what its session says and what it reads
		happens   func(d *dataPlane)
		names     bool
		wantAfter time.Duration
		want      kafka.ErrorCode
		records   bool
	}{
		"nothing":                     {meantime, func(*dataPlane) {}, false, mostWait, kafka.ErrNone, false},
		"records come before":         {0, produce, true, 0, kafka.ErrNone, true},
		"records come":                {meantime, produce, true, meantime, kafka.ErrNone, true},
		"records come, nothing named": {meantime, produce, false, meantime, kafka.ErrNone, true},
		"another leads": {meantime, func(d *dataPlane) {
			change := metadata.NewPartitionChangeRecord(topicIDOf("other"), 0)
			change.Leader = 2
			d.apply(change)
		}, false, meantime, kafka.ErrFencedLeaderEpoch, false},
		"its replica goes": {meantime, func(d *dataPlane) {
			change := metadata.NewPartitionChangeRecord(topicIDOf("other"), 0)
			change.Replicas, change.ISR, change.Directories = []int32{1}, []int32{1}, make([]kafka.UUID, 1)
			d.apply(change)
		}, false, meantime, kafka.ErrUnknownLeaderEpoch, false},
		"the log dir fails": {meantime, func(d *dataPlane) {
			d.storage.FailDir("/data", errors.New("broken"))
			d.replicas.WakeOffline()
		}, false, meantime, kafka.ErrKafkaStorageError, false},
		"a topic is deleted": {meantime, func(d *dataPlane) { d.apply(&metadata.RemoveTopicRecord{TopicID: topicIDOf("other")}) }, false, meantime, kafka.ErrUnknownTopicOrPartition, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDataPlane(t)
				d.createReplicated("other")
				full := withFetch(newFetchRequest(17, 0, 0), "other", 0, 0)
				if c.names {
					d.createReplicated("named")
					withFetch(full, "named", 0, 0)
				}
				full.MaxWaitMillis = 0
				for i := range full.Topics {
					full.Topics[i].Partitions[0].CurrentLeaderEpoch = 0
				}
				first, release := d.fetchAs(brokerTwo, 0, full)
				id := first.SessionID
				release()
				fetch := func(epoch int32, wait time.Duration) (time.Duration, int) {
					req := newFetchRequest(17, id, epoch)
					if c.names {
						withFetch(req, "named", 0, 0).Topics[0].Partitions[0].CurrentLeaderEpoch = 0
					}
					req.MaxWaitMillis, req.MinBytes = int32(wait.Milliseconds()), 1
					start := time.Now()
					resp, release := d.fetchAs(brokerTwo, 0, req)
					defer release()
					if resp.ErrorCode != 0 {
						t.Fatalf("epoch %d: %+v", epoch, resp)
					}
					for _, topic := range resp.Topics {
						if p := topic.Partitions[0]; topic.TopicID != topicIDOf("other") || epoch == 1 && kafka.ErrorCode(p.ErrorCode) != c.want || len(p.RecordBatches) > 0 != c.records {
							t.Errorf("epoch %d: %+v", epoch, topic)
						}
					}
					return time.Since(start), len(resp.Topics)
				}
				if c.after > 0 {
					time.AfterFunc(c.after, func() { c.happens(d) })
				} else {
					d.fetch.Authorizer = &askedOnce{d, func() { c.happens(d) }}
				}
				want := 0
				if c.records || c.want != kafka.ErrNone {
					want = 1
				}
				if took, told := fetch(1, mostWait); took != c.wantAfter || told != want {
					t.Errorf("hears of %d partitions after %v", told, took)
				}
				// The follower has not said that it has taken that.
				if _, told := fetch(2, 0); told != want {
					t.Errorf("hears of %d partitions again", told)
				}
			})
		})
	}
}
