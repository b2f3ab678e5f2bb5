package groups

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Names of states and types as the protocol writes them.
var (
	consumerStates = []string{"PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"}
	consumerTypes  = []string{"Consumer", "Classic"}
)

// listing is one line of --list.
type listing struct{ id, kind, state string }

func (t *tool) listGroups(ctx context.Context) error {
	includeType, includeState := t.Has(t.kind), t.Has(t.state)
	states, err := parseNames(t.String(t.state), consumerStates, "state")
	if err != nil {
		return err
	}
	kinds, err := parseNames(t.String(t.kind), consumerTypes, "types")
	if err != nil {
		return err
	}
	if err := t.Err(); err != nil {
		return err
	}
	groups, err := t.listed(ctx, kinds, states)
	if err != nil {
		return err
	}
	if includeType || includeState {
		printListings(t.streams, groups, includeType, includeState)
		return nil
	}
	for _, g := range groups {
		t.streams.Println(g.id)
	}
	return nil
}

// parseNames reads a list such as stable,empty; an empty list asks for all.
func parseNames(text string, known []string, what string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var names []string
	for word := range strings.SplitSeq(text, ",") {
		i := slices.IndexFunc(known, func(name string) bool { return strings.EqualFold(name, strings.TrimSpace(word)) })
		if i < 0 {
			return nil, usageErrorf("Invalid %s list '%s'. Valid %ss are: %s", what, text, strings.TrimSuffix(what, "s"), strings.Join(known, ", "))
		}
		names = append(names, known[i])
	}
	return names, nil
}

// listed returns the consumer groups of the cluster by name.
func (t *tool) listed(ctx context.Context, kinds, states []string) ([]listing, error) {
	ctx, cancel := t.client.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrListGroupsRequest()
	req.StatesFilter = states
	req.TypesFilter = kinds
	var groups []listing
	for _, shard := range t.client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return nil, client.Convert(shard.Err, "listGroups")
		}
		resp, ok := shard.Resp.(*kmsg.ListGroupsResponse)
		if !ok {
			continue
		}
		if err := client.FromCode(resp.ErrorCode, nil); err != nil {
			return nil, err
		}
		for _, g := range resp.Groups {
			// Before version 5 answers have no types, and all groups are classic.
			kind := canonical(cmp.Or(g.GroupType, "Classic"), consumerTypes)
			isConsumer := slices.Contains(consumerTypes, kind) && (g.ProtocolType == "consumer" || g.ProtocolType == "")
			if isConsumer && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
				groups = append(groups, listing{g.Group, kind, canonical(cmp.Or(g.GroupState, "Unknown"), consumerStates)})
			}
		}
	}
	slices.SortFunc(groups, func(a, b listing) int { return cmp.Compare(a.id, b.id) })
	return groups, nil
}

func canonical(name string, known []string) string {
	if i := slices.IndexFunc(known, func(k string) bool { return strings.EqualFold(k, name) }); i >= 0 {
		return known[i]
	}
	return name
}

func printListings(s cli.Streams, groups []listing, includeType, includeState bool) {
	width := 15
	for _, g := range groups {
		width = max(width, len(g.id))
	}
	for _, g := range slices.Insert(slices.Clone(groups), 0, listing{"GROUP", "TYPE", "STATE"}) {
		s.Printf("%-*s", width+10, g.id)
		if includeType {
			s.Printf(" %-20s", g.kind)
		}
		if includeState {
			s.Printf(" %-20s", g.state)
		}
		s.Println("")
	}
}
