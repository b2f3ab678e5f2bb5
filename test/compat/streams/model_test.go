//go:build unix

package streams

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const customers = 10

// model computes what the program should.
type model struct {
	base   time.Time
	number int // orders so far
	items  map[string]int
	sums   map[string]int
	output map[string]*result // by topic
}

// result is the values by key.
type result struct {
	values   map[string][]string
	total    int
	anyOrder bool // as the halves of a join of two streams may meet in any order
}

func newModel() model {
	m := model{base: time.Now().Add(-2 * time.Hour).Truncate(time.Minute), items: map[string]int{}, sums: map[string]int{}, output: map[string]*result{}}
	for _, topic := range []string{"enriched", "counts", "sums", "paid"} {
		m.output[topic] = &result{values: map[string][]string{}, anyOrder: topic == "paid"}
	}
	return m
}

func (m *model) customers() (records []*kgo.Record) {
	for c := range customers - 1 { // one of them is not in the table
		records = append(records, &kgo.Record{Topic: "customers", Key: fmt.Appendf(nil, "c%d", c), Value: fmt.Appendf(nil, "Customer %d", c), Timestamp: m.base.Add(-time.Minute)})
	}
	return records
}

func (m *model) add(topic, key, value string) {
	r := m.output[topic]
	r.values[key] = append(r.values[key], value)
	r.total++
}

// orders are the next ones, a second apart; every other one is paid a second later.
func (m *model) orders(count int) (records []*kgo.Record) {
	for range count {
		i := m.number
		m.number++
		customer, item, amount := fmt.Sprintf("c%d", i%customers), fmt.Sprintf("item%d", i%7), i%100
		at := m.base.Add(time.Duration(i) * time.Second)
		order := fmt.Sprintf("%s:%d:%d", item, amount, i)
		records = append(records, &kgo.Record{Topic: "orders", Key: []byte(customer), Value: []byte(order), Timestamp: at})
		name := fmt.Sprintf("Customer %d", i%customers)
		if i%customers == customers-1 {
			name = "null"
		}
		m.add("enriched", customer, order+" for "+name)
		m.items[item]++
		m.add("counts", item, strconv.Itoa(m.items[item]))
		window := fmt.Sprintf("%s@%d", customer, at.Truncate(time.Minute).UnixMilli())
		m.sums[window] += amount
		m.add("sums", window, strconv.Itoa(m.sums[window]))
		if i%2 == 0 {
			payment := fmt.Sprintf("card %d", i)
			records = append(records, &kgo.Record{Topic: "payments", Key: []byte(customer), Value: []byte(payment), Timestamp: at.Add(time.Second)})
			m.add("paid", customer, order+" paid by "+payment)
		}
	}
	return records
}

func (m *model) results() map[string]*result { return m.output }

// compare returns the first difference.
func (r *result) compare(got map[string][]string, times int) error {
	if len(got) != len(r.values) {
		return fmt.Errorf("%d keys instead of %d", len(got), len(r.values))
	}
	for key, want := range r.values {
		values, all := got[key], slices.Repeat(want, times)
		if r.anyOrder {
			values = slices.Sorted(slices.Values(values))
			slices.Sort(all)
		}
		if !slices.Equal(values, all) {
			return fmt.Errorf("%s: %d values instead of %d, or others", key, len(values), len(all))
		}
	}
	return nil
}
