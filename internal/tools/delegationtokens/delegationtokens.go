// Package delegationtokens is kafka-delegation-tokens: it creates, renews, expires and shows delegation
// tokens (KIP-48). The command table in internal/tools calls Run; nothing here starts a goroutine.
package delegationtokens

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const summary = "This tool helps to create, renew, expire, or describe delegation tokens."

// dateForm is how dates are shown.
const dateForm = "2006-01-02T15:04"

type options struct {
	*cli.Set
	parser                          *cli.Parser
	bootstrap, config               *cli.Option
	create, renew, expire, describe *cli.Option
	owners, renewers                *cli.Option
	maxLife, renewTime, expiryTime  *cli.Option
	hmac                            *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	optional := func(name, argName, help string) *cli.Option {
		return p.Add(cli.Option{Name: name, Arg: cli.OptionalArg, ArgName: argName, Help: help})
	}
	o := &options{
		parser:     p,
		bootstrap:  p.Value("bootstrap-server", "String", "REQUIRED: brokers to connect to."),
		config:     p.Value("command-config", "String", "REQUIRED: file with client properties; tokens are for clients that authenticate."),
		create:     p.Flag("create", "Create a token; --renewer-principal says who may renew it."),
		renew:      p.Flag("renew", "Renew a token for --renew-time-period."),
		expire:     p.Flag("expire", "Have a token expire after --expiry-time-period."),
		describe:   p.Flag("describe", "Show the tokens of --owner-principal, or all that may be seen."),
		owners:     optional("owner-principal", "String", "The token's owner, such as User:alice. Repeatable."),
		renewers:   optional("renewer-principal", "String", "Who may renew the token, such as User:alice. Repeatable."),
		maxLife:    optional("max-life-time-period", "Long", "The token's longest life in milliseconds; -1 is the broker's delegation.token.max.lifetime.ms."),
		renewTime:  optional("renew-time-period", "Long", "For how many milliseconds to renew; -1 is the broker's delegation.token.expiry.time.ms."),
		expiryTime: optional("expiry-time-period", "Long", "After how many milliseconds to expire; -1 is at once."),
		hmac:       optional("hmac", "String", "The token's HMAC in Base64."),
	}
	p.Group("What to do", o.create, o.renew, o.expire, o.describe)
	return o
}

// Run is kafka-delegation-tokens.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	o := newOptions()
	set, err := o.parser.Parse(args)
	if err != nil {
		return err
	}
	o.Set = set
	if done, err := set.HelpOrVersion(s, summary); done {
		return err
	}
	if err := o.check(s); err != nil {
		return err
	}
	admin, err := client.Connection{Servers: o.bootstrap, Config: o.config}.Open(s, set)
	if err != nil {
		return err
	}
	defer admin.Close()
	err = o.act(ctx, s, admin)
	if _, answered := errors.AsType[*client.Error](err); answered {
		return errors.New(client.Exception(err))
	}
	return err
}

func (o *options) check(s cli.Streams) error {
	if o.Count(o.create, o.renew, o.expire, o.describe) != 1 {
		return o.parser.UsageError(s, "Command must include exactly one action: --create, --renew, --expire or --describe")
	}
	required := []*cli.Option{o.bootstrap, o.config}
	switch {
	case o.Has(o.create):
		required = append(required, o.maxLife)
	case o.Has(o.renew):
		required = append(required, o.hmac, o.renewTime)
	case o.Has(o.expire):
		required = append(required, o.hmac, o.expiryTime)
	}
	if err := o.CheckRequired(s, required...); err != nil {
		return err
	}
	for _, exclusion := range []struct {
		used    *cli.Option
		invalid []*cli.Option
	}{
		{o.create, []*cli.Option{o.hmac, o.renewTime, o.expiryTime}},
		{o.renew, []*cli.Option{o.renewers, o.maxLife, o.expiryTime, o.owners}},
		{o.expire, []*cli.Option{o.renew, o.maxLife, o.renewTime, o.owners}},
		{o.describe, []*cli.Option{o.renewTime, o.maxLife, o.hmac, o.expiryTime}},
	} {
		if err := o.CheckInvalid(s, exclusion.used, exclusion.invalid...); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) act(ctx context.Context, s cli.Streams, admin *client.Client) error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	owners, err := principals(o.Values(o.owners))
	if err != nil {
		return err
	}
	switch {
	case o.Has(o.create):
		renewers, err := principals(o.Values(o.renewers))
		if err != nil {
			return err
		}
		return o.createToken(ctx, s, admin, owners, renewers)
	case o.Has(o.renew):
		return o.renewToken(ctx, s, admin)
	case o.Has(o.expire):
		return o.expireToken(ctx, s, admin)
	}
	return describeTokens(ctx, s, admin, owners)
}

type principal struct{ kind, name string }

func (p principal) String() string { return p.kind + ":" + p.name }

func principals(texts []string) ([]principal, error) {
	var all []principal
	for _, text := range texts {
		kind, name, ok := strings.Cut(strings.TrimSpace(text), ":")
		if !ok || kind == "" || name == "" {
			return nil, fmt.Errorf("expected a string in format principalType:principalName but got %s", text)
		}
		all = append(all, principal{kind, name})
	}
	return all, nil
}

func joined(all []principal) string {
	texts := make([]string, len(all))
	for i, p := range all {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}

func (o *options) createToken(ctx context.Context, s cli.Streams, admin *client.Client, owners, renewers []principal) error {
	maxLifeMs := o.Long(o.maxLife)
	if err := o.Err(); err != nil {
		return err
	}
	s.Printf("Calling create token operation with renewers :[%s] , max-life-time-period :%d\n", joined(renewers), maxLifeMs)
	req := kmsg.NewPtrCreateDelegationTokenRequest()
	req.MaxLifetimeMillis = maxLifeMs
	for _, r := range renewers {
		req.Renewers = append(req.Renewers, kmsg.CreateDelegationTokenRequestRenewer{PrincipalType: r.kind, PrincipalName: r.name})
	}
	if len(owners) > 0 {
		req.OwnerPrincipalType, req.OwnerPrincipalName = &owners[0].kind, &owners[0].name
	}
	resp, err := req.RequestWith(ctx, admin.Client)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	if err != nil {
		return client.Convert(err, "createDelegationToken")
	}
	s.Println("Created delegation token with tokenId : " + resp.TokenID)
	printTokens(s, []token{{
		resp.TokenID, resp.HMAC, principal{resp.PrincipalType, resp.PrincipalName}, principal{resp.TokenRequesterPrincipalType, resp.TokenRequesterPrincipalName},
		renewers, resp.IssueTimestamp, resp.ExpiryTimestamp, resp.MaxTimestamp,
	}})
	return nil
}

// decoded is the HMAC of the command line.
func (o *options) decoded() ([]byte, error) {
	hmac, err := base64.StdEncoding.DecodeString(o.String(o.hmac))
	if err != nil {
		return nil, fmt.Errorf("--hmac is not Base64: %w", err)
	}
	return hmac, o.Err()
}

func (o *options) renewToken(ctx context.Context, s cli.Streams, admin *client.Client) error {
	req := kmsg.NewPtrRenewDelegationTokenRequest()
	req.RenewTimeMillis = o.Long(o.renewTime)
	hmac, err := o.decoded()
	if err != nil {
		return err
	}
	req.HMAC = hmac
	s.Printf("Calling renew token operation with hmac :%s , renew-time-period :%d\n", o.String(o.hmac), req.RenewTimeMillis)
	resp, err := req.RequestWith(ctx, admin.Client)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	if err != nil {
		return client.Convert(err, "renewDelegationToken")
	}
	s.Printf("Completed renew operation. New expiry date : %s", date(resp.ExpiryTimestamp))
	return nil
}

func (o *options) expireToken(ctx context.Context, s cli.Streams, admin *client.Client) error {
	req := kmsg.NewPtrExpireDelegationTokenRequest()
	req.ExpiryPeriodMillis = o.Long(o.expiryTime)
	hmac, err := o.decoded()
	if err != nil {
		return err
	}
	req.HMAC = hmac
	s.Printf("Calling expire token operation with hmac :%s , expire-time-period :%d\n", o.String(o.hmac), req.ExpiryPeriodMillis)
	resp, err := req.RequestWith(ctx, admin.Client)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	if err != nil {
		return client.Convert(err, "expireDelegationToken")
	}
	s.Printf("Completed expire operation. New expiry date : %s", date(resp.ExpiryTimestamp))
	return nil
}

func describeTokens(ctx context.Context, s cli.Streams, admin *client.Client, owners []principal) error {
	if len(owners) == 0 {
		s.Println("Calling describe token operation for current user.")
	} else {
		s.Printf("Calling describe token operation for owners: [%s]\n", joined(owners))
	}
	req := kmsg.NewPtrDescribeDelegationTokenRequest()
	for _, o := range owners {
		req.Owners = append(req.Owners, kmsg.DescribeDelegationTokenRequestOwner{PrincipalType: o.kind, PrincipalName: o.name})
	}
	resp, err := req.RequestWith(ctx, admin.Client)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	if err != nil {
		return client.Convert(err, "describeDelegationToken")
	}
	s.Printf("Total number of tokens : %d", len(resp.TokenDetails))
	var tokens []token
	for _, d := range resp.TokenDetails {
		t := token{id: d.TokenID, hmac: d.HMAC, owner: principal{d.PrincipalType, d.PrincipalName},
			requester: principal{d.TokenRequesterPrincipalType, d.TokenRequesterPrincipalName}, issuedMs: d.IssueTimestamp, expiryMs: d.ExpiryTimestamp, maxMs: d.MaxTimestamp}
		for _, r := range d.Renewers {
			t.renewers = append(t.renewers, principal{r.PrincipalType, r.PrincipalName})
		}
		tokens = append(tokens, t)
	}
	printTokens(s, tokens)
	return nil
}

// token is a delegation token as it is shown.
type token struct {
	id                        string
	hmac                      []byte
	owner, requester          principal
	renewers                  []principal
	issuedMs, expiryMs, maxMs int64
}

func date(timestampMs int64) string { return time.UnixMilli(timestampMs).Format(dateForm) }

func printTokens(s cli.Streams, tokens []token) {
	const row = "\n%-15s %-30s %-15s %-15s %-25s %-15s %-15s %-15s\n"
	s.Printf(row, "TOKENID", "HMAC", "OWNER", "REQUESTER", "RENEWERS", "ISSUEDATE", "EXPIRYDATE", "MAXDATE")
	for _, t := range tokens {
		s.Printf(row, t.id, base64.StdEncoding.EncodeToString(t.hmac), t.owner, t.requester, "["+joined(t.renewers)+"]", date(t.issuedMs), date(t.expiryMs), date(t.maxMs))
	}
}
