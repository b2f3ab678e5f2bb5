package reassign

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// TestCommandLines has the words of Apache Kafka 4.3.1's tool.
func TestCommandLines(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--bootstrap-server x:1":                     "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list",
		"--list":                                     "Please specify either --bootstrap-server or --bootstrap-controller",
		"--bootstrap-server x:1 --verify":            `Missing required argument "[reassignment-json-file]"`,
		"--bootstrap-server x:1 --list --throttle 5": `Option "[throttle]" can't be used with action "[list]"`,
	} {
		var messages bytes.Buffer
		s := cli.Streams{Out: &bytes.Buffer{}, Err: &messages}
		code := cli.Exit(s, Run(t.Context(), s, strings.Fields(line)))
		if first, _, _ := strings.Cut(messages.String(), "\n"); code != 1 || first != want {
			t.Errorf("%s: %d %q, want %q", line, code, first, want)
		}
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	text := `{"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[2,1],"log_dirs":["any","/a&b"]}]}`
	plan, err := parsePlan([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPlan(plan); err != nil {
		t.Error(err)
	}
	if again, err := format(plan); err != nil || again != text {
		t.Errorf("%s %v", again, err)
	}
	tp := kafka.TopicPartition{Topic: "t", Partition: 1}
	if got := dirMoves(plan); !reflect.DeepEqual(got, map[replica]string{{tp, 1}: "/a&b"}) {
		t.Errorf("%v", got)
	}
	for _, bad := range []string{"", "[]", `{"version":7}`, `{"partitions":[{"topic":"t"}]}`, `{"partitions":7}`, `{"partitions":[{"topic":"t","partition":1,"replicas":[1],"log_dirs":[]}]}`} {
		if _, err := parsePlan([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestProposal(t *testing.T) {
	t.Parallel()
	topic := client.Topic{Name: "t"}
	for i := range int32(6) {
		topic.Partitions = append(topic.Partitions, client.Partition{Index: i, Replicas: []int32{9, 8}})
	}
	racks := map[int32]string{1: "a", 2: "a", 3: "b", 4: "b"}
	var targets []target
	for _, id := range []int32{1, 2, 3, 4} {
		targets = append(targets, target{id, racks[id]})
	}
	proposal, err := propose(map[string]client.Topic{"t": topic}, targets)
	if err != nil || len(proposal) != 6 {
		t.Fatalf("%v %v", proposal, err)
	}
	leaders := map[int32]int{}
	for _, a := range proposal {
		leaders[a.replicas[0]]++
		if racks[a.replicas[0]] == racks[a.replicas[1]] {
			t.Errorf("%s has both replicas in one rack: %v", a.tp, a.replicas)
		}
	}
	if len(leaders) != 4 {
		t.Errorf("leaders: %v", leaders)
	}
	if _, err := propose(map[string]client.Topic{"t": topic}, targets[:1]); err == nil {
		t.Error("two replicas found room on one broker")
	}
}

func TestThrottledReplicas(t *testing.T) {
	t.Parallel()
	tp := kafka.TopicPartition{Topic: "t", Partition: 3}
	plan := []assignment{{tp: tp, replicas: []int32{2, 3}}}
	moves := movesOf(plan, []assignment{{tp: tp, replicas: []int32{1, 2}}}, nil)
	configs := throttledReplicas(moves)["t"]
	if *configs[leaderReplicas] != "3:1,3:2" || *configs[followerReplicas] != "3:3" {
		t.Errorf("leaders %s, followers %s", *configs[leaderReplicas], *configs[followerReplicas])
	}
}
