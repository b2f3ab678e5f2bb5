package balance

// Status is what a balancer tells of itself. Tools get it as JSON.
type Status struct {
	// State is off, idle, moving or stalled, Why the reason.
	State string
	Why   string
	Mode  string
	// Draining brokers are emptied, Joining ones are given their share.
	Draining, Joining []int32
	Moving            []Moving
	// Pending is how many moves of the latest plan wait for room; there may be more after them.
	Pending int
	Blocked []Blocked
	Brokers []BrokerStatus
}

// Moving is a move that is under way.
type Moving struct {
	Move
	CopiedBytes int64
	Seconds     int64
}

// BrokerStatus is a broker as a balancer sees it. Replicas and Leaders are those of the moment, Load those when what
// is under way has ended.
type BrokerStatus struct {
	Load       Load
	Rack       string
	State      string // active, stopping, fenced or unregistered
	IsDraining bool
	Replicas   int64
	Leaders    int64
	// CapacityBytes and UsedBytes are those of all its disks, 0 where they are not known.
	CapacityBytes, UsedBytes int64
	// CopyBytesPerSecond is how fast it copies what it is given, 0 while nothing is moved.
	CopyBytesPerSecond int64
}

// Proposal is what a balancer would do, and why not now.
type Proposal struct {
	Why  string
	Plan Plan
}
