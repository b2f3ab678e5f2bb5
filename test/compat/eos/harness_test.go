//go:build unix

package eos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/test/compat/programs"
)

const (
	inputTopic, outputTopic           = "input", "output"
	inputPartitions, outputPartitions = 4, 3
	// backlog is how far the input may be ahead of the output, in records of the output.
	backlog = 2000
	// patience bounds every wait. It is far above what is needed, since test machines are shared.
	patience = 90 * time.Second
)

// program is what runs as child processes.
type program struct {
	name      string
	instances int
	// outputOf returns the output that is expected of committed input.
	outputOf func(in []*kgo.Record) map[string][]string
	// perRecord is how many records of output one of input makes; 0 stands for 1.
	perRecord int
	command   func() *exec.Cmd
}

// harness is one run of a program.
type harness struct {
	t       *testing.T
	program program
	broker  programs.Broker
	random  *rand.Rand
	input   input
	reader  *reader
	workers []*worker
	// done counts the troubles by kind.
	done  map[string]int
	began time.Time
}

func run(t *testing.T, p program) {
	p.perRecord = max(p.perRecord, 1)
	h := &harness{t: t, program: p, random: seeded(t), broker: programs.StartBroker(t), done: map[string]int{}, began: time.Now()}
	h.createTopics()
	h.reader = startReader(t, h.broker.Addr())
	h.input = input{bootstrap: h.broker.Addr(), random: rand.New(rand.NewPCG(h.random.Uint64(), 2))}
	ctx, stopInput := context.WithCancel(t.Context())
	written := make(chan error, 1)
	go func() { written <- h.input.run(ctx, func() error { return h.mayWrite(ctx) }) }()
	t.Cleanup(stopInput)
	for i := range p.instances {
		h.workers = append(h.workers, startWorker(t, fmt.Sprintf("%s-%d", p.name, i), func() *exec.Cmd { return h.command(i) }))
	}
	h.awaitProgress("at first", 100)
	h.troubles()
	stopInput()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	h.verify()
}

func (h *harness) createTopics() {
	h.t.Helper()
	admin := kadm.NewClient(h.client())
	for topic, partitions := range map[string]int32{inputTopic: inputPartitions, outputTopic: outputPartitions} {
		if _, err := admin.CreateTopic(h.t.Context(), partitions, 1, nil, topic); err != nil {
			h.t.Fatal(err)
		}
	}
}

func (h *harness) client(opts ...kgo.Opt) *kgo.Client {
	h.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(h.broker.Addr())}, opts...)...)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(client.Close)
	return client
}

func (h *harness) group() string { return h.program.name }

// command is instance i of the program, with its own transactional id and folder.
func (h *harness) command(i int) *exec.Cmd {
	cmd := h.program.command()
	id := fmt.Sprintf("%s-%d", h.program.name, i)
	cmd.Env = append(cmd.Environ(), "EOS_BOOTSTRAP="+h.broker.Addr(), "EOS_GROUP="+h.group(), "EOS_ID="+id,
		"EOS_INPUT="+inputTopic, "EOS_OUTPUT="+outputTopic, "EOS_STATE="+filepath.Join(h.reader.folder, id))
	return cmd
}

// mayWrite returns when the output is not far behind the input.
func (h *harness) mayWrite(ctx context.Context) error {
	return await(ctx, func() bool { return h.input.records.Load()*int64(h.program.perRecord)-h.reader.seen.Load() < backlog })
}

// await polls until condition holds.
func await(ctx context.Context, condition func() bool) error {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// awaitProgress returns when so many more records of output have been committed.
func (h *harness) awaitProgress(when string, records int64) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	from := h.reader.seen.Load()
	if err := await(ctx, func() bool { return h.reader.seen.Load() >= from+records }); err != nil {
		h.t.Fatalf("%s: the output has grown by %d instead of %d records within %v", when, h.reader.seen.Load()-from, records, patience)
	}
}

// troubles makes them, one after another, each once the output has grown since the former.
func (h *harness) troubles() {
	h.t.Helper()
	kinds := []struct {
		name string
		make func()
	}{
		{"broker killed", h.killBroker},
		{"instance killed", h.killWorker},
		{"instance killed and kept away", h.killWorkerForLong},
		{"broker and instance killed", h.killBoth},
		{"instances stopped until they are out of the group", h.pauseWorkers},
		{"broker stopped for a while", h.pauseBroker},
	}
	end := time.Now()
	if full() {
		end = end.Add(4 * time.Minute)
	}
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		for _, i := range h.random.Perm(len(kinds)) {
			h.t.Logf("%v: %s, at %d of output", time.Since(h.began).Round(time.Millisecond), kinds[i].name, h.reader.seen.Load())
			kinds[i].make()
			h.done[kinds[i].name]++
			h.awaitProgress("after: "+kinds[i].name, int64(20+h.random.IntN(400)))
		}
	}
}

func (h *harness) anyWorker() *worker { return h.workers[h.random.IntN(len(h.workers))] }

func (h *harness) killBroker() {
	h.broker.Kill()
	h.broker.Start()
}

func (h *harness) killWorker() { h.anyWorker().kill(false) }

// killWorkerForLong has the others take over: the group must notice, and the transaction that the
// instance has left behind must time out.
func (h *harness) killWorkerForLong() {
	h.awaitMembers(h.program.instances)
	w := h.anyWorker()
	w.kill(true)
	h.awaitMembers(h.program.instances - 1)
	h.awaitProgress("an instance was killed and kept away", 200)
	w.release()
}

func (h *harness) killBoth() {
	h.broker.Kill()
	h.anyWorker().kill(false)
	h.broker.Start()
}

// pauseWorkers makes zombies of all instances but one: they go on in the middle of what they did
// when that one has their partitions.
func (h *harness) pauseWorkers() {
	h.awaitMembers(h.program.instances)
	zombies := h.random.Perm(len(h.workers))[1:]
	for _, i := range zombies {
		h.workers[i].pause()
	}
	h.awaitMembers(1)
	h.awaitProgress("all instances but one were stopped", 200)
	for _, i := range zombies {
		h.workers[i].resume()
	}
}

func (h *harness) pauseBroker() {
	h.signalBroker(syscall.SIGSTOP)
	<-time.After(time.Duration(500+h.random.IntN(4000)) * time.Millisecond)
	h.signalBroker(syscall.SIGCONT)
}

func (h *harness) signalBroker(s syscall.Signal) {
	if err := syscall.Kill(h.broker.Pid(), s); err != nil {
		h.t.Errorf("signal %v to the broker: %v", s, err)
	}
}

// awaitMembers returns when the group has so many members, and each its partitions.
func (h *harness) awaitMembers(want int) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	admin := kadm.NewClient(h.client())
	var group kadm.DescribedGroup
	if err := await(ctx, func() bool {
		groups, err := admin.DescribeGroups(ctx, h.group())
		if err == nil {
			group = groups[h.group()]
		}
		return group.State == "Stable" && len(group.Members) == want
	}); err != nil {
		h.t.Fatalf("the group has %d members and is %s after %v; there should be %d", len(group.Members), group.State, patience, want)
	}
}

// reader reads the committed output all along.
type reader struct {
	folder string // for what instances keep
	seen   atomic.Int64
	got    chan []placed // once, when ctx ends
	cancel context.CancelFunc
}

// placed is a record of the output and its place.
type placed struct {
	partition  int32
	offset     int64
	key, value string
}

func (p placed) String() string {
	return fmt.Sprintf("%d@%d %s=%s", p.partition, p.offset, p.key, p.value)
}

func startReader(t *testing.T, bootstrap string) *reader {
	ctx, cancel := context.WithCancel(t.Context())
	r := &reader{folder: t.TempDir(), got: make(chan []placed, 1), cancel: cancel}
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(outputTopic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	go func() {
		var got []placed
		for ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(record *kgo.Record) {
				got = append(got, placed{record.Partition, record.Offset, string(record.Key), string(record.Value)})
				r.seen.Add(1)
			})
		}
		r.got <- got
	}()
	return r
}

// stop returns what was read.
func (r *reader) stop() []placed {
	r.cancel()
	return <-r.got
}

// upperCase is what the transforming programs make of their input: by key, the values in order.
func upperCase(in []*kgo.Record) map[string][]string {
	out := map[string][]string{}
	for _, r := range in {
		out[string(r.Key)] = append(out[string(r.Key)], strings.ToUpper(string(r.Value)))
	}
	return out
}
