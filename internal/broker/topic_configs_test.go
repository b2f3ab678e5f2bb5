package broker

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// topicConfigTest says how to tell which of two values of a topic config a node goes by.
type topicConfigTest struct {
	name     string
	value    string            // another one than the default
	configs  map[string]string // that the topic is created with
	observe  func(p *configTopic) string
	byValue  string // what is observed with value
	byAbsent string // and with the default
	// perCluster says that single brokers may not have a value of their own.
	perCluster bool
}

// topicConfigTests has one entry for each topic config that has an effect.
var topicConfigTests = []topicConfigTest{
	{name: "cleanup.policy", value: "compact", byAbsent: "keyless ok, deletes", byValue: "keyless INVALID_RECORD, keeps", observe: func(p *configTopic) string {
		p.roll()
		p.roll()
		keyless, deletes := p.produce(rec{p.oldMs(), "", "v"}), "keeps"
		if p.deleteOld(p.nowMs()) > 0 {
			deletes = "deletes"
		}
		return "keyless " + keyless + ", " + deletes
	}},
	{name: "compression.type", value: "zstd", byAbsent: "none", byValue: "zstd", observe: func(p *configTopic) string {
		p.must(compressible)
		return p.last().Codec().String()
	}},
	{name: "compression.gzip.level", value: "1", configs: map[string]string{"compression.type": "gzip"},
		byAbsent: sizeAt(record.CodecGzip, -1), byValue: sizeAt(record.CodecGzip, 1), observe: compressedSize},
	{name: "compression.lz4.level", value: "17", configs: map[string]string{"compression.type": "lz4"},
		byAbsent: sizeAt(record.CodecLZ4, 9), byValue: sizeAt(record.CodecLZ4, 17), observe: compressedSize},
	{name: "compression.zstd.level", value: "19", configs: map[string]string{"compression.type": "zstd"},
		byAbsent: sizeAt(record.CodecZstd, 3), byValue: sizeAt(record.CodecZstd, 19), observe: compressedSize},
	{name: "delete.retention.ms", value: "1000", configs: map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"},
		byAbsent: "86400000", byValue: "1000", observe: deleteRetention},
	{name: "file.delete.delay.ms", value: "1000", byAbsent: "waits", byValue: "gone", observe: func(p *configTopic) string {
		p.roll()
		p.roll()
		later := p.nowMs() + hourMs // what is deleted then is left alone by the node's own pass
		p.deleteOld(later)
		if err := p.b.storage.RemoveDeleted(later + 30_000); err != nil {
			p.t.Fatal(err)
		}
		waits := p.files(".deleted") > 0
		if err := p.b.storage.RemoveDeleted(later + hourMs); err != nil || p.files(".deleted") > 0 {
			p.t.Fatal("deleted files stay", err)
		}
		return map[bool]string{true: "waits", false: "gone"}[waits]
	}},
	{name: "flush.messages", value: "1", byAbsent: "later", byValue: "flushed", observe: func(p *configTopic) string {
		p.flush()
		p.must(rec{p.nowMs(), "k", "v"})
		return flushed(p)
	}},
	{name: "flush.ms", value: "1500", byAbsent: "later", byValue: "flushed", observe: func(p *configTopic) string {
		p.flush()
		p.must(rec{p.nowMs(), "k", "v"})
		for i := range p.b.storage.DirCount() {
			if _, err := p.b.storage.CommitDir(i, p.nowMs()+2000, nil); err != nil {
				p.t.Fatal(err)
			}
		}
		// Where it is due, the node's own committer may have taken the log just before, and be at its fsync.
		for deadline := time.Now().Add(10 * time.Second); p.log().Config().FlushMs < hourMs && flushed(p) != "flushed" && time.Now().Before(deadline); {
			runtime.Gosched()
		}
		return flushed(p)
	}},
	{name: "index.interval.bytes", value: "100", byAbsent: "0 entries", byValue: "2 entries", observe: func(p *configTopic) string {
		at := p.roll()
		for range 3 {
			p.must(rec{at, "k", strings.Repeat("v", 200)})
		}
		p.flush()
		return fmt.Sprintf("%d entries", p.fileBytes(".index")/8)
	}},
	{name: "max.compaction.lag.ms", value: "63072000000", configs: map[string]string{"cleanup.policy": "compact"}, byAbsent: "left", byValue: "compacted", observe: func(p *configTopic) string {
		muchClean(p)
		p.roll()
		p.roll()
		return compacted(p)
	}},
	{name: "max.message.bytes", value: "2000", byAbsent: "ok", byValue: "MESSAGE_TOO_LARGE", observe: func(p *configTopic) string {
		return p.produce(rec{p.nowMs(), "k", strings.Repeat("v", 3000)})
	}},
	{name: "message.timestamp.after.max.ms", value: "60000", byAbsent: "ok", byValue: "INVALID_TIMESTAMP", observe: func(p *configTopic) string {
		return p.produce(rec{p.nowMs() + 30*minuteMs, "k", "v"})
	}},
	{name: "message.timestamp.before.max.ms", value: "60000", byAbsent: "ok", byValue: "INVALID_TIMESTAMP", observe: func(p *configTopic) string {
		return p.produce(rec{p.nowMs() - 30*minuteMs, "k", "v"})
	}},
	{name: "message.timestamp.type", value: "LogAppendTime", byAbsent: "false", byValue: "true", observe: func(p *configTopic) string {
		p.must(rec{p.nowMs(), "k", "v"})
		return fmt.Sprint(p.last().IsLogAppendTime())
	}},
	{name: "min.cleanable.dirty.ratio", value: "0.0001", configs: map[string]string{"cleanup.policy": "compact"}, byAbsent: "left", byValue: "compacted", observe: func(p *configTopic) string {
		muchClean(p)
		p.roll()
		p.roll()
		return compacted(p)
	}},
	{name: "min.compaction.lag.ms", value: "31536000000", configs: map[string]string{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0"}, byAbsent: "compacted", byValue: "left", observe: func(p *configTopic) string {
		p.clock = max(p.clock, p.nowMs()-350*dayMs)
		p.roll()
		p.roll()
		return compacted(p)
	}},
	{name: "min.insync.replicas", value: "2", byAbsent: "1", byValue: "2", perCluster: true, observe: func(p *configTopic) string {
		// With one replica at most one is asked for, so there is nothing to see from outside.
		r, err := p.b.replicas.Lookup(p.log().TopicPartition())
		if err != nil {
			p.t.Fatal(err)
		}
		return fmt.Sprint(kafka.EffectiveMinISR(r.Assignment().MinInSyncReplicas, 2))
	}},
	{name: "retention.bytes", value: "1", configs: map[string]string{"retention.ms": "-1"}, byAbsent: "keeps", byValue: "deletes", observe: retention},
	{name: "retention.ms", value: "-1", byAbsent: "deletes", byValue: "keeps", observe: retention},
	{name: "segment.bytes", value: "1048576", byAbsent: "same segment", byValue: "rolled", observe: func(p *configTopic) string {
		at := p.roll()
		return rolls(p, func() {
			for range 2 {
				p.must(rec{at, "k", strings.Repeat("v", 600_000)})
			}
		})
	}},
	{name: "segment.index.bytes", value: "16", configs: map[string]string{"index.interval.bytes": "0"}, byAbsent: "same segment", byValue: "rolled", observe: func(p *configTopic) string {
		at := p.roll()
		return rolls(p, func() {
			for range 4 {
				p.must(rec{at, "k", "v"})
			}
		})
	}},
	{name: "segment.jitter.ms", value: "604800000", byAbsent: "same segment", byValue: "rolled", observe: func(p *configTopic) string {
		at := p.roll()
		p.oldMs()
		return rolls(p, func() { p.must(rec{at + 7*dayMs, "k", "v"}) })
	}},
	{name: "segment.ms", value: "3600000", byAbsent: "same segment", byValue: "rolled", observe: func(p *configTopic) string {
		at := p.roll()
		p.oldMs()
		return rolls(p, func() { p.must(rec{at + dayMs, "k", "v"}) })
	}},
}

// compressible is a record whose size tells levels of compression apart.
var compressible = func() rec {
	var text strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&text, "%d %x,", i%7, uint32(i*i)*2654435761)
	}
	return rec{1_700_000_000_000, "k", text.String()}
}()

func compressedSize(p *configTopic) string {
	p.must(compressible)
	return fmt.Sprint(len(p.last()))
}

// sizeAt is the size of the batch with compressible at a level.
func sizeAt(codec record.Codec, level int) string {
	o := record.NoProducer(codec)
	o.Level = level
	b := record.NewBuilder(o)
	b.Append(compressible.timestampMs, []byte(compressible.key), []byte(compressible.value), nil)
	batch, err := b.Build()
	if err != nil {
		panic(err)
	}
	return fmt.Sprint(len(batch))
}

// deleteRetention is the time that the cleaner gives a tombstone.
func deleteRetention(p *configTopic) string {
	at := p.oldMs()
	p.must(rec{at, "k", "v"})
	b := record.NewBuilder(record.NoProducer(record.CodecNone))
	b.Append(p.oldMs(), []byte("gone"), nil, nil)
	batch, err := b.Build()
	if err != nil {
		p.t.Fatal(err)
	}
	p.mustBatch(batch)
	tombstone := p.log().LogEndOffset() - 1
	p.roll()
	now := p.nowMs()
	if !p.clean(now) {
		p.t.Fatal("nothing to compact")
	}
	horizon, ok := p.batchAt(tombstone).DeleteHorizonMs()
	if !ok {
		p.t.Fatal("the tombstone has no delete horizon")
	}
	return fmt.Sprint(horizon - now)
}

func flushed(p *configTopic) string {
	if p.log().FlushedOffset() == p.log().LogEndOffset() {
		return "flushed"
	}
	return "later"
}

// muchClean leaves a log with much that is compacted, so that little more is a small share.
func muchClean(p *configTopic) {
	at := p.roll()
	for i := range 60 {
		p.must(rec{at, fmt.Sprint(i % 20), strings.Repeat("v", 500)})
	}
	p.roll()
	if !p.clean(p.nowMs()) {
		p.t.Fatal("nothing to compact")
	}
}

func compacted(p *configTopic) string {
	if p.clean(p.nowMs()) {
		return "compacted"
	}
	return "left"
}

func retention(p *configTopic) string {
	p.roll()
	p.roll()
	if p.deleteOld(p.nowMs()) > 0 {
		return "deletes"
	}
	return "keeps"
}

func rolls(p *configTopic, write func()) string {
	before := p.log().SegmentCount()
	write()
	if p.log().SegmentCount() > before {
		return "rolled"
	}
	return "same segment"
}

// TestEveryTopicConfigIsTested: a row of the table has an effect, and an entry here, or PARITY.md
// lists it as accepted without one, which a test of package lint compares with the same table.
func TestEveryTopicConfigIsTested(t *testing.T) {
	t.Parallel()
	tested := map[string]bool{}
	for _, test := range topicConfigTests {
		tested[test.name] = true
	}
	for name := range throttledReplicasTests { // brokers have no defaults for them
		tested[name] = true
	}
	tested["unclean.leader.election.enable"] = true // scripts/elr of controller
	for _, d := range config.TopicDefs() {
		if used := d.Usage == config.Used; used != tested[d.Name] {
			t.Errorf("topic config %s: used %t, tested %t", d.Name, used, tested[d.Name])
		}
	}
}

// check compares what is observed of a topic with what a value comes to.
func (test *topicConfigTest) check(p *configTopic, want, when string) {
	p.t.Helper()
	if got := test.observe(p); got != want {
		p.t.Errorf("%s, %s: got %q, want %q", test.name, when, got, want)
	}
}

// TestTopicConfigsTakeEffect alters each topic config, and the broker's config that is its default,
// on a running node.
func TestTopicConfigsTakeEffect(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	for _, test := range topicConfigTests {
		d, _ := config.TopicDef(test.name)
		p, changed := n.topic("t-"+test.name, test.configs), ptr(test.value)
		test.check(p, test.byAbsent, "default")
		n.alter(ofTopic(p.name, test.name, changed))
		test.check(p, test.byValue, "set for the topic")
		n.alter(ofTopic(p.name, test.name, nil))
		test.check(p, test.byAbsent, "removed from the topic")
		synonym, _ := config.TopicSynonym(test.name)
		n.alter(ofCluster(synonym, changed))
		test.check(p, test.byValue, "set for the cluster")
		if test.perCluster {
			n.alter(ofCluster(synonym, nil))
			test.check(p, test.byAbsent, "removed from the cluster")
			continue
		}
		n.alter(ofBroker(synonym, ptr(d.Default)))
		test.check(p, test.byAbsent, "set for the cluster, the default set for the broker")
		n.alter(ofTopic(p.name, test.name, changed))
		test.check(p, test.byValue, "set for the topic, the default set for the broker")
		n.alter(ofTopic(p.name, test.name, nil))
		n.alter(ofCluster(synonym, nil))
		n.alter(ofBroker(synonym, changed))
		test.check(p, test.byValue, "set for the broker")
		n.alter(ofBroker(synonym, nil))
		test.check(p, test.byAbsent, "removed from the broker")
	}
}

// TestTopicConfigsAfterARestart sets all configs at once, for topics that inherit one each.
func TestTopicConfigsAfterARestart(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	topics := make([]*configTopic, len(topicConfigTests))
	for i, test := range topicConfigTests {
		all := map[string]string{}
		for _, other := range topicConfigTests {
			if d, _ := config.TopicDef(other.name); other.name != test.name {
				all[other.name] = d.Default
			}
		}
		for name, value := range test.configs {
			all[name] = value
		}
		topics[i] = n.topic("r-"+test.name, all)
	}
	checkAll := func(when string, want func(test *topicConfigTest) string) {
		for i := range topicConfigTests {
			test := &topicConfigTests[i]
			test.check(topics[i], want(test), when)
		}
	}
	changed := func(test *topicConfigTest) string { return test.byValue }
	unchanged := func(test *topicConfigTest) string { return test.byAbsent }
	setAll := func(level func(name string, value *string) setting, value func(test *topicConfigTest) *string) {
		for i := range topicConfigTests {
			test := &topicConfigTests[i]
			synonym, _ := config.TopicSynonym(test.name)
			if setting := level(synonym, value(test)); !test.perCluster || setting.resource == "" {
				n.alter(setting)
			}
		}
	}
	toChanged := func(test *topicConfigTest) *string { return &test.value }
	toDefault := func(test *topicConfigTest) *string {
		d, _ := config.TopicDef(test.name)
		return &d.Default
	}
	toNothing := func(*topicConfigTest) *string { return nil }

	for i, test := range topicConfigTests {
		n.alter(ofTopic(topics[i].name, test.name, &test.value))
	}
	n.restart(nil)
	checkAll("set for the topic before a restart", changed)
	for i, test := range topicConfigTests {
		n.alter(ofTopic(topics[i].name, test.name, nil))
	}
	setAll(ofCluster, toChanged)
	n.restart(nil)
	checkAll("set for the cluster before a restart", changed)
	setAll(ofCluster, toNothing)

	static := map[string]string{}
	for _, test := range topicConfigTests {
		synonym, _ := config.TopicSynonym(test.name)
		static[synonym] = test.value
	}
	n.restart(static)
	checkAll("in the properties", changed)
	setAll(ofCluster, toDefault)
	checkAll("in the properties, the default set for the cluster", unchanged)
	setAll(ofBroker, toChanged)
	n.restart(nil)
	checkAll("set for the broker before a restart, the default set for the cluster", func(test *topicConfigTest) string {
		if test.perCluster {
			return test.byAbsent
		}
		return test.byValue
	})
}
