package handler

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/peer"
	"github.com/moldau/moldau/internal/security"
)

// idController allocates blocks of three ids, or fails.
type idController struct {
	mu   sync.Mutex
	next int64
	err  error
	code kafka.ErrorCode
	sent int
}

func (c *idController) Send(_ context.Context, _ peer.Origin, req kmsg.Request) (kmsg.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent++
	r := req.(*kmsg.AllocateProducerIDsRequest)
	if c.err != nil {
		return nil, c.err
	}
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	if r.BrokerID != 1 || r.BrokerEpoch != 77 {
		c.code = kafka.ErrStaleBrokerEpoch
	}
	if resp.ErrorCode = int16(c.code); c.code == kafka.ErrNone {
		resp.ProducerIDStart, resp.ProducerIDLen = c.next, 3
		c.next += 3
	}
	return resp, nil
}

func newIDHandler(c *idController, a security.Authorizer) *InitProducerID {
	return &InitProducerID{Authorizer: a, IDs: NewProducerIDs(1, func() int64 { return 77 }, c)}
}

func initProducer(t *testing.T, h *InitProducerID, change func(r *kmsg.InitProducerIDRequest)) *kmsg.InitProducerIDResponse {
	t.Helper()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.SetVersion(5)
	if change != nil {
		change(req)
	}
	d := &dataPlane{tb: t}
	return answerOf[*kmsg.InitProducerIDResponse](d, h, req)
}

func TestInitProducerID(t *testing.T) {
	t.Parallel()
	id := "tx"
	for _, c := range []struct {
		name   string
		change func(r *kmsg.InitProducerIDRequest)
		denied security.Resource
		want   kafka.ErrorCode
	}{
		{"new", nil, security.Resource{}, kafka.ErrNone},
		{"again, which gives a new one", func(r *kmsg.InitProducerIDRequest) { r.ProducerID, r.ProducerEpoch = 5, 1 }, security.Resource{}, kafka.ErrNone},
		{"id without epoch", func(r *kmsg.InitProducerIDRequest) { r.ProducerID = 5 }, security.Resource{}, kafka.ErrInvalidRequest},
		{"epoch without id", func(r *kmsg.InitProducerIDRequest) { r.ProducerEpoch = 5 }, security.Resource{}, kafka.ErrInvalidRequest},
		{"empty transactional id", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = new(string) }, security.Resource{}, kafka.ErrInvalidRequest},
		{"transactional, not allowed", func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = &id }, security.TransactionalID(id), kafka.ErrTransactionalIDAuthorizationFailed},
		{"not allowed", nil, security.Cluster, kafka.ErrClusterAuthorizationFailed},
	} {
		a := &dataPlane{denied: map[security.Resource]bool{c.denied: true}}
		resp := initProducer(t, newIDHandler(&idController{next: 4000}, a), c.change)
		wantID, wantEpoch := int64(4000), int16(0)
		if c.want != kafka.ErrNone {
			wantID, wantEpoch = -1, -1
		}
		if kafka.ErrorCode(resp.ErrorCode) != c.want || resp.ProducerID != wantID || resp.ProducerEpoch != wantEpoch {
			t.Errorf("%s: %+v", c.name, resp)
		}
	}
}

func TestProducerIDsAreNeverGivenTwice(t *testing.T) {
	t.Parallel()
	c := &idController{}
	h := newIDHandler(c, security.AllowAll{})
	var mu sync.Mutex
	seen := map[int64]bool{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				id, err := h.IDs.Next(t.Context())
				mu.Lock()
				if err != nil || seen[id] {
					t.Errorf("id %d: %v", id, err)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if c.sent != 67 {
		t.Errorf("%d blocks of 3 for 200 ids", c.sent)
	}
}

func TestProducerIDsWithoutController(t *testing.T) {
	t.Parallel()
	for _, c := range []*idController{{err: errors.New("down")}, {code: kafka.ErrStaleBrokerEpoch}} {
		h := newIDHandler(c, security.AllowAll{})
		if resp := initProducer(t, h, nil); kafka.ErrorCode(resp.ErrorCode) != kafka.ErrCoordinatorLoadInProgress || resp.ProducerID != -1 {
			t.Errorf("got %+v", resp)
		}
		c.err, c.code = nil, kafka.ErrNone
		if resp := initProducer(t, h, nil); resp.ErrorCode != 0 {
			t.Errorf("the next request: %+v", resp)
		}
	}
	backwards := &idController{next: 100}
	h := newIDHandler(backwards, security.AllowAll{})
	for range 3 {
		initProducer(t, h, nil)
	}
	backwards.next = 50
	if resp := initProducer(t, h, nil); resp.ErrorCode == 0 {
		t.Errorf("a block that was given out before: %+v", resp)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	<-h.IDs.turn
	if _, err := h.IDs.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
