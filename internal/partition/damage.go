package partition

import (
	"log/slog"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
)

// DamageState says what becomes of damage in a replica's log.
type DamageState int32

// Damage is mended with what other replicas have; where none of them can have it, readers are told.
const (
	Undamaged DamageState = iota
	BeingMended
	Unmendable
)

// DamageState returns what SetDamageState was told last.
func (p *Partition) DamageState() DamageState { return DamageState(p.damage.Load()) }

// SetDamageState says what becomes of the damage in the log. Where there is none any more, nothing is cut off because of it.
// Readers that wait for what is being mended look again.
func (p *Partition) SetDamageState(s DamageState) {
	before := DamageState(p.damage.Swap(int32(s)))
	if s == Undamaged {
		p.keepAll()
	}
	if before == BeingMended && s != before {
		p.advanced(Everything)
	}
}

// keepAll forgets that something was to be cut off.
func (p *Partition) keepAll() {
	p.mu.RLock()
	defer p.mu.RUnlock()
	p.following.Lock()
	p.givingUp = nil
	p.following.Unlock()
}

// NoteDamage says that damage was met which may be mended.
func (p *Partition) NoteDamage() { p.damage.CompareAndSwap(int32(Undamaged), int32(BeingMended)) }

// ReadError is what readers are told instead of err: CORRUPT_MESSAGE is for good, to many consumers, so while damage is being
// mended they wait, and are told to come again.
func (p *Partition) ReadError(err error) (instead error, waits bool) {
	if kafka.CodeOf(err) != kafka.ErrCorruptMessage || p.DamageState() != BeingMended {
		return err, false
	}
	return &kafka.Error{Code: kafka.ErrKafkaStorageError, Message: "data of " + p.tp.String() + " is damaged and being mended with what another replica has", Cause: err}, true
}

// IsGone returns why the partition cannot be used any more, or nil.
func (p *Partition) IsGone() error {
	if gone := p.role.Load().gone; gone != nil {
		return gone
	}
	return nil
}

// givingUp is what a replica that is damaged wants to cut off.
type givingUp struct {
	leaderEpoch int32 // in which it asked for another
	offset      int64
	// isOwn says that it leads, and nothing from the offset on is committed.
	isOwn bool
}

// GiveUp returns the change that lets this replica cut off what is damaged, from offset on, or nil if that cannot be asked for now; isLater says that
// it may be soon, as the replicas in sync are enough. It takes
// the replica out of the in-sync replicas, whether it leads or not. A leader of whose own records none
// from offset on is committed stays what it is, which a change without in-sync replicas asks for. Either begins another leader epoch, and
// when the replica hears of that, it cuts: see giveUp.
func (p *Partition) GiveUp(offset int64) (change *ISRChange, isLater bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	r := p.role.Load()
	if r.gone != nil || r.Leader == kafka.NoLeader || !p.replicating.IsRegistered() {
		return nil, true
	}
	isr := slices.DeleteFunc(slices.Clone(r.ISR), func(id int32) bool { return id == p.localID })
	isOwn := r.isLeader && offset >= max(p.Log().HighWatermark(), r.epochStart)
	if isOwn {
		isr = nil
	} else if len(isr) < max(r.EffectiveMinISR(), 1) {
		return nil, false
	}
	p.following.Lock()
	defer p.following.Unlock()
	if p.state.pending != nil {
		return nil, true
	}
	p.givingUp = &givingUp{leaderEpoch: r.LeaderEpoch, offset: offset, isOwn: isOwn}
	change = p.propose(r, isr)
	change.Damaged = true
	return change, false
}

// leastBeside is how many in-sync replicas a full disk leaves at least: to have room is not worth being one disk away from loss.
const leastBeside = 2

// asideMs is for how long a replica that has stepped aside stays there at least.
const asideMs = 5000

// StepAside returns the change that takes this replica out of the in-sync replicas, and has another one lead if this
// one does, or nil if that cannot be asked for now: it can take no more, and the others need not wait for it. What it has, it keeps.
// Until ComeBack it fetches nothing, or it would be in sync again as soon as nothing is written.
func (p *Partition) StepAside(nowMs int64) *ISRChange {
	if !p.mu.TryRLock() { // who wants to change the role may wait for an append that waits for its disk
		return nil
	}
	defer p.mu.RUnlock()
	r := p.role.Load()
	if r.gone != nil || r.Leader == kafka.NoLeader || !slices.Contains(r.ISR, p.localID) || !p.replicating.IsRegistered() {
		return nil
	}
	isr := slices.DeleteFunc(slices.Clone(r.ISR), func(id int32) bool { return id == p.localID })
	p.following.Lock()
	defer p.following.Unlock()
	if len(isr) < max(r.EffectiveMinISR(), leastBeside) || p.state.pending != nil {
		return nil
	}
	p.asideSinceMs.Store(max(nowMs, 1))
	change := p.propose(r, isr)
	change.Damaged = true // the only change that does not name who asks for it
	return change
}

// IsAside reports whether this replica has stepped aside, and so many others are in sync that it need not fetch: one on a nearly
// full disk can still use its reserve.
func (p *Partition) IsAside() bool {
	if p.asideSinceMs.Load() == 0 {
		return false
	}
	r := p.role.Load()
	return len(r.ISR) >= max(r.EffectiveMinISR(), leastBeside) && !slices.Contains(r.ISR, p.localID)
}

// ComeBack says that there is room again.
func (p *Partition) ComeBack(nowMs int64) {
	if since := p.asideSinceMs.Load(); since > 0 && (nowMs-since >= asideMs || nowMs < since) {
		p.asideSinceMs.CompareAndSwap(since, 0)
		p.refusesFetched.Store(false)
	}
}

// RefusesFetched reports whether this follower's log did not take what it has fetched last, for want of a disk.
func (p *Partition) RefusesFetched() bool { return p.refusesFetched.Load() }

// giveUp cuts off what is damaged if this replica may lose it: in a leader epoch which began after the broker asked for it in its
// present registration, in which it is not in sync, and enough others are, so that it is not eligible either. It has
// not fetched in that epoch yet, so that nobody counts on anything that it has, and there is a leader to fetch from. A leader may if it leads the next epoch, too, and still nothing
// of it is committed. Called under mu, before the epoch begins here.
func (p *Partition) giveUp(a Assignment, nowMs int64) error {
	g := p.givingUp
	if g == nil || a.LeaderEpoch <= g.leaderEpoch {
		return nil
	}
	p.givingUp = nil
	mayCut := a.Leader != kafka.NoLeader && a.Leader != p.localID && !slices.Contains(a.ISR, p.localID) && len(a.ISR) >= max(a.EffectiveMinISR(), 1)
	if g.isOwn && a.Leader == p.localID {
		mayCut = a.LeaderEpoch == g.leaderEpoch+1 && g.offset >= p.Log().HighWatermark()
	}
	if !mayCut {
		return nil
	}
	slog.Warn("a damaged replica cuts off what is damaged and everything behind it; what was committed of it is fetched again", "partition", p.tp.String(), "from_offset", g.offset, "log_end_offset", p.Log().LogEndOffset())
	if g.isOwn {
		return p.Log().TruncateTo(g.offset, nowMs)
	}
	return p.Log().TruncateDamage(g.offset, nowMs)
}
