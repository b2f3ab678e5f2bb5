// Package acls is kafka-acls: it adds, removes and lists access control lists. The command table in
// internal/tools calls Run; nothing here starts a goroutine.
package acls

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Run is kafka-acls.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	o.Set = set
	if done, err := set.HelpOrVersion(s, summary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	err = o.act(ctx, s)
	if _, printed := errors.AsType[*cli.ExitError](err); err == nil || printed {
		return err
	}
	message := err.Error()
	if _, answered := errors.AsType[*client.Error](err); answered {
		message = client.Exception(err)
	}
	s.Println("Error while executing ACL command: " + message)
	return cli.Failed
}

func (o *options) act(ctx context.Context, s cli.Streams) error {
	admin, err := client.Connection{Servers: o.bootstrap, Controllers: o.controller, Config: o.config}.Open(s, o.Set)
	if err != nil {
		return err
	}
	defer admin.Close()
	switch {
	case o.Has(o.add):
		return o.addACLs(ctx, s, admin)
	case o.Has(o.remove):
		return o.removeACLs(ctx, s, admin)
	}
	return o.listACLs(ctx, s, admin)
}

// rule is the entries for one pattern.
type rule struct {
	pattern pattern
	entries []entry
}

// rules are what the command line says to add or to remove.
func (o *options) rules(s cli.Streams) ([]rule, error) {
	patterns, err := o.resources()
	if err != nil {
		return nil, err
	}
	if len(patterns) == 0 {
		return nil, o.parser.UsageError(s, "You must provide at least one resource: --topic <topic> or --cluster or --group <group> or --delegation-token <Delegation Token ID>")
	}
	var rules []rule
	add := func(p pattern, operations ...kmsg.ACLOperation) error {
		entries, err := o.entries(operations...)
		i := slices.IndexFunc(rules, func(r rule) bool { return r.pattern == p })
		if i < 0 {
			rules = append(rules, rule{p, entries})
		} else {
			rules[i].entries = append(rules[i].entries, entries...)
		}
		return err
	}
	for _, p := range patterns {
		if o.Count(o.producer, o.consumer) == 0 {
			err = errors.Join(err, add(p, o.operations()...))
		}
		if o.Has(o.producer) {
			switch {
			case p.kind == kmsg.ACLResourceTypeTopic:
				err = errors.Join(err, add(p, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe, kmsg.ACLOperationCreate))
			case p.kind == kmsg.ACLResourceTypeTransactionalId:
				err = errors.Join(err, add(p, kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe))
			case p == clusterPattern && o.Has(o.idempotent):
				err = errors.Join(err, add(p, kmsg.ACLOperationIdempotentWrite))
			}
		}
		if o.Has(o.consumer) {
			switch p.kind {
			case kmsg.ACLResourceTypeTopic:
				err = errors.Join(err, add(p, kmsg.ACLOperationRead, kmsg.ACLOperationDescribe))
			case kmsg.ACLResourceTypeGroup:
				err = errors.Join(err, add(p, kmsg.ACLOperationRead))
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return rules, o.checkOperations(s, rules)
}

// supported are the operations that resources have, besides all.
var supported = map[kmsg.ACLResourceType][]kmsg.ACLOperation{
	kmsg.ACLResourceTypeTopic: {kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDelete,
		kmsg.ACLOperationAlter, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs},
	kmsg.ACLResourceTypeGroup: {kmsg.ACLOperationRead, kmsg.ACLOperationDescribe, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs},
	kmsg.ACLResourceTypeCluster: {kmsg.ACLOperationCreate, kmsg.ACLOperationClusterAction, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
		kmsg.ACLOperationIdempotentWrite, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe},
	kmsg.ACLResourceTypeTransactionalId: {kmsg.ACLOperationDescribe, kmsg.ACLOperationWrite, twoPhaseCommit},
	kmsg.ACLResourceTypeDelegationToken: {kmsg.ACLOperationDescribe},
	kmsg.ACLResourceTypeUser:            {kmsg.ACLOperationCreateTokens, kmsg.ACLOperationDescribeTokens},
}

func (o *options) checkOperations(s cli.Streams, rules []rule) error {
	for _, r := range rules {
		valid := append([]kmsg.ACLOperation{kmsg.ACLOperationAll}, supported[r.pattern.kind]...)
		for _, e := range r.entries {
			if !slices.Contains(valid, e.operation) {
				names := make([]string, len(valid))
				for i, operation := range valid {
					names[i] = operationName(operation)
				}
				return o.parser.UsageError(s, "ResourceType %s only supports operations [%s]", r.pattern.kind, strings.Join(names, ", "))
			}
		}
	}
	return nil
}

func (o *options) addACLs(ctx context.Context, s cli.Streams, admin *client.Client) error {
	match, err := o.match()
	if err != nil {
		return err
	}
	if match != kmsg.ACLResourcePatternTypeLiteral && match != kmsg.ACLResourcePatternTypePrefixed {
		return o.parser.UsageError(s, "A '--resource-pattern-type' value of '%s' is not valid when adding acls.", match)
	}
	rules, err := o.rules(s)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rules, func(r rule) bool { return len(r.entries) == 0 }) {
		return o.parser.UsageError(s, "You must specify one of: --allow-principal, --deny-principal when trying to add ACLs.")
	}
	for _, r := range rules {
		existing, err := describe(ctx, admin, &r.pattern)
		if err != nil {
			return err
		}
		var fresh []entry
		for _, e := range r.entries {
			if i := slices.IndexFunc(existing, func(x rule) bool { return x.pattern == r.pattern }); i >= 0 && slices.Contains(existing[i].entries, e) {
				s.Printf("Acl (pattern=%s, entry=%s) already exists.\n", r.pattern, e)
			} else {
				fresh = append(fresh, e)
			}
		}
		if len(fresh) == 0 {
			continue
		}
		s.Printf("Adding ACLs for resource `%s`: \n %s\n\n", r.pattern, lines(fresh))
		if err := create(ctx, admin, rule{r.pattern, fresh}); err != nil {
			return err
		}
	}
	return nil
}

func lines(entries []entry) string {
	texts := make([]string, len(entries))
	for i, e := range entries {
		texts[i] = "\t" + e.String()
	}
	return strings.Join(texts, "\n")
}

func (o *options) removeACLs(ctx context.Context, s cli.Streams, admin *client.Client) error {
	rules, err := o.rules(s)
	if err != nil {
		return err
	}
	for _, r := range rules {
		question := fmt.Sprintf("Are you sure you want to delete all ACLs for resource filter `%s`? (y/n)", r.pattern)
		if len(r.entries) > 0 {
			question = fmt.Sprintf("Are you sure you want to remove ACLs: \n %s\n from resource filter `%s`? (y/n)", lines(r.entries), r.pattern)
		}
		if !o.Has(o.force) && !confirmed(s, question) {
			continue
		}
		if err := remove(ctx, admin, r); err != nil {
			return err
		}
	}
	return nil
}

func confirmed(s cli.Streams, question string) bool {
	s.Println(question)
	answer, _ := bufio.NewReader(s.In).ReadString('\n')
	return strings.EqualFold(strings.TrimSpace(answer), "y")
}

func (o *options) listACLs(ctx context.Context, s cli.Streams, admin *client.Client) error {
	patterns, err := o.resources()
	if err != nil {
		return err
	}
	principals, err := parsePrincipals(o.Values(o.principal))
	if err != nil {
		return err
	}
	var rules []rule
	if len(patterns) == 0 {
		rules, err = describe(ctx, admin, nil)
	}
	for i := range patterns {
		more, describeErr := describe(ctx, admin, &patterns[i])
		rules, err = append(rules, more...), cmp.Or(err, describeErr)
	}
	if err != nil {
		return err
	}
	if len(principals) == 0 {
		printRules(s, rules, func(entry) bool { return true })
	}
	for _, principal := range principals {
		s.Println("ACLs for principal `" + principal + "`")
		printRules(s, rules, func(e entry) bool { return e.principal == principal })
	}
	return nil
}

func printRules(s cli.Streams, rules []rule, shown func(entry) bool) {
	for _, r := range rules {
		entries := slices.DeleteFunc(slices.Clone(r.entries), func(e entry) bool { return !shown(e) })
		if len(entries) > 0 {
			s.Printf("Current ACLs for resource `%s`:\n%s\n\n", r.pattern, lines(entries))
		}
	}
}
