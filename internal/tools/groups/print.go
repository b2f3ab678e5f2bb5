package groups

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// missing stands in a column for what is not known.
const missing = "-"

func orMissing[T int32 | int64 | bool](value *T) string {
	if value == nil {
		return missing
	}
	return fmt.Sprint(*value)
}

// checkState says what an operator must know about a group's state, and whether there is more
// to print.
func checkState(s cli.Streams, g *description) (printable bool, err error) {
	switch g.state {
	case "Dead":
		printError(s, "Consumer group '"+g.id+"' does not exist.")
		return false, nil
	case "Empty":
		s.Errorln("\nConsumer group '" + g.id + "' has no active members.")
	case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
		s.Errorln("\nWarning: Consumer group '" + g.id + "' is rebalancing.")
	case "Stable":
	default:
		return false, fmt.Errorf("Expected a valid consumer group state, but found '%s'.", cmp.Or(g.state, "Unknown")) //nolint:staticcheck // the words of Kafka's tools
	}
	return true, nil
}

func printOffsets(s cli.Streams, group string, rows []offsetRow, verbose bool) {
	groupWidth, topicWidth, memberWidth, hostWidth := max(15, len(group)), 15, 15, 15
	for _, r := range rows {
		topicWidth, memberWidth, hostWidth = max(topicWidth, len(r.topic)), max(memberWidth, len(r.memberID)), max(hostWidth, len(r.host))
	}
	line := func(group, topic, partition, epoch, current, end, lag, member, host, clientID string) {
		s.Printf("\n%-*s %-*s %-10s", groupWidth, group, topicWidth, topic, partition)
		if verbose {
			s.Printf(" %-15s", epoch)
		}
		s.Printf(" %-15s %-15s %-15s %-*s %-*s %s", current, end, lag, memberWidth, member, hostWidth, host, clientID)
	}
	line("GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID")
	for _, r := range rows {
		line(group, r.topic, strconv.Itoa(int(r.partition)), orMissing(r.leaderEpoch), orMissing(r.offset), orMissing(r.logEnd), orMissing(r.lag()),
			r.memberID, r.host, r.clientID)
	}
	s.Println("")
}

// printMembers prints the header even for a group without members, as Kafka's tool does.
func printMembers(s cli.Streams, g *description, printable, verbose bool) {
	widths := map[string]int{"group": 15, "member": 15, "instance": 17, "host": 15, "client": 15, "current": 20, "target": 20}
	grow := func(column, text string) { widths[column] = max(widths[column], len(text)) }
	var hasInstance, hasClassic, hasUpgraded bool
	if printable {
		for _, m := range g.members {
			grow("group", g.id)
			grow("member", m.id)
			grow("instance", m.instanceID)
			grow("host", m.host)
			grow("client", m.clientID)
			grow("current", assignmentText(m.assignment))
			grow("target", assignmentText(m.target))
			hasInstance = hasInstance || m.instanceID != ""
			hasClassic = hasClassic || (m.upgraded != nil && !*m.upgraded)
			hasUpgraded = hasUpgraded || (m.upgraded != nil && *m.upgraded)
		}
	}
	line := func(group, member, instance, host, clientID, count string, more ...string) {
		s.Printf("%-*s %-*s ", widths["group"], group, widths["member"], member)
		if hasInstance {
			s.Printf("%-*s ", widths["instance"], instance)
		}
		s.Printf("%-*s %-*s %-15s ", widths["host"], host, widths["client"], clientID, count)
		if verbose {
			s.Printf("%-15s %-*s %-15s %-*s", more[0], widths["current"], more[1], more[2], widths["target"], more[3])
			if hasClassic && hasUpgraded {
				s.Printf(" %s", more[4])
			}
		}
		s.Println("")
	}
	s.Println("")
	line("GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS",
		"CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT", "UPGRADED")
	for _, m := range g.members {
		line(g.id, m.id, m.instanceID, m.host, m.clientID, strconv.Itoa(len(m.assignment)),
			orMissing(m.epoch), assignmentText(m.assignment), orMissing(g.targetEpoch), assignmentText(m.target), orMissing(m.upgraded))
	}
}

// assignmentText is topic:0,1;other:2.
func assignmentText(partitions []kafka.TopicPartition) string {
	if len(partitions) == 0 {
		return missing
	}
	sorted := slices.Clone(partitions)
	client.SortPartitions(sorted)
	var b strings.Builder
	for i, tp := range sorted {
		switch {
		case i == 0:
			b.WriteString(tp.Topic + ":")
		case tp.Topic != sorted[i-1].Topic:
			b.WriteString(";" + tp.Topic + ":")
		default:
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(int(tp.Partition)))
	}
	return b.String()
}

func printState(s cli.Streams, g *description, verbose bool) {
	coordinator := fmt.Sprintf("%s:%d  (%d)", g.coordinator.Host, g.coordinator.Port, g.coordinator.NodeID)
	groupWidth, coordinatorWidth := max(15, len(g.id)), max(25, len(coordinator))
	line := func(group, coordinator, assignor, state, epoch, targetEpoch, members string) {
		s.Printf("\n%-*s %-*s %-20s %-20s", groupWidth, group, coordinatorWidth, coordinator, assignor, state)
		if verbose {
			s.Printf(" %-15s %-25s", epoch, targetEpoch)
		}
		s.Printf(" %s", members)
	}
	line("GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS")
	line(g.id, coordinator, cmp.Or(g.assignor, missing), g.state, orMissing(g.epoch), orMissing(g.targetEpoch), strconv.Itoa(len(g.members)))
	s.Println("")
}
