package balance

import "slices"

// State says what may be done with a broker.
type State int8

const (
	// Active brokers take replicas and lead.
	Active State = iota
	// Leaving brokers are there and are to be emptied.
	Leaving
	// Gone brokers are not there and will not come back: their replicas are made anew elsewhere.
	Gone
	// Absent brokers are not there and expected back: nothing is moved to them or off them.
	Absent
)

// Broker is what a plan needs to know of a broker.
type Broker struct {
	ID    int32
	Rack  string
	State State
	// IsCordoned brokers keep what they have, and are given nothing.
	IsCordoned bool
	// Volumes are the file systems with its log dirs; none where nothing is known of them.
	Volumes []Volume
}

// Volume is a file system. OtherBytes are used by something else than the replicas that the cluster
// lists on it.
type Volume struct{ CapacityBytes, OtherBytes int64 }

// unknownVolume is the place of a replica of which nobody has said where it lies.
const unknownVolume = -1

// Partition is what a plan needs to know of a partition.
type Partition struct {
	Topic string
	ID    int32
	// Replicas begin with the preferred leader. Of a partition that is being moved, they are those it will have.
	Replicas []int32
	// Volumes says for each of Replicas on which of its broker's volumes it is, -1 where that is not known.
	// nil: of none.
	Volumes []int8
	Leader  int32
	// SizeBytes is the size of one replica, BytesPerSecond what is produced.
	SizeBytes      int64
	BytesPerSecond int64
	// IsMoving partitions are left alone.
	IsMoving bool
}

// Cluster is what a plan is made of.
type Cluster struct {
	Brokers    []Broker
	Partitions []Partition
}

// Options say what a plan may do.
type Options struct {
	// TolerancePercent is how far from the average a broker's load may be before something is moved for it.
	TolerancePercent int
	// DiskLimitPercent is up to where disks are filled.
	DiskLimitPercent int
	// MaxMoves bounds the moves that copy data, 0 does not.
	MaxMoves int
	// Relieve takes replicas off disks above the limit.
	Relieve bool
	// Even spreads load evenly; with Targets only these brokers are given any.
	Even    bool
	Targets []int32
}

// Goal is what a move is for.
type Goal string

const (
	// Lead moves no data: another replica becomes the preferred leader.
	Lead Goal = "lead"
	// Evacuate empties a broker.
	Evacuate Goal = "evacuate"
	// Relieve lowers what is used of a disk.
	Relieve Goal = "relieve"
	// Even evens out the load.
	Even Goal = "even"
)

// Move gives one partition other replicas, or the same in another order.
type Move struct {
	Topic     string
	Partition int32
	From, To  []int32
	// Bytes have to be copied.
	Bytes int64
	Goal  Goal
	Why   string
}

// Blocked is what cannot be done for a broker, and why.
type Blocked struct {
	Broker     int32
	Partitions int
	Why        string
}

// Load is what a broker carries.
type Load struct {
	Broker         int32
	Replicas       int64
	Leaders        int64 // partitions that prefer it as their leader
	Bytes          int64
	BytesPerSecond int64
}

// Plan is what to do, the first first.
type Plan struct {
	Moves   []Move
	Blocked []Blocked
	// Full are the Targets that lack a share and have no room on their disks for any of it.
	Full []int32
	// More says that MaxMoves cut the plan short.
	More bool
	// Before and After are the loads without and with the moves, by broker.
	Before, After []Load
}

// Bytes is how much the plan copies.
func (p *Plan) Bytes() (sum int64) {
	for _, m := range p.Moves {
		sum += m.Bytes
	}
	return sum
}

// Loads is what brokers carry, by broker.
func Loads(c Cluster) []Load { return newModel(c, Options{}).loads() }

// New plans for a cluster. It changes nothing of what it is given.
func New(c Cluster, o Options) Plan {
	m := newModel(c, o)
	m.plan.Before = m.loads()
	m.leaveLeaderships()
	m.evacuate(Gone)
	m.evacuate(Leaving)
	if o.Relieve && !m.plan.More {
		m.relieve()
	}
	if o.Even && !m.plan.More {
		m.even()
	}
	if o.Even && o.Targets != nil {
		m.noteFull()
	}
	m.plan.After = m.loads()
	m.plan.Moves = slices.DeleteFunc(m.plan.Moves, func(move Move) bool { return move.Goal != Lead && slices.Equal(move.From, move.To) })
	return m.plan
}
