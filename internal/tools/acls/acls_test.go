package acls

import (
	"bytes"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
)

// parse reads a command line without a cluster.
func parse(t *testing.T, line string) *options {
	t.Helper()
	o := newOptions()
	set, err := o.parser.Parse(strings.Fields(line))
	if err != nil {
		t.Fatal(err)
	}
	o.Set = set
	return o
}

func TestRules(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"--add --topic t --allow-principal User:a --operation alterconfigs": "TOPIC t LITERAL: User:a * ALTER_CONFIGS ALLOW",
		"--add --topic t --group g --allow-principal User:a --consumer":     "TOPIC t LITERAL: User:a * READ ALLOW, User:a * DESCRIBE ALLOW; GROUP g LITERAL: User:a * READ ALLOW",
		"--add --topic t --transactional-id x --idempotent --producer --allow-principal User:a --allow-host h": "TOPIC t LITERAL: User:a h WRITE ALLOW, User:a h DESCRIBE ALLOW, User:a h CREATE ALLOW; " +
			"CLUSTER kafka-cluster LITERAL: User:a h IDEMPOTENT_WRITE ALLOW; TRANSACTIONAL_ID x LITERAL: User:a h WRITE ALLOW, User:a h DESCRIBE ALLOW",
		"--add --cluster --deny-principal User:b --deny-host 1 --deny-host 2":               "CLUSTER kafka-cluster LITERAL: User:b 1 ALL DENY, User:b 2 ALL DENY",
		"--remove --topic t --resource-pattern-type match":                                  "TOPIC t MATCH: ",
		"--add --transactional-id x --allow-principal User:a --operation TwoPhaseCommit":    "TRANSACTIONAL_ID x LITERAL: User:a * TWO_PHASE_COMMIT ALLOW",
		"--add --user-principal User:b --allow-principal User:a --operation DescribeTokens": "USER User:b LITERAL: User:a * DESCRIBE_TOKENS ALLOW",
	} {
		rules, err := parse(t, line).rules(cli.Streams{Err: &bytes.Buffer{}})
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		var texts []string
		for _, r := range rules {
			var entries []string
			for _, e := range r.entries {
				entries = append(entries, strings.Join([]string{e.principal, e.host, operationName(e.operation), e.permission.String()}, " "))
			}
			texts = append(texts, strings.Join([]string{r.pattern.kind.String(), r.pattern.name, r.pattern.match.String()}, " ")+": "+strings.Join(entries, ", "))
		}
		if got := strings.Join(texts, "; "); got != want {
			t.Errorf("%s:\n%s, want\n%s", line, got, want)
		}
	}
	var messages bytes.Buffer
	if _, err := parse(t, "--add --topic t --allow-principal User:a --operation CreateTokens").rules(cli.Streams{Err: &messages}); err == nil || !strings.Contains(messages.String(), "ResourceType TOPIC only supports operations [ALL, READ") {
		t.Errorf("%v: %s", err, &messages)
	}
	if kmsg.ACLOperation(15).String() == operationName(15) {
		t.Error("the client library knows operation 15 now: take ours away")
	}
}
