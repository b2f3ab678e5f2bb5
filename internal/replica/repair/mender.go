package repair

import (
	"log/slog"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/storage/segment"
)

const (
	fetchVersion = 18
	// mostBytes is asked for at a time. Damage of more is mended only if it is one batch.
	mostBytes = 8 << 20
	// Between the rounds in which all replicas are asked.
	firstPauseMs = 100
	mostPauseMs  = 60_000
)

// Options configure a Mender.
type Options struct {
	NodeID int32
	// Propose takes a change of the in-sync replicas to the controller; it does not block.
	Propose func(p *partition.Partition, change *partition.ISRChange)
	Metrics *metrics.Registry
}

// Mender mends one damaged place after the other.
type Mender struct {
	options Options
	jobs    []*job
	asked   *job // whose request is not answered
	mended  *metrics.Counter
	damaged *metrics.Gauge
}

// job is a partition with damage.
type job struct {
	partition *partition.Partition
	damage    segment.Damage
	sources   []int32 // that are still to be asked in this round
	isAsking  bool    // a round has begun
	isSilent  bool    // a replica was not reached in it, or could not say what it has
	isTwice   bool    // a replica is damaged there, too
	hasOther  bool    // a replica has it in another form
	failures  int     // rounds in a row
	retryMs   int64
}

// New returns a Mender without partitions.
func New(o Options) *Mender {
	r := o.Metrics
	return &Mender{options: o,
		mended:  r.Counter("log_mended_places_total", "Damaged places in logs that were mended with what another replica has."),
		damaged: r.Gauge("log_damaged_partitions", "Replicas here whose log is known to be damaged and not mended yet."),
	}
}

// Add has the damage in the log of a partition mended. One that it knows already is left to its turn.
func (m *Mender) Add(p *partition.Partition) {
	if slices.ContainsFunc(m.jobs, func(j *job) bool { return j.partition == p }) {
		return
	}
	m.jobs = append(m.jobs, &job{partition: p})
	m.damaged.Set(int64(len(m.jobs)))
}

// Ask is a request to another broker.
type Ask struct {
	Broker  int32
	Request *kmsg.FetchRequest
}

// Next returns what to ask now, or nil and when to call again: 0 if there is nothing to do until a partition is added or
// an answer comes. There is one request at a time: Take or Failed must follow.
func (m *Mender) Next(nowMs int64) (ask *Ask, againMs int64) {
	if m.asked != nil {
		return nil, 0
	}
	m.jobs = slices.DeleteFunc(m.jobs, func(j *job) bool {
		if ask != nil {
			return false
		}
		if j.retryMs <= nowMs {
			isOver := false
			if ask, isOver = m.look(j, nowMs); isOver {
				return true
			}
		}
		if ask == nil && (againMs == 0 || j.retryMs < againMs) {
			againMs = j.retryMs
		}
		return false
	})
	m.damaged.Set(int64(len(m.jobs)))
	return ask, againMs
}

// look finds out what to do about a partition: nothing if it is over, to ask a replica, or to wait for a while.
func (m *Mender) look(j *job, nowMs int64) (ask *Ask, isOver bool) {
	p := j.partition
	if p.IsGone() != nil {
		return nil, true
	}
	if len(p.Assignment().Replicas) == 0 { // it is being started
		j.retryMs = nowMs + firstPauseMs
		return nil, false
	}
	if !j.isAsking {
		damage, found, err := p.Log().FirstDamage()
		switch {
		case err != nil:
			m.endRound(j, nowMs)
			return nil, false
		case !found:
			p.SetDamageState(partition.Undamaged)
			return nil, true
		}
		j.damage, j.sources, j.isAsking = damage, m.sources(p), true
		j.isSilent, j.isTwice, j.hasOther = false, false, false
		p.NoteDamage() // what was met before may have been mended, and this is something else
	}
	if len(j.sources) == 0 {
		m.endRound(j, nowMs)
		return nil, false
	}
	m.asked = j
	return &Ask{Broker: j.sources[0], Request: m.request(j)}, false
}

// sources are the other replicas, those in sync first.
func (m *Mender) sources(p *partition.Partition) (brokers []int32) {
	a := p.Assignment()
	for _, inSync := range []bool{true, false} {
		for _, id := range a.Replicas {
			if id != m.options.NodeID && slices.Contains(a.ISR, id) == inSync {
				brokers = append(brokers, id)
			}
		}
	}
	return brokers
}

// request asks for all that the other replica has, whether it leads or not, committed or not: the leader epoch tells whether that is what was here.
func (m *Mender) request(j *job) *kmsg.FetchRequest {
	r := kmsg.NewPtrFetchRequest()
	r.Version, r.MaxBytes, r.SessionEpoch, r.IsolationLevel = fetchVersion, mostBytes, -1, int8(kafka.ReadToEnd)
	t := kmsg.NewFetchRequestTopic()
	t.TopicID = j.partition.TopicID()
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset = j.partition.TopicPartition().Partition, max(j.damage.Offset, j.partition.Log().LogStartOffset())
	p.PartitionMaxBytes = int32(min(j.damage.SizeBytes(), mostBytes))
	t.Partitions = append(t.Partitions, p)
	r.Topics = append(r.Topics, t)
	return r
}

// Failed says that the request was not answered, or not sent.
func (m *Mender) Failed(nowMs int64) {
	m.asked.isSilent = true
	m.next(nowMs)
}

// next goes on to the next replica.
func (m *Mender) next(nowMs int64) {
	j := m.asked
	m.asked = nil
	if j.sources = j.sources[1:]; len(j.sources) == 0 {
		m.endRound(j, nowMs)
	}
}

// endRound says that no other replica had what was wanted.
func (m *Mender) endRound(j *job, nowMs int64) {
	if j.isAsking {
		m.judge(j)
	}
	j.isAsking = false
	j.retryMs = nowMs + min(int64(firstPauseMs)<<min(j.failures, 20), mostPauseMs)
	j.failures++
}

// judge says what readers are told after a round: to come again as long as it may be mended yet, since those that are told of damage
// for good stop; else what is damaged.
func (m *Mender) judge(j *job) {
	p := j.partition
	tp, offset := p.TopicPartition().String(), j.damage.Offset
	if m.mayHeal(j) {
		if j.failures == 0 {
			slog.Warn("data of a partition is damaged on this broker, and no other replica has it at hand: readers of this place wait, all the rest is served; other replicas are asked again and again",
				"partition", tp, "offset", offset, "damage", j.damage.Cause)
		}
		p.SetDamageState(partition.BeingMended)
		return
	}
	if p.DamageState() != partition.Unmendable {
		slog.Error("data of a partition is damaged on this broker, and no other replica has it: readers are told at this place, all the rest is served; other replicas are asked again and again",
			"partition", tp, "offset", offset, "damage", j.damage.Cause)
	}
	p.SetDamageState(partition.Unmendable)
}

// mayHeal reports whether another round, or another leader, may help; it asks for that one where it does.
func (m *Mender) mayHeal(j *job) bool {
	a := j.partition.Assignment()
	switch {
	case len(a.Replicas) < 2:
		return false
	case j.isSilent || j.failures == 0:
		return true
	case j.isTwice: // it may be all that the others could fetch from
		return false
	}
	// They have it in another form, as compaction leaves it, or it is not replicated yet.
	change, isLater := j.partition.GiveUp(j.damage.Offset)
	if change != nil {
		slog.Warn("other replicas have nothing that fits in the place of damaged data: this one leaves the in-sync replicas, and fetches it all again", "partition", j.partition.TopicPartition().String(), "offset", j.damage.Offset)
		m.options.Propose(j.partition, change)
		return true
	}
	return isLater || j.hasOther && len(a.Replicas) > max(a.EffectiveMinISR(), 1) // more may be in sync soon
}

// Take takes the answer.
func (m *Mender) Take(r *kmsg.FetchResponse, nowMs int64) {
	j := m.asked
	records, code := recordsIn(r)
	switch {
	case code == kafka.ErrCorruptMessage:
		j.isTwice = true
		m.next(nowMs)
		return
	case code != kafka.ErrNone:
		m.Failed(nowMs)
		return
	case len(records) == 0:
		m.next(nowMs)
		return
	}
	fits, err := j.partition.Log().Mend(j.damage, records)
	if err != nil || !fits {
		if err != nil {
			slog.Error("cannot mend the log of a partition", "partition", j.partition.TopicPartition().String(), "error", err)
		}
		j.hasOther = true
		m.next(nowMs)
		return
	}
	slog.Warn("mended damaged data with what another replica has: look at the disk that gave it back wrong", "partition", j.partition.TopicPartition().String(), "from_broker", j.sources[0],
		"offset", j.damage.Offset, "bytes", j.damage.SizeBytes(), "damage", j.damage.Cause)
	m.mended.Inc()
	m.asked, j.isAsking, j.failures = nil, false, 0
}

// recordsIn returns what the other replica has there; the code says where it is damaged, too, or why the replica does not say: it may
// not have heard yet that it is one.
func recordsIn(r *kmsg.FetchResponse) (records []byte, code kafka.ErrorCode) {
	if r.ErrorCode != int16(kafka.ErrNone) || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return nil, kafka.ErrUnknownServerError
	}
	p := &r.Topics[0].Partitions[0]
	if code = kafka.ErrorCode(p.ErrorCode); code == kafka.ErrOffsetOutOfRange {
		code = kafka.ErrNone
	}
	return p.RecordBatches, code
}
