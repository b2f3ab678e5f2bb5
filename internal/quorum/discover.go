package quorum

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
)

// There is no format step, and still no quorum is formed twice (DESIGN, decision 3): a node with an empty
// folder and several voters listed asks each of them who it is, again and again, and Discover says what
// follows from what they have answered so far.

// Newcomer is a node that does not know yet which cluster it is of.
type Newcomer struct {
	NodeID      int32
	DirectoryID kafka.UUID // of the folder of the metadata log
	// IncarnationID is that of the process.
	IncarnationID kafka.UUID
	// ClusterID is what the operator or meta.properties says, "" for nothing; Member says that it was
	// meta.properties (Identity.Member).
	ClusterID string
	Member    bool
	// LogVoters are the voters of its metadata log (LogVoters), nil if it has none.
	LogVoters []VoterSpec
}

// Listed is a voter of controller.quorum.voters, or an address of controller.quorum.bootstrap.servers,
// with the newest answer from there.
type Listed struct {
	NodeID   int32 // negative where only the address is listed
	Listener VoterListener
	Answer   *Answer // nil: there is none
	// ClusterID is that of the metadata log which names a namesake: somebody of another cluster who answers there is none. Else "".
	ClusterID string
}

// Answer is what a node says of itself.
type Answer struct {
	ClusterID     string // "" as long as it is not decided
	NodeID        int32
	DirectoryID   kafka.UUID
	IncarnationID kafka.UUID
	// Formed says that the node has a metadata log; Voters are those of it, else the node ids that it has
	// listed (which may be left out).
	Formed bool
	Voters []VoterSpec
}

// Step is what a node does next.
type Step int

const (
	// StepWait is to ask again in a while.
	StepWait Step = iota
	// StepForm is to begin the quorum (Options.Form); where there is a log, to go on with it.
	StepForm
	// StepJoin is to fetch the log of a quorum that exists; where there is one, to go on with it.
	StepJoin
	// StepRefuse is to end, because an operator has to change something.
	StepRefuse
)

// Decision says what a node does next, and why where that is for an operator to know. Once it has the log, it
// makes ClusterID known to its folders (EnsureIdentity).
type Decision struct {
	Step      Step
	ClusterID string
	// Voters are who the quorum is formed of, or who has the log that is to be fetched.
	Voters []VoterSpec
	Why    string
}

func waitFor(format string, args ...any) Decision {
	return Decision{Step: StepWait, Why: fmt.Sprintf(format, args...)}
}
func refuse(format string, args ...any) Decision {
	return Decision{Step: StepRefuse, Why: fmt.Sprintf(format, args...)}
}

// ErrLogLost refuses a node that has been of a cluster and lost its metadata log.
func ErrLogLost(clusterID string) error {
	return fmt.Errorf("the folder of the metadata log belongs to cluster %s, but the log is gone: restore it, or remove what is left of the folder, meta.properties too, "+
		"so that the node comes back with another directory.id and can be added as a voter again", clusterID)
}

// VotesAlone reports whether a member is the only voter of its log. Where it is not configured so, it asks
// before it goes on: those that are listed may be of another cluster.
func (n Newcomer) VotesAlone() bool {
	return n.Member && len(n.LogVoters) == 1 && n.LogVoters[0].DirectoryID == n.DirectoryID
}

// Discover decides what a node does that is one of several. The rules:
//   - who has been of a cluster and lost its metadata log is refused: it may have acknowledged what is gone;
//   - who listens where another is listed, has another's node id, or is of another cluster is refused;
//   - if any node has formed a quorum, the others join it. Who is not among its voters observes: a voter
//     that lost its disk has another directory id, and waits to be replaced;
//   - only when all that are listed have answered, and none of them has a log, the one with the lowest node id
//     forms the quorum of all of them. Never does a node form one of itself alone.
func Discover(self Newcomer, listed []Listed) Decision {
	if self.Member && self.LogVoters == nil {
		return refuse("%s", ErrLogLost(self.ClusterID))
	}
	listed = slices.DeleteFunc(slices.Clone(listed), func(l Listed) bool {
		return l.ClusterID != "" && l.Answer != nil && l.Answer.ClusterID != "" && l.Answer.ClusterID != l.ClusterID
	})
	if d := contradiction(self, listed); d != nil {
		return *d
	}
	if self.Member {
		return Decision{Step: StepJoin, ClusterID: self.ClusterID}
	}
	var formed []VoterSpec
	clusterID, note := "", ""
	undecided := ""
	for _, l := range listed {
		switch a := l.Answer; {
		case a == nil || !a.Formed || a.DirectoryID == self.DirectoryID:
		case a.ClusterID == "":
			undecided = l.address()
		default:
			formed, clusterID = append(formed, l.spec()), a.ClusterID
			note = cmp.Or(note, replacement(self, a.Voters))
		}
	}
	switch {
	case len(formed) > 0:
		return Decision{Step: StepJoin, ClusterID: clusterID, Voters: formed, Why: note}
	case self.LogVoters != nil:
		return goOn(self, listed)
	case undecided != "":
		return waitFor("the node at %s has a metadata log, but does not know the cluster's id yet", undecided)
	}
	return form(self, listed)
}

// Namesakes are the voters of those that have answered that have this node's id and another folder, where they are not
// listed themselves: one that answers is another node, one that does not has perhaps lost its disk, and is this one.
func Namesakes(self Newcomer, listed []Listed) (namesakes []Listed) {
	for _, l := range listed {
		if l.Answer == nil || !l.Answer.Formed {
			continue
		}
		for _, v := range l.Answer.Voters {
			if v.NodeID != self.NodeID || v.DirectoryID == self.DirectoryID || len(v.Listeners) == 0 {
				continue
			}
			at := v.Listeners[0]
			if !slices.ContainsFunc(slices.Concat(listed, namesakes), func(l Listed) bool { return l.Listener.Host == at.Host && l.Listener.Port == at.Port }) {
				namesakes = append(namesakes, Listed{NodeID: kafka.NoNode, Listener: at, ClusterID: l.Answer.ClusterID})
			}
		}
	}
	return namesakes
}

func (l Listed) address() string { return fmt.Sprintf("%s:%d", l.Listener.Host, l.Listener.Port) }

// spec is the voter that answered.
func (l Listed) spec() VoterSpec {
	return VoterSpec{NodeID: l.Answer.NodeID, DirectoryID: l.Answer.DirectoryID, Listeners: []VoterListener{l.Listener}}
}

// isSelf reports whether a node is listed as the one that asks.
func (l Listed) isSelf(self Newcomer) bool {
	return l.NodeID == self.NodeID || l.NodeID < 0 && l.Answer != nil && l.Answer.DirectoryID == self.DirectoryID
}

// contradiction is a Decision to refuse where the answers do not fit this node or what is listed.
func contradiction(self Newcomer, listed []Listed) *Decision {
	refused := func(format string, args ...any) *Decision { d := refuse(format, args...); return &d }
	clusterID, of := self.ClusterID, "this node"
	for _, l := range listed {
		a := l.Answer
		switch {
		case a == nil:
		case l.NodeID >= 0 && a.NodeID != l.NodeID:
			return refused("controller.quorum.voters says that node %d listens at %s, but node %d answers there: correct controller.quorum.voters or the node.id of that node", l.NodeID, l.address(), a.NodeID)
		case a.ClusterID != "" && clusterID != "" && a.ClusterID != clusterID: // before node ids: those of another cluster are no matter here
			return refused("node %d at %s is of cluster %s, but %s is of cluster %s: list the voters of one cluster, or correct cluster.id", a.NodeID, l.address(), a.ClusterID, of, clusterID)
		case a.NodeID == self.NodeID && a.DirectoryID != self.DirectoryID:
			return refused("node.id %d is taken: the node at %s has it, with directory id %s; this one has directory id %s. Give one of them another node.id",
				self.NodeID, l.address(), a.DirectoryID, self.DirectoryID)
		case a.DirectoryID == self.DirectoryID && (a.NodeID != self.NodeID || a.IncarnationID != self.IncarnationID):
			return refused("directory id %s is taken: node %d at %s has it, too. One folder is a copy of the other: remove the copy", self.DirectoryID, a.NodeID, l.address())
		case a.ClusterID == "":
		default:
			clusterID, of = a.ClusterID, fmt.Sprintf("node %d at %s", a.NodeID, l.address())
		}
	}
	return nil
}

// replacement says what an operator should know of a node whose id votes with another folder.
func replacement(self Newcomer, voters []VoterSpec) string {
	for _, v := range voters {
		if v.NodeID == self.NodeID && v.DirectoryID != self.DirectoryID {
			return fmt.Sprintf("node %d votes with directory id %s, but its folder is new, with directory id %s: it observes until that voter is removed and this one is added",
				self.NodeID, v.DirectoryID, self.DirectoryID)
		}
	}
	return ""
}

// goOn is for a node that has a log and was interrupted before its folders knew the cluster's id. Who
// formed the quorum knows it by itself; others have to be told.
func goOn(self Newcomer, listed []Listed) Decision {
	first := slices.MinFunc(self.LogVoters, func(a, b VoterSpec) int { return cmp.Compare(a.NodeID, b.NodeID) })
	if first.DirectoryID != self.DirectoryID {
		return waitFor("no other node that has a metadata log has answered: they know the cluster's id")
	}
	return Decision{Step: StepForm, ClusterID: clusterIDFor(self, listed), Voters: self.LogVoters}
}

// clusterIDFor is the id of the cluster that a node forms: what an operator has given to any of them, or a new one.
func clusterIDFor(self Newcomer, listed []Listed) string {
	given := self.ClusterID
	for _, l := range listed {
		if l.Answer != nil {
			given = cmp.Or(given, l.Answer.ClusterID)
		}
	}
	return cmp.Or(given, newClusterID(self.DirectoryID))
}

// form decides where no node has a log.
func form(self Newcomer, listed []Listed) Decision {
	me := slices.IndexFunc(listed, func(l Listed) bool { return l.isSelf(self) })
	var voters []VoterSpec
	var missing []string
	for i, l := range listed {
		switch {
		case i == me:
			voters = append(voters, VoterSpec{NodeID: self.NodeID, DirectoryID: self.DirectoryID, Listeners: []VoterListener{l.Listener}})
		case l.Answer == nil || l.Answer.DirectoryID.IsZero():
			missing = append(missing, l.address())
		case slices.ContainsFunc(voters, func(v VoterSpec) bool { return v.DirectoryID == l.Answer.DirectoryID }): // two addresses of one node
		case slices.ContainsFunc(voters, func(v VoterSpec) bool { return v.NodeID == l.Answer.NodeID }):
			return waitFor("two nodes have node.id %d: one of them is at %s", l.Answer.NodeID, l.address())
		default:
			voters = append(voters, l.spec())
		}
	}
	switch {
	case len(missing) > 0:
		return waitFor("no answer from %s: a quorum is formed only when all voters that are listed have answered", strings.Join(missing, ", "))
	case me < 0 || len(voters) < 2:
		return waitFor("no node that is listed has a metadata log yet, and none forms a quorum of itself alone: at least two controllers have to be listed")
	}
	slices.SortFunc(voters, func(a, b VoterSpec) int { return cmp.Compare(a.NodeID, b.NodeID) })
	for _, l := range listed {
		if a := l.Answer; a != nil && len(a.Voters) > 0 && !sameNodes(a.Voters, voters) {
			return waitFor("node %d at %s lists other voters (%s) than this node (%s): the lists have to be the same on all nodes", a.NodeID, l.address(), nodeIDs(a.Voters), nodeIDs(voters))
		}
	}
	if voters[0].NodeID != self.NodeID {
		return waitFor("node %d forms the quorum, as the one with the lowest node.id", voters[0].NodeID)
	}
	return Decision{Step: StepForm, ClusterID: clusterIDFor(self, listed), Voters: voters}
}

func sameNodes(a, b []VoterSpec) bool { return nodeIDs(a) == nodeIDs(b) }

func nodeIDs(voters []VoterSpec) string {
	var ids []int32
	for _, v := range voters {
		ids = append(ids, v.NodeID)
	}
	slices.Sort(ids)
	return strings.Trim(fmt.Sprint(ids), "[]")
}

// newClusterID makes the id of a new cluster of the directory id of the node that forms it: one that was
// interrupted finds the same again.
func newClusterID(directory kafka.UUID) string {
	for salt := byte(0); ; salt++ {
		sum := sha256.Sum256(append([]byte("cluster.id"), append(directory[:], salt)...))
		id := kafka.UUID(sum[:16])
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
		if text := id.String(); text[0] != '-' { // which command lines would take for a flag
			return text
		}
	}
}

// LogVoters are the voters that the newest snapshot of a log names, nil if there is no log.
func LogVoters(fsys vfs.FS, logDir string) ([]VoterSpec, error) {
	has, err := HasLog(fsys, logDir)
	if err != nil || !has {
		return nil, err
	}
	dir := filepath.Join(logDir, MetadataFolder)
	if err := completeInstall(fsys, dir, logDir); err != nil {
		return nil, err
	}
	snapshots, _, err := listLog(fsys, dir)
	if err != nil {
		return nil, err
	}
	if len(snapshots) == 0 {
		return nil, errNoSnapshot(dir)
	}
	newest, err := readSnapshot(fsys, dir, snapshots[len(snapshots)-1], nil)
	return newest.Voters, err
}
