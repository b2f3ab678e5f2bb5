package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// lagTimeout bounds a look at the group, so that the display goes on without it.
const lagTimeout = time.Second

// view shows statistics: on a terminal as a block that is drawn anew, elsewhere as lines.
type view struct {
	streams  cli.Streams
	client   *client.Client
	admin    *kadm.Client
	terminal bool
	drawn    int // lines of the block on the screen
	previous snapshot
	lags     []partitionLag // as last seen
}

func newView(s cli.Streams, props client.Properties) (*view, error) {
	c, err := client.NewAdmin(s, props)
	if err != nil {
		return nil, err
	}
	return &view{streams: s, client: c, admin: kadm.NewClient(c.Client), terminal: cli.IsTerminal(s.Out)}, nil
}

func (v *view) close() { v.client.Close() }

// follow shows the statistics until the context ends.
func (v *view) follow(ctx context.Context, stats *statistics) {
	v.followUntil(ctx, stats, func() bool { return false })
}

func (v *view) followUntil(ctx context.Context, stats *statistics, done func() bool) {
	interval := lineInterval
	if v.terminal {
		interval = drawInterval
	}
	shown := time.NewTicker(interval)
	defer shown.Stop()
	checked := time.NewTicker(drawInterval / 5)
	defer checked.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return
		case <-checked.C:
		case now := <-shown.C:
			v.show(stats.snapshot(now), v.lag(ctx))
		}
	}
}

// awaitGroup waits until every member has partitions, so that the show begins with all on
// stage; if that takes too long, it begins without them.
func (v *view) awaitGroup(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, assignTimeout)
	defer cancel()
	for {
		described, err := v.admin.DescribeGroups(ctx, group)
		if err == nil && described[group].State == "Stable" && len(described[group].Members) == members {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(drawInterval / 5):
		}
	}
}

// partitionLag is how far the group is behind in a partition; negative if unknown.
type partitionLag struct {
	partition int32
	lag       int64
	member    string
}

// lag asks the cluster, as any monitoring would.
func (v *view) lag(ctx context.Context) []partitionLag {
	ctx, cancel := context.WithTimeout(ctx, lagTimeout)
	defer cancel()
	described, err := v.admin.Lag(ctx, group)
	lagging := described[group].Lag.Sorted()
	if err != nil || len(lagging) == 0 {
		return v.lags // the group may be rebalancing
	}
	var lags []partitionLag
	for _, l := range lagging {
		p := partitionLag{partition: l.Partition, lag: l.Lag}
		if l.Member != nil {
			p.member = l.Member.ClientID
		}
		lags = append(lags, p)
	}
	v.lags = lags
	return lags
}

func (v *view) show(now snapshot, lags []partitionLag) {
	elapsed := now.at.Sub(v.previous.at)
	if v.previous.at.IsZero() {
		elapsed = now.elapsed
	}
	produced, billed := rate(now.orders-v.previous.orders, elapsed), rate(now.billed-v.previous.billed, elapsed)
	v.previous = now
	if !v.terminal {
		v.streams.Println(line(now, produced, billed, lags))
		return
	}
	lines := block(now, produced, billed, lags)
	if v.drawn > 0 {
		v.streams.Printf("\x1b[%dA", v.drawn)
	}
	for _, l := range lines {
		v.streams.Printf("\x1b[2K%s\n", l)
	}
	if v.drawn > len(lines) {
		v.streams.Printf("\x1b[J")
	}
	v.drawn = len(lines)
}

func rate(count int, elapsed time.Duration) float64 {
	if elapsed <= 0 {
		return 0
	}
	return float64(count) / elapsed.Seconds()
}

func totalLag(lags []partitionLag) int64 {
	var total int64
	for _, l := range lags {
		total += max(l.lag, 0)
	}
	return total
}

func line(now snapshot, produced, billed float64, lags []partitionLag) string {
	parts := make([]string, len(lags))
	for i, l := range lags {
		parts[i] = fmt.Sprintf("%d:%d", l.partition, l.lag)
	}
	return fmt.Sprintf("%5.1f s  orders %6d (%5.0f/s)  billed %6d (%5.0f/s)  lag %5d [%s]",
		now.elapsed.Seconds(), now.orders, produced, now.billed, billed, totalLag(lags), strings.Join(parts, " "))
}

func block(now snapshot, produced, billed float64, lags []partitionLag) []string {
	lines := []string{
		"",
		fmt.Sprintf("  web shop  --> topic %-8s %7d orders   %6.0f/s   acknowledged in %s (median), %s (p99)",
			topic, now.orders, produced, millis(now.ackP50), millis(now.ackP99)),
		fmt.Sprintf("  topic     --> group %-8s %7d billed   %6.0f/s   lag %d", group, now.billed, billed, totalLag(lags)),
	}
	for _, l := range lags {
		bar := strings.Repeat("#", int(min(max(l.lag, 0)/20, 40)))
		lines = append(lines, fmt.Sprintf("      partition %d  %-10s  lag %5d  %s", l.partition, l.member, l.lag, bar))
	}
	lines = append(lines, "  revenue   "+revenue(now))
	if now.failures > 0 {
		lines = append(lines, fmt.Sprintf("  %d failures, the last: %v", now.failures, now.lastFailure))
	}
	return append(lines, "")
}

func revenue(now snapshot) string {
	words := make([]string, 0, len(now.countries))
	for _, country := range now.countries[:min(5, len(now.countries))] {
		words = append(words, fmt.Sprintf("%s %.2f", country, float64(now.cents[country])/100))
	}
	return strings.Join(slices.Clip(words), "   ")
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func (v *view) summary(stats *statistics) {
	now := stats.snapshot(time.Now())
	v.streams.Printf("\n%d orders (%.1f MB) in %.1f s, acknowledged in %s (median) and %s (99 of 100).\n",
		now.orders, float64(now.bytes)/1e6, now.elapsed.Seconds(), millis(now.ackP50), millis(now.ackP99))
	switch missing := now.orders - now.billed; {
	case missing <= 0:
		v.streams.Println("Two members of one group billed every one of them.")
	default:
		v.streams.Printf("Two members of one group billed %d of them; %d were left.\n", now.billed, missing)
	}
	if now.failures > 0 {
		v.streams.Printf("%d failures, the last: %v\n", now.failures, now.lastFailure)
	}
	v.streams.Println("\nTry it yourself:\n  moldau start\n  moldau console-producer --bootstrap-server localhost:9092 --topic hello\n  moldau console-consumer --bootstrap-server localhost:9092 --topic hello --from-beginning")
}
