package quorum

import (
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

const (
	// campaignRank is how long a voter waits for each that goes before it.
	campaignRank = 10 * time.Millisecond
	// CampaignPause is how long a campaign waits for the votes before Due is to be called again.
	CampaignPause = 15 * time.Millisecond
	// campaignTimes is how often it asks; then the election time-out decides.
	campaignTimes = 8
	// candidatePauses is for how many pauses an election may take, with an fsync of each voter, before who has voted
	// in it begins another one; so many more the next time, and rankPauses more for each that goes
	// before it, or voters that have divided the votes would do so again. For as long a voter yields to another one.
	candidatePauses, rankPauses = 4, 2
)

// Campaign asks for votes without waiting for the election time-out. With pre-vote that does no harm
// where the others hear from a leader. The owner of the voter keeps the time: Begin says when Due comes
// first, and CampaignPause when it comes again, as long as the campaign is active.
type Campaign struct {
	active   bool
	times    int   // how often it will ask yet
	voted    int32 // epoch in which it has voted, for itself or for another one
	waits    int   // pauses for which it has waited for the outcome
	patience int   // pauses for which it will
	yields   int   // pauses for which another voter's election goes before
	// dead is the leader that is known to be dead, 0 for none, and epoch the one in which it has led.
	dead  uint64
	epoch int32
}

// Begin has v ask for votes after those of lower node ids, dead not counted: a leader that is known to be dead, or
// kafka.NoLeader.
func (c *Campaign) Begin(v *Voter, dead int32) (wait time.Duration) {
	*c = Campaign{active: true, times: campaignTimes, epoch: v.Leadership().Epoch}
	rank := 0
	for _, voter := range v.Voters() {
		if voter.NodeID == dead {
			c.dead = PeerID(voter.DirectoryID)
		} else if voter.NodeID < v.o.Self.NodeID {
			rank++
		}
	}
	c.patience = candidatePauses + rank*rankPauses
	return time.Duration(rank) * campaignRank
}

// End ends the campaign: there is a leader.
func (c *Campaign) End() { c.active = false }

// IsActive reports whether Due is to be called.
func (c *Campaign) IsActive() bool { return c.active }

// Due reports whether v is to campaign now.
func (c *Campaign) Due(v *Voter) (asks bool) {
	if c.times == 0 || !v.IsVoter() || v.Leadership().LeaderID != kafka.NoLeader {
		c.active = false
		return false
	}
	if c.yields > 0 {
		c.yields--
		return false
	}
	if epoch, voted := v.Voted(); voted && epoch > c.epoch {
		if epoch != c.voted {
			c.voted, c.waits = epoch, 0
		}
		if c.waits < c.patience {
			c.waits++
			return false
		}
		c.patience += candidatePauses
	}
	c.times, c.waits = c.times-1, 0
	return true
}

// Ignores reports whether a message is to be lost: one of a dead leader that was still on its way, or this
// voter would believe in it for a whole election time-out; and support for an election that is left to another voter.
func (c *Campaign) Ignores(in Incoming) bool {
	if !c.active {
		return false
	}
	epoch, leads := in.FromLeader()
	return leads && in.From() == c.dead && epoch <= c.epoch || c.yields > 0 && in.GrantsPreVote()
}

// Stepped is told of a message that v has taken.
func (c *Campaign) Stepped(v *Voter, in Incoming) {
	if v.YieldsTo(in) {
		c.yields = candidatePauses
	}
}
