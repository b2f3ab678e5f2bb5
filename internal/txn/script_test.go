package txn

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/shard"
)

// script drives one shard by the commands of testdata/*.script. Producers are written id/epoch.
// Notices wait until the script says what becomes of them: "markers" has them written.
type script struct {
	t       *testing.T
	d       *datadriven.TestData
	cfg     Config
	shard   *Shard
	nowMs   int64
	freshID int64
	log     []shard.Record
	markers []Markers
	out     strings.Builder
}

func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		if !strings.HasSuffix(path, ".script") {
			return
		}
		s := &script{t: t, cfg: testConfig(), freshID: 1000}
		s.shard = NewShard(s.cfg, NewMetrics(metrics.NewRegistry()))
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t, s.d = t, d
			s.out.Reset()
			s.run()
			if s.out.Len() == 0 {
				return "ok\n"
			}
			return s.out.String()
		})
	})
}

func (s *script) run() {
	switch s.d.Cmd {
	case "config":
		s.cfg.MaxTimeoutMs = int32(s.number("max-timeout", int64(s.cfg.MaxTimeoutMs)))
		s.cfg.ExpirationMs = s.number("expiration", s.cfg.ExpirationMs)
		maxBatch := int32(s.number("max-batch", int64(s.cfg.MaxBatchSizeBytes())))
		s.cfg.MaxBatchSizeBytes = func() int32 { return maxBatch }
		s.reload()
	case "init":
		r := InitRequest{TransactionalID: s.id(), TimeoutMs: int32(s.number("timeout", 60_000)), FreshID: s.fresh()}
		if s.d.HasArg("from") {
			p := s.producer("from")
			r.Expected = &p
		}
		s.show(s.shard.InitProducerID(1, r, s.nowMs))
	case "add":
		s.show(s.shard.AddPartitions(1, s.addRequest(), s.nowMs))
	case "verify":
		s.show(s.shard.VerifyPartitions(1, s.addRequest(), s.nowMs))
	case "end":
		s.show(s.shard.EndTransaction(1, EndRequest{TransactionalID: s.id(), Producer: s.producer("as"), Commit: s.text("result", "commit") == "commit", Version: s.version(), FreshID: s.fresh()}, s.nowMs))
	case "markers":
		s.writeMarkers()
	case "complete":
		m := Markers{TransactionalID: s.id(), Producer: s.producer("as")}
		if t := s.shard.transactions[m.TransactionalID]; t != nil {
			m.StartMs, m.PreparedMs = t.startMs, t.lastUpdateMs
		}
		s.show(s.shard.CompleteMarkers(1, m, s.nowMs))
	case "abort-timed-out":
		s.show(s.shard.AbortTimedOut(1, s.id(), s.fresh(), s.nowMs))
	case "advance":
		s.advance(s.number("ms", 0))
	case "clock-set-by":
		s.nowMs += s.number("ms", 0)
		s.shard.ShiftDeadlines(s.number("ms", 0))
	case "set-epoch": // instead of 32766 requests
		s.setEpoch()
	case "record":
		s.replayRecord()
	case "reload":
		s.reload()
	case "describe":
		s.show(s.shard.Describe(1, s.id(), s.nowMs))
	case "list":
		s.list()
	default:
		s.t.Fatalf("%s: unknown command %s", s.d.Pos, s.d.Cmd)
	}
}

func (s *script) text(name, missing string) string {
	if !s.d.HasArg(name) {
		return missing
	}
	var v string
	s.d.ScanArgs(s.t, name, &v)
	return v
}

func (s *script) number(name string, missing int64) int64 {
	n, err := strconv.ParseInt(s.text(name, strconv.FormatInt(missing, 10)), 10, 64)
	if err != nil {
		s.t.Fatalf("%s: %v", s.d.Pos, err)
	}
	return n
}

func (s *script) id() string { return s.text("id", "x") }

func (s *script) version() int16 { return int16(s.number("version", int64(Version2))) }

// fresh is a new producer id unless the command says that there is none.
func (s *script) fresh() int64 {
	if s.text("fresh", "yes") == "no" {
		return noFreshID
	}
	s.freshID++
	return s.freshID
}

func (s *script) producer(name string) (p Producer) {
	if _, err := fmt.Sscanf(s.text(name, ""), "%d/%d", &p.ID, &p.Epoch); err != nil {
		s.t.Fatalf("%s: %s: %v", s.d.Pos, name, err)
	}
	return p
}

func (s *script) partitions() (all []kafka.TopicPartition) {
	for _, arg := range s.d.CmdArgs {
		if arg.Key != "to" {
			continue
		}
		for _, text := range arg.Vals {
			i := strings.LastIndex(text, "-")
			n, err := strconv.Atoi(text[i+1:])
			if err != nil {
				s.t.Fatalf("%s: %v", s.d.Pos, err)
			}
			all = append(all, kafka.TopicPartition{Topic: text[:i], Partition: int32(n)})
		}
	}
	return all
}

func (s *script) addRequest() AddRequest {
	return AddRequest{TransactionalID: s.id(), Producer: s.producer("as"), Partitions: s.partitions(), Version: s.version()}
}

func (s *script) writeMarkers() {
	due := s.markers
	s.markers = nil
	for _, m := range due {
		s.show(s.shard.CompleteMarkers(1, m, s.nowMs))
	}
}

// advance moves the time on, stopping at each deadline.
func (s *script) advance(ms int64) {
	target := s.nowMs + ms
	for s.shard.NextDeadlineMs() <= target {
		s.nowMs = max(s.nowMs, s.shard.NextDeadlineMs())
		effects := s.shard.Tick(s.nowMs)
		if len(effects.Records)+len(effects.Notices) > 0 {
			fmt.Fprintf(&s.out, "at %d ms\n", s.nowMs)
		}
		s.show(effects)
	}
	s.nowMs = target
}

func (s *script) setEpoch() {
	t := s.shard.transactions[s.id()]
	s.shard.change(t, func() { t.epoch = int16(s.number("epoch", 0)) })
	s.log = append(s.log, s.shard.end().Records...)
}

// replayRecord reads a record that the shard itself would not write, or of an older Kafka.
func (s *script) replayRecord() {
	v := kmsg.NewTxnMetadataValue()
	v.Version, v.ProducerID, v.ProducerEpoch = int16(s.number("value-version", 1)), s.number("pid", 7), int16(s.number("epoch", 3))
	v.TimeoutMillis, v.State = 60_000, kmsg.TransactionState(s.number("state", 0))
	v.LastUpdateTimestamp, v.StartTimestamp = s.nowMs, s.nowMs
	v.PreviousProducerID, v.NextProducerID, v.ClientTransactionVersion = s.number("previous", -1), s.number("next", -1), int16(s.number("client-version", 0))
	for _, tp := range s.partitions() {
		v.Topics = append(v.Topics, kmsg.TxnMetadataValueTopic{Topic: tp.Topic, Partitions: []int32{tp.Partition}})
	}
	r := shard.Record{Key: key(s.id()), Value: v.AppendTo(nil)}
	if s.d.HasArg("tombstone") {
		r = tombstone(s.id())
	}
	if err := s.shard.Replay(shard.Position{ProducerID: kafka.NoProducerID}, r); err != nil {
		fmt.Fprintf(&s.out, "refused: %v\n", err)
		return
	}
	s.log = append(s.log, r)
}

// reload replaces the shard by one that is built from its log, as after a crash.
func (s *script) reload() {
	s.markers = nil
	s.shard.Deactivate()
	s.shard = NewShard(s.cfg, NewMetrics(metrics.NewRegistry()))
	for i, r := range s.log {
		if err := s.shard.Replay(shard.Position{Offset: int64(i), ProducerID: kafka.NoProducerID}, r); err != nil {
			s.t.Fatal(err)
		}
	}
	s.show(s.shard.Activate(s.nowMs))
}

func (s *script) list() {
	f := Filter{AnyState: true, MinDurationMs: s.number("longer-than", -1)}
	if s.d.HasArg("state") {
		state, ok := stateNamed(s.text("state", ""))
		if !ok {
			s.t.Fatalf("%s: no such state", s.d.Pos)
		}
		f.AnyState, f.States = false, []State{state}
	}
	if s.d.HasArg("matching") {
		f.Pattern = regexp.MustCompile("^(?:" + s.text("matching", "") + ")$")
	}
	s.show(s.shard.List(1, f, s.nowMs))
}

func (s *script) show(e shard.Effects) {
	for _, r := range e.Records {
		s.log = append(s.log, r)
		id, _, err := decodeKey(r.Key)
		if err != nil {
			s.t.Fatal(err)
		}
		if r.Value == nil {
			fmt.Fprintf(&s.out, "record %s tombstone\n", id)
			continue
		}
		t, err := decode(id, r.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&s.out, "record %s %s\n", id, describeTransaction(t))
	}
	for _, n := range e.Notices {
		switch n := n.(type) {
		case Markers:
			s.markers = append(s.markers, n)
			result := "abort"
			if n.Commit {
				result = "commit"
			}
			fmt.Fprintf(&s.out, "markers %s %s as %d/%d version=%d to %s\n", n.TransactionalID, result, n.Producer.ID, n.Producer.Epoch, n.TransactionVersion, listed(n.Partitions))
		case ProducerIDWanted:
			fmt.Fprintf(&s.out, "a producer id is wanted for %s\n", n.TransactionalID)
		}
	}
	for _, r := range e.Responses {
		s.answer(r.Value)
	}
}

func (s *script) answer(value any) {
	switch v := value.(type) {
	case Result:
		switch {
		case v.NeedsProducerID:
			s.out.WriteString("needs a producer id\n")
		case v.Code != kafka.ErrNone:
			fmt.Fprintf(&s.out, "%v\n", v.Code)
		default:
			fmt.Fprintf(&s.out, "OK %d/%d\n", v.Producer.ID, v.Producer.Epoch)
		}
	case []kafka.ErrorCode:
		fmt.Fprintf(&s.out, "%v\n", v)
	case kmsg.DescribeTransactionsResponseTransactionState:
		fmt.Fprintf(&s.out, "%v %s %d/%d timeout=%d start=%d topics=%d\n", kafka.ErrorCode(v.ErrorCode), v.State, v.ProducerID, v.ProducerEpoch, v.TimeoutMillis, v.StartTimestamp, len(v.Topics))
	case []kmsg.ListTransactionsResponseTransactionState:
		for _, t := range v {
			fmt.Fprintf(&s.out, "%s %d %s\n", t.TransactionalID, t.ProducerID, t.TransactionState)
		}
	}
}

func describeTransaction(t *transaction) string {
	text := fmt.Sprintf("%s %d/%d", t.state, t.producerID, t.epoch)
	if t.prevProducerID != t.producerID {
		text += fmt.Sprintf(" previous=%d", t.prevProducerID)
	}
	if t.nextProducerID != noFreshID {
		text += fmt.Sprintf(" next=%d", t.nextProducerID)
	}
	if len(t.partitions) > 0 {
		text += " " + listed(t.partitions)
	}
	return text + fmt.Sprintf(" start=%d updated=%d version=%d", t.startMs, t.lastUpdateMs, t.clientVersion)
}

func listed(partitions []kafka.TopicPartition) string {
	var names []string
	for _, tp := range partitions {
		names = append(names, tp.String())
	}
	slices.Sort(names)
	return "(" + strings.Join(names, ", ") + ")"
}
