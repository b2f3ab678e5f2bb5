package group

import (
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// consumerProtocolType is the protocol type of consumers, whose metadata names topics.
const consumerProtocolType = "consumer"

// groupState is the state of a classic group. Kafka's fifth state, Dead, is the answer for a
// group that does not exist; no group is kept in it.
type groupState int8

const (
	stateEmpty groupState = iota
	statePreparingRebalance
	stateCompletingRebalance
	stateStable
	stateCount
)

var stateNames = [stateCount]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable"}

// deadStateName is what DescribeGroups calls a group that does not exist.
const deadStateName = "Dead"

func (s groupState) String() string { return stateNames[s] }

// classicGroup is one group with its members and committed offsets. A simple group, which only
// commits offsets, is an empty group without a protocol type.
type classicGroup struct {
	id            string
	state         groupState
	previousState groupState
	// stateSinceMs is when the group entered its state, or -1 where an old record did not say.
	stateSinceMs int64
	protocolType string // "" until the first member joins
	protocol     string // the assignor in use; "" while there is none
	generation   int32
	leader       string // member id, "" while there is none

	members       []*member // in the order of joining
	membersByID   map[string]*member
	staticMembers map[string]*member // by instance id
	// pendingMembers have been given an id and told to join with it (KIP-394).
	pendingMembers map[string]*timer
	supported      map[string]int // assignor name -> members that support it
	awaitingJoin   int
	pendingSync    int
	newMemberAdded bool // during the initial delay, which then is extended

	// subscribed are the topics of all members; nil where they are not known.
	subscribed map[string]struct{}

	joinTimer timer // ends PreparingRebalance
	syncTimer timer // ends the wait for SyncGroup

	offsets map[string]map[int32]committedOffset // by topic, then partition
}

func (g *classicGroup) isSimple() bool { return g.protocolType == "" && g.state == stateEmpty }

func (g *classicGroup) isLeader(memberID string) bool { return g.leader != "" && g.leader == memberID }

// canRebalance reports whether a rebalance may begin now.
func (g *classicGroup) canRebalance() bool { return g.state != statePreparingRebalance }

// allJoined reports whether nobody is missing for the rebalance to complete.
func (g *classicGroup) allJoined() bool {
	return len(g.members) == g.awaitingJoin && len(g.pendingMembers) == 0
}

// maxRebalanceTimeoutMs is how long a rebalance waits: as long as the most patient member.
func (g *classicGroup) maxRebalanceTimeoutMs() int64 {
	var longest int32
	for _, m := range g.members {
		longest = max(longest, m.rebalanceTimeoutMs)
	}
	return int64(longest)
}

// supports reports whether a member with these protocols fits in: the same protocol type, and an
// assignor that all members have.
func (g *classicGroup) supports(protocolType string, protocols []assignorProtocol) bool {
	if g.state == stateEmpty {
		return protocolType != "" && len(protocols) > 0
	}
	if g.protocolType != protocolType {
		return false
	}
	return slices.ContainsFunc(protocols, func(p assignorProtocol) bool { return g.supported[p.name] == len(g.members) })
}

// selectProtocol lets every member vote for the first of its assignors that all support. The
// most votes win; of equals the one that was voted for first.
func (g *classicGroup) selectProtocol() string {
	votes := map[string]int{}
	best, bestVotes := "", 0
	var order []string
	for _, m := range g.members {
		for i := range m.protocols {
			name := m.protocols[i].name
			if g.supported[name] != len(g.members) {
				continue
			}
			if votes[name] == 0 {
				order = append(order, name)
			}
			votes[name]++
			break
		}
	}
	for _, name := range order {
		if votes[name] > bestVotes {
			best, bestVotes = name, votes[name]
		}
	}
	return best
}

// validateMember checks that memberID belongs to the group and, for a static member, that its
// instance id has not been taken over.
func (g *classicGroup) validateMember(memberID string, instanceID *string) kafka.ErrorCode {
	if instanceID != nil {
		current := g.staticMembers[*instanceID]
		if current == nil {
			return kafka.ErrUnknownMemberID
		}
		if current.id != memberID {
			return kafka.ErrFencedInstanceID
		}
	}
	if g.membersByID[memberID] == nil {
		return kafka.ErrUnknownMemberID
	}
	return kafka.ErrNone
}

func (g *classicGroup) countProtocols(m *member, delta int) {
	for i := range m.protocols {
		name := m.protocols[i].name
		g.supported[name] += delta
		if g.supported[name] == 0 {
			delete(g.supported, name)
		}
	}
}

func (g *classicGroup) addMember(m *member, protocolType string) {
	if len(g.members) == 0 {
		g.protocolType = protocolType
	}
	g.members = append(g.members, m)
	g.membersByID[m.id] = m
	if m.instanceID != nil {
		g.staticMembers[*m.instanceID] = m
	}
	if g.leader == "" {
		g.leader = m.id
	}
	g.countProtocols(m, 1)
	if m.awaitsJoin() {
		g.awaitingJoin++
	}
}

// removeMember takes m out; its timers and parked requests are the caller's.
func (g *classicGroup) removeMember(m *member) {
	g.members = slices.DeleteFunc(g.members, func(other *member) bool { return other == m })
	delete(g.membersByID, m.id)
	if m.instanceID != nil && g.staticMembers[*m.instanceID] == m {
		delete(g.staticMembers, *m.instanceID)
	}
	g.countProtocols(m, -1)
	if m.awaitsJoin() {
		g.awaitingJoin--
	}
	if m.pendingSync {
		g.pendingSync--
	}
	if g.leader == m.id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
}

// replaceMember gives with the place of a static member; the protocols that they count for are the caller's.
func (g *classicGroup) replaceMember(old, with *member) {
	g.members[slices.Index(g.members, old)] = with
	delete(g.membersByID, old.id)
	g.membersByID[with.id], g.staticMembers[*with.instanceID] = with, with
	if g.leader == old.id {
		g.leader = with.id
	}
}

// electJoinedLeader makes sure that the leader is one who has joined again. It returns false
// where there is no such member.
func (g *classicGroup) electJoinedLeader() bool {
	if g.leader == "" {
		return false
	}
	if g.membersByID[g.leader].awaitsJoin() {
		return true
	}
	for _, m := range g.members {
		if m.awaitsJoin() {
			g.leader = m.id
			return true
		}
	}
	return false
}

// updateSubscribed learns the subscribed topics from the members' metadata. They stay unknown
// for groups that are not consumers' or whose metadata cannot be read.
func (g *classicGroup) updateSubscribed() {
	g.subscribed = nil
	if g.protocolType != consumerProtocolType {
		return
	}
	topics := map[string]struct{}{}
	for _, m := range g.members {
		if !addSubscribedTopics(m.metadataFor(g.protocol), topics) {
			return
		}
	}
	g.subscribed = topics
}

// isSubscribedTo reports whether offsets of topic are in use. A consumer group whose topics are
// not known counts as subscribed to everything.
func (g *classicGroup) isSubscribedTo(topic string) bool {
	if g.subscribed == nil {
		return g.protocolType == consumerProtocolType
	}
	_, ok := g.subscribed[topic]
	return ok
}
