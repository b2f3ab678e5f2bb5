package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/perf/load"
)

// soaked are the quantities that must not grow, and the growth that is nothing even if it is
// steady: allocators and caches take a while to fill.
var soaked = []struct {
	name, unit string
	allowed    float64
	of         func([]float64) float64 // of the samples of an interval
}{
	{"resident memory", "MiB", 8, median},
	{"heap in use after collections", "MiB", 4, slices.Min[[]float64]}, // its lows: between them garbage gathers
	{"goroutines", "", 4, median},
	{"open files", "", 8, median},
}

const (
	soakIntervals = 60
	soakRate      = 5000 // records of 1,000 bytes a second
)

// soak keeps one Moldau under a steady load and looks for growth. Retention and deletion keep up
// with the load within the first third, which does not count.
func soak(ctx context.Context, o options) (_ []verdict, err error) {
	folder, err := os.MkdirTemp(o.dir, "moldau-perf-")
	if err != nil {
		return nil, err
	}
	httpAddr := fmt.Sprintf("127.0.0.1:%d", freePort())
	r := &run{scale: 1, system: newMoldau(o.moldau, filepath.Join(folder, "moldau"), []string{"http.listen=" + httpAddr, "log.segment.delete.delay.ms=1000",
		"log.retention.check.interval.ms=5000", "log.segment.bytes=8388608", "log.retention.bytes=33554432"})}
	defer func() { err = errors.Join(err, r.stop(), os.RemoveAll(folder)) }()
	if err := os.MkdirAll(r.folder, 0o755); err != nil {
		return nil, err
	}
	if err := r.start(); err != nil {
		return nil, err
	}
	if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
		return nil, err
	}
	if err := createTopic(ctx, r.addr(), "soak", 6); err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, o.soak+5*time.Minute)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	steady, churned := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := r.do(ctx, load.Order{Mode: load.Paced, Topic: "soak", ValueBytes: 1000, Acks: "all", Linger: 5 * time.Millisecond, Codec: "none", Rate: soakRate, Seconds: int(o.soak.Seconds()), MayMiss: true})
		steady <- err
	}()
	finished := make(chan struct{})
	go func() { churned <- churn(ctx, r.addr(), finished) }()
	series, sampleErr := sampleSoak(ctx, o.soak, r.process, httpAddr)
	close(finished)
	if sampleErr != nil {
		cancel(sampleErr)
	}
	if err := errors.Join(sampleErr, <-churned, <-steady); err != nil {
		return nil, fmt.Errorf("%w; the end of the broker's output:\n%s", err, r.outputEnd())
	}
	return judgeSoak(o.out, o.soak, series)
}

// judgeSoak prints the table; growth is an error as well as a missed target.
func judgeSoak(out io.Writer, length time.Duration, series [][]float64) (verdicts []verdict, err error) {
	fmt.Fprintf(out, "### soak\n\n%s of %d records of 1,000 B a second (acks=all), consumed at once, with retention at work; beside them each second a topic made and deleted, "+
		"a group that consumes, commits and leaves, and a transaction, each with connections of its own. The first third does not count.\n\n", length, soakRate)
	fmt.Fprintln(out, "| quantity | after a third | at the end | trend until the end | per hour | steady (Z of Mann and Kendall) | |\n|---|---|---|---|---|---|---|")
	for i, q := range soaked {
		counted := series[i][len(series[i])/3:]
		g := growthOf(counted)
		grows := g.grows(q.allowed)
		result := "no growth"
		if grows {
			result = "**grows**"
			err = errors.Join(err, fmt.Errorf("%s grew by %.3g %s in the last two thirds of %s", q.name, g.total, q.unit, length))
		}
		perHour := g.total / (length.Hours() * 2 / 3)
		fmt.Fprintf(out, "| %s %s | %.4g | %.4g | %+.3g | %+.3g | %.1f | %s |\n", q.name, q.unit, counted[0], counted[len(counted)-1], g.total, perHour, g.z, result)
		verdicts = append(verdicts, verdict{"no growth in a soak of " + length.String(), q.name, fmt.Sprintf("%+.3g %s an hour", perHour, q.unit), !grows})
	}
	fmt.Fprintln(out)
	return verdicts, err
}

// sampleSoak returns one series for each of the soaked quantities.
func sampleSoak(ctx context.Context, length time.Duration, p *process, httpAddr string) ([][]float64, error) {
	series := make([][]float64, len(soaked))
	raw := make([][]float64, len(soaked))
	ticker := time.NewTicker(min(time.Second, length/(soakIntervals*4)))
	defer ticker.Stop()
	began := time.Now()
	for interval := 1; interval <= soakIntervals; {
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-p.members[0].done:
			return nil, errors.New("the broker has ended")
		case <-ticker.C:
		}
		sample, err := sampleOnce(ctx, p, httpAddr)
		if err != nil {
			return nil, err
		}
		for i := range raw {
			raw[i] = append(raw[i], sample[i])
		}
		if time.Since(began) >= length*time.Duration(interval)/soakIntervals {
			for i := range raw {
				series[i] = append(series[i], soaked[i].of(raw[i]))
				raw[i] = raw[i][:0]
			}
			interval++
		}
	}
	return series, nil
}

var (
	goroutinesMetric = regexp.MustCompile(`(?m)^go_goroutines (\S+)`)
	heapMetric       = regexp.MustCompile(`(?m)^go_memstats_heap_alloc_bytes (\S+)`)
)

func sampleOnce(ctx context.Context, p *process, httpAddr string) ([]float64, error) {
	resident, err := p.residentBytes()
	if err != nil {
		return nil, err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.pids()[0]))
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+httpAddr+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	sample := []float64{resident / (1 << 20), 0, 0, float64(len(files))}
	for i, metric := range map[int]*regexp.Regexp{1: heapMetric, 2: goroutinesMetric} {
		found := metric.FindSubmatch(text)
		if found == nil {
			return nil, fmt.Errorf("/metrics lacks %s", metric)
		}
		if sample[i], err = strconv.ParseFloat(string(found[1]), 64); err != nil {
			return nil, err
		}
	}
	sample[1] /= 1 << 20
	return sample, nil
}

// churnNames is how many groups, transactional ids and topics come and go: what is kept of
// each by design stays bounded.
const churnNames = 10

// churn comes and goes as clients do, once a second, until it is finished.
func churn(ctx context.Context, addr string, finished <-chan struct{}) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		round, cancel := context.WithTimeout(ctx, time.Minute)
		name := fmt.Sprintf("churn-%d", i%churnNames)
		err := errors.Join(churnTransaction(round, addr, name), churnGroup(round, addr, name), churnTopic(round, addr, fmt.Sprintf("churn-topic-%d", i%churnNames)))
		cancel()
		if err != nil {
			return fmt.Errorf("churn, round %d: %w", i, err)
		}
	}
}

func churnTransaction(ctx context.Context, addr, id string) error {
	client, err := kgo.NewClient(seeds(addr), kgo.TransactionalID(id), kgo.DefaultProduceTopic("first"))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.BeginTransaction(); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, kgo.StringRecord("churn")).FirstErr(); err != nil {
		return err
	}
	return client.EndTransaction(ctx, kgo.TryCommit)
}

func churnGroup(ctx context.Context, addr, group string) error {
	client, err := kgo.NewClient(seeds(addr), kgo.ConsumerGroup(group), kgo.ConsumeTopics("first"), kgo.DisableAutoCommit(), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return err
	}
	defer client.Close()
	fetches := client.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		return err
	}
	if err := client.CommitUncommittedOffsets(ctx); err != nil {
		return err
	}
	return client.LeaveGroupContext(ctx)
}

func churnTopic(ctx context.Context, addr, topic string) error {
	client, err := kgo.NewClient(seeds(addr), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(ctx, 3, 1, nil, topic); err != nil {
		return err
	}
	if err := client.ProduceSync(ctx, kgo.StringRecord("churn")).FirstErr(); err != nil {
		return err
	}
	_, err = admin.DeleteTopic(ctx, topic)
	return err
}
