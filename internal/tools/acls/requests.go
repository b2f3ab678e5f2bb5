package acls

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/client"
)

// describe returns the ACLs of the resources that match a pattern; of all for nil.
func describe(ctx context.Context, admin *client.Client, p *pattern) ([]rule, error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourcePatternType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny
	if p != nil {
		req.ResourceType, req.ResourceName, req.ResourcePatternType = p.kind, &p.name, p.match
	}
	req.Operation, req.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, client.Convert(err, "describeAcls")
	}
	var rules []rule
	for _, r := range resp.Resources {
		found := rule{pattern: pattern{r.ResourceType, r.ResourceName, r.ResourcePatternType}}
		for _, acl := range r.ACLs {
			found.entries = append(found.entries, entry{acl.Principal, acl.Host, acl.Operation, acl.PermissionType})
		}
		rules = append(rules, found)
	}
	return rules, nil
}

func create(ctx context.Context, admin *client.Client, r rule) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrCreateACLsRequest()
	for _, e := range r.entries {
		creation := kmsg.NewCreateACLsRequestCreation()
		creation.ResourceType, creation.ResourceName, creation.ResourcePatternType = r.pattern.kind, r.pattern.name, r.pattern.match
		creation.Principal, creation.Host, creation.Operation, creation.PermissionType = e.principal, e.host, e.operation, e.permission
		req.Creations = append(req.Creations, creation)
	}
	resp, err := req.RequestWith(ctx, admin)
	if err != nil {
		return client.Convert(err, "createAcls")
	}
	for _, result := range resp.Results {
		if err := client.FromCode(result.ErrorCode, result.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a rule's entries; without entries, all of the resources that match its pattern.
func remove(ctx context.Context, admin *client.Client, r rule) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrDeleteACLsRequest()
	filter := kmsg.NewDeleteACLsRequestFilter()
	filter.ResourceType, filter.ResourceName, filter.ResourcePatternType = r.pattern.kind, &r.pattern.name, r.pattern.match
	filter.Operation, filter.PermissionType = kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
	if len(r.entries) == 0 {
		req.Filters = append(req.Filters, filter)
	}
	for _, e := range r.entries {
		filter.Principal, filter.Host, filter.Operation, filter.PermissionType = &e.principal, &e.host, e.operation, e.permission
		req.Filters = append(req.Filters, filter)
	}
	resp, err := req.RequestWith(ctx, admin)
	if err != nil {
		return client.Convert(err, "deleteAcls")
	}
	for _, result := range resp.Results {
		if err := client.FromCode(result.ErrorCode, result.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}
