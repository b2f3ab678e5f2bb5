package handler

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
	"github.com/moldau/moldau/internal/wire"
)

// quotaFixture knows one host, called known.
func quotaFixture(t *testing.T) *adminFixture {
	f := newAdminFixture(t, nil)
	f.set.Add(wire.KeyDescribeClientQuotas, &DescribeClientQuotas{Image: f.current, Authorizer: f})
	f.set.Add(wire.KeyAlterClientQuotas, &AlterClientQuotas{Authorizer: f, Controller: f, Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		if host == "known" {
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}
		return nil, errors.New("no such host")
	}})
	return f
}

// parts reads "user=alice client-id=*"; * is the default.
func parts(text string) map[string]*string {
	all := map[string]*string{}
	for _, field := range strings.Fields(text) {
		kind, name, _ := strings.Cut(field, "=")
		all[kind] = &name
		if name == "*" {
			all[kind] = nil
		}
	}
	return all
}

func alterQuotas(key string, value float64, entities ...string) *kmsg.AlterClientQuotasRequest {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	for _, entity := range entities {
		entry := kmsg.NewAlterClientQuotasRequestEntry()
		for kind, name := range parts(entity) {
			entry.Entity = append(entry.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: kind, Name: name})
		}
		entry.Ops = []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value}}
		req.Entries = append(req.Entries, entry)
	}
	return req
}

// describeQuotas asks for components such as "user=alice client-id=* ip"; without = any name will do.
func describeQuotas(strict bool, components string) *kmsg.DescribeClientQuotasRequest {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Strict = strict
	for _, text := range strings.Fields(components) {
		c := kmsg.NewDescribeClientQuotasRequestComponent()
		var name string
		var named bool
		c.EntityType, name, named = strings.Cut(text, "=")
		switch {
		case !named:
			c.MatchType = kmsg.QuotasMatchTypeAny
		case name == "*":
			c.MatchType = kmsg.QuotasMatchTypeDefault
		default:
			c.Match = &name
		}
		req.Components = append(req.Components, c)
	}
	return req
}

func TestDescribeClientQuotas(t *testing.T) {
	t.Parallel()
	f := quotaFixture(t)
	for _, entry := range f.ask(1, alterQuotas("producer_byte_rate", 5,
		"user=a", "user=b", "user=*", "client-id=c", "client-id=*", "user=a client-id=c", "user=a client-id=*", "user=* client-id=c", "user=* client-id=*",
	)).(*kmsg.AlterClientQuotasResponse).Entries {
		if entry.ErrorCode != 0 {
			t.Fatal(*entry.ErrorMessage)
		}
	}
	f.ask(0, alterQuotas("connection_creation_rate", 5, "ip=10.0.0.1", "ip=*"))
	for _, test := range []struct {
		strict     bool
		components string
		want       int
	}{
		{false, "", 11}, {true, "", 0},
		{false, "user", 7}, {true, "user", 3}, {true, "user=a", 1}, {false, "user=a", 3}, {true, "user=*", 1}, {false, "user=*", 3}, {false, "user=z", 0},
		{false, "client-id", 6}, {true, "client-id=c", 1}, {false, "client-id=c", 3}, {true, "user client-id", 4}, {false, "user client-id=*", 2},
		{true, "user=a client-id=c", 1}, {true, "ip", 2}, {false, "ip=*", 1}, {false, "ip=10.0.0.1", 1},
	} {
		for version := range int16(2) {
			resp := f.ask(version, describeQuotas(test.strict, test.components)).(*kmsg.DescribeClientQuotasResponse)
			if resp.ErrorCode != 0 || len(resp.Entries) != test.want {
				t.Errorf("strict %v %q: %d, %d entries, want %d", test.strict, test.components, resp.ErrorCode, len(resp.Entries), test.want)
			}
		}
	}
	resp := f.ask(1, describeQuotas(true, "user=a client-id=*")).(*kmsg.DescribeClientQuotasResponse)
	if got := fmt.Sprintf("%s %v %s %v", *resp.Entries[0].Entity[1].Name, resp.Entries[0].Entity[0].Name == nil, resp.Entries[0].Values[0].Key, resp.Entries[0].Values[0].Value); got != "a true producer_byte_rate 5" {
		t.Errorf("described as %s", got)
	}
}

func TestDescribeClientQuotasRefuses(t *testing.T) {
	t.Parallel()
	f := quotaFixture(t)
	name := "x"
	for _, test := range []struct {
		components []kmsg.DescribeClientQuotasRequestComponent
		want       kafka.ErrorCode
	}{
		{[]kmsg.DescribeClientQuotasRequestComponent{{}}, kafka.ErrInvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "group", MatchType: 2}}, kafka.ErrUnsupportedVersion},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user"}}, kafka.ErrInvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 1, Match: &name}}, kafka.ErrInvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 2, Match: &name}}, kafka.ErrInvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 3}}, kafka.ErrInvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 2}, {EntityType: "user", MatchType: 1}}, kafka.ErrInvalidRequest},
		{[]kmsg.DescribeClientQuotasRequestComponent{{EntityType: "user", MatchType: 2}, {EntityType: "ip", MatchType: 1}}, kafka.ErrInvalidRequest},
	} {
		req := kmsg.NewPtrDescribeClientQuotasRequest()
		req.Components = test.components
		resp := f.ask(1, req).(*kmsg.DescribeClientQuotasResponse)
		if kafka.ErrorCode(resp.ErrorCode) != test.want || resp.Entries != nil || resp.ErrorMessage == nil {
			t.Errorf("%+v: %s, %d entries; want %s", test.components, kafka.ErrorCode(resp.ErrorCode), len(resp.Entries), test.want)
		}
	}
	f.denied = []grant{{security.OperationDescribeConfigs, security.Cluster}}
	if resp := f.ask(1, describeQuotas(false, "")).(*kmsg.DescribeClientQuotasResponse); kafka.ErrorCode(resp.ErrorCode) != kafka.ErrClusterAuthorizationFailed {
		t.Errorf("denied: %s", kafka.ErrorCode(resp.ErrorCode))
	}
}

func TestAlterClientQuotasOfHosts(t *testing.T) {
	t.Parallel()
	f := quotaFixture(t)
	resp := f.ask(1, alterQuotas("connection_creation_rate", 5, "ip=nowhere", "ip=known", "ip=::1", "ip=*")).(*kmsg.AlterClientQuotasResponse)
	got := map[string]string{}
	for _, entry := range resp.Entries {
		name := "*"
		if entry.Entity[0].Name != nil {
			name = *entry.Entity[0].Name
		}
		got[name] = kafka.ErrorCode(entry.ErrorCode).Error()
	}
	if want := "map[*:NONE ::1:NONE known:NONE nowhere:INVALID_REQUEST]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	n := 0
	for q := range f.current().ClientQuotas() {
		n += len(q.Entity)
	}
	if n != 3 {
		t.Errorf("%d entities are set", n)
	}
	f.fail = kafka.Errorf(kafka.ErrNotController, "moved")
	resp = f.ask(1, alterQuotas("producer_byte_rate", 5, "user=a", "user=b")).(*kmsg.AlterClientQuotasResponse)
	if len(resp.Entries) != 2 || kafka.ErrorCode(resp.Entries[1].ErrorCode) != kafka.ErrNotController {
		t.Errorf("without a controller: %+v", resp.Entries)
	}
	f.denied = []grant{{security.OperationAlterConfigs, security.Cluster}}
	resp = f.ask(0, alterQuotas("producer_byte_rate", 5, "user=a")).(*kmsg.AlterClientQuotasResponse)
	if len(resp.Entries) != 1 || kafka.ErrorCode(resp.Entries[0].ErrorCode) != kafka.ErrClusterAuthorizationFailed || resp.Entries[0].Entity[0].Type != metadata.QuotaUser {
		t.Errorf("denied: %+v", resp.Entries)
	}
}
