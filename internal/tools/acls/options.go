package acls

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
)

const summary = "This tool helps to manage acls on kafka."

type options struct {
	*cli.Set
	parser                                            *cli.Parser
	bootstrap, controller, config                     *cli.Option
	add, remove, list, force                          *cli.Option
	topic, cluster, group, transactional, token, user *cli.Option
	patternType, operation, idempotent                *cli.Option
	allow, deny, principal, allowHost, denyHost       *cli.Option
	producer, consumer                                *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	o := &options{
		parser:        p,
		bootstrap:     p.Value("bootstrap-server", "server to connect to", "Brokers to connect to, host:port,..."),
		controller:    p.Value("bootstrap-controller", "controller to connect to", "Controllers to connect to instead."),
		config:        p.Add(cli.Option{Name: "command-config", Arg: cli.OptionalArg, ArgName: "command-config", Help: "File with client properties."}),
		add:           p.Flag("add", "Add ACLs."),
		remove:        p.Flag("remove", "Remove ACLs."),
		list:          p.Flag("list", "List the ACLs of the resources, or all."),
		force:         p.Flag("force", "Ask nothing."),
		topic:         p.Value("topic", "topic", "The topic that the ACLs are about; '*' is all topics."),
		cluster:       p.Flag("cluster", "The ACLs are about the cluster."),
		group:         p.Value("group", "group", "The group that the ACLs are about; '*' is all groups."),
		transactional: p.Value("transactional-id", "transactional-id", "The transactional id that the ACLs are about; '*' is all."),
		token:         p.Value("delegation-token", "delegation-token", "The delegation token that the ACLs are about; '*' is all."),
		user:          p.Value("user-principal", "user-principal", "The user, as a resource, that the ACLs are about."),
		patternType: p.Add(cli.Option{Name: "resource-pattern-type", Arg: cli.RequiredArg, ArgName: "ANY|MATCH|LITERAL|PREFIXED", Default: "LITERAL",
			Help: "How the resource's name is meant: literal or prefixed; to list and remove also any or match. Take care with match and --remove."}),
		operation: p.Add(cli.Option{Name: "operation", Arg: cli.RequiredArg, ArgName: "String", Default: "All",
			Help: "The operation that is allowed or denied: Read, Write, Create, Delete, Alter, Describe, ClusterAction, DescribeConfigs, AlterConfigs, IdempotentWrite, CreateTokens, DescribeTokens, TwoPhaseCommit, All."}),
		idempotent: p.Flag("idempotent", "With --producer: the producer may be idempotent."),
		allow:      p.Value("allow-principal", "allow-principal", "Who is allowed, such as User:alice; User:'*' is everybody."),
		deny:       p.Value("deny-principal", "deny-principal", "Who is denied; this wins over what is allowed."),
		principal:  p.Add(cli.Option{Name: "principal", Arg: cli.OptionalArg, ArgName: "principal", Help: "With --list: only the ACLs of this principal. Repeatable."}),
		allowHost:  p.Value("allow-host", "allow-host", "From where --allow-principal may come; '*' if absent."),
		denyHost:   p.Value("deny-host", "deny-host", "From where --deny-principal may not come; '*' if absent."),
		producer:   p.Flag("producer", "Add or remove what a producer needs: Write, Describe and Create on the topic."),
		consumer:   p.Flag("consumer", "Add or remove what a consumer needs: Read and Describe on the topic, Read on the group."),
	}
	p.Group("What to do", o.add, o.remove, o.list)
	p.Group("Who, and what", o.allow, o.deny, o.allowHost, o.denyHost, o.operation, o.producer, o.consumer, o.idempotent, o.principal)
	p.Group("On what", o.topic, o.group, o.cluster, o.transactional, o.token, o.user, o.patternType)
	return o
}

// check is Kafka's check of what belongs together.
func (o *options) check(s cli.Streams) error {
	fail := func(message string) error { return o.parser.UsageError(s, "%s", message) }
	switch {
	case o.Has(o.bootstrap) && o.Has(o.controller):
		return fail("Only one of --bootstrap-server or --bootstrap-controller must be specified")
	case !o.Has(o.bootstrap) && !o.Has(o.controller):
		return fail("One of --bootstrap-server or --bootstrap-controller must be specified")
	case o.Count(o.add, o.remove, o.list) != 1:
		return fail("Command must include exactly one action: --list, --add, --remove. ")
	}
	if err := o.CheckInvalid(s, o.list, o.producer, o.consumer, o.allowHost, o.allow, o.denyHost, o.deny); err != nil {
		return err
	}
	for _, role := range []*cli.Option{o.producer, o.consumer} {
		if err := o.CheckInvalid(s, role, o.operation, o.deny, o.denyHost); err != nil {
			return err
		}
	}
	switch {
	case o.Has(o.principal) && !o.Has(o.list):
		return fail("The --principal option is only available if --list is set")
	case o.Has(o.producer) && !o.Has(o.topic):
		return fail("With --producer you must specify a --topic")
	case o.Has(o.idempotent) && !o.Has(o.producer):
		return fail("The --idempotent option is only available if --producer is set")
	case o.Has(o.consumer) && (o.Count(o.topic, o.group) < 2 || !o.Has(o.producer) && o.Count(o.cluster, o.transactional) > 0):
		return fail("With --consumer you must specify a --topic and a --group and no --cluster or --transactional-id option should be specified.")
	}
	return nil
}

// pattern names resources.
type pattern struct {
	kind  kmsg.ACLResourceType
	name  string
	match kmsg.ACLResourcePatternType
}

func (p pattern) String() string {
	return fmt.Sprintf("ResourcePattern(resourceType=%s, name=%s, patternType=%s)", p.kind, p.name, p.match)
}

func (o *options) match() (kmsg.ACLResourcePatternType, error) {
	text := o.String(o.patternType)
	for _, known := range []kmsg.ACLResourcePatternType{kmsg.ACLResourcePatternTypeAny, kmsg.ACLResourcePatternTypeMatch, kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed} {
		if strings.EqualFold(known.String(), text) {
			return known, nil
		}
	}
	return 0, fmt.Errorf("Cannot parse argument '%s' of option resource-pattern-type", text) //nolint:staticcheck // the words of Kafka's tools
}

// resources are what the command line names.
func (o *options) resources() ([]pattern, error) {
	match, err := o.match()
	if err != nil {
		return nil, err
	}
	var patterns []pattern
	add := func(kind kmsg.ACLResourceType, option *cli.Option) {
		for _, name := range o.Values(option) {
			patterns = append(patterns, pattern{kind, strings.TrimSpace(name), match})
		}
	}
	add(kmsg.ACLResourceTypeTopic, o.topic)
	if match == kmsg.ACLResourcePatternTypeLiteral && o.Count(o.cluster, o.idempotent) > 0 {
		patterns = append(patterns, clusterPattern)
	}
	add(kmsg.ACLResourceTypeGroup, o.group)
	add(kmsg.ACLResourceTypeTransactionalId, o.transactional)
	add(kmsg.ACLResourceTypeDelegationToken, o.token)
	add(kmsg.ACLResourceTypeUser, o.user)
	return slices.Compact(patterns), nil
}

var clusterPattern = pattern{kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLResourcePatternTypeLiteral}

// entry is who may, or may not, do what from where.
type entry struct {
	principal, host string
	operation       kmsg.ACLOperation
	permission      kmsg.ACLPermissionType
}

func (e entry) String() string {
	return fmt.Sprintf("(principal=%s, host=%s, operation=%s, permissionType=%s)", e.principal, e.host, operationName(e.operation), e.permission)
}

// entries are all combinations of the principals, operations and hosts of the command line.
func (o *options) entries(operations ...kmsg.ACLOperation) ([]entry, error) {
	var all []entry
	for _, side := range []struct {
		principals, hosts *cli.Option
		permission        kmsg.ACLPermissionType
	}{{o.allow, o.allowHost, kmsg.ACLPermissionTypeAllow}, {o.deny, o.denyHost, kmsg.ACLPermissionTypeDeny}} {
		hosts := o.Values(side.hosts)
		if len(hosts) == 0 {
			hosts = []string{"*"}
		}
		principals, err := parsePrincipals(o.Values(side.principals))
		if err != nil {
			return nil, err
		}
		for _, principal := range principals {
			for _, operation := range operations {
				for _, host := range hosts {
					all = append(all, entry{principal, strings.TrimSpace(host), operation, side.permission})
				}
			}
		}
	}
	return all, nil
}

func parsePrincipals(texts []string) ([]string, error) {
	var principals []string
	for _, text := range texts {
		text = strings.TrimSpace(text)
		if kind, name, ok := strings.Cut(text, ":"); !ok || kind == "" || name == "" {
			return nil, errors.New("expected a string in format principalType:principalName but got " + text)
		}
		principals = append(principals, text)
	}
	return principals, nil
}

// twoPhaseCommit is what the client library does not know yet.
const twoPhaseCommit kmsg.ACLOperation = 15

func operationName(operation kmsg.ACLOperation) string {
	if operation == twoPhaseCommit {
		return "TWO_PHASE_COMMIT"
	}
	return operation.String()
}

func (o *options) operations() []kmsg.ACLOperation {
	texts := o.Values(o.operation)
	if len(texts) == 0 {
		texts = []string{o.operation.Default}
	}
	var operations []kmsg.ACLOperation
	for _, text := range texts {
		operation := kmsg.ACLOperationUnknown
		for candidate := kmsg.ACLOperationAny; candidate <= twoPhaseCommit; candidate++ {
			if strings.EqualFold(strings.ReplaceAll(operationName(candidate), "_", ""), strings.TrimSpace(text)) {
				operation = candidate
			}
		}
		operations = append(operations, operation)
	}
	return operations
}
