package coordinator

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/txn"
)

// enlistmentsTo returns the way to coordinators on other brokers; hangs says which transactional ids' shards hang there.
func enlistmentsTo(t *testing.T, hangs func(broker int32, id string) bool) (e *Enlistments, calls *atomic.Int32) {
	t.Helper()
	spawner := env.NewSpawner(t.Context(), func(name string, err error) { t.Errorf("%s: %v", name, err) })
	t.Cleanup(spawner.Stop)
	calls = &atomic.Int32{}
	call := func(ctx context.Context, broker int32, req kmsg.Request) (kmsg.Response, error) {
		calls.Add(1)
		asked, resp := req.(*kmsg.AddPartitionsToTxnRequest), kmsg.NewPtrAddPartitionsToTxnResponse()
		for _, a := range asked.Transactions {
			if hangs(broker, a.TransactionalID) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			answer := kmsg.AddPartitionsToTxnResponseTransaction{TransactionalID: a.TransactionalID}
			for _, topic := range a.Topics {
				answer.Topics = append(answer.Topics, kmsg.AddPartitionsToTxnResponseTransactionTopic{
					Topic: topic.Topic, Partitions: make([]kmsg.AddPartitionsToTxnResponseTransactionTopicPartition, len(topic.Partitions)),
				})
			}
			resp.Transactions = append(resp.Transactions, answer)
		}
		return resp, nil
	}
	e = &Enlistments{call: call, local: &Transactions{o: TransactionsOptions{Spawner: spawner}}}
	e.remote = newOutbox("transaction-enlistments", EnlistmentLanes, spawner, metrics.NewRegistry(), e.send)
	return e, calls
}

// asked is what became of a question.
type asked struct {
	code  kafka.ErrorCode
	after time.Duration
}

func askOf(ctx context.Context, e *Enlistments, broker int32, id string) *atomic.Pointer[asked] {
	var out atomic.Pointer[asked]
	began := time.Now()
	go func() {
		codes, err := e.ask(ctx, broker, &enlistment{AddRequest: txn.AddRequest{TransactionalID: id, Partitions: []kafka.TopicPartition{{Topic: "t"}}}})
		if err == nil {
			out.Store(&asked{codes[0], time.Since(began)})
		}
	}()
	return &out
}

// TestHungCoordinatorHoldsUpNobodyElse has one shard of a broker hang, and a whole other broker.
func TestHungCoordinatorHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, calls := enlistmentsTo(t, func(broker int32, id string) bool { return broker == 2 || id == "hung" })
		hung, other := askOf(t.Context(), e, 1, "hung"), askOf(t.Context(), e, 2, "a")
		synctest.Wait()
		well := askOf(t.Context(), e, 1, "a")  // waits behind the one that hangs, for a moment
		third := askOf(t.Context(), e, 3, "a") // another broker
		<-time.After(slowSend + time.Millisecond)
		synctest.Wait()
		for name, got := range map[string]*asked{"the same broker": well.Load(), "another broker": third.Load()} {
			if got == nil || got.code != kafka.ErrNone || got.after > slowSend {
				t.Errorf("%s: %+v", name, got)
			}
		}
		<-time.After(enlistTimeout)
		synctest.Wait()
		for name, got := range map[string]*asked{"a hung shard": hung.Load(), "a hung broker": other.Load()} {
			if got == nil || got.code != kafka.ErrCoordinatorNotAvailable || got.after != enlistTimeout {
				t.Errorf("%s: %+v, want COORDINATOR_NOT_AVAILABLE after %s", name, got, enlistTimeout)
			}
		}
		<-time.After(enlistCallTimeout)
		synctest.Wait()
		if calls.Load() != 4 || len(e.remote.queues) != 0 {
			t.Errorf("%d calls, %d brokers with work left", calls.Load(), len(e.remote.queues))
		}
	})
}

// TestLanesAreBounded has everything hang at a broker: what has waited in vain is not even sent.
func TestLanesAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, calls := enlistmentsTo(t, func(int32, string) bool { return true })
		for range 20 {
			askOf(t.Context(), e, 1, "hung")
			<-time.After(2 * slowSend)
		}
		synctest.Wait()
		if calls.Load() != EnlistmentLanes {
			t.Errorf("%d requests at a time, want %d", calls.Load(), EnlistmentLanes)
		}
		<-time.After(2 * enlistCallTimeout)
		synctest.Wait()
		if calls.Load() != EnlistmentLanes || len(e.remote.queues) != 0 {
			t.Errorf("%d requests, %d brokers with work left", calls.Load(), len(e.remote.queues))
		}
	})
}

// TestMarkerOfAHungShardOfGroups is answered in time, for the coordinator of the transaction to try again.
func TestMarkerOfAHungShardOfGroups(t *testing.T) {
	withRuntime(t, func(f *fixture) {
		f.log.manual = true
		f.elect(1)
		pending := f.runtime.BeginPatient(0, note("a"))
		began := time.Now()
		code := (&Markers{}).finish(f.t.Context(), began.Add(markerTimeout), testTP, &startedMarker{inGroups: &pending})
		if took := time.Since(began); code != kafka.ErrRequestTimedOut || took != markerTimeout {
			t.Errorf("%v after %s, want REQUEST_TIMED_OUT after %s", code, took, markerTimeout)
		}
	})
}
