//go:build unix

package streams

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
	"github.com/moldau/moldau/test/kafka/toolbox"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// TestExactlyOnce kills the program in the middle of its work.
func TestExactlyOnce(t *testing.T) { run(t, "exactly_once_v2") }

// TestAtLeastOnce kills it when all is done, since records would rightly count twice otherwise.
func TestAtLeastOnce(t *testing.T) {
	if os.Getenv("SMOKE") != "" {
		t.Skip("one of the two is enough for the smoke tier")
	}
	run(t, "at_least_once")
}

// application is one run of the program, and what must come out of it.
type application struct {
	*testing.T
	name, bootstrap, guarantee string
	state                      string // its folder
	admin                      *kadm.Client
	process                    *programs.Process
	started                    int
	expected                   model
}

func run(t *testing.T, guarantee string) {
	a := &application{T: t, bootstrap: programs.Bootstrap(t), guarantee: guarantee, expected: newModel()}
	a.name = "orders-" + os.Getenv("STREAMS_VERSION") + "-" + strings.ReplaceAll(guarantee, "_", "-")
	a.admin = kadm.NewClient(programs.Client(t, a.bootstrap))
	for _, topic := range []string{"orders", "payments", "customers", "enriched", "counts", "sums", "paid"} {
		if _, err := a.admin.CreateTopic(t.Context(), 3, programs.Replicas(), nil, a.topic(topic)); err != nil {
			t.Fatal(err)
		}
	}
	a.send(a.expected.customers())
	a.start()
	a.await("the customers", "customers")
	a.orders()
	a.await("the first orders", "orders", "payments")
	a.verify("at first", 1)
	if guarantee == "at_least_once" {
		a.killed()
		a.orders()
	} else {
		a.orders()
		a.killed()
	}
	a.await("the orders after a kill", "orders", "payments")
	a.verify("killed", 1)
	a.internalTopics()
	a.process.Stop()
	a.reset()
	a.start()
	a.await("everything again", "customers", "orders", "payments")
	a.verify("reset", 2)
	a.process.Stop()
}

func (a *application) topic(name string) string { return a.name + "-" + name }

// start starts the program without local state: what it knows, it must have restored.
func (a *application) start() {
	a.Helper()
	a.started++
	a.state = filepath.Join(a.TempDir(), "state")
	cmd := programs.Java("Orders")
	cmd.Env = append(cmd.Environ(), "STREAMS_APP="+a.name, "STREAMS_BOOTSTRAP="+a.bootstrap, "STREAMS_STATE="+a.state, "STREAMS_GUARANTEE="+a.guarantee)
	a.process = programs.Start(a.T, fmt.Sprintf("streams-%d", a.started), cmd)
}

func (a *application) send(records []*kgo.Record) {
	a.Helper()
	client := programs.Client(a.T, a.bootstrap)
	defer client.Close()
	for _, r := range records {
		r.Topic = a.topic(r.Topic)
	}
	if err := client.ProduceSync(a.Context(), records...).FirstErr(); err != nil {
		a.Fatal(err)
	}
}

func (a *application) orders() {
	n := 2000
	if os.Getenv("SMOKE") != "" {
		n = 300
	}
	a.send(a.expected.orders(n))
}

// await returns when the program has committed all of the topics, and of its repartition topic.
func (a *application) await(what string, topics ...string) {
	a.Helper()
	programs.Await(a.T, what+" are done", func() error {
		if err := a.process.Running(); err != nil {
			a.Fatal(err)
		}
		for _, topic := range append(topics, "by-item-repartition") {
			if err := a.behind(topic); err != nil {
				return err
			}
		}
		return nil
	})
}

// behind returns an error unless the group has read the topic.
func (a *application) behind(topic string) error {
	topic = a.topic(topic)
	ends, err := a.admin.ListCommittedOffsets(a.Context(), topic)
	if err != nil {
		return err
	}
	if err := ends.Error(); err != nil {
		return err
	}
	high, err := a.admin.ListEndOffsets(a.Context(), topic)
	if err != nil {
		return err
	}
	committed, err := a.admin.FetchOffsets(a.Context(), a.name)
	if err != nil {
		return err
	}
	for _, end := range ends.Offsets().Sorted() {
		if h, _ := high.Lookup(topic, end.Partition); h.Offset != end.At {
			return fmt.Errorf("%s-%d: a transaction is open", topic, end.Partition)
		}
		// The last offset may be that of a marker, which is not there to be committed.
		at, there := committed.Lookup(topic, end.Partition)
		if end.At > 0 && (!there || at.At < end.At-1) {
			return fmt.Errorf("%s-%d: %d of %d", topic, end.Partition, at.At, end.At)
		}
	}
	return nil
}

// killed ends the program with SIGKILL and starts it again without its local state.
func (a *application) killed() {
	a.Helper()
	a.process.Kill()
	a.start()
	for _, store := range []string{"items", "minutes"} {
		programs.Await(a.T, "store "+store+" is restored", func() error {
			if err := a.process.Running(); err != nil {
				a.Fatal(err)
			}
			restored := 0
			for _, found := range regexp.MustCompile("restored "+store+` (\d+)`).FindAllStringSubmatch(a.process.Log(), -1) {
				n, _ := strconv.Atoi(found[1])
				restored += n
			}
			if restored < 10 {
				return fmt.Errorf("%d records", restored)
			}
			return nil
		})
	}
}

// verify compares all that came out with what is expected, once for each time that it was computed from the start.
func (a *application) verify(when string, times int) {
	a.Helper()
	for topic, want := range a.expected.results() {
		var problem error
		programs.Await(a.T, when+": "+topic, func() error {
			records, err := programs.Records(a.T, a.bootstrap, a.topic(topic))
			if err != nil {
				return err
			}
			got := map[string][]string{}
			for _, r := range records {
				got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
			}
			problem = want.compare(got, times)
			if problem != nil && len(records) < want.total*times {
				return problem
			}
			return nil
		})
		if problem != nil {
			a.Errorf("%s: %s: %v", when, topic, problem)
		}
	}
}

// internalTopics have the configs that Streams gave them, and what is read of the repartition topic is deleted.
func (a *application) internalTopics() {
	a.Helper()
	for topic, want := range map[string]map[string]string{
		"items-changelog":     {"cleanup.policy": "compact"},
		"minutes-changelog":   {"cleanup.policy": "compact,delete"},
		"by-item-repartition": {"cleanup.policy": "delete", "retention.ms": "-1"},
	} {
		configs, err := a.admin.DescribeTopicConfigs(a.Context(), a.topic(topic))
		if err != nil || configs[0].Err != nil {
			a.Fatalf("%s: %v, %v", topic, err, configs[0].Err)
		}
		for _, c := range configs[0].Configs {
			if value, ok := want[c.Key]; ok && c.MaybeValue() != value && !sameList(c.MaybeValue(), value) {
				a.Errorf("%s: %s is %s and not %s", topic, c.Key, c.MaybeValue(), value)
			}
		}
	}
	programs.Await(a.T, "the repartition topic is emptied", func() error {
		starts, err := a.admin.ListStartOffsets(a.Context(), a.topic("by-item-repartition"))
		deleted := int64(0)
		starts.Each(func(o kadm.ListedOffset) { deleted += o.Offset })
		if err == nil && deleted == 0 {
			err = fmt.Errorf("it is not")
		}
		return err
	})
}

func sameList(a, b string) bool {
	x, y, ok := strings.Cut(a, ",")
	return ok && y+","+x == b
}

// reset has Kafka's tool take the application back to its beginning.
func (a *application) reset() {
	a.Helper()
	var inputs []string
	for _, topic := range []string{"orders", "payments", "customers"} {
		inputs = append(inputs, a.topic(topic))
	}
	tools := programs.StartTools(a.T)
	run := func() toolbox.Output {
		return tools.Run(a.T, "", "streams-application-reset", "--bootstrap-server", a.bootstrap, "--application-id", a.name, "--input-topics", strings.Join(inputs, ","), "--force")
	}
	o := run()
	if o.Code != 0 && strings.Contains(o.Stderr+o.Stdout, "leaving members should not be empty") {
		o = run() // the tool sees members, and removes those that it sees then: their session has ended in between
	}
	if o.Code != 0 {
		a.Fatalf("the reset ended with %d:\n%s\n%s", o.Code, o.Stdout, o.Stderr)
	}
	programs.Await(a.T, "internal topics are gone", func() error {
		topics, err := a.admin.ListTopics(a.Context())
		for name := range topics {
			if strings.HasPrefix(name, a.name) && (strings.HasSuffix(name, "-changelog") || strings.HasSuffix(name, "-repartition")) {
				return fmt.Errorf("%s is there", name)
			}
		}
		return err
	})
	for _, topic := range inputs {
		offsets, err := a.admin.FetchOffsets(a.Context(), a.name)
		if err != nil {
			a.Fatal(err)
		}
		for p := range int32(3) {
			if at, _ := offsets.Lookup(topic, p); at.At != 0 {
				a.Errorf("%s-%d is at %d after the reset", topic, p, at.At)
			}
		}
	}
}
