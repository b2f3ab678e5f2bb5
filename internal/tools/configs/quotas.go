package configs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// quotaTypes are the entity types that have quotas, with the protocol's names for them.
var quotaTypes = map[string]string{userType: "user", clientType: "client-id", ipType: "ip"}

var (
	clientQuotaKeys = []string{"consumer_byte_rate", "controller_mutation_rate", "producer_byte_rate", "request_percentage"}
	ipQuotaKeys     = []string{"connection_creation_rate"}
)

// quotas carries out --alter or --describe of users, clients and ips.
func quotas(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	if !o.Has(o.alter) {
		return describeQuotas(ctx, s, admin, o)
	}
	additions, err := o.additions()
	if err != nil {
		return err
	}
	var deletions []string
	for _, key := range o.Values(o.deleteConfig) {
		deletions = append(deletions, strings.TrimSpace(key))
	}
	if err := checkQuotaKeys(o.types(), additions, deletions); err != nil {
		return err
	}
	if err := alterQuotas(ctx, admin, o, additions, deletions); err != nil {
		return err
	}
	printUpdated(s, o.types()[0], o.names()[0])
	return nil
}

func isSCRAM(key string) bool { return key == "SCRAM-SHA-256" || key == "SCRAM-SHA-512" }

// checkQuotaKeys refuses configs that the entity types do not have.
func checkQuotaKeys(types []string, additions []setting, deletions []string) error {
	var added []string
	for _, a := range additions {
		added = append(added, a.name)
	}
	kind, what, known := types[0], "quota", clientQuotaKeys
	unknown := func(keys []string) []string {
		return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return slices.Contains(known, key) || kind == userType && isSCRAM(key) })
	}
	switch {
	case kind == ipType:
		known = ipQuotaKeys
		if bad := slices.Concat(unknown(added), unknown(deletions)); len(bad) > 0 {
			return fmt.Errorf("Only connection quota configs can be added for 'ips' using --bootstrap-server. Unexpected config names: %s", strings.Join(bad, ",")) //nolint:staticcheck // the words of Kafka's tools
		}
		return nil
	case len(types) == 2:
		kind = clientType
	case kind == userType:
		what = "quota and SCRAM credential"
	}
	if bad := unknown(added); len(bad) > 0 {
		return fmt.Errorf("Only %s configs can be added for '%s' using --bootstrap-server. Unexpected config names: Set(%s)", what, kind, strings.Join(bad, ", ")) //nolint:staticcheck // the words of Kafka's tools
	}
	if bad := unknown(deletions); len(bad) > 0 {
		return fmt.Errorf("Only %s configs can be deleted for '%s' using --bootstrap-server. Unexpected config names: ArrayBuffer(%s)", what, kind, strings.Join(bad, ", ")) //nolint:staticcheck // the words of Kafka's tools
	}
	if slices.ContainsFunc(slices.Concat(added, deletions), isSCRAM) {
		return errors.New("SCRAM credentials are not supported yet") // only users get here with them
	}
	return nil
}

// filter names the entities of the command line; a type without a name stands for all names.
func (o *options) filter() ([]kmsg.DescribeClientQuotasRequestComponent, error) {
	types, names := o.types(), o.names()
	if len(names) > len(types) {
		return nil, errors.New("More entity names specified than entity types") //nolint:staticcheck // the words of Kafka's tools
	}
	components := make([]kmsg.DescribeClientQuotasRequestComponent, len(types))
	for i, kind := range types {
		c := kmsg.NewDescribeClientQuotasRequestComponent()
		c.EntityType = quotaTypes[kind]
		switch {
		case i >= len(names):
			c.MatchType = kmsg.QuotasMatchTypeAny
		case names[i] == "":
			c.MatchType = kmsg.QuotasMatchTypeDefault
		default:
			c.Match = &names[i]
		}
		components[i] = c
	}
	return components, nil
}

// findQuotas asks for the entities of the command line, those with just its types.
func findQuotas(ctx context.Context, admin *client.Client, o *options) ([]kmsg.DescribeClientQuotasResponseEntry, error) {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Strict = true
	var err error
	if req.Components, err = o.filter(); err != nil {
		return nil, err
	}
	if err := admin.Connect(ctx, "describeClientQuotas"); err != nil {
		return nil, err
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	resp, err := req.RequestWith(ctx, admin)
	if err != nil {
		return nil, client.Convert(err, "describeClientQuotas")
	}
	return resp.Entries, client.FromCode(resp.ErrorCode, resp.ErrorMessage)
}

func alterQuotas(ctx context.Context, admin *client.Client, o *options, additions []setting, deletions []string) error {
	old, err := findQuotas(ctx, admin, o)
	if err != nil {
		return err
	}
	var set []string
	if len(old) > 0 {
		for _, value := range old[0].Values {
			set = append(set, value.Key)
		}
	}
	if bad := slices.DeleteFunc(slices.Clone(deletions), func(key string) bool { return slices.Contains(set, key) }); len(bad) > 0 {
		return fmt.Errorf("Invalid config(s): %s", strings.Join(bad, ",")) //nolint:staticcheck // the words of Kafka's tools
	}
	entry := kmsg.NewAlterClientQuotasRequestEntry()
	for i, kind := range o.types() {
		part := kmsg.NewAlterClientQuotasRequestEntryEntity()
		part.Type = quotaTypes[kind]
		if name := o.names()[i]; name != "" {
			part.Name = &name
		}
		entry.Entity = append(entry.Entity, part)
	}
	for _, a := range additions {
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key = a.name
		if op.Value, err = parseJavaDouble(a.value); err != nil {
			return fmt.Errorf("Cannot parse quota configuration value for %s: %s", a.name, a.value) //nolint:staticcheck // the words of Kafka's tools
		}
		entry.Ops = append(entry.Ops, op)
	}
	for _, key := range deletions {
		op := kmsg.NewAlterClientQuotasRequestEntryOp()
		op.Key, op.Remove = key, true
		entry.Ops = append(entry.Ops, op)
	}
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Entries = append(req.Entries, entry)
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	resp, err := req.RequestWith(ctx, admin)
	if err != nil {
		return client.Convert(err, "alterClientQuotas")
	}
	for _, e := range resp.Entries {
		if err := client.FromCode(e.ErrorCode, e.ErrorMessage); err != nil {
			return err
		}
	}
	return nil
}

// parseJavaDouble reads a number as Java does: d or f may end it, and blanks surround it.
func parseJavaDouble(text string) (float64, error) {
	text = strings.TrimSpace(text)
	switch text {
	case "Infinity", "+Infinity", "-Infinity", "NaN":
		return strconv.ParseFloat(text, 64)
	}
	if text == "" || strings.ContainsAny(text[len(text)-1:], "nNyY_") || strings.ContainsRune(text, '_') {
		return 0, strconv.ErrSyntax // Go knows more names of the infinite
	}
	if number := strings.TrimRight(text, "dDfF"); len(text)-len(number) == 1 && !strings.ContainsAny(text, "xX") {
		text = number
	}
	value, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		return value, nil
	}
	return value, err
}

func describeQuotas(ctx context.Context, s cli.Streams, admin *client.Client, o *options) error {
	found, err := findQuotas(ctx, admin, o)
	if err != nil {
		return err
	}
	var lines []string
	for i := range found {
		lines = append(lines, quotaLine(&found[i]))
	}
	slices.Sort(lines)
	for _, line := range lines {
		s.Println(line)
	}
	if slices.Contains(o.types(), clientType) || slices.Contains(o.names(), "") || o.types()[0] == ipType {
		return nil
	}
	return describeSCRAM(ctx, s, admin, o.names())
}

// quotaLine says what is set for an entity.
func quotaLine(entry *kmsg.DescribeClientQuotasResponseEntry) string {
	var parts []string
	for _, of := range []struct{ kind, word string }{{"user", "user-principal"}, {"client-id", "client-id"}, {"ip", "ip"}} {
		for _, part := range entry.Entity {
			switch {
			case part.Type != of.kind:
			case part.Name == nil:
				parts = append(parts, "the default "+of.word)
			default:
				parts = append(parts, of.word+" '"+*part.Name+"'")
			}
		}
	}
	values := map[string]string{}
	for _, value := range entry.Values {
		values[value.Key] = kafka.JavaFloat(value.Value, 64)
	}
	var limits []string
	for _, key := range inHashOrder(slices.Sorted(maps.Keys(values))) {
		limits = append(limits, key+"="+values[key])
	}
	return "Quota configs for " + strings.Join(parts, ", ") + " are " + strings.Join(limits, ", ")
}

// inHashOrder puts keys into the order in which Kafka's tool prints them, which is that of a Java
// hash map made for so many.
func inHashOrder(keys []string) []string {
	size := 1
	for size < len(keys) {
		size *= 2
	}
	for 4*len(keys) > 3*size {
		size *= 2
	}
	bucket := func(key string) int {
		hash := uint32(0)
		for _, c := range []byte(key) { // all keys are ASCII
			hash = 31*hash + uint32(c)
		}
		return int(hash^hash>>16) & (size - 1)
	}
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(bucket(a), bucket(b)) })
	return keys
}

var scramNames = map[int8]string{1: "SCRAM-SHA-256", 2: "SCRAM-SHA-512"}

// describeSCRAM shows the credentials of users, all where none is named.
func describeSCRAM(ctx context.Context, s cli.Streams, admin *client.Client, users []string) error {
	req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	for _, name := range users {
		user := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
		user.Name = name
		req.Users = append(req.Users, user)
	}
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	resp, err := req.RequestWith(ctx, admin)
	if err != nil {
		return client.Convert(err, "describeUserScramCredentials")
	}
	if err := client.FromCode(resp.ErrorCode, resp.ErrorMessage); err != nil {
		return err
	}
	for i := range resp.Results {
		r := &resp.Results[i]
		if r.ErrorCode != 0 {
			if code := kafka.ErrorCode(r.ErrorCode); code != kafka.ErrResourceNotFound {
				s.Printf("Error retrieving SCRAM credential configs for user-principal '%s': %s\n", r.User, client.FromCode(r.ErrorCode, r.ErrorMessage))
			}
			continue
		}
		var infos []string
		for _, info := range r.CredentialInfos {
			infos = append(infos, fmt.Sprintf("%s=iterations=%d", scramNames[info.Mechanism], info.Iterations))
		}
		s.Printf("SCRAM credential configs for user-principal '%s' are %s\n", r.User, strings.Join(infos, ", "))
	}
	return nil
}

// checkAddresses finds names of ips that are neither addresses nor hosts.
func (o *options) checkAddresses() error {
	for i, kind := range o.types() {
		if kind != ipType || i >= len(o.names()) || o.names()[i] == "" {
			continue
		}
		if _, err := net.ResolveIPAddr("ip", o.names()[i]); err != nil {
			return fmt.Errorf("The entity name for ips must be a valid IP or resolvable host, but it is: %s", o.names()[i]) //nolint:staticcheck // the words of Kafka's tools
		}
	}
	return nil
}
