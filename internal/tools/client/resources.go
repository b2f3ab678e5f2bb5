package client

import (
	"cmp"
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
)

// ListConfigResources returns the names of what has or can have configs of a kind, sorted.
func (c *Client) ListConfigResources(ctx context.Context, kind kafka.ConfigResourceType) ([]string, error) {
	const call = "listConfigResources"
	ctx, cancel := c.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrListConfigResourcesRequest()
	req.ResourceTypes = []int8{int8(kind)}
	resp, err := req.RequestWith(ctx, c)
	if err == nil {
		err = FromCode(resp.ErrorCode, nil)
	}
	if err != nil {
		return nil, Convert(err, call)
	}
	if resp.Version == 0 && kind != kafka.ConfigResourceClientMetrics { // which is all that version 0 knows
		return nil, FromCode(int16(kafka.ErrUnsupportedVersion), nil)
	}
	var names []string
	for _, r := range resp.ConfigResources {
		if resp.Version == 0 || r.Type == int8(kind) {
			names = append(names, r.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Group is one group of any type as the brokers list it.
type Group struct {
	ID       string
	Type     string // as the protocol writes it, such as consumer; "" where the broker does not tell
	Protocol string // the protocol type that members gave, such as consumer or connect
}

// ListGroups returns the groups of all types by id.
func (c *Client) ListGroups(ctx context.Context) ([]Group, error) {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	var groups []Group
	for _, shard := range c.RequestSharded(ctx, kmsg.NewPtrListGroupsRequest()) {
		if shard.Err != nil {
			return nil, Convert(shard.Err, "listGroups")
		}
		resp, ok := shard.Resp.(*kmsg.ListGroupsResponse)
		if !ok {
			continue
		}
		if err := FromCode(resp.ErrorCode, nil); err != nil {
			return nil, err
		}
		for _, g := range resp.Groups {
			groups = append(groups, Group{g.Group, g.GroupType, g.ProtocolType})
		}
	}
	slices.SortFunc(groups, func(a, b Group) int { return cmp.Compare(a.ID, b.ID) })
	return groups, nil
}
