package main

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// nodesOf are the three nodes of which addr is the first: their ports are two apart.
func nodesOf(addr string) []string {
	host, port, err := net.SplitHostPort(addr)
	first, err2 := strconv.Atoi(port)
	if err != nil || err2 != nil {
		return []string{addr}
	}
	var nodes []string
	for i := range 3 {
		nodes = append(nodes, net.JoinHostPort(host, strconv.Itoa(first+2*i)))
	}
	return nodes
}

// assigned makes a topic whose partitions have the replicas given, and waits until all are in sync.
func assigned(name string, replicas ...[]int32) step {
	return func(b *broker, c *conn) (string, error) {
		r := createTopic(name, -1, -1)
		for i := range replicas {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = int32(i), replicas[i]
			r.Topics[0].ReplicaAssignment = append(r.Topics[0].ReplicaAssignment, a)
		}
		response, err := c.request(r, 5)
		if err != nil {
			return "", err
		}
		if code := response.(*kmsg.CreateTopicsResponse).Topics[0].ErrorCode; code != 0 {
			return "", fmt.Errorf("prepare topic %s: code %d", name, code)
		}
		return "", patiently(name+" in sync on all nodes", func() (bool, error) {
			for _, addr := range nodesOf(b.addr) {
				whole, err := inSync(addr, name, replicas)
				if !whole || err != nil {
					return false, err
				}
			}
			return true, nil
		})
	}
}

func inSync(addr, name string, replicas [][]int32) (bool, error) {
	c, err := dial(addr)
	if err != nil {
		return false, err
	}
	defer c.tcp.Close()
	response, err := c.request(metadata(name), 12)
	if err != nil {
		return false, err
	}
	partitions := response.(*kmsg.MetadataResponse).Topics[0].Partitions
	for _, p := range partitions {
		if p.ErrorCode != 0 || len(p.ISR) != len(replicas[p.Partition]) {
			return false, nil
		}
	}
	return len(partitions) == len(replicas), nil
}

// patiently asks until something holds.
func patiently(what string, holds func() (bool, error)) error {
	deadline := time.Now().Add(30 * time.Second)
	for {
		done, err := holds()
		switch {
		case err != nil:
			return err
		case done:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%s: not so after 30 s", what)
		}
	}
}

// fill writes so many batches of 900 kB into a partition that the first node leads.
func fill(name string, partition int32, batches int) step {
	return func(_ *broker, c *conn) (string, error) {
		data := batch(time.Now().UnixMilli(), strings.Repeat("v", 900_000))
		for range batches {
			if err := patiently("written to "+name, func() (bool, error) {
				response, err := c.request(produce(name, partition, 1, slices.Clone(data)), 9)
				return err == nil && response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode == 0, err
			}); err != nil {
				return "", err
			}
		}
		return "", nil
	}
}

// learnDirs finds out where each node keeps a partition of a topic that has some replicas, {home1} to {home3}, and its other log dir, {away1} to {away3}.
func learnDirs(topic string, replicas ...int32) step {
	return func(b *broker, _ *conn) (string, error) {
		for i, addr := range nodesOf(b.addr) {
			var dirs []kmsg.DescribeLogDirsResponseDir
			holds := func(dir kmsg.DescribeLogDirsResponseDir) bool {
				return slices.ContainsFunc(dir.Topics, func(t kmsg.DescribeLogDirsResponseDirTopic) bool { return t.Topic == topic })
			}
			// The metadata has a replica in sync before its broker has made its log.
			if err := patiently("a log of "+topic+" at "+addr, func() (bool, error) {
				c, err := dial(addr)
				if err != nil {
					return false, err
				}
				defer c.tcp.Close()
				response, err := c.request(kmsg.NewPtrDescribeLogDirsRequest(), 4)
				if err != nil {
					return false, err
				}
				dirs = response.(*kmsg.DescribeLogDirsResponse).Dirs
				return !slices.Contains(replicas, int32(i+1)) || slices.ContainsFunc(dirs, holds), nil
			}); err != nil {
				return "", err
			}
			for j, dir := range dirs {
				has := holds(dir)
				name := fmt.Sprintf("away%d", i+1)
				if _, taken := b.state[name]; has || taken && j > 0 {
					name = fmt.Sprintf("home%d", i+1)
				}
				b.state[name] = dir.Dir
			}
		}
		return "", nil
	}
}

// patience is a line that is repeated while its output matches a pattern: while 'pattern' LINE. Apache Kafka's controller says that a
// reassignment is complete before its brokers know what it has come to.
var patience = regexp.MustCompile(`^while '([^']*)' (.*)$`)

// threeNodeCommands run at three nodes, of which BOOTSTRAP is the first.
func threeNodeCommands() []command {
	return []command{moveCommands(), throttleCommands(), dirCommands(), electionCommands(), {
		name: "three nodes: proposals", shape: true, smoke: true, prepare: func(mark string) []step { return []step{assigned("g"+mark, []int32{1, 2, 3}, []int32{2, 3, 1})} },
		files: map[string]string{"topics.json": `{"version":1,"topics":[{"topic":"g@"}]}`},
		lines: on("reassign-partitions", "--generate --topics-to-move-json-file DIR/topics.json --broker-list 1,2,3", "--generate --topics-to-move-json-file DIR/topics.json --broker-list 3,1,2 --disable-rack-aware",
			"--generate --topics-to-move-json-file DIR/topics.json --broker-list 1,2"),
	}}
}

// plan is the JSON of a reassignment of one partition.
func plan(topic string, partition int, replicas string, dirs ...string) string {
	logDirs := ""
	if len(dirs) > 0 {
		logDirs = `,"log_dirs":["` + strings.Join(dirs, `","`) + `"]`
	}
	return fmt.Sprintf(`{"version":1,"partitions":[{"topic":"%s@","partition":%d,"replicas":[%s]%s}]}`, topic, partition, replicas, logDirs)
}

// moves are the lines that carry a plan out.
func moves(file string, options ...string) []string {
	return []string{
		strings.TrimSpace("reassign-partitions --bootstrap-server BOOTSTRAP --execute --reassignment-json-file DIR/" + file + " " + strings.Join(options, " ")),
		"while 'still in progress|rather than' reassign-partitions --bootstrap-server BOOTSTRAP --verify --reassignment-json-file DIR/" + file,
	}
}

func moveCommands() command {
	describe := []string{"topics --bootstrap-server BOOTSTRAP --describe --topic m@"}
	return command{
		name: "three nodes: moves", smoke: true, prepare: func(mark string) []step { return []step{assigned("m"+mark, []int32{1, 2}, []int32{3, 1})} },
		files: map[string]string{
			"move.json": plan("m", 0, "2,3"), "up.json": plan("m", 0, "2,3,1"), "down.json": plan("m", 0, "3"), "absent.json": plan("m", 0, "1,9"), "empty.json": plan("m", 0, ""),
			"two.json": `{"version":1,"partitions":[{"topic":"m@","partition":1,"replicas":[2,3]},{"topic":"m@","partition":0,"replicas":[1,2]}]}`,
		},
		lines: slices.Concat(describe, moves("move.json"), describe, moves("up.json", "--disallow-replication-factor-change")[:1], moves("up.json"), describe, moves("down.json"), describe,
			on("reassign-partitions", "--verify --reassignment-json-file DIR/move.json", "--execute --reassignment-json-file DIR/absent.json", "--execute --reassignment-json-file DIR/empty.json", "--list",
				"--cancel --reassignment-json-file DIR/move.json"), moves("two.json"), moves("two.json", "--additional")),
	}
}

// throttleCommands have a reassignment that does not end, with a byte per second.
func throttleCommands() command {
	configs := with("configs --bootstrap-server BOOTSTRAP --describe", "--topic s@", "--broker 1", "--broker 3")
	return command{
		name: "three nodes: throttled and cancelled", prepare: func(mark string) []step {
			return []step{assigned("s"+mark, []int32{1, 2}, []int32{2, 1}), fill("s"+mark, 0, 16)}
		},
		files: map[string]string{"move.json": plan("s", 0, "2,3"), "other.json": plan("s", 0, "3,1"), "free.json": plan("s", 1, "1,2")},
		lines: slices.Concat(moves("move.json", "--throttle 1")[:1], on("reassign-partitions", "--list", "--verify --reassignment-json-file DIR/move.json", "--verify --reassignment-json-file DIR/other.json"), configs,
			on("reassign-partitions", "--execute --reassignment-json-file DIR/free.json", "--execute --reassignment-json-file DIR/other.json --additional --throttle 2 --replica-alter-log-dirs-throttle 5000", "--list",
				"--verify --reassignment-json-file DIR/move.json --preserve-throttles", "--cancel --reassignment-json-file DIR/free.json --preserve-throttles"), configs,
			on("reassign-partitions", "--cancel --reassignment-json-file DIR/other.json", "--list", "--cancel --reassignment-json-file DIR/other.json", "--verify --reassignment-json-file DIR/other.json"), configs,
			[]string{"topics --bootstrap-server BOOTSTRAP --describe --topic s@"}, moves("move.json"),
			[]string{"reassign-partitions --bootstrap-controller CONTROLLER --list", "reassign-partitions --bootstrap-controller CONTROLLER --cancel --reassignment-json-file DIR/move.json"}),
	}
}

// dirCommands move replicas between the log dirs of their brokers, and to a certain one of a new broker.
func dirCommands() command {
	return command{
		name: "three nodes: log dirs", smoke: true, prepare: func(mark string) []step {
			return []step{assigned("d"+mark, []int32{1, 2}), fill("d"+mark, 0, 2), learnDirs("d"+mark, 1, 2)}
		},
		files: map[string]string{
			"away.json": plan("d", 0, "1,2", "{away1}", "{away2}"), "back.json": plan("d", 0, "1,2", "{home1}", "any"), "new.json": plan("d", 0, "1,3", "{home1}", "{away3}"),
			"wrong.json": plan("d", 0, "1,3", "any", "/nowhere"), "both.json": plan("d", 0, "2,1", "{home2}", "{away1}"),
		},
		lines: slices.Concat(moves("away.json", "--replica-alter-log-dirs-throttle 100000000"), moves("back.json"), moves("new.json"), moves("wrong.json", "--timeout 500"), moves("both.json"),
			on("reassign-partitions", "--cancel --reassignment-json-file DIR/both.json", "--verify --reassignment-json-file DIR/away.json")),
	}
}

func electionCommands() command {
	return command{
		name: "three nodes: leader election", smoke: true, prepare: func(mark string) []step {
			return []step{assigned("e"+mark, []int32{1, 2, 3}, []int32{2, 1, 3})}
		},
		files: map[string]string{
			"order.json":   `{"version":1,"partitions":[{"topic":"e@","partition":0,"replicas":[2,1,3]},{"topic":"e@","partition":1,"replicas":[3,1,2]}]}`,
			"one.json":     `{"partitions":[{"topic":"e@","partition":1}]}`,
			"unknown.json": `{"partitions":[{"topic":"e@","partition":9}]}`,
			"twice.json":   `{"partitions":[{"topic":"e@","partition":1},{"topic":"e@","partition":1}]}`,
		},
		lines: slices.Concat(moves("order.json"), []string{"topics --bootstrap-server BOOTSTRAP --describe --topic e@"},
			on("leader-election", "--election-type preferred --topic e@ --partition 0", "--election-type preferred --topic e@ --partition 0", "--election-type unclean --topic e@ --partition 1",
				"--election-type preferred --path-to-json-file DIR/one.json", "--election-type preferred --path-to-json-file DIR/unknown.json", "--election-type preferred --path-to-json-file DIR/twice.json",
				"--election-type preferred --topic absent@ --partition 0"),
			[]string{"topics --bootstrap-server BOOTSTRAP --describe --topic e@"}),
	}
}
