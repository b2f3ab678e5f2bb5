//go:build unix

package connect

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/test/compat/programs"
)

const distributedTopic = "connect-distributed"

// pipeline is a source and a sink on two workers.
type pipeline struct {
	t         *testing.T
	bootstrap string
	in, out   string
	want      []string // all lines so far
	workers   []*worker
}

// TestDistributed takes a source and a sink through what their life may bring.
func TestDistributed(t *testing.T) {
	folder := t.TempDir()
	p := &pipeline{t: t, bootstrap: programs.Bootstrap(t), in: filepath.Join(folder, "in.txt"), out: filepath.Join(folder, "out.txt")}
	p.workers = []*worker{startWorker(t, "worker-0", p.bootstrap), startWorker(t, "worker-1", p.bootstrap)}
	p.write("first")
	p.create()
	p.through("at first")
	p.internalTopics()
	p.pause()
	p.restart()
	p.killSourceWorker()
	p.offsets()
	p.remove()
	p.workers[0].Stop()
	p.workers[1].Stop()
}

func (p *pipeline) write(word string) {
	p.want = append(p.want, appendLines(p.t, p.in, word, lines())...)
}

// create tells one worker; both know it.
func (p *pipeline) create() {
	p.t.Helper()
	source := map[string]string{"connector.class": sourceClass, "tasks.max": "1", "file": p.in, "topic": distributedTopic, "exactly.once.support": "required"}
	sink := map[string]string{"connector.class": sinkClass, "tasks.max": "1", "file": p.out, "topics": distributedTopic,
		"consumer.override.auto.offset.reset": "earliest", "consumer.override.isolation.level": "read_committed"}
	p.workers[0].must(http.MethodPost, "/connectors", map[string]any{"name": "source", "config": source})
	p.workers[1].must(http.MethodPost, "/connectors", map[string]any{"name": "sink", "config": sink})
	p.workers[1].await("source", "RUNNING")
	p.workers[0].await("sink", "RUNNING")
}

// through waits until the topic has all lines, exactly once, and the sink's file has each.
func (p *pipeline) through(when string) {
	p.t.Helper()
	var got []string
	programs.Await(p.t, when+": all lines are in the topic", func() (err error) {
		if got, err = programs.Values(p.t, p.bootstrap, distributedTopic); err == nil && len(got) < len(p.want) {
			err = fmt.Errorf("%d of %d lines", len(got), len(p.want))
		}
		return err
	})
	same(p.t, when+": the topic", got, p.want)
	programs.Await(p.t, when+": all lines are in the file", func() error {
		out, err := readLines(p.out)
		if err != nil {
			return err
		}
		// The sink writes again what it had not committed when it was killed.
		seen := map[string]bool{}
		once := slices.DeleteFunc(slices.Clone(out), func(line string) bool {
			twice := seen[line]
			seen[line] = true
			return twice
		})
		if !slices.Equal(once, p.want) {
			return fmt.Errorf("%d different lines of %d", len(once), len(p.want))
		}
		return nil
	})
}

func (p *pipeline) internalTopics() {
	p.t.Helper()
	admin := kadm.NewClient(programs.Client(p.t, p.bootstrap))
	for topic, partitions := range map[string]int{"connect-configs": 1, "connect-offsets": 5, "connect-status": 5} {
		topics, err := admin.ListTopics(p.t.Context(), topic)
		if err != nil || len(topics[topic].Partitions) != partitions {
			p.t.Errorf("%s: %d partitions instead of %d, %v", topic, len(topics[topic].Partitions), partitions, err)
		}
		configs, err := admin.DescribeTopicConfigs(p.t.Context(), topic)
		if err != nil {
			p.t.Fatal(err)
		}
		if !slices.ContainsFunc(configs[0].Configs, func(c kadm.Config) bool { return c.Key == "cleanup.policy" && c.MaybeValue() == "compact" }) {
			p.t.Errorf("%s is not compacted", topic)
		}
	}
}

// pause holds the source up: the topic does not grow until it is resumed.
func (p *pipeline) pause() {
	p.t.Helper()
	p.workers[1].must(http.MethodPut, "/connectors/source/pause", nil)
	p.workers[0].await("source", "PAUSED")
	before := len(p.want)
	p.write("while paused")
	p.workers[0].must(http.MethodPut, "/connectors/sink/pause", nil)
	p.workers[1].await("sink", "PAUSED") // a while in which the source could have read
	if got, err := programs.Values(p.t, p.bootstrap, distributedTopic); err != nil || len(got) != before {
		p.t.Fatalf("a paused source: the topic has %d lines instead of %d, %v", len(got), before, err)
	}
	p.workers[0].must(http.MethodPut, "/connectors/source/resume", nil)
	p.workers[1].must(http.MethodPut, "/connectors/sink/resume", nil)
	p.through("resumed")
}

func (p *pipeline) restart() {
	p.t.Helper()
	for _, connector := range []string{"source", "sink"} {
		p.workers[1].must(http.MethodPost, "/connectors/"+connector+"/restart?includeTasks=true", nil)
	}
	p.workers[0].await("source", "RUNNING")
	p.write("after the restart")
	p.through("restarted")
}

// killSourceWorker kills the worker with the source's task in the middle; the other one takes over,
// fences it, and loses and repeats nothing. Then a new worker joins.
func (p *pipeline) killSourceWorker() {
	p.t.Helper()
	source := p.workers[0].await("source", "RUNNING")
	victim := slices.IndexFunc(p.workers, func(w *worker) bool { return w.rest == source.Tasks[0].WorkerID })
	if victim < 0 {
		p.t.Fatalf("no worker is %s", source.Tasks[0].WorkerID)
	}
	p.write("around the kill")
	p.workers[victim].Kill()
	p.write("after the kill")
	survivor := p.workers[1-victim]
	programs.Await(p.t, "the survivor has the source", func() error {
		if now := survivor.await("source", "RUNNING").Tasks[0].WorkerID; now != survivor.rest {
			return fmt.Errorf("it is on %s", now)
		}
		return nil
	})
	p.through("killed")
	p.workers = []*worker{survivor, startWorker(p.t, "worker-2", p.bootstrap)}
	p.workers[1].await("source", "RUNNING")
	p.write("three workers in all")
	p.through("joined")
}

// offsets stops the source and sets its offset back to the start (KIP-875): everything comes again.
func (p *pipeline) offsets() {
	p.t.Helper()
	w := p.workers[0]
	position := fmt.Sprintf(`"position":%d`, size(p.t, p.in))
	if text := w.must(http.MethodGet, "/connectors/source/offsets", nil); !strings.Contains(text, position) {
		p.t.Errorf("the source's offsets are %s and not %s", text, position)
	}
	w.must(http.MethodPut, "/connectors/source/stop", nil)
	w.await("source", "STOPPED")
	w.must(http.MethodPatch, "/connectors/source/offsets", map[string]any{"offsets": []any{
		map[string]any{"partition": map[string]string{"filename": p.in}, "offset": map[string]int{"position": 0}},
	}})
	w.must(http.MethodPut, "/connectors/sink/stop", nil)
	w.await("sink", "STOPPED")
	w.must(http.MethodDelete, "/connectors/sink/offsets", nil)
	if text := w.must(http.MethodGet, "/connectors/sink/offsets", nil); !strings.Contains(text, `"offsets":[]`) {
		p.t.Errorf("the sink's offsets are left: %s", text)
	}
	w.must(http.MethodPut, "/connectors/source/resume", nil)
	all := append(slices.Clone(p.want), p.want...)
	var got []string
	programs.Await(p.t, "all lines come again", func() (err error) {
		if got, err = programs.Values(p.t, p.bootstrap, distributedTopic); err == nil && len(got) < len(all) {
			err = fmt.Errorf("%d of %d lines", len(got), len(all))
		}
		return err
	})
	same(p.t, "the topic, read again", got, all)
}

func (p *pipeline) remove() {
	p.t.Helper()
	for _, connector := range []string{"source", "sink"} {
		p.workers[1].must(http.MethodDelete, "/connectors/"+connector, nil)
	}
	programs.Await(p.t, "no connector is left", func() error {
		if text := p.workers[0].must(http.MethodGet, "/connectors", nil); strings.TrimSpace(text) != "[]" {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
}
