package groups

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Run is kafka-consumer-groups.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	var err error
	if o.Set, err = o.parser.Parse(args); err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	if done, err := o.HelpOrVersion(s, Summary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	if o.Has(o.regex) {
		validateRegex(s, o.String(o.regex))
		return nil
	}
	err = runAction(ctx, s, o)
	if _, printed := errors.AsType[*cli.ExitError](err); err == nil || printed {
		return err
	}
	if usage, ok := errors.AsType[*usageError](err); ok {
		return o.parser.UsageError(s, "%s", usage)
	}
	printError(s, "Executing consumer group command failed due to "+errorText(err))
	return nil
}

// usageError is a wrong argument, which Kafka's tool answers with its usage text.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

func usageErrorf(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// errorText shows what a broker answered by the name of Java's class.
func errorText(err error) string {
	if answered, ok := errors.AsType[*client.Error](err); ok {
		return client.Exception(answered)
	}
	return err.Error()
}

func printError(s cli.Streams, message string) { s.Println("\nError: " + message) }

func validateRegex(s cli.Streams, expression string) {
	if _, err := regexp.Compile(expression); err != nil {
		reason := err.Error()
		if known, ok := errors.AsType[interface {
			error
			String() string
		}](err); ok {
			reason = known.String()
		}
		reason = strings.TrimPrefix(reason, "error parsing regexp: ")
		if i := strings.LastIndex(reason, ": `"); i >= 0 {
			reason = reason[:i]
		}
		s.Printf("The regular expression `%s` is invalid: %s.\n", expression, reason)
		return
	}
	s.Printf("The regular expression `%s` is valid.\n", expression)
}

// tool is one run against a cluster.
type tool struct {
	*options
	streams cli.Streams
	client  *client.Client
	admin   *kadm.Client
}

func runAction(ctx context.Context, s cli.Streams, o *options) error {
	timeoutMs := o.Long(o.timeout)
	c, err := client.Connection{Servers: o.bootstrap, Config: o.commandConfig}.Open(s, o.Set)
	if err != nil {
		return err
	}
	defer c.Close()
	c.APITimeout = time.Duration(max(timeoutMs, 1)) * time.Millisecond
	if err := c.Connect(ctx, "listGroups"); err != nil {
		return err
	}
	t := &tool{options: o, streams: s, client: c, admin: kadm.NewClient(c.Client)}
	switch {
	case o.Has(o.list):
		return t.listGroups(ctx)
	case o.Has(o.describe):
		return t.describeGroups(ctx)
	case o.Has(o.del):
		return t.deleteGroups(ctx)
	case o.Has(o.reset):
		return t.resetOffsets(ctx)
	default:
		return t.deleteGroupOffsets(ctx)
	}
}

// groupIDs are the groups that the options name.
func (t *tool) groupIDs(ctx context.Context) ([]string, error) {
	if !t.Has(t.allGroups) {
		return t.Values(t.group), nil
	}
	listed, err := t.listed(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(listed))
	for i, g := range listed {
		ids[i] = g.id
	}
	return ids, nil
}
