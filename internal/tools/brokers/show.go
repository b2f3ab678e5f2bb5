package brokers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/balance"
	"github.com/moldau/moldau/internal/tools/cli"
)

// List prints the brokers and what they carry.
func List(ctx context.Context, s cli.Streams, o Options) error {
	admin, err := open(s, o)
	if err != nil {
		return err
	}
	defer admin.Close()
	status, err := StatusOf(ctx, admin)
	if err != nil {
		return err
	}
	if len(status.Brokers) == 0 {
		s.Println(status.Why)
		return nil
	}
	var rows [][]string
	for _, b := range status.Brokers {
		rack, disk := "-", "-"
		if b.Rack != "" {
			rack = b.Rack
		}
		if b.CapacityBytes > 0 {
			disk = fmt.Sprintf("%d%% of %s", 100*b.UsedBytes/b.CapacityBytes, size(b.CapacityBytes))
		}
		rows = append(rows, []string{strconv.Itoa(int(b.Load.Broker)), rack, stateOf(b, status), strconv.FormatInt(b.Replicas, 10), strconv.FormatInt(b.Leaders, 10),
			size(b.Load.Bytes), size(b.Load.BytesPerSecond) + "/s", disk})
	}
	s.Table([]string{"ID", "RACK", "STATE", "REPLICAS", "LEADERS", "BYTES", "WRITTEN", "DISK"}, rows)
	return nil
}

// stateOf is a broker's state in words.
func stateOf(b balance.BrokerStatus, status balance.Status) string {
	asked := Asked(b.Load.Broker, status)
	switch {
	case asked == "":
		return b.State
	case b.State == "active" && b.IsDraining:
		return asked
	}
	return b.State + ", " + asked
}

// Asked says what the balancer was asked to do with a broker, in words; "" for nothing.
func Asked(id int32, status balance.Status) string {
	var all []string
	for _, b := range status.Brokers {
		switch {
		case b.Load.Broker != id || !b.IsDraining:
		case b.Replicas == 0:
			all = append(all, "drained")
		default:
			all = append(all, "draining")
		}
	}
	if slices.Contains(status.Joining, id) {
		all = append(all, "joining")
	}
	return strings.Join(all, ", ")
}

// Status prints what the balancer does, and why it does no more.
func Status(ctx context.Context, s cli.Streams, o Options) error {
	admin, err := open(s, o)
	if err != nil {
		return err
	}
	defer admin.Close()
	status, err := StatusOf(ctx, admin)
	if err != nil {
		return err
	}
	s.Printf("State:    %s\nWhy:      %s\nMode:     %s\nDraining: %s\nJoining:  %s\n", status.State, status.Why, status.Mode, list(status.Draining), list(status.Joining))
	if len(status.Moving) > 0 {
		s.Println("")
		var rows [][]string
		for _, m := range status.Moving {
			rows = append(rows, []string{partition(m.Move), arrow(m.Move), size(m.CopiedBytes) + " of " + size(m.Bytes), strconv.FormatInt(m.Seconds, 10) + " s", m.Why})
		}
		s.Table([]string{"MOVING", "REPLICAS", "COPIED", "FOR", "WHY"}, rows)
		for _, b := range status.Brokers {
			if b.CopyBytesPerSecond > 0 && receives(status.Moving, b.Load.Broker) {
				s.Printf("Broker %d copies at most %s a second.\n", b.Load.Broker, size(b.CopyBytesPerSecond))
			}
		}
	}
	if status.Pending > 0 {
		s.Printf("\n%d moves or more wait for these.\n", status.Pending)
	}
	for _, b := range status.Blocked {
		s.Printf("\nStalled, broker %d", b.Broker)
		if b.Partitions > 0 {
			s.Printf(" (%d partitions)", b.Partitions)
		}
		s.Printf(": %s\n", b.Why)
	}
	return nil
}

func receives(moving []balance.Moving, id int32) bool {
	for _, m := range moving {
		for _, to := range m.To {
			isNew := to == id
			for _, from := range m.From {
				isNew = isNew && from != id
			}
			if isNew {
				return true
			}
		}
	}
	return false
}

// DryRun prints the moves that would even out the whole cluster now.
func DryRun(ctx context.Context, s cli.Streams, o Options) error {
	admin, err := open(s, o)
	if err != nil {
		return err
	}
	defer admin.Close()
	var proposal balance.Proposal
	if err := ask(ctx, admin, true, &proposal); err != nil {
		return err
	}
	if proposal.Why != "" {
		s.Println("Nothing would be moved now: " + proposal.Why + ".")
	}
	plan := proposal.Plan
	var rows [][]string
	for _, m := range plan.Moves {
		rows = append(rows, []string{partition(m), arrow(m), size(m.Bytes), m.Why})
	}
	if len(rows) == 0 {
		s.Println("There is nothing to move.")
	} else {
		s.Table([]string{"PARTITION", "REPLICAS", "BYTES", "WHY"}, rows)
		s.Printf("\n%d moves, %s to copy.\n\n", len(rows), size(plan.Bytes()))
		rows = nil
		for i, before := range plan.Before {
			after := plan.After[i]
			change := func(a, b int64) string { return fmt.Sprintf("%d -> %d", a, b) }
			rows = append(rows, []string{strconv.Itoa(int(before.Broker)), change(before.Replicas, after.Replicas), change(before.Leaders, after.Leaders),
				size(before.Bytes) + " -> " + size(after.Bytes), size(before.BytesPerSecond) + "/s -> " + size(after.BytesPerSecond) + "/s"})
		}
		s.Table([]string{"BROKER", "REPLICAS", "PREFERRED LEADERS", "BYTES", "WRITTEN"}, rows)
	}
	for _, b := range plan.Blocked {
		s.Printf("Stalled, broker %d: %s\n", b.Broker, b.Why)
	}
	return nil
}

func partition(m balance.Move) string { return m.Topic + "-" + strconv.Itoa(int(m.Partition)) }

func arrow(m balance.Move) string { return ids(m.From) + " -> " + ids(m.To) }

func ids(all []int32) string {
	texts := make([]string, len(all))
	for i, id := range all {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}

func list(all []int32) string {
	if len(all) == 0 {
		return "-"
	}
	return ids(all)
}

// size is a number of bytes for people.
func size(bytes int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, unit := float64(bytes), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
