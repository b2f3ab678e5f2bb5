package cluster

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/handler"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
	"github.com/moldau/moldau/internal/quota"
	"github.com/moldau/moldau/internal/record"
	"github.com/moldau/moldau/internal/replica"
	"github.com/moldau/moldau/internal/replica/fetchsession"
	"github.com/moldau/moldau/internal/replica/follower"
	"github.com/moldau/moldau/internal/replica/isr"
	"github.com/moldau/moldau/internal/replica/repair"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/sim"
	"github.com/moldau/moldau/internal/wire"
)

const (
	never       = int64(math.MaxInt64)
	lagMaxMs    = 700
	fetchCallMs = 2000
	alterCallMs = 3000
	mendCallMs  = 10_000
	fetchWaitMs = 300
)

// replication connects the replicas of this broker with those of others, as the hosts of fetchers and sender do.
type replication struct {
	p        *process
	fetch    *handler.Fetch
	sender   *isr.Sender
	mender   *repair.Mender
	metrics  *follower.Metrics
	sources  map[follower.Key]int32
	fetchers map[int32]*source
	sends    *sim.Alarm
	mends    *sim.Alarm
	// damaged are partitions that the mender has not been told of.
	damaged []*partition.Partition
	// news counts what followers may wait for; told is what was there when each was answered last, and
	// held are the fetches that wait.
	news int
	told map[int32]int
	held []func()
}

// source is a broker that is fetched from.
type source struct {
	r     *replication
	id    int32
	core  *follower.Fetcher
	link  *conn
	alarm *sim.Alarm
}

func newReplication(p *process, registry *metrics.Registry) *replication {
	r := &replication{p: p, sender: isr.New(p.node.id, registry), metrics: follower.NewMetrics(registry), sources: map[follower.Key]int32{}, fetchers: map[int32]*source{}, told: map[int32]int{}}
	r.sends, r.mends = newAlarm(p, r.pump), newAlarm(p, func() { p.onDisk(r.mend) })
	r.mender = repair.New(repair.Options{NodeID: p.node.id, Propose: r.propose, Metrics: registry})
	return r
}

func (r *replication) cluster() *replica.Cluster {
	return &replica.Cluster{LagMaxMs: lagMaxMs, Follow: r.follow, Unfollow: r.unfollow,
		Flushed: func(leader int32) {
			if s := r.fetchers[leader]; s != nil {
				s.alarm.In(0)
			}
		},
		Propose: r.propose,
		Mend: func(damaged *partition.Partition) {
			r.damaged = append(r.damaged, damaged)
			r.mends.In(1)
		},
		BrokerEpoch: func() int64 { return r.p.life.epoch() },
		Isolated:    func() bool { return r.p.life.isIsolated() }, SessionTimeout: sessionTimeoutMs * time.Millisecond}
}

func (r *replication) propose(p *partition.Partition, change *partition.ISRChange) {
	if change.Damaged {
		r.p.w.note("node %d gives up what it has of %s", r.p.node.id, p.TopicPartition())
		r.p.w.count["given up"]++
	}
	r.sender.Add(isr.Proposal{Partition: p, Change: change})
	r.sends.In(0)
}

// serve makes what answers fetches.
func (r *replication) serve(registry *metrics.Registry) {
	p := r.p
	r.fetch = &handler.Fetch{Replicas: p.replicas, Sessions: fetchsession.New(100, env.NewSeededRandom(p.w.random.Uint64()), registry), Metadata: func() *metadata.Image { return p.image }, Authorizer: security.AllowAll{},
		Clock: p.node.clock, Metrics: handler.NewDataMetrics(registry), MaxBytes: 55 << 20, Quota: quota.Unlimited{}}
}

// begin looks for followers that lag from now on.
func (r *replication) begin() {
	p := r.p
	var check func()
	check = func() {
		p.replicas.CheckLag(p.nowMs())
		p.after(lagMaxMs/2, check)
	}
	p.after(lagMaxMs/2, check)
}

func (r *replication) follow(p *partition.Partition, leader, leaderEpoch int32) {
	key := follower.KeyOf(p)
	if was, ok := r.sources[key]; ok && was != leader {
		r.fetchers[was].core.Unfollow(key)
		r.fetchers[was].alarm.In(0)
	}
	r.sources[key] = leader
	s := r.fetchers[leader]
	if s == nil {
		s = &source{r: r, id: leader, core: follower.New(follower.Options{NodeID: r.p.node.id, Source: leader, Metrics: r.metrics,
			Limits: follower.Limits{MaxWaitMs: fetchWaitMs, MinBytes: 1, MaxBytes: 20_000, PartitionMaxBytes: 3000, BackoffMs: 100}})}
		s.alarm = newAlarm(r.p, s.pump)
		r.fetchers[leader] = s
	}
	s.core.Follow(p, leaderEpoch)
	s.alarm.In(0)
}

func (r *replication) unfollow(p *partition.Partition) {
	key := follower.KeyOf(p)
	if was, ok := r.sources[key]; ok {
		r.fetchers[was].core.Unfollow(key)
		r.fetchers[was].alarm.In(0)
		delete(r.sources, key)
	}
}

func (s *source) pump() {
	p, w := s.r.p, s.r.p.w
	if p.failing {
		return
	}
	request, againMs := s.core.Next(p.nowMs(), p.life.epoch())
	if request == nil {
		if againMs != never && againMs > 0 {
			s.alarm.In(max(1, againMs-p.nowMs()))
		}
		return
	}
	if s.link == nil || s.link.closed {
		link := w.dial("fetch", p.node.id, p, s.id)
		link.onBroken = func() { p.lost(link) }
		s.link = link
	}
	peer := &security.Peer{NodeID: p.node.id, IncarnationID: p.incarnation, Purpose: wire.PurposeReplica}
	s.link.call(fetchCallMs+int64(request.MaxWaitMillis), func(at *process, answer func(any)) {
		at.replication.take(peer, request, answer)
	}, func(answer any, err error) {
		response, _ := answer.(*kmsg.FetchResponse)
		p.onDisk(func() {
			if err != nil || response == nil {
				s.core.Failed(p.nowMs())
			} else {
				w.check.spread(p, s.id, response)
				s.core.Take(response, p.nowMs())
			}
			s.alarm.In(0)
		})
	})
}

// take answers a fetch: when there is something to tell, or when the follower does not want to wait any longer.
func (r *replication) take(peer *security.Peer, request *kmsg.FetchRequest, answer func(any)) {
	var response any
	processed, over := false, false
	respond := func() {
		if !over {
			over = true
			if !processed {
				r.told[peer.NodeID] = r.news
				response = r.answer(peer, request)
			}
			answer(response)
		}
	}
	if len(request.Topics) > 0 || r.news != r.told[peer.NodeID] {
		r.told[peer.NodeID] = r.news
		processed, response = true, r.answer(peer, request)
		if f, ok := response.(*kmsg.FetchResponse); !ok || len(f.Topics) > 0 || f.ErrorCode != 0 {
			respond()
			return
		}
	}
	r.held = append(r.held, respond)
	r.p.after(int64(request.MaxWaitMillis), respond)
}

// wake has held fetches looked at again: something was appended, or the metadata has changed.
func (r *replication) wake() {
	r.news++
	if len(r.held) > 0 {
		held := r.held
		r.held = nil
		r.p.after(r.p.w.between(0, 2), func() {
			for _, respond := range held {
				respond()
			}
		})
	}
}

// answer answers a fetch, without waiting: nil where the broker does not serve yet.
func (r *replication) answer(peer *security.Peer, request *kmsg.FetchRequest) any {
	if !r.p.hosting || !r.p.alive() {
		return nil
	}
	asked := *request
	asked.MaxWaitMillis = 0
	reply := r.fetch.Handle(context.Background(), &handler.Request{Conn: &security.Connection{Listener: "PLAINTEXT", Peer: peer}, Body: &asked,
		Header: wire.RequestHeader{APIKey: wire.KeyFetch, APIVersion: request.Version}})
	body := reply.Body.(*wire.FetchBody)
	defer body.Release()
	response := *body.Response
	response.Topics = slices.Clone(response.Topics)
	for i := range response.Topics {
		t := &response.Topics[i]
		t.Partitions = slices.Clone(t.Partitions)
		for j := range t.Partitions {
			t.Partitions[j].RecordBatches = slices.Clone(t.Partitions[j].RecordBatches)
		}
	}
	return &response
}

// pump takes changes of in-sync replicas to the controller.
func (r *replication) pump() {
	p := r.p
	request, againMs := r.sender.Next(p.nowMs(), p.life.epoch())
	if request == nil {
		if againMs > 0 {
			r.sends.In(max(1, againMs-p.nowMs()))
		}
		return
	}
	p.forward.send(request, alterCallMs, func(resp kmsg.Response, err error) {
		if answer, ok := resp.(*kmsg.AlterPartitionResponse); ok && err == nil {
			r.sender.Take(answer, p.nowMs())
		} else {
			r.sender.Failed(p.nowMs())
		}
		r.sends.In(0)
	})
}

// mend has other replicas asked for what is damaged here, one at a time.
func (r *replication) mend() {
	p, w := r.p, r.p.w
	if p.failing {
		return
	}
	for _, damaged := range r.damaged {
		r.mender.Add(damaged)
	}
	r.damaged = nil
	ask, againMs := r.mender.Next(p.nowMs())
	if ask == nil {
		if againMs > 0 {
			r.mends.In(max(1, againMs-p.nowMs()))
		}
		return
	}
	link := w.dial("repair", p.node.id, p, ask.Broker)
	link.onBroken = func() { p.lost(link) }
	peer := &security.Peer{NodeID: p.node.id, IncarnationID: p.incarnation, Purpose: wire.PurposeReplica}
	link.call(mendCallMs, func(at *process, answer func(any)) {
		answer(at.replication.answer(peer, ask.Request))
	}, func(answer any, err error) {
		link.onBroken = nil
		link.close()
		p.onDisk(func() {
			if response, _ := answer.(*kmsg.FetchResponse); err != nil || response == nil {
				r.mender.Failed(p.nowMs())
			} else {
				w.check.spread(p, ask.Broker, response)
				r.mender.Take(response, p.nowMs())
				w.count["mending answers"]++
			}
			r.mends.In(0)
		})
	})
}

// checkBatches returns the first error of the batches in data.
func checkBatches(data []byte) error {
	for len(data) > 0 {
		b, rest, err := record.Next(data)
		if err == nil {
			err = b.CheckCRC()
		}
		if err != nil {
			return err
		}
		data = rest
	}
	return nil
}
