package configs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
)

// Summary is the one sentence that the usage text begins with.
const Summary = "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip, client-metrics or group"

// Entity types as --entity-type names them.
const (
	topicType         = "topics"
	brokerType        = "brokers"
	brokerLoggerType  = "broker-loggers"
	clientType        = "clients"
	userType          = "users"
	ipType            = "ips"
	clientMetricsType = "client-metrics"
	groupType         = "groups"
)

var entityTypes = []string{topicType, clientType, userType, brokerType, ipType, clientMetricsType, groupType, brokerLoggerType}

type options struct {
	*cli.Set
	parser                                        *cli.Parser
	bootstrap, bootstrapController, commandConfig *cli.Option
	alter, describe, all                          *cli.Option
	entityType, entityName, entityDefault         *cli.Option
	addConfig, addConfigFile, deleteConfig        *cli.Option
	byName                                        []entityOption // --topic t and the like
	defaults                                      []entityOption // --broker-defaults and the like
}

// entityOption is a shortcut for an entity type.
type entityOption struct {
	option *cli.Option
	kind   string
}

func newOptions() *options {
	p := cli.NewParser()
	o := &options{
		parser:              p,
		bootstrap:           p.Value("bootstrap-server", "String: server to connect to", "Brokers to connect to, host:port,..."),
		bootstrapController: p.Value("bootstrap-controller", "String: controller to connect to", "Controllers to connect to instead of brokers."),
		commandConfig:       p.Value("command-config", "String: command config property file", "File with client properties."),
		alter:               p.Flag("alter", "Change the entity's configs."),
		describe:            p.Flag("describe", "Show the entity's configs."),
		all:                 p.Flag("all", "With --describe: static and default values too."),
		entityType:          p.Value("entity-type", "String", "Type of the entity: "+strings.Join(entityTypes, ", ")+"."),
		entityName:          p.Value("entity-name", "String", "Name of the entity: a topic or a broker's id."),
		entityDefault:       p.Flag("entity-default", "The defaults of all entities of the type."),
		addConfig:           p.Value("add-config", "String", "Configs to set: k1=v1,k2=[v1,v2]; brackets hold values with commas together."),
		addConfigFile:       p.Value("add-config-file", "String", "Properties file with configs to set."),
		deleteConfig: p.Add(cli.Option{
			Name: "delete-config", Arg: cli.RequiredArg, Separator: ",", Help: "Configs to return to their defaults: k1,k2.",
		}),
	}
	for _, e := range []struct{ name, kind, help string }{
		{"topic", topicType, "The topic."}, {"client", clientType, "The client id."}, {"user", userType, "The user's principal."},
		{"broker", brokerType, "The broker's id."}, {"broker-logger", brokerLoggerType, "The broker's id, for its loggers."},
		{"ip", ipType, "The IP address."}, {"client-metrics", clientMetricsType, "The client metrics subscription."}, {"group", groupType, "The group."},
	} {
		o.byName = append(o.byName, entityOption{p.Value(e.name, "String", e.help), e.kind})
	}
	for _, e := range []struct{ name, kind, help string }{
		{"client-defaults", clientType, "The defaults of all clients."}, {"user-defaults", userType, "The defaults of all users."},
		{"broker-defaults", brokerType, "The defaults of all brokers."}, {"ip-defaults", ipType, "The defaults of all IP addresses."},
	} {
		o.defaults = append(o.defaults, entityOption{p.Flag(e.name, e.help), e.kind})
	}
	p.Group("What to do", o.describe, o.alter)
	p.Group("What to change or show", o.addConfig, o.addConfigFile, o.deleteConfig, o.all)
	return o
}

// types lists the entity types that the command line names.
func (o *options) types() []string {
	types := slices.Clone(o.Values(o.entityType))
	for _, e := range slices.Concat(o.byName, o.defaults) {
		if o.Has(e.option) {
			types = append(types, e.kind)
		}
	}
	return types
}

// names lists the entity names in the order given; the empty one means the defaults.
func (o *options) names() []string {
	var names []string
	values := o.Values(o.entityName)
	for _, option := range o.Detected() {
		switch option {
		case o.entityName:
			names, values = append(names, values[0]), values[1:]
		case o.entityDefault:
			names = append(names, "")
		}
	}
	for _, e := range o.byName {
		if o.Has(e.option) {
			names = append(names, o.String(e.option))
		}
	}
	for _, e := range o.defaults {
		if o.Has(e.option) {
			names = append(names, "")
		}
	}
	return names
}

// check makes the checks of Kafka's tool in its order.
func (o *options) check(s cli.Streams) error {
	if o.Count(o.alter, o.describe) != 1 {
		return o.parser.UsageError(s, "Command must include exactly one action: --describe, --alter")
	}
	if err := o.CheckInvalid(s, o.describe, o.alter, o.addConfig, o.deleteConfig); err != nil {
		return err
	}
	if err := o.checkEntities(); err != nil {
		return err
	}
	if o.Has(o.describe) {
		return o.checkDescribe()
	}
	return o.checkAlter()
}

func (o *options) checkEntities() error {
	types := o.types()
	var duplicates []string
	for i, kind := range types {
		if slices.Contains(types[:i], kind) {
			duplicates = append(duplicates, kind)
		}
	}
	if len(duplicates) > 0 {
		return fmt.Errorf("Duplicate entity type(s) specified: %s", strings.Join(duplicates, ",")) //nolint:staticcheck // the words of Kafka's tools
	}
	if o.Count(o.bootstrap, o.bootstrapController) == 0 {
		return errors.New("Either --bootstrap-server or --bootstrap-controller must be specified.") //nolint:staticcheck // the words of Kafka's tools
	}
	for _, kind := range types {
		if !slices.Contains(entityTypes, kind) {
			return fmt.Errorf("Invalid entity type %s, the entity type must be one of %s with a --bootstrap-server or --bootstrap-controller argument", //nolint:staticcheck // the words of Kafka's tools
				kind, strings.Join(entityTypes, ", "))
		}
	}
	isUserClient := len(types) == 2 && slices.Contains(types, userType) && slices.Contains(types, clientType)
	switch {
	case len(types) == 0:
		return errors.New("At least one entity type must be specified") //nolint:staticcheck // the words of Kafka's tools
	case len(types) > 1 && !isUserClient:
		return errors.New("Only 'users' and 'clients' entity types may be specified together") //nolint:staticcheck // the words of Kafka's tools
	}
	if o.Count(o.entityName, o.entityType, o.entityDefault) > 0 &&
		slices.ContainsFunc(slices.Concat(o.byName, o.defaults), func(e entityOption) bool { return o.Has(e.option) }) {
		return errors.New("--entity-{type,name,default} should not be used in conjunction with specific entity flags")
	}
	if o.Count(o.bootstrap, o.bootstrapController) > 1 {
		return errors.New("Only one of --bootstrap-server or --bootstrap-controller can be specified") //nolint:staticcheck // the words of Kafka's tools
	}
	if types[0] == brokerType || types[0] == brokerLoggerType {
		for _, name := range o.names() {
			if _, err := strconv.ParseInt(name, 10, 32); name != "" && err != nil {
				return fmt.Errorf("The entity name for %s must be a valid integer broker id, but it is: %s", types[0], name) //nolint:staticcheck // the words of Kafka's tools
			}
		}
	}
	if err := o.checkAddresses(); err != nil {
		return err
	}
	return o.Err()
}

// hasDefaults reports whether a type knows default entities.
func hasDefaults(types []string) bool {
	return slices.ContainsFunc(types, func(kind string) bool {
		return kind == userType || kind == clientType || kind == brokerType || kind == ipType
	})
}

func isNamed(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return name != "" })
}

func (o *options) checkDescribe() error {
	types := o.types()
	if o.Has(o.entityDefault) && !hasDefaults(types) {
		return fmt.Errorf("--entity-default must not be specified with --describe of %s", strings.Join(types, ","))
	}
	if types[0] == brokerLoggerType && !isNamed(o.names()) {
		return fmt.Errorf("An entity name must be specified with --describe of %s", strings.Join(types, ",")) //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

func (o *options) checkAlter() error {
	types, names := o.types(), o.names()
	switch {
	case hasDefaults(types) && len(names) == 0:
		return errors.New("An entity-name or default entity must be specified with --alter of users, clients, brokers or ips") //nolint:staticcheck // the words of Kafka's tools
	case !hasDefaults(types) && !isNamed(names):
		return fmt.Errorf("An entity name must be specified with --alter of %s", strings.Join(types, ",")) //nolint:staticcheck // the words of Kafka's tools
	case o.Count(o.addConfig, o.addConfigFile) == 2:
		return errors.New("Only one of --add-config or --add-config-file must be specified") //nolint:staticcheck // the words of Kafka's tools
	case o.Count(o.addConfig, o.addConfigFile, o.deleteConfig) == 0:
		return errors.New("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter") //nolint:staticcheck // the words of Kafka's tools
	case len(types) != len(names):
		return errors.New("An entity name must be specified for every entity type") //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// setting is one config to set.
type setting struct{ name, value string }

// additions returns what --add-config or --add-config-file sets, by name.
func (o *options) additions() ([]setting, error) {
	values := map[string]string{}
	if o.Has(o.addConfigFile) {
		loaded, err := cli.LoadProperties(o.String(o.addConfigFile))
		if err != nil {
			return nil, err
		}
		values = loaded
	}
	if o.Has(o.addConfig) {
		parsed, err := parseAddConfig(o.String(o.addConfig))
		if err != nil {
			return nil, err
		}
		values = parsed
	}
	settings := make([]setting, 0, len(values))
	for name, value := range values {
		if strings.ContainsFunc(name, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("$._-", r))
		}) {
			return nil, fmt.Errorf("Invalid character found for config key: %s", name) //nolint:staticcheck // the words of Kafka's tools
		}
		settings = append(settings, setting{name, value})
	}
	slices.SortFunc(settings, func(a, b setting) int { return cmp.Compare(a.name, b.name) })
	return settings, o.Err()
}

// parseAddConfig reads k1=v1,k2=[v1,v2].
func parseAddConfig(text string) (map[string]string, error) {
	values := map[string]string{}
	for _, pair := range splitOutsideBrackets(text, ',') {
		words := splitOutsideBrackets(pair, '=')
		if len(words) != 2 {
			return nil, errors.New(`requirement failed: Invalid entity config: all configs to be added must be in the format "key=val" or  "key=[val1,val2]" to group values which contain commas.`)
		}
		values[strings.TrimSpace(words[0])] = strings.TrimSpace(strings.NewReplacer("[", "", "]", "").Replace(words[1]))
	}
	return values, nil
}

// splitOutsideBrackets splits at separators after which no bracket closes before another opens.
func splitOutsideBrackets(text string, separator byte) []string {
	var words []string
	start := 0
	for i := range len(text) {
		if text[i] != separator {
			continue
		}
		if next := strings.IndexAny(text[i:], "[]"); next >= 0 && text[i+next] == ']' {
			continue
		}
		words = append(words, text[start:i])
		start = i + 1
	}
	return append(words, text[start:])
}
