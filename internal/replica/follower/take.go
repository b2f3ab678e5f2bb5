package follower

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/storage"
)

// Take takes the answer to the outstanding request. The records are not kept.
func (f *Fetcher) Take(r *kmsg.FetchResponse, nowMs int64) {
	f.isOutstanding = false
	if code := kafka.ErrorCode(r.ErrorCode); code != kafka.ErrNone {
		f.refused(code, nowMs)
		return
	}
	f.failures = 0
	f.options.Metrics.fetches.Inc()
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			a := &t.Partitions[j]
			p := f.partitions[Key{t.TopicID, a.Partition}]
			if p == nil || p.isGone || !p.isInSession || p.sent.CurrentLeaderEpoch != p.leaderEpoch {
				continue
			}
			f.takePartition(p, a, nowMs)
			f.list(p)
		}
	}
	f.adapt(len(r.Topics) == 0, nowMs)
	if !f.session.answered(r.SessionID) {
		f.restart()
	}
}

// refused says that the request as a whole was. A session that the leader has forgotten, which it may, is begun
// anew at once, but not again and again.
func (f *Fetcher) refused(code kafka.ErrorCode, nowMs int64) {
	f.restart()
	switch code {
	case kafka.ErrFetchSessionIDNotFound, kafka.ErrInvalidFetchSessionEpoch, kafka.ErrFetchSessionTopicIDError:
		if f.failures == 0 {
			f.failures++
			return
		}
	}
	f.options.Metrics.failed.Inc()
	f.pause(nowMs)
}

// adapt sets how long the leader may hold the next request back. It lets one go early without anything to tell
// when it begins to lead partitions that are replicated, which may be what comes here as news, too.
func (f *Fetcher) adapt(isEmpty bool, nowMs int64) {
	most := f.options.Limits.MaxWaitMs
	if !isEmpty || nowMs-f.sentMs >= f.askedWaitMs {
		f.early = 0
		f.waitMs = min(f.waitMs*2, most)
		return
	}
	if f.askedWaitMs > earlyWaitMs {
		f.waitMs = min(earlyWaitMs, most)
	}
	if f.early++; f.early > mostEarly {
		f.retryMs = nowMs + backoffMs(f.early-mostEarly, f.options.Limits.BackoffMs)
	}
}

func (f *Fetcher) takePartition(p *followed, a *kmsg.FetchResponseTopicPartition, nowMs int64) {
	offset, _, _ := p.partition.FollowFrom()
	if offset != p.sent.FetchOffset {
		return // it has come to another end meanwhile, so the answer is to another question
	}
	err := f.apply(p, a, nowMs)
	if err == nil {
		p.failures, p.retryMs = 0, 0
		return
	}
	p.retryMs = nowMs + backoffMs(p.failures, f.options.Limits.BackoffMs)
	p.failures++
	f.complain(p, err, nowMs)
}

// apply has the partition do what the leader answers.
func (f *Fetcher) apply(p *followed, a *kmsg.FetchResponseTopicPartition, nowMs int64) error {
	switch code := kafka.ErrorCode(a.ErrorCode); {
	case code == kafka.ErrOffsetOutOfRange && (a.LogStartOffset > p.sent.FetchOffset || a.LogStartOffset >= 0 && p.sent.LogStartOffset == p.sent.FetchOffset):
		// It has fallen behind, or, with nothing left, begins later than a leader ends that was elected uncleanly.
		return p.partition.StartAt(p.leaderEpoch, a.LogStartOffset, nowMs)
	case code != kafka.ErrNone:
		return kafka.Errorf(code, "broker %d answers a fetch of %s from offset %d in leader epoch %d with %v", f.options.Source, p.partition.TopicPartition(), p.sent.FetchOffset, p.leaderEpoch, code)
	case a.DivergingEpoch.Epoch >= 0:
		f.options.Metrics.truncations.Inc()
		end := partition.EpochEnd{LeaderEpoch: a.DivergingEpoch.Epoch, EndOffset: a.DivergingEpoch.EndOffset}
		return p.partition.TruncateToLeader(p.leaderEpoch, end, a.LogStartOffset, nowMs)
	}
	err := p.partition.AppendFetched(partition.Fetched{Fetched: storage.Fetched{Records: a.RecordBatches, LeaderEpoch: p.leaderEpoch, NowMs: nowMs},
		LeaderHighWatermark: a.HighWatermark, LeaderLogStartOffset: a.LogStartOffset})
	if err != nil {
		return err
	}
	p.isCaughtUp = a.HighWatermark <= p.partition.Log().LogEndOffset()
	f.options.Metrics.bytes.Add(int64(len(a.RecordBatches)))
	for _, t := range f.options.Throttles {
		if t.Covers(p.partition.TopicPartition()) {
			t.Record(len(a.RecordBatches), nowMs)
		}
	}
	return nil
}

const complainIntervalMs = 60_000

// complain counts a failure, and logs it where it is none of those that a change of leaders brings about.
func (f *Fetcher) complain(p *followed, err error, nowMs int64) {
	switch code := kafka.CodeOf(err); code {
	case kafka.ErrFencedLeaderEpoch, kafka.ErrUnknownLeaderEpoch, kafka.ErrNotLeaderOrFollower, kafka.ErrUnknownTopicOrPartition, kafka.ErrUnknownTopicID, kafka.ErrInconsistentTopicID:
		f.options.Metrics.retried.Inc()
		return
	case kafka.ErrCorruptMessage, kafka.ErrInvalidRecord:
		f.options.Metrics.damaged.Inc()
	default:
		f.options.Metrics.failedPartitions.Inc()
	}
	if p.complainsMs != 0 && nowMs-p.complainsMs < complainIntervalMs {
		return
	}
	p.complainsMs = nowMs
	slog.Error("a follower cannot fetch a partition; it goes on trying, and says so once a minute", "partition", p.partition.TopicPartition().String(), "leader", f.options.Source, "error", err)
}
