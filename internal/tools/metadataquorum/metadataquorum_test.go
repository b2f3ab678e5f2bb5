package metadataquorum

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

func voter(id int32, end, fetchedMs, caughtUpMs int64) replicaState {
	r := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
	r.ReplicaID, r.LogEndOffset, r.LastFetchTimestamp, r.LastCaughtUpTimestamp = id, end, fetchedMs, caughtUpMs
	return r
}

// TestAsKafka compares with what Apache Kafka 4.3.1's tool printed of one node.
func TestAsKafka(t *testing.T) {
	t.Parallel()
	leader := voter(1, 452, 1795262035303, 1795262035303)
	id, err := kafka.ParseUUID("iDK3W-DaRFyrroldw0t5jQ")
	if err != nil {
		t.Fatal(err)
	}
	leader.ReplicaDirectoryID = id
	q := quorum{nodes: []kmsg.DescribeQuorumResponseNode{{NodeID: 1, Listeners: []kmsg.DescribeQuorumResponseNodeListener{{Name: "CONTROLLER", Host: "localhost", Port: 21951}}}}}
	q.LeaderID, q.LeaderEpoch, q.HighWatermark, q.CurrentVoters = 1, 1, 446, []replicaState{leader}
	var out bytes.Buffer
	s := cli.Streams{Out: &out}
	if err := q.printStatus(s, "KhmPi8jgRe6ZfkkGJee_kA"); err != nil {
		t.Fatal(err)
	}
	for _, readable := range []bool{false, true} {
		if err := q.printReplication(s, readable, 1795262035324); err != nil {
			t.Fatal(err)
		}
	}
	want := `ClusterId:              KhmPi8jgRe6ZfkkGJee_kA
LeaderId:               1
LeaderEpoch:            1
HighWatermark:          446
MaxFollowerLag:         0
MaxFollowerLagTimeMs:   0
CurrentVoters:          [{"id": 1, "directoryId": "iDK3W-DaRFyrroldw0t5jQ", "endpoints": ["CONTROLLER://localhost:21951"]}]
CurrentObservers:       []
NodeId	DirectoryId           	LogEndOffset	Lag	LastFetchTimestamp	LastCaughtUpTimestamp	Status	
1     	iDK3W-DaRFyrroldw0t5jQ	452         	0  	1795262035303     	1795262035303        	Leader	
NodeId	DirectoryId           	LogEndOffset	Lag	LastFetchTimestamp	LastCaughtUpTimestamp	Status	
1     	iDK3W-DaRFyrroldw0t5jQ	452         	0  	21 ms ago         	21 ms ago            	Leader	
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

func TestFollowers(t *testing.T) {
	t.Parallel()
	var q quorum
	q.LeaderID, q.CurrentVoters = 2, []replicaState{voter(1, 90, 5000, 4000), voter(2, 100, 6000, 6000)}
	q.Observers = []replicaState{voter(3, 50, -1, -1)}
	var out bytes.Buffer
	s := cli.Streams{Out: &out}
	if err := q.printStatus(s, "x"); err != nil || !strings.Contains(out.String(), "MaxFollowerLag:         10\nMaxFollowerLagTimeMs:   2000\nCurrentVoters:          [{\"id\": 1}, {\"id\": 2}]\nCurrentObservers:       [{\"id\": 3}]\n") {
		t.Errorf("%v\n%s", err, &out)
	}
	out.Reset()
	if err := q.printReplication(s, false, 0); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, status := range []string{"Status", "Leader", "Follower", "Observer"} {
		if !strings.Contains(lines[i], status) {
			t.Errorf("line %d is %q, want a %s", i, lines[i], status)
		}
	}
	if err := q.printReplication(s, true, 5500); err == nil || !strings.Contains(err.Error(), "possible drift in system clock") {
		t.Errorf("a fetch in the future: %v", err)
	}
	q.LeaderID = -1
	if err := q.printStatus(s, "x"); err == nil {
		t.Error("a quorum without a leader is described")
	}
}
