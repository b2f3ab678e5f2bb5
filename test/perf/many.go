package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// many is what 50,000 partitions cost Moldau. Apache Kafka would need other limits of the
// operating system for as many.
var many = scenario{
	name:       "many",
	about:      "50,000 partitions in 50 topics. Spread produce: 8 producers send twice one record of 1,000 bytes to each partition, each record a batch of its own. Readable means that each partition has given its last record.",
	moldauOnly: true,
	settings:   []string{"http.listen=127.0.0.1:0"},
	figures: []figure{
		{name: "creation until all have a leader", unit: "s"},
		{name: "memory (RSS) after the creation", unit: "MiB"},
		{name: "metadata of all partitions, first answer", unit: "ms"},
		{name: "metadata of all partitions, later answer", unit: "ms"},
		{name: "metadata of all partitions, size", unit: "MiB"},
		{name: "spread produce, broker CPU per 100,000 records", unit: "s"},
		{name: "spread produce, wall time per 100,000 records", unit: "s"},
		{name: "memory (RSS) after the spread produce", unit: "MiB"},
		{name: "goroutines after the spread produce", unit: "number"},
		{name: "open files after the spread produce", unit: "number"},
		{name: "idle broker CPU, 30 s after the spread produce", unit: "% of a core"},
		{name: "clean stop, every partition written to", unit: "s"},
		{name: "restart after a clean stop until all are readable", unit: "s"},
		{name: "memory (RSS) 5 s after the restart", unit: "MiB"},
		{name: "restart after kill -9 until all are readable", unit: "s"},
		{name: "clean stop after the restart", unit: "s"},
		{name: "deletion of all topics", unit: "s"},
	},
	measure: func(ctx context.Context, r *run) (values, error) {
		v := values{}
		for _, step := range []func(context.Context, *run, values) error{createMany, askMany, fillMany, restartMany, deleteMany} {
			if err := step(ctx, r, v); err != nil {
				return v, err
			}
		}
		return v, nil
	},
}

func manyTopics() (topics []string) {
	for i := range 50 {
		topics = append(topics, fmt.Sprintf("many-%d", i))
	}
	return topics
}

// timed runs work and notes its seconds.
func (v values) timed(name string, work func() error) error {
	began := time.Now()
	err := work()
	v[name] = time.Since(began).Seconds()
	return err
}

func (v values) noteMemory(name string, r *run) error {
	resident, err := r.process.residentBytes()
	v[name] = resident / (1 << 20)
	return err
}

func createMany(ctx context.Context, r *run, v values) error {
	if err := r.start(); err != nil {
		return err
	}
	if err := firstProduce(ctx, r.addr(), "first", 0); err != nil {
		return err
	}
	err := v.timed("creation until all have a leader", func() error {
		for _, topic := range manyTopics() {
			if err := createTopic(ctx, r.addr(), topic, int32(r.amount(1000))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return v.noteMemory("memory (RSS) after the creation", r)
}

func askMany(ctx context.Context, r *run, v values) error {
	client, err := kgo.NewClient(seeds(r.addr()))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return err
	}
	for _, which := range []string{"first", "later"} {
		request := kmsg.NewPtrMetadataRequest()
		began := time.Now()
		response, err := ask[*kmsg.MetadataResponse](ctx, client.SeedBrokers()[0], request)
		if err != nil {
			return err
		}
		v["metadata of all partitions, "+which+" answer"] = time.Since(began).Seconds() * 1000
		v["metadata of all partitions, size"] = float64(len(response.AppendTo(nil))) / (1 << 20)
	}
	return nil
}

func fillMany(ctx context.Context, r *run, v values) error {
	const rounds = 2
	each := r.amount(1000)
	cpu, wall, err := r.process.cost(func() error { return produceSpread(ctx, r.addr(), manyTopics(), each, rounds) })
	if err != nil {
		return err
	}
	share := 100_000 / float64(len(manyTopics())*each*rounds)
	v["spread produce, broker CPU per 100,000 records"] = cpu.Seconds() * share
	v["spread produce, wall time per 100,000 records"] = wall.Seconds() * share
	if err := v.noteMemory("memory (RSS) after the spread produce", r); err != nil {
		return err
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.process.pids()[0]))
	if err != nil {
		return err
	}
	v["open files after the spread produce"] = float64(len(files))
	if v["goroutines after the spread produce"], err = goroutines(r); err != nil {
		return err
	}
	time.Sleep(30 * time.Second) // the flush of what was produced is over
	const idle = 10 * time.Second
	cpu, _, err = r.process.cost(func() error { time.Sleep(idle); return nil })
	v["idle broker CPU, 30 s after the spread produce"] = cpu.Seconds() / idle.Seconds() * 100
	return err
}

func restartMany(ctx context.Context, r *run, v values) error {
	each := r.amount(1000)
	if err := produceSpread(ctx, r.addr(), manyTopics(), each, 1); err != nil {
		return err
	}
	if err := v.timed("clean stop, every partition written to", r.stop); err != nil {
		return err
	}
	took, err := r.restart(ctx, manyTopics()...)
	if err != nil {
		return err
	}
	v["restart after a clean stop until all are readable"] = took.Seconds()
	time.Sleep(5 * time.Second) // by definition of the figure
	if err := v.noteMemory("memory (RSS) 5 s after the restart", r); err != nil {
		return err
	}
	if err := produceSpread(ctx, r.addr(), manyTopics(), each, 1); err != nil {
		return err
	}
	if err := r.killUncleanly(); err != nil {
		return err
	}
	if took, err = r.restart(ctx, manyTopics()...); err != nil {
		return err
	}
	v["restart after kill -9 until all are readable"] = took.Seconds()
	return v.timed("clean stop after the restart", r.stop)
}

func deleteMany(ctx context.Context, r *run, v values) error {
	if _, err := r.restart(ctx, manyTopics()...); err != nil {
		return err
	}
	return v.timed("deletion of all topics", func() error {
		for _, topic := range manyTopics() {
			if err := deleteTopic(ctx, r.addr(), topic); err != nil {
				return err
			}
		}
		return nil
	})
}

var (
	httpAddress = regexp.MustCompile(`http://[0-9.]+:[0-9]+`)
	goroutine   = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)
)

// goroutines asks the broker's metrics, whose address it has printed.
func goroutines(r *run) (float64, error) {
	output, err := os.ReadFile(filepath.Join(r.folder, "output.log"))
	if err != nil {
		return 0, err
	}
	all := httpAddress.FindAll(output, -1)
	if len(all) == 0 {
		return 0, fmt.Errorf("%s does not say where metrics are served", r.name)
	}
	response, err := http.Get(string(all[len(all)-1]) + "/metrics")
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err
	}
	found := goroutine.FindSubmatch(text)
	if found == nil {
		return 0, fmt.Errorf("%s does not tell its goroutines", all[len(all)-1])
	}
	return strconv.ParseFloat(string(found[1]), 64)
}
