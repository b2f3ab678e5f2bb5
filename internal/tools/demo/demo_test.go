package demo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/tools/cli"
)

func TestShopRepeats(t *testing.T) {
	t.Parallel()
	at := time.Unix(1700000000, 0).UTC()
	a, b, customers := newShop(1), newShop(1), map[string]int{}
	for range 1000 {
		x, y := a.order(at), b.order(at)
		data, err := x.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeOrder(data)
		if err != nil || again.OrderID != x.OrderID || again.Total != y.Total || len(again.Items) != len(y.Items) {
			t.Fatalf("%+v %+v %v", again, y, err)
		}
		total := 0
		for _, i := range x.Items {
			total += i.Quantity * i.Price
		}
		if total != x.Total || total == 0 {
			t.Fatalf("%+v adds up to %d", x, total)
		}
		customers[x.Customer]++
	}
	if len(customers) < 100 || len(customers) == 1000 {
		t.Errorf("%d customers for 1000 orders", len(customers))
	}
}

func TestBursts(t *testing.T) {
	t.Parallel()
	perSecond := int(time.Second / produceTick)
	quiet, burst, capacity := ordersPerTick*perSecond, ordersPerTick*burstFactor*perSecond, members*int(time.Second/billingTime)
	if quiet >= capacity || burst <= capacity {
		t.Errorf("%d and %d orders a second for members that bill %d: there is no lag to see, or it never ends", quiet, burst, capacity)
	}
	if ordersAt(0) != ordersPerTick || ordersAt(burstEvery-1) != ordersPerTick*burstFactor || ordersAt(burstEvery) != ordersPerTick {
		t.Error("bursts are not where they should be")
	}
}

func TestQuantiles(t *testing.T) {
	t.Parallel()
	var d durations
	if d.quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
	for i := range 1000 {
		d.add(time.Duration(i) * time.Millisecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Millisecond, 0.99: 990 * time.Millisecond} {
		if got := d.quantile(q); got < want || float64(got) > 1.21*float64(want) {
			t.Errorf("quantile %g is %v; want at least %v and at most a fifth more", q, got, want)
		}
	}
	d.add(-time.Second)
	d.add(time.Hour * 10000)
	if d.total != 1002 {
		t.Errorf("total %d", d.total)
	}
}

func TestDisplay(t *testing.T) {
	t.Parallel()
	start := time.Unix(1700000000, 0)
	stats := newStatistics(start)
	for range 3 {
		stats.produced(100, time.Millisecond)
	}
	stats.consumed(order{Country: "DE", Total: 1000}, time.Second)
	stats.consumed(order{Country: "CZ", Total: 1050}, time.Second)
	if stats.allConsumed() {
		t.Error("one order is left")
	}
	now := stats.snapshot(start.Add(2 * time.Second))
	lags := []partitionLag{{0, 40, "billing-1"}, {1, 5, "billing-2"}, {2, -1, ""}}
	if got, want := line(now, 1.5, 1, lags), "  2.0 s  orders      3 (    2/s)  billed      2 (    1/s)  lag    45 [0:40 1:5 2:-1]"; got != want {
		t.Errorf("%q; want %q", got, want)
	}
	text := strings.Join(block(now, 1.5, 1, lags), "\n")
	for _, want := range []string{"3 orders", "2 billed", "lag 45", "partition 0  billing-1   lag    40  ##\n", "revenue   CZ 10.50   DE 10.00"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	var out bytes.Buffer
	v := &view{streams: cli.Streams{Out: &out}}
	stats.failed(errors.New("broken"))
	v.summary(stats)
	if !strings.Contains(out.String(), "billed 2 of them; 1 were left.\n1 failures, the last: broken\n") {
		t.Errorf("%s", &out)
	}
	out.Reset()
	terminal := &view{streams: cli.Streams{Out: &out}, terminal: true}
	terminal.show(now, lags)
	first := out.Len()
	terminal.show(now, nil)
	if !strings.HasPrefix(out.String()[first:], "\x1b[8A\x1b[2K") || !strings.HasSuffix(out.String(), "\x1b[J") {
		t.Errorf("the block is not drawn over the former one: %q", out.String()[first:])
	}
}

// TestBrokerThatEndsAtOnce shows what the broker said and leaves nothing behind.
func TestBrokerThatEndsAtOnce(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	program := filepath.Join(t.TempDir(), "broker")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho \"no space for $1\" >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	err := Run(context.Background(), cli.Streams{Out: &out, Err: &out}, Options{Program: program, Duration: time.Second})
	if err == nil || !strings.Contains(err.Error(), "no space for start") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("%v", err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "moldau-demo-") }) {
		t.Errorf("%v %v", left, err)
	}
	if err := Run(context.Background(), cli.Streams{}, Options{Duration: -time.Second}); err == nil {
		t.Error("a negative duration was accepted")
	}
}
