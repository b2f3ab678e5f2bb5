package status

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/tools/brokers"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/features"
)

var levelNames = map[Level]string{Well: "well", Degraded: "needs attention", Failing: "fails"}

// marks begin the line of a finding.
var marks = map[Level]string{Well: "-", Degraded: "!", Failing: "!!"}

// print writes the report.
func (r *Report) print(s cli.Streams) {
	s.Printf("Cluster %s: %s\n\n", r.ID, levelNames[r.Level])
	var rows [][]string
	for _, b := range r.Brokers {
		state := "up"
		switch {
		case b.Fenced:
			state = "fenced"
		case b.Err != nil:
			state = "silent"
		}
		if r.Balancer != nil {
			if asked := brokers.Asked(b.ID, *r.Balancer); asked != "" {
				state += ", " + asked
			}
		}
		supports := "-"
		if levels, ok := b.Levels["metadata.version"]; ok {
			supports = features.LevelText("metadata.version", levels.Max)
		}
		rows = append(rows, []string{strconv.Itoa(int(b.ID)), b.Address, cmp.Or(b.Rack, "-"), state, supports})
	}
	s.Table([]string{"BROKER", "ADDRESS", "RACK", "STATE", "SUPPORTS"}, rows)
	s.Println("")
	r.printQuorum(s)
	moving := strconv.Itoa(r.Moving)
	if r.Moving < 0 {
		moving = "?"
	}
	asOf := ""
	if r.QuorumErr != nil { // nobody notes which brokers have gone since
		asOf = ", when a controller was last active"
	}
	s.Printf("Partitions    %d in %d topics: %d without leader, %d under min.insync.replicas, %d under-replicated, %s being moved%s\n", r.Total, len(r.Topics), r.Offline, r.UnderMinISR, r.UnderReplicated, moving, asOf)
	if r.Balancer != nil {
		s.Printf("Balancer      %s: %s\n", r.Balancer.State, r.Balancer.Why)
	}
	if len(r.Unanswered) > 0 {
		s.Printf("Not answered  %s\n", strings.Join(r.Unanswered, ", "))
	}
	var levels []string
	for _, name := range slices.Sorted(maps.Keys(r.Finalized)) {
		levels = append(levels, name+"="+features.LevelText(name, r.Finalized[name]))
	}
	s.Printf("Features      %s\n", strings.Join(levels, ", "))
	if len(r.Findings) == 0 {
		return
	}
	s.Println("")
	for _, f := range r.Findings {
		s.Printf("%-2s %s\n   → %s\n", marks[f.Level], f.What, f.Do)
	}
}

func (r *Report) printQuorum(s cli.Streams) {
	q := &r.Quorum
	if r.QuorumErr != nil {
		s.Println("Controllers   none is active")
		return
	}
	end := q.HighWatermark
	for _, v := range q.Voters {
		if v.ID == q.Leader {
			end = max(end, v.EndOffset)
		}
	}
	lags := func(members []Member) string {
		var all []string
		for _, m := range members {
			text := fmt.Sprintf("%d (%d behind)", m.ID, max(0, end-m.EndOffset))
			if m.ID == q.Leader {
				text = fmt.Sprintf("%d (active, epoch %d)", m.ID, q.Epoch)
			}
			all = append(all, text)
		}
		return strings.Join(all, ", ")
	}
	s.Printf("Controllers   %s\n", lags(q.Voters))
	if len(q.Observers) > 0 {
		s.Printf("Observers     %s\n", lags(q.Observers))
	}
}
