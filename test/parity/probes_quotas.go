package main

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// The probes set limits of clients whose names nobody else has, and remove them: the other
// probes must not be held back.

// limit sets one limit of an entity such as "user=a client-id=*", where * is the default; no
// value removes it.
func limit(entity, key string, value ...float64) *kmsg.AlterClientQuotasRequest {
	r := kmsg.NewPtrAlterClientQuotasRequest()
	return andLimit(r, entity, key, value...)
}

func andLimit(r *kmsg.AlterClientQuotasRequest, entity, key string, value ...float64) *kmsg.AlterClientQuotasRequest {
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for _, part := range strings.Fields(entity) {
		kind, name, _ := strings.Cut(part, "=")
		p := kmsg.AlterClientQuotasRequestEntryEntity{Type: kind, Name: &name}
		if name == "*" {
			p.Name = nil
		}
		e.Entity = append(e.Entity, p)
	}
	op := kmsg.AlterClientQuotasRequestEntryOp{Key: key, Remove: len(value) == 0}
	if len(value) > 0 {
		op.Value = value[0]
	}
	e.Ops = append(e.Ops, op)
	r.Entries = append(r.Entries, e)
	return r
}

// andOp adds a limit to the last entity.
func andOp(r *kmsg.AlterClientQuotasRequest, key string, value float64) *kmsg.AlterClientQuotasRequest {
	e := &r.Entries[len(r.Entries)-1]
	e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value})
	return r
}

// limitsOf asks for components such as "user=a client-id=* ip"; without = any name will do.
func limitsOf(strict bool, components string) *kmsg.DescribeClientQuotasRequest {
	r := kmsg.NewPtrDescribeClientQuotasRequest()
	r.Strict = strict
	for _, text := range strings.Fields(components) {
		c := kmsg.NewDescribeClientQuotasRequestComponent()
		kind, name, named := strings.Cut(text, "=")
		c.EntityType = kind
		switch {
		case !named:
			c.MatchType = 2
		case name == "*":
			c.MatchType = 1
		default:
			c.Match = &name
		}
		r.Components = append(r.Components, c)
	}
	return r
}

func quotaProbes() []probe {
	var all []probe
	entities := []string{"user=p-q", "user=*", "client-id=p-q", "client-id=*", "user=p-q client-id=p-q", "user=p-q client-id=*", "user=* client-id=p-q", "user=* client-id=*", "ip=10.9.8.7", "ip=*"}
	for v := int16(0); v <= 1; v++ {
		set, removed := kmsg.NewPtrAlterClientQuotasRequest(), kmsg.NewPtrAlterClientQuotasRequest()
		for _, e := range entities {
			key, value := "producer_byte_rate", 1e15
			if strings.HasPrefix(e, "ip") {
				key, value = "connection_creation_rate", 2e9
			}
			andLimit(set, e, key, value)
			andLimit(removed, e, key)
		}
		steps := []step{askSorted(v, set)}
		for _, strict := range []bool{false, true} {
			for _, components := range []string{"", "user", "client-id", "ip", "user client-id", "user=p-q", "user=*", "client-id=p-q", "client-id=*", "user=p-q client-id", "user=* client-id=*", "user client-id=p-q", "ip=10.9.8.7", "ip=*", "user=nobody"} {
				steps = append(steps, askSorted(v, limitsOf(strict, components)))
			}
		}
		all = append(all, probe{fmt.Sprintf("quotas of all kinds v%d", v), append(steps, askSorted(v, removed), askSorted(v, limitsOf(false, "")))},
			probe{fmt.Sprintf("quotas described oddly v%d", v), oddFilters(v)}, probe{fmt.Sprintf("quotas refused v%d", v), refusedQuotas(v)})
	}
	return append(all, probe{"quotas change", changedQuotas()},
		probe{"throttled: produce", throttledProduce()}, probe{"throttled: fetch", throttledFetch()},
		probe{"throttled: request time", throttledTime()}, probe{"throttled: changes of topics", throttledChanges()}, probe{"throttled: connections", throttledConnections()})
}

// askSorted is askOf for answers whose entries come in no particular order.
func askSorted(version int16, r kmsg.Request) step {
	return func(b *broker, c *conn) (string, error) {
		response, err := c.request(r, version)
		if err != nil {
			return "", err
		}
		switch r := response.(type) {
		case *kmsg.DescribeClientQuotasResponse:
			for _, e := range r.Entries {
				sortByText(e.Entity)
				sortByText(e.Values)
			}
			sortByText(r.Entries)
		case *kmsg.AlterClientQuotasResponse:
			for _, e := range r.Entries {
				sortByText(e.Entity)
			}
			sortByText(r.Entries)
			err = settle(b.addr)
		}
		return normalise(response), err
	}
}

func sortByText[T any](items []T) {
	text := func(item T) string {
		encoded, _ := json.Marshal(item) // what the requests here have can always be written
		return string(encoded)
	}
	slices.SortFunc(items, func(a, b T) int { return strings.Compare(text(a), text(b)) })
}

// oddFilters are filters that brokers refuse, and some that they do not.
func oddFilters(version int16) []step {
	name, empty := "x", ""
	var steps []step
	for _, components := range [][]kmsg.DescribeClientQuotasRequestComponent{
		{{}}, {{EntityType: "group", MatchType: 2}}, {{EntityType: "USER", MatchType: 2}}, {{EntityType: "user"}}, {{EntityType: "user", Match: &empty}}, {{EntityType: "user", MatchType: 1, Match: &name}},
		{{EntityType: "user", MatchType: 2, Match: &name}}, {{EntityType: "user", MatchType: 3}}, {{EntityType: "user", MatchType: -1}}, {{EntityType: "user", MatchType: 2}, {EntityType: "user", MatchType: 1}},
		{{EntityType: "user", MatchType: 2}, {EntityType: "ip", MatchType: 1}}, {{EntityType: "ip", MatchType: 2}, {EntityType: "client-id", Match: &name}}, {{EntityType: "ip", Match: &name}},
	} {
		for _, strict := range []bool{false, true} {
			r := kmsg.NewPtrDescribeClientQuotasRequest()
			r.Components, r.Strict = components, strict
			steps = append(steps, askOf(version, r))
		}
	}
	return steps
}

// refusedQuotas are changes that brokers refuse; what is right beside them is made.
func refusedQuotas(version int16) []step {
	validated := limit("user=p-validated", "producer_byte_rate", 5)
	validated.ValidateOnly = true
	badValidated := limit("user=p-validated", "producer_byte_rate", -5)
	badValidated.ValidateOnly = true
	twice := andLimit(limit("user=p-twice", "producer_byte_rate", 1e15), "user=p-twice", "consumer_byte_rate", 1e15)
	doubled := limit("user=p-doubled", "producer_byte_rate", 1e15)
	doubled.Entries[0].Entity = append(doubled.Entries[0].Entity, doubled.Entries[0].Entity[0])
	none := limit("user=p-none", "producer_byte_rate", 1)
	none.Entries[0].Ops = nil
	mixed := andLimit(andLimit(limit("user=p-good", "producer_byte_rate", 1e15), "user=p-bad", "producer_byte_rate", 0), "group=p-worse", "producer_byte_rate", 1)
	var steps []step
	for _, r := range []*kmsg.AlterClientQuotasRequest{validated, badValidated, twice, doubled, none, mixed, kmsg.NewPtrAlterClientQuotasRequest(),
		limit("", "producer_byte_rate", 1), limit("user=", "producer_byte_rate", 1), limit("group=g", "producer_byte_rate", 1), limit("user=a ip=10.0.0.1", "producer_byte_rate", 1),
		limit("client-id=a ip=10.0.0.1", "connection_creation_rate", 1), limit("ip=no.such.host.invalid", "connection_creation_rate", 1), limit("ip=10.0.0.1", "producer_byte_rate", 1), limit("user=a", "connection_creation_rate", 1),
		limit("user=a", "no.such", 1), limit("user=a", "no.such"), limit("user=a", "producer_byte_rate"), limit("user=a", "producer_byte_rate", 0), limit("user=a", "producer_byte_rate", -1), limit("user=a", "producer_byte_rate", 1.5),
		limit("user=a", "producer_byte_rate", 1e19), limit("user=a", "producer_byte_rate", math.Inf(1)), limit("user=a", "request_percentage", 0), limit("user=a", "request_percentage", math.Inf(-1)),
		limit("ip=10.0.0.1", "connection_creation_rate", 0.5), limit("ip=10.0.0.1", "connection_creation_rate", 1<<31), limit("ip=", "connection_creation_rate", 1),
		andOp(limit("user=p-keys", "producer_byte_rate", 5), "producer_byte_rate", 6)} {
		steps = append(steps, askSorted(version, r))
	}
	return append(steps, askSorted(version, limitsOf(false, "user")), askSorted(version, andLimit(limit("user=p-twice", "producer_byte_rate"), "user=p-good", "producer_byte_rate")),
		askOf(version, limit("user=p-doubled", "producer_byte_rate")), askSorted(version, limitsOf(false, "")))
}

// changedQuotas follow one user's limits.
func changedQuotas() []step {
	const user = "user=p-changed"
	return []step{askOf(1, andOp(limit(user, "producer_byte_rate", 1e15), "request_percentage", 1234.5)), askSorted(1, limitsOf(true, user)), askOf(1, limit(user, "producer_byte_rate", 2e15)),
		askSorted(1, limitsOf(true, user)), askOf(1, limit(user, "consumer_byte_rate")), askOf(1, andOp(limit(user, "producer_byte_rate"), "consumer_byte_rate", math.MaxInt64)), askSorted(1, limitsOf(true, user)),
		askOf(1, limit(user, "controller_mutation_rate", 0.001)), askOf(1, limit(user, "controller_mutation_rate")), askOf(1, limit(user, "request_percentage")), askOf(1, limit(user, "consumer_byte_rate")), askSorted(1, limitsOf(false, user))}
}

// as opens a connection of another client. A connection that is held back says nothing to the
// next request, so those that measure take a new one each.
func as(addr, clientID string) (*conn, error) {
	c, err := dial(addr)
	if err == nil {
		c.clientID = clientID
	}
	return c, err
}

// call is a request of a client, on a connection of its own.
type call struct {
	clientID string
	version  int16
	r        kmsg.Request
}

// throttle returns the throttle time, rounded up to so many seconds: less than that should pass
// since the client's first request.
func (k call) throttle(b *broker, seconds float64) (float64, kmsg.Response, error) {
	c, err := as(b.addr, k.clientID)
	if err != nil {
		return 0, nil, err
	}
	defer c.tcp.Close()
	response, err := c.request(k.r, k.version)
	if err != nil {
		return 0, nil, err
	}
	ms, _ := response.(kmsg.ThrottleResponse).Throttle()
	return math.Ceil(float64(ms)/1000/seconds) * seconds, response, nil
}

func limited(entity, key string, value float64, steps ...step) []step {
	return append(append([]step{askOf(1, limit(entity, key, value))}, steps...), askOf(1, limit(entity, key)))
}

// throttledProduce produces faster than it may, and then waits a throttle time out.
func throttledProduce() []step {
	const clientID = "p-throttled-producer"
	value := strings.Repeat("x", 100_000-150)
	request := func(acks int16) kmsg.Request {
		return produce("p-throttled", 0, acks, batch(1_700_000_000_000, value))
	}
	steps := append([]step{topic("p-throttled", 1)}, limited("client-id="+clientID, "producer_byte_rate", 50_000, func(b *broker, _ *conn) (string, error) {
		var out strings.Builder
		for i := range 9 {
			throttle, _, err := call{clientID, 7, request(1)}.throttle(b, 2)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "request %d: %v s\n", i, throttle)
		}
		return out.String(), nil
	}, func(b *broker, _ *conn) (string, error) {
		// Others, and other requests of the client, are not held back.
		throttle, _, err := call{"p-other", 7, request(1)}.throttle(b, 1)
		again, _, err2 := call{clientID, 5, kmsg.NewPtrMetadataRequest()}.throttle(b, 1)
		return fmt.Sprintln(throttle, again, err, err2), nil
	})...)
	for _, acks := range []int16{1, 0} {
		muted := fmt.Sprint("p-muted-", acks)
		steps = append(steps, limited("client-id="+muted, "producer_byte_rate", 9_090, mutedFor(muted, request(acks)))...) // a second too much
	}
	return steps
}

// mutedFor says for how long, in seconds, a connection answers nothing after a request that has
// exceeded its limit: by about half a second.
func mutedFor(clientID string, r kmsg.Request) step {
	return func(b *broker, _ *conn) (string, error) {
		c, err := as(b.addr, clientID)
		if err != nil {
			return "", err
		}
		defer c.tcp.Close()
		if _, err := c.request(r, 7); err != nil {
			return "", err
		}
		sent := time.Now()
		_, err = c.request(kmsg.NewPtrApiVersionsRequest(), 0)
		return fmt.Sprintf("muted for %s s, %v\n", aboutHalf(time.Since(sent)), err), nil
	}
}

func aboutHalf(d time.Duration) string {
	if seconds := d.Seconds(); seconds < 0.2 {
		return "no time"
	}
	return fmt.Sprint(math.Round(d.Seconds()))
}

// throttledFetch reads more than it may: what is above the limit comes empty.
func throttledFetch() []step {
	const clientID = "p-throttled-consumer"
	steps := []step{topic("p-throttled-read", 1)}
	for range 5 {
		steps = append(steps, askProduce(7, "p-throttled-read", 0, 1, func() []byte { return batch(1_700_000_000_000, strings.Repeat("y", 23_050)) }))
	}
	return append(steps, limited("client-id="+clientID, "consumer_byte_rate", 5_000, func(b *broker, _ *conn) (string, error) {
		var out strings.Builder
		for i := range 4 {
			r := fetchOf("p-throttled-read", 0, 0)(b)
			r.Topics[0].Partitions[0].PartitionMaxBytes = 1 // one batch: Apache Kafka also sends the beginning of another
			throttle, response, err := call{clientID, 11, r}.throttle(b, 4)
			if err != nil {
				return "", err
			}
			bytes := 0
			for _, t := range response.(*kmsg.FetchResponse).Topics {
				bytes += len(t.Partitions[0].RecordBatches)
			}
			fmt.Fprintf(&out, "request %d: %v s, %d batches, session %v\n", i, throttle, bytes/23_000, response.(*kmsg.FetchResponse).SessionID != 0)
		}
		return out.String(), nil
	})...)
}

// throttledTime allows next to no time for requests, so that each is throttled for as long as one can
// be for its time, which is one sample.
func throttledTime() []step {
	const clientID = "p-throttled-time"
	written := produce("p-throttled-time", 0, 1, batch(1_700_000_000_000, "x"))
	all := []call{{clientID, 7, written}, {clientID, 5, kmsg.NewPtrMetadataRequest()}, {clientID, 3, kmsg.NewPtrApiVersionsRequest()}, {clientID, 4, kmsg.NewPtrListGroupsRequest()},
		{clientID, 6, createTopic("p-throttled-time-2", 1, 1)}, {clientID, 1, limitsOf(true, "user=nobody")}, {clientID, 1, limit("user=nobody", "producer_byte_rate")}}
	steps := []step{topic("p-throttled-time", 1), askProduce(7, "p-throttled-time", 0, 1, func() []byte { return batch(1_700_000_000_000, "y") })}
	return append(steps, limited("client-id="+clientID, "request_percentage", 1e-7, func(b *broker, _ *conn) (string, error) {
		var out strings.Builder
		for _, k := range all {
			throttle, response, err := k.throttle(b, 0.001)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&out, "%T: %v s\n", response, throttle)
		}
		throttle, response, err := call{clientID, 11, fetchOf("p-throttled-time", 0, 0)(b)}.throttle(b, 0.001)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "fetch: %v s, %d topics\n", throttle, len(response.(*kmsg.FetchResponse).Topics))
		return out.String(), nil
	}, mutedFor(clientID, produce("p-throttled-time", 0, 0, batch(1_700_000_000_000, "z"))), mutedFor(clientID, produce("p-throttled-time", 0, 1, batch(1_700_000_000_000, "z"))))...)
}

// throttledChanges make and remove more partitions than they may, in versions that know the
// code for it and in older ones.
func throttledChanges() []step {
	const clientID = "p-throttled-admin"
	change := func(build func() kmsg.Request, version int16, code func(kmsg.Response) int16) step {
		return func(b *broker, _ *conn) (string, error) {
			throttle, response, err := call{clientID, version, build()}.throttle(b, 10)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("%T v%d: code %d, %v s\n", response, version, code(response), throttle), settle(b.addr)
		}
	}
	created := func(r kmsg.Response) int16 { return r.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode }
	added := func(r kmsg.Response) int16 { return r.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode }
	deleted := func(r kmsg.Response) int16 { return r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode }
	create := func(name string, partitions int32) func() kmsg.Request {
		return func() kmsg.Request { return createTopic(name, partitions, 1) }
	}
	add := func() kmsg.Request {
		r := kmsg.NewPtrCreatePartitionsRequest()
		r.TimeoutMillis = 10_000
		r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "p-changes-1", Count: 17}}
		return r
	}
	remove := func() kmsg.Request {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.TimeoutMillis, r.TopicNames = 10_000, []string{"p-changes-1"}
		return r
	}
	// The limit is so low that nothing is paid back in the meantime: a window's worth is one partition.
	return limited("client-id="+clientID, "controller_mutation_rate", 0.1,
		change(create("p-changes-1", 15), 6, created), change(create("p-changes-2", 1), 6, created), change(create("p-changes-2", 1), 7, created),
		change(add, 3, added), change(remove, 5, deleted), change(create("p-changes-3", 1), 5, created), change(add, 2, added), change(remove, 4, deleted), change(create("p-changes-4", 1), 6, created))
}

// throttledConnections are more than an address may make: those that come through are counted.
func throttledConnections() []step {
	return limited("ip=127.0.0.1", "connection_creation_rate", 5, func(b *broker, _ *conn) (string, error) {
		served := 0
		for range 80 {
			c, err := as(b.addr, "p-connections")
			if err != nil {
				return "", err
			}
			if _, err := c.request(kmsg.NewPtrApiVersionsRequest(), 0); err == nil {
				served++
			}
			c.tcp.Close()
		}
		if served >= 45 && served <= 70 { // it takes about as long as the window to have the others refused
			return "a window's worth and some\n", nil
		}
		return fmt.Sprintln(served, "of 80"), nil
	})
}
