package nemesis

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/moldau/moldau/test/apptest/history"
)

// mix is what one seed came to.
type mix struct {
	seed       uint64
	length     time.Duration
	operations []*history.Operation
	result     *history.Result
	faults     map[string]int
	gaps       map[string][]time.Duration // by kind, where it was alone
	errors     map[string]int
	packets    [4]int64
	records    int
}

// finished gathers what a mix came to and checks its history.
func (n *nemesis) finished(seed uint64, drained bool) *mix {
	m := &mix{seed: seed, length: n.w.now(), operations: n.w.recorder.Operations(), faults: n.counts, gaps: map[string][]time.Duration{}, errors: n.w.errors}
	m.result = history.Check(m.operations, drained)
	acked := n.w.acked(m.operations)
	for _, k := range kinds {
		for _, w := range n.alone(k.name) {
			m.gaps[k.name] = append(m.gaps[k.name], longestGap(acked, w))
		}
	}
	for _, w := range n.windows {
		if slices.ContainsFunc(w.kinds, func(k string) bool { return k != w.kinds[0] }) {
			m.gaps[several] = append(m.gaps[several], longestGap(acked, w))
		}
	}
	packets := n.c.network.Counters()
	m.packets = [4]int64{packets.Forwarded, packets.Blocked, packets.Lost, packets.Delayed}
	for _, o := range m.operations {
		for _, a := range o.Actions {
			if a.Acked {
				m.records++
			}
		}
	}
	return m
}

const several = "several kinds at once"

// acked are the times at which the probe of each partition got its answers, ascending.
func (w *workload) acked(operations []*history.Operation) map[history.Key][]time.Duration {
	times := map[history.Key][]time.Duration{}
	for _, o := range operations {
		if !w.probes[o.Process] {
			continue
		}
		for _, a := range o.Actions {
			if a.Acked {
				times[a.Sent.Key] = append(times[a.Sent.Key], o.Ended)
			}
		}
	}
	return times
}

// beforehand is how long before a fault the last answer may have come that began a gap: probes pause between sends.
const beforehand = 200 * time.Millisecond

// longestGap is the longest time between two answers that some probe got, of those that began in the window.
func longestGap(acked map[history.Key][]time.Duration, w window) (longest time.Duration) {
	for _, times := range acked {
		for i := 1; i < len(times); i++ {
			if times[i-1] >= w.from-beforehand && times[i-1] < w.to-beforehand && times[i] > w.from {
				longest = max(longest, times[i]-times[i-1])
			}
		}
	}
	return longest
}

// report is the document of several mixes.
func report(mixes []*mix, command string) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("# Report of faults\n")
	say("Written by `%s`; %s, %d cores, which other programs may have used too. Three nodes (brokers and controllers) and a fourth that comes and goes, each a process in a network namespace of its own with", command, runtime.Version(), runtime.NumCPU())
	say("a disk and a wall clock of its own. Faults are re-rolled every three to nine seconds, one at a time or several; in the end all are healed, the cluster must be whole within %s,", convergence)
	say("no transaction may hang, and every partition is read from start to end. Clients are franz-go, unmodified. %d partitions, three replicas, `min.insync.replicas` 2;", partitions)
	say("set on the nodes: `%s`.\n", strings.Join(settings, "`, `"))
	reportMixes(say, mixes)
	reportAnomalies(say, mixes)
	reportFaults(say, mixes)
	reportOperations(say, mixes)
	return b.String()
}

func reportMixes(say func(string, ...any), mixes []*mix) {
	say("| Seed | Length | Operations | Records acknowledged | Faults | Packets carried | blocked | lost | delayed |")
	say("|---|---|---|---|---|---|---|---|---|")
	for _, m := range mixes {
		faults := 0
		for _, count := range m.faults {
			faults += count
		}
		say("| %d | %s | %d | %d | %d | %d | %d | %d | %d |", m.seed, m.length.Round(time.Second), len(m.operations), m.records, faults, m.packets[0], m.packets[1], m.packets[2], m.packets[3])
	}
}

func reportAnomalies(say func(string, ...any), mixes []*mix) {
	say("\n## Anomalies\n")
	say("As Jepsen defines them for logs of Kafka's kind; `test/apptest/history` says how each is found.\n")
	say("| Anomaly | Found |")
	say("|---|---|")
	count := func(a history.Anomaly) (n int) {
		for _, m := range mixes {
			n += m.result.Count(a)
		}
		return n
	}
	for _, a := range history.Forbidden {
		say("| %s | %d |", a, count(a))
	}
	say("\nNormal in Kafka, since writes of several producers lie between each other, and only counted:")
	for _, a := range history.Allowed {
		say("%s %d;", a, count(a))
	}
}

func reportFaults(say func(string, ...any), mixes []*mix) {
	say("\n## Faults, and the longest time without an acknowledged write\n")
	say("As the slowest of six clients saw it, each of which sends one record after the other with `acks=all` to a partition of its own; per injection of that kind alone; only gaps that began while it")
	say("lasted count. The clients give a request up after 4 s, so a node that does not answer costs at least that; a fault that lasts takes writes away for as long as it lasts where no other replica may lead. The next fault often comes before all replicas are in sync again, and then costs more than it would by itself.\n")
	say("| Fault | Injected | Alone | Median, s | Longest, s |")
	say("|---|---|---|---|---|")
	names := []string{several}
	for _, k := range kinds {
		names = append(names, k.name)
	}
	for _, name := range append(names[1:], several) {
		injected, gaps := 0, []time.Duration{}
		for _, m := range mixes {
			injected += m.faults[name]
			gaps = append(gaps, m.gaps[name]...)
		}
		slices.Sort(gaps)
		if name == several {
			injected = len(gaps)
		}
		if len(gaps) == 0 {
			say("| %s | %d | 0 | | |", name, injected)
			continue
		}
		say("| %s | %d | %d | %.2f | %.2f |", name, injected, len(gaps), gaps[len(gaps)/2].Seconds(), gaps[len(gaps)-1].Seconds())
	}
}

// addresses differ from one error to the next.
var addresses = regexp.MustCompile(`(\d+\.){3}\d+:\d+(->(\d+\.){3}\d+:\d+)?`)

func reportOperations(say func(string, ...any), mixes []*mix) {
	say("\n## Operations\n")
	say("An operation is `info` where the client cannot know whether it happened. Clients repeat most requests by themselves; what they gave up and told the program. `lost records` is a false alarm of franz-go " +
		"after a leader epoch of which it has seen only markers of transactions: it counts their offsets, and not their epoch. What was really lost is above.\n")
	say("| Told | Times |")
	say("|---|---|")
	told := map[string]int{}
	for _, m := range mixes {
		for text, count := range m.errors {
			told[addresses.ReplaceAllString(text, "a node")] += count
		}
	}
	for _, text := range slices.SortedFunc(maps.Keys(told), func(a, b string) int { return cmp.Or(cmp.Compare(told[b], told[a]), cmp.Compare(a, b)) }) {
		say("| %s | %d |", strings.ReplaceAll(strings.ReplaceAll(text, "\n", " "), "|", "/"), told[text])
	}
	say("")
	say("| Operation | ok | fail | info |")
	say("|---|---|---|---|")
	counts := map[history.Kind]*[3]int{}
	for _, m := range mixes {
		for _, o := range m.operations {
			if counts[o.Kind] == nil {
				counts[o.Kind] = &[3]int{}
			}
			counts[o.Kind][o.Outcome]++
		}
	}
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		say("| %s | %d | %d | %d |", k, counts[k][history.OK], counts[k][history.Fail], counts[k][history.Info])
	}
}

// commonErrors are the errors that clients met most often.
func (m *mix) commonErrors(most int) (lines []string) {
	texts := slices.SortedFunc(maps.Keys(m.errors), func(a, b string) int { return cmp.Or(cmp.Compare(m.errors[b], m.errors[a]), cmp.Compare(a, b)) })
	for _, text := range texts[:min(most, len(texts))] {
		lines = append(lines, fmt.Sprintf("%6d %s", m.errors[text], text))
	}
	return lines
}
