package quorum

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/env"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/storage/checkpoint"
)

func directory(node, disk int) kafka.UUID {
	return kafka.UUID{0: byte(node), 1: byte(disk), 6: 0x40, 8: 0x80, 15: 7}
}

func listener(node int) VoterListener {
	return VoterListener{Name: "CONTROLLER", Host: "host" + string(rune('0'+node)), Port: 9093}
}

// votersOf are voters on their first disks.
func votersOf(nodes ...int) (voters []VoterSpec) {
	for _, n := range nodes {
		voters = append(voters, VoterSpec{NodeID: int32(n), DirectoryID: directory(n, 0), Listeners: []VoterListener{listener(n)}})
	}
	return voters
}

// TestDiscover is about node 1 of the three listed ones, unless a case changes that.
func TestDiscover(t *testing.T) {
	t.Parallel()
	self := Newcomer{NodeID: 1, DirectoryID: directory(1, 0), IncarnationID: kafka.UUID{1}}
	empty := func(node int) *Answer {
		return &Answer{NodeID: int32(node), DirectoryID: directory(node, 0), IncarnationID: kafka.UUID{byte(node)}}
	}
	formed := func(node int) *Answer {
		a := empty(node)
		a.Formed, a.ClusterID, a.Voters = true, "cluster", votersOf(1, 2, 3)
		return a
	}
	with := func(a *Answer, change func(a *Answer)) *Answer { change(a); return a }
	newID := newClusterID(self.DirectoryID)
	for _, c := range []struct {
		name     string
		self     func(s *Newcomer)
		answers  [3]*Answer // of nodes 1 to 3
		byServer bool       // only addresses are listed
		want     Decision   // Why: what it has to say
	}{
		{name: "nobody answers", want: Decision{Step: StepWait, Why: "no answer from host2:9093, host3:9093"}},
		{name: "one does not answer", answers: [3]*Answer{nil, empty(2), nil}, want: Decision{Step: StepWait, Why: "no answer from host3:9093"}},
		{name: "all empty, lowest", answers: [3]*Answer{nil, empty(2), empty(3)}, want: Decision{Step: StepForm, ClusterID: newID, Voters: votersOf(1, 2, 3)}},
		{name: "all empty, lowest, itself asked", answers: [3]*Answer{empty(1), empty(2), empty(3)}, want: Decision{Step: StepForm, ClusterID: newID, Voters: votersOf(1, 2, 3)}},
		{name: "all empty, with a cluster id", self: func(s *Newcomer) { s.ClusterID = "mine" }, answers: [3]*Answer{nil, empty(2), empty(3)},
			want: Decision{Step: StepForm, ClusterID: "mine", Voters: votersOf(1, 2, 3)}},
		{name: "all empty, another has a cluster id", answers: [3]*Answer{nil, empty(2), with(empty(3), func(a *Answer) { a.ClusterID = "its" })},
			want: Decision{Step: StepForm, ClusterID: "its", Voters: votersOf(1, 2, 3)}},
		{name: "all empty, not lowest", self: func(s *Newcomer) { s.NodeID, s.DirectoryID, s.IncarnationID = 2, directory(2, 0), kafka.UUID{2} }, answers: [3]*Answer{empty(1), nil, empty(3)},
			want: Decision{Step: StepWait, Why: "node 1 forms the quorum"}},
		{name: "not listed", self: func(s *Newcomer) { s.NodeID, s.DirectoryID = 9, directory(9, 0) }, answers: [3]*Answer{empty(1), empty(2), empty(3)},
			want: Decision{Step: StepWait, Why: "no node that is listed has a metadata log yet"}},
		{name: "only addresses are listed", byServer: true, answers: [3]*Answer{empty(1), empty(2), empty(3)}, want: Decision{Step: StepForm, ClusterID: newID, Voters: votersOf(1, 2, 3)}},
		{name: "only addresses, itself not reached", byServer: true, answers: [3]*Answer{nil, empty(2), empty(3)}, want: Decision{Step: StepWait, Why: "no answer from host1:9093"}},
		{name: "only addresses, all of one node", byServer: true, answers: [3]*Answer{empty(1), empty(1), empty(1)}, want: Decision{Step: StepWait, Why: "at least two controllers have to be listed"}},
		{name: "an answer without a folder", answers: [3]*Answer{nil, empty(2), with(empty(3), func(a *Answer) { a.DirectoryID = kafka.UUID{} })}, want: Decision{Step: StepWait, Why: "no answer from host3:9093"}},
		{name: "other voters are listed elsewhere", answers: [3]*Answer{nil, with(empty(2), func(a *Answer) { a.Voters = votersOf(2, 3, 4) }), empty(3)},
			want: Decision{Step: StepWait, Why: "lists other voters (2 3 4) than this node (1 2 3)"}},
		{name: "the same voters are listed elsewhere", answers: [3]*Answer{nil, with(empty(2), func(a *Answer) { a.Voters = votersOf(3, 2, 1) }), empty(3)},
			want: Decision{Step: StepForm, ClusterID: newID, Voters: votersOf(1, 2, 3)}},

		{name: "one has formed it", answers: [3]*Answer{nil, formed(2), nil}, want: Decision{Step: StepJoin, ClusterID: "cluster", Voters: votersOf(2)}},
		{name: "two have formed it", answers: [3]*Answer{nil, formed(2), formed(3)}, want: Decision{Step: StepJoin, ClusterID: "cluster", Voters: votersOf(2, 3)}},
		{name: "formed, but it does not know of which cluster", answers: [3]*Answer{nil, with(formed(2), func(a *Answer) { a.ClusterID = "" }), empty(3)},
			want: Decision{Step: StepWait, Why: "does not know the cluster's id"}},
		{name: "a voter that lost its disk", self: func(s *Newcomer) { s.DirectoryID = directory(1, 1) }, answers: [3]*Answer{nil, formed(2), formed(3)},
			want: Decision{Step: StepJoin, ClusterID: "cluster", Voters: votersOf(2, 3), Why: "it observes until that voter is removed"}},
		{name: "a voter that lost its disk while nobody answers", self: func(s *Newcomer) { s.DirectoryID = directory(1, 1) }, want: Decision{Step: StepWait, Why: "no answer"}},
		{name: "a broker", self: func(s *Newcomer) { s.NodeID, s.DirectoryID = 9, directory(9, 0) }, answers: [3]*Answer{nil, formed(2), nil},
			want: Decision{Step: StepJoin, ClusterID: "cluster", Voters: votersOf(2)}},

		{name: "a restart", self: func(s *Newcomer) { s.Member, s.ClusterID, s.LogVoters = true, "cluster", votersOf(1, 2, 3) }, want: Decision{Step: StepJoin, ClusterID: "cluster"}},
		{name: "a lost log", self: func(s *Newcomer) { s.Member, s.ClusterID = true, "cluster" }, answers: [3]*Answer{nil, formed(2), formed(3)},
			want: Decision{Step: StepRefuse, Why: "the log is gone"}},
		{name: "interrupted after forming", self: func(s *Newcomer) { s.LogVoters = votersOf(1, 2, 3) }, want: Decision{Step: StepForm, ClusterID: newID, Voters: votersOf(1, 2, 3)}},
		{name: "interrupted after forming, the others know", self: func(s *Newcomer) { s.LogVoters = votersOf(1, 2, 3) }, answers: [3]*Answer{nil, formed(2), nil},
			want: Decision{Step: StepJoin, ClusterID: "cluster", Voters: votersOf(2)}},
		{name: "interrupted after joining", self: func(s *Newcomer) {
			s.NodeID, s.DirectoryID, s.IncarnationID, s.LogVoters = 2, directory(2, 0), kafka.UUID{2}, votersOf(1, 2, 3)
		}, answers: [3]*Answer{nil, nil, empty(3)}, want: Decision{Step: StepWait, Why: "they know the cluster's id"}},

		{name: "another node is listed there", answers: [3]*Answer{nil, empty(3), nil}, want: Decision{Step: StepRefuse, Why: "controller.quorum.voters says that node 2 listens at host2:9093, but node 3 answers"}},
		{name: "its node id is taken", answers: [3]*Answer{with(empty(1), func(a *Answer) { a.DirectoryID = directory(1, 5) }), nil, nil}, want: Decision{Step: StepRefuse, Why: "node.id 1 is taken: the node at host1:9093"}},
		{name: "its node id is taken, address listed", byServer: true, answers: [3]*Answer{nil, with(empty(1), func(a *Answer) { a.DirectoryID = directory(1, 5) }), nil},
			want: Decision{Step: StepRefuse, Why: "node.id 1 is taken: the node at host2:9093"}},
		{name: "two others have one node id", byServer: true, answers: [3]*Answer{empty(1), empty(2), with(empty(2), func(a *Answer) { a.DirectoryID = directory(3, 0) })},
			want: Decision{Step: StepWait, Why: "two nodes have node.id 2"}},
		{name: "its folder was copied", byServer: true, answers: [3]*Answer{nil, with(empty(2), func(a *Answer) { a.DirectoryID = directory(1, 0) }), nil},
			want: Decision{Step: StepRefuse, Why: "One folder is a copy of the other"}},
		{name: "its folder was copied whole", answers: [3]*Answer{with(empty(1), func(a *Answer) { a.IncarnationID = kafka.UUID{9} }), nil, nil}, want: Decision{Step: StepRefuse, Why: "One folder is a copy of the other"}},
		{name: "of a foreign cluster", self: func(s *Newcomer) { s.ClusterID = "mine" }, answers: [3]*Answer{nil, formed(2), nil},
			want: Decision{Step: StepRefuse, Why: "node 2 at host2:9093 is of cluster cluster, but this node is of cluster mine"}},
		{name: "voters of two clusters", answers: [3]*Answer{nil, formed(2), with(formed(3), func(a *Answer) { a.ClusterID = "other" })},
			want: Decision{Step: StepRefuse, Why: "node 3 at host3:9093 is of cluster other, but node 2 at host2:9093 is of cluster cluster"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			me := self
			if c.self != nil {
				c.self(&me)
			}
			var listed []Listed
			for i, a := range c.answers {
				l := Listed{NodeID: int32(i + 1), Listener: listener(i + 1), Answer: a}
				if c.byServer {
					l.NodeID = -1
				}
				listed = append(listed, l)
			}
			got := Discover(me, listed)
			if !strings.Contains(got.Why, c.want.Why) || (got.Why == "") != (c.want.Why == "") {
				t.Errorf("it says %q, expected %q", got.Why, c.want.Why)
			}
			sameVoters := slices.EqualFunc(got.Voters, c.want.Voters, func(a, b VoterSpec) bool {
				return a.NodeID == b.NodeID && a.DirectoryID == b.DirectoryID && slices.Equal(a.Listeners, b.Listeners)
			})
			if got.Step != c.want.Step || got.ClusterID != c.want.ClusterID || !sameVoters {
				t.Errorf("got %+v, expected %+v", got, c.want)
			}
		})
	}
}

// TestOneQuorumIsFormed starts three nodes again and again, in any order, with answers that are missing, folders
// that are interrupted in the middle, and disks that get lost: there is never a second cluster.
func TestOneQuorumIsFormed(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	for range 500 {
		nodes := []*Newcomer{}
		for i := range 3 {
			nodes = append(nodes, &Newcomer{NodeID: int32(i + 1), DirectoryID: directory(i+1, 0), IncarnationID: kafka.UUID{byte(i)}})
		}
		clusterID, disk, quorum := "", 0, []VoterSpec(nil)
		for range 60 {
			n := nodes[random.IntN(3)]
			formed := 0
			for _, o := range nodes {
				if o.LogVoters != nil {
					formed++
				}
			}
			if random.IntN(10) == 0 && (formed == 0 || formed > 1 || n.LogVoters == nil) { // its disk is lost, but not the last log
				disk++
				*n = Newcomer{NodeID: n.NodeID, DirectoryID: directory(int(n.NodeID), disk), IncarnationID: kafka.UUID{byte(disk), 1}}
			}
			var listed []Listed
			for i, o := range nodes {
				l := Listed{NodeID: o.NodeID, Listener: listener(i + 1)}
				if random.IntN(4) > 0 {
					l.Answer = &Answer{NodeID: o.NodeID, DirectoryID: o.DirectoryID, IncarnationID: o.IncarnationID, ClusterID: o.ClusterID, Formed: o.LogVoters != nil, Voters: o.LogVoters}
				}
				listed = append(listed, l)
			}
			d := Discover(*n, listed)
			if d.Step == StepRefuse {
				t.Fatalf("seed %d: node %d is refused: %s", seed, n.NodeID, d.Why)
			}
			if d.Step == StepWait {
				continue
			}
			if clusterID == "" {
				clusterID = d.ClusterID
			}
			if d.ClusterID != clusterID || d.Step == StepForm && n.LogVoters == nil && quorum != nil {
				t.Fatalf("seed %d: node %d decides %+v, but there is cluster %s of %v", seed, n.NodeID, d, clusterID, quorum)
			}
			if d.Step == StepForm && quorum == nil {
				quorum = d.Voters
			}
			n.LogVoters = quorum
			if random.IntN(3) > 0 { // else it is interrupted before its folder knows
				n.ClusterID, n.Member = clusterID, true
			}
		}
	}
}

func TestOneOfSeveralLearnsItsCluster(t *testing.T) {
	t.Parallel()
	mem := vfs.NewMem()
	for _, dir := range []string{"/data", "/more"} {
		if err := mem.MkdirAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	o := IdentityOptions{FS: mem, LogDirs: []string{"/data", "/more"}, MetadataDir: "/data", NodeID: 1, Undecided: true, Random: env.NewSeededRandom(1)}
	ensure := func(o IdentityOptions) Identity {
		t.Helper()
		i, err := EnsureIdentity(o)
		if err != nil {
			t.Fatal(err)
		}
		return i
	}
	first := ensure(o)
	again := ensure(o)
	if first.ClusterID != "" || first.Member || again.DirectoryIDs["/data"].IsZero() || again.DirectoryIDs["/data"] != first.DirectoryIDs["/data"] {
		t.Fatalf("undecided: %+v, then %+v", first, again)
	}
	given := o
	given.ClusterID = "given"
	if i := ensure(given); i.ClusterID != "given" || i.Member {
		t.Errorf("with the operator's id: %+v", i)
	}
	if i := ensure(o); i.ClusterID != "" {
		t.Errorf("the operator's id was written before there is a log: %+v", i)
	}

	decided := o
	decided.ClusterID, decided.Undecided, decided.Joined = "learned", false, true
	// Interrupted after the first folder, and completed by the next start.
	failing := decided
	failing.FS = vfs.NewFault(mem, func(op vfs.Op, name string) error {
		if op == vfs.OpCreate && strings.HasPrefix(name, "/more/") {
			return vfs.ErrInjected
		}
		return nil
	})
	if i := ensure(failing); !errors.Is(i.Failed["/more"], vfs.ErrInjected) {
		t.Errorf("the second folder: %+v", i)
	}
	if i := ensure(o); i.ClusterID != "learned" || !i.Member || i.DirectoryIDs["/more"] != first.DirectoryIDs["/more"] {
		t.Errorf("after the interruption: %+v", i)
	}
	for _, dir := range o.LogDirs {
		p, err := checkpoint.ReadMetaProperties(mem, dir+"/meta.properties")
		if err != nil || p.ClusterID != "learned" || p.DirectoryID != first.DirectoryIDs[dir] {
			t.Errorf("%s has %+v, %v", dir, p, err)
		}
	}
	refused := func(o IdentityOptions, want string) {
		t.Helper()
		var identity *IdentityError
		if _, err := EnsureIdentity(o); !errors.As(err, &identity) || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, expected one about %q", err, want)
		}
	}
	foreign := decided
	foreign.ClusterID = "foreign"
	refused(foreign, "belongs to cluster learned")

	// A folder without an id whose node is configured to be alone: it must not give its log a new one.
	if err := errors.Join(mem.Remove("/more/meta.properties"), checkpoint.WriteMetaProperties(mem, "/data/meta.properties", checkpoint.MetaProperties{NodeID: 1, DirectoryID: testSelf.DirectoryID})); err != nil {
		t.Fatal(err)
	}
	alone := o
	alone.Undecided = false
	if has, err := HasLog(mem, "/data"); has || err != nil {
		t.Errorf("a log in an empty folder: %v, %v", has, err)
	}
	v := mustOpen(t, mem)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	refused(alone, "no cluster.id")
	if voters, err := LogVoters(mem, "/data"); err != nil || len(voters) != 1 || voters[0].NodeID != 1 {
		t.Errorf("voters of the log: %+v, %v", voters, err)
	}
}

// TestFormattedFoldersAreNew: format names the cluster in folders that have lost nothing. Only those that a
// node has used are refused without their metadata log.
func TestFormattedFoldersAreNew(t *testing.T) {
	t.Parallel()
	formatted := checkpoint.MetaProperties{ClusterID: "chosen", NodeID: 1, DirectoryID: testSelf.DirectoryID}
	for name, c := range map[string]struct {
		change func(t *testing.T, mem *vfs.Mem) error
		step   Step
	}{
		"formatted": {func(*testing.T, *vfs.Mem) error { return nil }, StepForm},
		"interrupted before the log was there": {func(_ *testing.T, mem *vfs.Mem) error {
			return errors.Join(mem.MkdirAll("/data/"+MetadataFolder), mem.MkdirAll("/data/lost+found"))
		}, StepForm},
		"interrupted after that": {func(t *testing.T, mem *vfs.Mem) error { return mustOpen(t, mem).Close() }, StepJoin},
		"lost the log": {func(_ *testing.T, mem *vfs.Mem) error {
			o := IdentityOptions{FS: mem, LogDirs: []string{"/data"}, MetadataDir: "/data", NodeID: 1, ClusterID: "chosen", Joined: true, Random: env.NewSeededRandom(1)}
			_, err := EnsureIdentity(o)
			return err
		}, StepRefuse},
		"alone before, and lost the log": {func(_ *testing.T, mem *vfs.Mem) error { return mem.MkdirAll("/data/topic-0") }, StepRefuse},
	} {
		mem := vfs.NewMem()
		if err := errors.Join(mem.MkdirAll("/data"), checkpoint.WriteMetaProperties(mem, "/data/meta.properties", formatted), c.change(t, mem)); err != nil {
			t.Fatal(err)
		}
		i, err := EnsureIdentity(IdentityOptions{FS: mem, LogDirs: []string{"/data"}, MetadataDir: "/data", NodeID: 1, Undecided: true, Random: env.NewSeededRandom(1)})
		if err != nil {
			t.Fatal(err)
		}
		voters, err := LogVoters(mem, "/data")
		if err != nil {
			t.Fatal(err)
		}
		two := VoterSpec{NodeID: 2, DirectoryID: kafka.UUID{2}}
		listed := []Listed{{NodeID: 1}, {NodeID: 2, Answer: &Answer{NodeID: 2, DirectoryID: two.DirectoryID}}}
		d := Discover(Newcomer{NodeID: 1, DirectoryID: i.DirectoryIDs["/data"], ClusterID: i.ClusterID, Member: i.Member, LogVoters: voters}, listed)
		if d.Step != c.step || c.step != StepRefuse && d.ClusterID != "chosen" {
			t.Errorf("%s: %+v", name, d)
		}
		if p, err := checkpoint.ReadMetaProperties(mem, "/data/meta.properties"); err != nil || p.ClusterID != "chosen" || p.DirectoryID != formatted.DirectoryID {
			t.Errorf("%s: meta.properties has %+v, %v", name, p, err)
		}
	}
}

// TestNamesakesAreAsked: a voter with this node's id and another folder is another node, if it answers.
func TestNamesakesAreAsked(t *testing.T) {
	t.Parallel()
	at := VoterListener{Name: "CONTROLLER", Host: "elsewhere", Port: 9093}
	voters := []VoterSpec{{NodeID: 1, DirectoryID: kafka.UUID{1}}, {NodeID: 2, DirectoryID: kafka.UUID{2}, Listeners: []VoterListener{at}}}
	self := Newcomer{NodeID: 2, DirectoryID: kafka.UUID{9}}
	listed := []Listed{{NodeID: -1, Listener: VoterListener{Host: "first", Port: 1}, Answer: &Answer{ClusterID: "c", NodeID: 1, DirectoryID: kafka.UUID{1}, Formed: true, Voters: voters}}}
	namesakes := Namesakes(self, listed)
	if len(namesakes) != 1 || namesakes[0].Listener != at || namesakes[0].NodeID != kafka.NoNode {
		t.Fatalf("to be asked: %+v", namesakes)
	}
	if d := Discover(self, append(listed, namesakes...)); d.Step != StepJoin {
		t.Errorf("where it does not answer: %+v", d)
	}
	namesakes[0].Answer = &Answer{ClusterID: "c", NodeID: 2, DirectoryID: kafka.UUID{2}, Formed: true, Voters: voters}
	if d := Discover(self, append(listed, namesakes...)); d.Step != StepRefuse || !strings.Contains(d.Why, "node.id 2 is taken") {
		t.Errorf("where it answers: %+v", d)
	}
	namesakes[0].Answer.ClusterID = "another" // the voter has gone, and somebody else has its address
	if d := Discover(self, append(listed, namesakes...)); d.Step != StepJoin || d.ClusterID != "c" {
		t.Errorf("where a node of another cluster answers: %+v", d)
	}
	self.DirectoryID = kafka.UUID{2}
	if again := Namesakes(self, listed); len(again) != 0 {
		t.Errorf("a voter asks itself: %+v", again)
	}
}

// TestNodeOfAnotherCluster with the same node.id: what is wrong is the list, not the id.
func TestNodeOfAnotherCluster(t *testing.T) {
	t.Parallel()
	self := Newcomer{NodeID: 2, DirectoryID: kafka.UUID{2}, ClusterID: "c"}
	listed := []Listed{{NodeID: -1, Listener: VoterListener{Host: "first", Port: 1}, Answer: &Answer{ClusterID: "another", NodeID: 2, DirectoryID: kafka.UUID{9}, Formed: true}}}
	if d := Discover(self, listed); d.Step != StepRefuse || !strings.Contains(d.Why, "is of cluster another") {
		t.Errorf("%+v", d)
	}
}
