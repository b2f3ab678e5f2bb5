package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
	"github.com/moldau/moldau/internal/tools/features"
)

// Cluster is what a cluster says of itself.
type Cluster struct {
	ID            string
	Brokers       []Broker
	Quorum        Quorum
	QuorumErr     error // why nothing is known of the quorum; nil if it is
	Topics        []Topic
	Moving        int                          // partitions that are being reassigned; -1 where that is not known
	Adding        map[kafka.TopicPartition]int // replicas of theirs that are only being added
	Finalized     map[string]int16
	FeaturesEpoch int64
	Balancer      *balance.Status // nil where there is none, or nothing is known of it
	Unanswered    []string        // what else was asked in vain
}

// Broker is a registered broker.
type Broker struct {
	ID      int32
	Address string
	Rack    string
	Fenced  bool
	Levels  map[string]Range // of features that it supports; nil where it was not asked
	Err     error            // why it did not answer
}

// Range is the levels of a feature.
type Range struct{ Min, Max int16 }

// Quorum is who decides about the metadata, and how far they are.
type Quorum struct {
	Leader        int32
	Epoch         int32
	HighWatermark int64
	Voters        []Member
	Observers     []Member
	NowMs         int64
}

// Member follows the metadata.
type Member struct {
	ID          int32
	DirectoryID kafka.UUID
	EndOffset   int64
	LastFetchMs int64
}

// Topic is a topic with the smallest number of replicas that acks=all needs.
type Topic struct {
	Name       string
	MinISR     int
	Partitions []client.Partition
}

// Level is how well a cluster is; it decides about the exit code.
type Level int

// The levels.
const (
	// Well: nothing is to be done.
	Well Level = iota
	// Degraded: everything is served, with less to spare than there should be.
	Degraded
	// Failing: clients cannot read or write something, or nothing about the metadata can change.
	Failing
)

// Finding is something that is wrong, and what to do about it.
type Finding struct {
	Level Level
	What  string
	Do    string
}

// Report is what an operator should know.
type Report struct {
	Cluster
	Level    Level
	Findings []Finding // the worst first
	// Of the partitions.
	Total, UnderReplicated, UnderMinISR, Offline int
}

// behindMs is for how long a voter may not have fetched before it counts as behind.
const behindMs = 5_000

// Assess judges what a cluster says.
func Assess(c Cluster) Report {
	r := Report{Cluster: c}
	r.judgeBrokers()
	r.judgeQuorum()
	r.judgePartitions()
	r.judgeFeatures()
	r.judgeBalancer()
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
	for _, f := range r.Findings {
		r.Level = max(r.Level, f.Level)
	}
	return r
}

func (r *Report) find(level Level, do, what string, args ...any) {
	r.Findings = append(r.Findings, Finding{level, fmt.Sprintf(what, args...), do})
}

func (r *Report) judgeBrokers() {
	for _, b := range r.Brokers {
		switch {
		case b.Fenced:
			r.find(Degraded, fmt.Sprintf("start it again or look at its log; for good: moldau brokers remove %d", b.ID), "broker %d (%s) is not there: it is registered and fenced", b.ID, b.Address)
		case b.Err != nil:
			r.find(Degraded, "check the network between here and there, and its log", "broker %d (%s) does not answer: %v", b.ID, b.Address, b.Err)
		}
	}
}

func (r *Report) judgeQuorum() {
	q := &r.Quorum
	if r.QuorumErr != nil {
		r.find(Failing, "check that most of the controllers run and reach each other", "nobody leads the metadata quorum: no topic can be created, no leader elected (%v)", r.QuorumErr)
		return
	}
	gone := 0
	for _, v := range q.Voters {
		if v.ID != q.Leader && q.NowMs-v.LastFetchMs > behindMs {
			gone++
			if i := slices.IndexFunc(q.Observers, func(o Member) bool { return o.ID == v.ID && o.DirectoryID != v.DirectoryID }); i >= 0 {
				r.find(Degraded, fmt.Sprintf("moldau metadata-quorum remove-controller --controller-id %d --controller-directory-id %s; then, where it runs, moldau metadata-quorum --command-config ITS.properties add-controller", v.ID, v.DirectoryID),
					"controller %d is there with an empty folder (directory id %s) and does not vote: its vote belongs to the disk that it has lost (%s)", v.ID, q.Observers[i].DirectoryID, v.DirectoryID)
				continue
			}
			what := fmt.Sprintf("for %d s", (q.NowMs-v.LastFetchMs)/1000)
			if v.LastFetchMs < 0 { // this leader has not heard of it yet
				what = fmt.Sprintf("since controller %d became the active one", q.Leader)
			}
			r.find(Degraded, fmt.Sprintf("start it again or look at its log; for good: moldau metadata-quorum remove-controller --controller-id %d --controller-directory-id %s", v.ID, v.DirectoryID),
				"controller %d has not followed the metadata %s", v.ID, what)
		}
	}
	if gone == 0 && len(q.Voters) == 2 {
		r.find(Well, "have a third one vote: moldau metadata-quorum add-controller", "of 2 controllers none may fail: without either, nothing about the metadata can change")
	}
	if spare := (len(q.Voters)-1)/2 - gone; gone > 0 && spare <= 0 {
		are := "are"
		if gone == 1 {
			are = "is"
		}
		r.find(Degraded, "bring one back before anything else", "%d of %d controllers %s away: one more, and nothing about the metadata can change", gone, len(q.Voters), are)
	}
}

func (r *Report) judgePartitions() {
	if r.Moving < 0 {
		r.find(Degraded, "ask again; if that goes on, look at the brokers' logs", "no broker tells which partitions are being moved")
	}
	var offline, under []string
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			name := t.Name + "-" + strconv.Itoa(int(p.Index))
			r.Total++
			switch {
			case p.Leader < 0:
				r.Offline++
				offline = append(offline, name)
			case len(p.ISR) < min(t.MinISR, len(p.Replicas)):
				r.UnderMinISR++
				under = append(under, name)
			}
			if len(p.ISR) < len(p.Replicas)-r.Adding[kafka.TopicPartition{Topic: t.Name, Partition: p.Index}] {
				r.UnderReplicated++
			}
		}
	}
	if r.Offline > 0 {
		r.find(Failing, "start the brokers that have their replicas; what is left of them: moldau topics --describe --unavailable-partitions", "%d partitions have no leader and serve nobody: %s", r.Offline, some(offline))
	}
	if r.UnderMinISR > 0 {
		r.find(Failing, "start the brokers that are away, or wait until theirs have caught up", "%d partitions take no records with acks=all, having fewer replicas in sync than min.insync.replicas: %s", r.UnderMinISR, some(under))
	}
	if r.UnderReplicated > 0 {
		do := "wait until they have caught up; if that stands still: moldau topics --describe --under-replicated-partitions"
		if slices.ContainsFunc(r.Brokers, func(b Broker) bool { return b.Fenced }) {
			do = "start the brokers that are away; no other node should be stopped before this is 0"
		}
		r.find(Degraded, do, "%d of %d partitions lack a replica in sync", r.UnderReplicated, r.Total)
	}
}

func (r *Report) judgeFeatures() {
	names := map[string]bool{}
	for _, b := range r.Brokers {
		for name := range b.Levels {
			names[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		ranges := map[Range]bool{}
		highest := int16(-1)
		for _, b := range r.Brokers {
			if b.Levels == nil {
				continue
			}
			ranges[b.Levels[name]] = true
			if highest < 0 || b.Levels[name].Max < highest {
				highest = b.Levels[name].Max
			}
		}
		if len(ranges) > 1 {
			r.find(Degraded, "finish the upgrade on all nodes", "brokers of different releases run: not all support the same levels of %s", name)
		} else if level := r.Finalized[name]; level > 0 && level < highest {
			r.find(Well, fmt.Sprintf("when no way back to the old release is needed: moldau features upgrade --feature %s=%d", name, highest), "%s is %s, all brokers support %s", name, features.LevelText(name, level), features.LevelText(name, highest))
		}
	}
}

// judgeBalancer tells what cannot be moved. That is no reason to wait with anything else.
func (r *Report) judgeBalancer() {
	b := r.Balancer
	if b == nil {
		return
	}
	const do = "moldau balance status tells more; moldau brokers lists what each broker carries"
	for _, blocked := range b.Blocked {
		r.find(Well, do, "the balancer is stalled: %s", blocked.Why)
	}
	if b.State == "stalled" && len(b.Blocked) == 0 {
		r.find(Well, do, "the balancer is stalled: %s", b.Why)
	}
}

// some are the first of a list of names, and how many more there are.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}
