package txn

// State is the state of a transaction, with Kafka's number.
type State int8

// The states.
const (
	StateEmpty             State = 0
	StateOngoing           State = 1
	StatePrepareCommit     State = 2
	StatePrepareAbort      State = 3
	StateCompleteCommit    State = 4
	StateCompleteAbort     State = 5
	StateDead              State = 6
	StatePrepareEpochFence State = 7
	stateCount                   = 8
)

var stateNames = [stateCount]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}

// String returns the name that ListTransactions and DescribeTransactions use.
func (s State) String() string {
	if s < 0 || s >= stateCount {
		return "Unknown"
	}
	return stateNames[s]
}

// stateNamed returns the state called name.
func stateNamed(name string) (State, bool) {
	for i, n := range stateNames {
		if n == name {
			return State(i), true
		}
	}
	return 0, false
}

// isPrepared reports whether the end of the transaction is decided and its markers are being
// written.
func (s State) isPrepared() bool { return s == StatePrepareCommit || s == StatePrepareAbort }

// isIdle reports whether no transaction is under way.
func (s State) isIdle() bool {
	return s == StateEmpty || s == StateCompleteCommit || s == StateCompleteAbort
}
