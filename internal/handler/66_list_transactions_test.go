package handler

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestListTransactions(t *testing.T) {
	f := newTxnPlane(t)
	a, b := f.init("a"), f.init("b-1")
	f.init("b-2")
	f.mustWrite("b-1", b, "t", 0, 0)
	type request = kmsg.ListTransactionsRequest
	list := func(version int16, change func(r *request)) (ids []string, resp *kmsg.ListTransactionsResponse) {
		t.Helper()
		req := kmsg.NewPtrListTransactionsRequest()
		change(req)
		resp = ask[*kmsg.ListTransactionsResponse](f, version, req)
		for _, listed := range resp.TransactionStates {
			ids = append(ids, listed.TransactionalID)
		}
		slices.Sort(ids)
		return ids, resp
	}
	pattern := func(p string) func(r *request) { return func(r *request) { r.TransactionalIDPattern = &p } }
	longer := func(ms int64) func(r *request) { return func(r *request) { r.DurationFilterMillis = ms } }
	for _, c := range []struct {
		what string
		from int16
		with func(r *request)
		want []string
	}{
		{"all", 0, func(*request) {}, []string{"a", "b-1", "b-2"}},
		{"state", 0, func(r *request) { r.StateFilters = []string{"Ongoing"} }, []string{"b-1"}},
		{"two states, one unknown", 0, func(r *request) { r.StateFilters = []string{"Ongoing", "Resting"} }, []string{"b-1"}},
		{"unknown state", 0, func(r *request) { r.StateFilters = []string{"ongoing"} }, nil},
		{"producer id", 0, func(r *request) { r.ProducerIDFilters = []int64{a.ID, 7} }, []string{"a"}},
		{"too young", 1, func(r *request) { r.DurationFilterMillis, r.StateFilters = 600_000, []string{"Ongoing"} }, nil},
		{"any age", 1, longer(-1), []string{"a", "b-1", "b-2"}},
		{"pattern", 2, pattern("b-."), []string{"b-1", "b-2"}},
		{"pattern of a part", 2, pattern("b"), nil},
		{"empty pattern", 2, pattern(""), []string{"a", "b-1", "b-2"}},
	} {
		for version := c.from; version <= 2; version++ {
			if got, _ := list(version, c.with); !slices.Equal(got, c.want) {
				t.Errorf("%s, version %d: %v, want %v", c.what, version, got, c.want)
			}
		}
	}
	if _, resp := list(0, func(r *request) { r.StateFilters = []string{"Resting", "Empty"} }); !slices.Equal(resp.UnknownStateFilters, []string{"Resting"}) {
		t.Errorf("unknown states %v", resp.UnknownStateFilters)
	}
	_, resp := list(2, pattern("("))
	wantCode(t, "no regular expression", resp.ErrorCode, kafka.ErrInvalidRegularExpression)
	f.denied[security.TransactionalID("a")] = true
	if got, _ := list(2, func(*request) {}); !slices.Equal(got, []string{"b-1", "b-2"}) {
		t.Errorf("with an id that the client may not see: %v", got)
	}
}
