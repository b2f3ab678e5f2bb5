package consumer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Summary is the one sentence that the usage text begins with.
const Summary = "This tool helps to read data from Kafka topics and outputs it to standard output."

const formatterPropertyHelp = `A setting of the formatter, key=value:
print.timestamp, print.key, print.offset, print.epoch, print.partition, print.headers, print.value (true or false);
key.separator, line.separator, headers.separator, null.literal;
key.deserializer, value.deserializer, headers.deserializer. Repeatable.`

type options struct {
	*cli.Set
	parser                                                       *cli.Parser
	topic, include, partition, offset, group, bootstrap          *cli.Option
	commandProperty, oldProps, commandConfig, oldFile            *cli.Option
	formatter, formatterProperty, oldProperty, formatterConfig   *cli.Option
	fromBeginning, maxMessages, timeout, skipOnError             *cli.Option
	keyDeserializer, valueDeserializer, systestEvents, isolation *cli.Option
}

func newOptions() *options {
	p := cli.NewParser()
	o := &options{
		parser:    p,
		topic:     p.Value("topic", "String: topic", "The topic to read."),
		include:   p.Value("include", "String: Java regex (String)", "Read all topics whose names match this regular expression."),
		partition: p.Value("partition", "Integer: partition", "Read only this partition, from its end unless --offset says otherwise."),
		offset: p.Add(cli.Option{
			Name: "offset", Arg: cli.RequiredArg, ArgName: "String: consume offset", Default: "latest",
			Help: "Where to begin in --partition: a number, earliest or latest.",
		}),
		commandProperty:   p.Value("command-property", "String: consumer_prop", "A property of the consumer, key=value. Repeatable."),
		oldProps:          p.Value("consumer-property", "String: consumer_prop", "(DEPRECATED) The former name of --command-property."),
		commandConfig:     p.Value("command-config", "String: config file", "File with consumer properties; --command-property wins."),
		oldFile:           p.Value("consumer.config", "String: config file", "(DEPRECATED) The former name of --command-config."),
		formatter:         p.Add(cli.Option{Name: "formatter", Arg: cli.RequiredArg, ArgName: "String: class", Default: defaultFormatterClass, Help: "The formatter: " + strings.Join(slices.Sorted(maps.Keys(formatters)), ", ") + "."}),
		formatterProperty: p.Value("formatter-property", "String: prop", formatterPropertyHelp),
		oldProperty:       p.Value("property", "String: prop", "(DEPRECATED) The former name of --formatter-property."),
		formatterConfig:   p.Value("formatter-config", "String: config file", "File with settings of the formatter; --formatter-property wins."),
		fromBeginning:     p.Flag("from-beginning", "Begin with the oldest record where no committed offset says otherwise."),
		maxMessages:       p.Value("max-messages", "Integer: num_messages", "Stop after this many records."),
		timeout:           p.Value("timeout-ms", "Long: timeout_ms", "Stop when no record has come for this long."),
		skipOnError:       p.Flag("skip-message-on-error", "Skip a record that cannot be printed instead of stopping."),
		bootstrap:         p.Value("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to connect to, host:port,..."),
		keyDeserializer:   p.Value("key-deserializer", "String: deserializer for keys", "How to read keys, by the class name of Kafka's deserializer."),
		valueDeserializer: p.Value("value-deserializer", "String: deserializer for values", "How to read values, by the class name of Kafka's deserializer."),
		systestEvents:     p.Flag("enable-systest-events", "Say on standard output when the tool has shut down."),
		isolation: p.Add(cli.Option{
			Name: "isolation-level", Arg: cli.RequiredArg, Default: "read_uncommitted",
			Help: "read_committed leaves out records of transactions that are open or aborted.",
		}),
		group: p.Value("group", "String: consumer group id", "Read as a member of this group and commit its offsets."),
	}
	p.Group("What to read", o.topic, o.include, o.partition, o.offset, o.fromBeginning, o.group, o.isolation)
	p.Group("When to stop", o.maxMessages, o.timeout, o.skipOnError)
	p.Group("How to print", o.formatter, o.formatterProperty, o.formatterConfig, o.keyDeserializer, o.valueDeserializer)
	return o
}

// check makes the checks of Kafka's tool in its order.
func (o *options) check(s cli.Streams) error {
	if err := o.CheckOneOf(s, o.topic, o.include); err != nil {
		return err
	}
	switch {
	case o.Has(o.partition) && !o.Has(o.topic):
		return o.parser.UsageError(s, "The topic is required when partition is specified.")
	case o.Has(o.partition) && o.Has(o.fromBeginning) && o.Has(o.offset):
		return o.parser.UsageError(s, "Options from-beginning and offset cannot be specified together.")
	case !o.Has(o.partition) && o.Has(o.offset):
		return o.parser.UsageError(s, "The partition is required when offset is specified.")
	}
	if err := o.CheckRequired(s, o.bootstrap); err != nil {
		return err
	}
	if err := o.replaceFormer(s, &o.commandProperty, o.oldProps); err != nil {
		return err
	}
	return o.replaceFormer(s, &o.commandConfig, o.oldFile)
}

// replaceFormer lets a deprecated option stand for its successor.
func (o *options) replaceFormer(s cli.Streams, current **cli.Option, former *cli.Option) error {
	if !o.Has(former) {
		return nil
	}
	if o.Has(*current) {
		return o.parser.UsageError(s, "Options --%s and --%s cannot be specified together.", former.Name, (*current).Name)
	}
	s.Printf("Option --%s is deprecated and will be removed in a future version. Use --%s instead.\n", former.Name, (*current).Name)
	*current = former
	return nil
}

// plan is what a checked command line asks for.
type plan struct {
	props        client.Properties
	topic        string
	include      string
	partition    int32 // -1: all
	offset       startOffset
	maxMessages  int64 // -1: no limit
	timeout      time.Duration
	skipOnError  bool
	systest      bool
	formatter    formatter
	hasPartition bool
}

// startOffset is where a single partition begins; negative values are ListOffsets' special ones.
type startOffset int64

const (
	atEnd   startOffset = -1
	atStart startOffset = -2
)

func (o *options) plan(s cli.Streams) (*plan, error) {
	file, err := client.LoadCommandConfig(o.Set, o.commandConfig)
	if err != nil {
		return nil, err
	}
	extra := cli.ParseKeyValues(o.Values(o.commandProperty))
	group, err := o.groupID(s, file, extra)
	if err != nil {
		return nil, err
	}
	props, err := o.consumerProperties(s, file, extra, group)
	if err != nil {
		return nil, err
	}
	p := &plan{
		props: props, topic: o.String(o.topic), include: o.String(o.include),
		partition: o.Int(o.partition), hasPartition: o.Has(o.partition),
		maxMessages: -1, skipOnError: o.Has(o.skipOnError), systest: o.Has(o.systestEvents),
	}
	if p.offset, err = o.startOffset(s); err != nil {
		return nil, err
	}
	if o.Has(o.maxMessages) {
		p.maxMessages = int64(o.Int(o.maxMessages))
	}
	if millis := o.Long(o.timeout); o.Has(o.timeout) && millis >= 0 {
		p.timeout = time.Duration(min(millis, int64(365*24*time.Hour/time.Millisecond))) * time.Millisecond
	}
	if err := o.Err(); err != nil {
		return nil, o.parser.UsageError(s, "%s", err)
	}
	p.formatter, err = o.buildFormatter(s)
	return p, err
}

func (o *options) groupID(s cli.Streams, file, extra map[string]string) (string, error) {
	var ids []string
	add := func(id string, given bool) {
		if given && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	add(o.String(o.group), o.Has(o.group))
	id, given := file["group.id"]
	add(id, given)
	id, given = extra["group.id"]
	add(id, given)
	if len(ids) > 1 {
		return "", o.parser.UsageError(s, "The group ids provided in different places (directly using '--group', via '--consumer-property', or via '--consumer.config') do not match. Detected group ids: '%s'",
			strings.Join(ids, "', '"))
	}
	if len(ids) == 0 {
		return "", nil
	}
	if o.Has(o.partition) {
		return "", o.parser.UsageError(s, "Options group and partition cannot be specified together.")
	}
	return ids[0], nil
}

func (o *options) consumerProperties(s cli.Streams, file, extra map[string]string, group string) (client.Properties, error) {
	props := maps.Clone(file)
	maps.Copy(props, extra)
	reset, given := props["auto.offset.reset"]
	switch {
	case given && o.Has(o.fromBeginning) && reset != "earliest":
		s.Errorln("Can't simultaneously specify --from-beginning and 'auto.offset.reset=" + reset + "', please remove one option")
		return nil, cli.Failed
	case given:
	case o.Has(o.fromBeginning):
		props["auto.offset.reset"] = "earliest"
	default:
		props["auto.offset.reset"] = "latest"
	}
	props["bootstrap.servers"] = o.String(o.bootstrap)
	if props["client.id"] == "" {
		props["client.id"] = "console-consumer"
	}
	if _, given := props["isolation.level"]; !given || o.Has(o.isolation) {
		props["isolation.level"] = o.String(o.isolation)
	}
	delete(props, "group.id")
	if group != "" {
		props["group.id"] = group
	}
	return props, nil
}

func (o *options) startOffset(s cli.Streams) (startOffset, error) {
	if !o.Has(o.offset) {
		if o.Has(o.fromBeginning) {
			return atStart, nil
		}
		return atEnd, nil
	}
	text := o.String(o.offset)
	switch strings.ToLower(text) {
	case "earliest":
		return atStart, nil
	case "latest":
		return atEnd, nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number < 0 {
		return 0, o.parser.UsageError(s, "The provided offset value '%s' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.", text)
	}
	return startOffset(number), nil
}

func (o *options) buildFormatter(s cli.Streams) (formatter, error) {
	class := o.String(o.formatter)
	build, known := formatters[class]
	if !known {
		return nil, o.parser.UsageError(s, "%s is not a formatter of this tool", class)
	}
	if err := o.replaceFormer(s, &o.formatterProperty, o.oldProperty); err != nil {
		return nil, err
	}
	props, err := client.LoadCommandConfig(o.Set, o.formatterConfig)
	if err != nil {
		return nil, o.parser.UsageError(s, "%s", err)
	}
	for option, name := range map[*cli.Option]string{o.keyDeserializer: "key.deserializer", o.valueDeserializer: "value.deserializer"} {
		if class := o.String(option); class != "" {
			props[name] = class
		}
	}
	maps.Copy(props, cli.ParseKeyValues(o.Values(o.formatterProperty)))
	f, err := build(props)
	if err != nil {
		return nil, o.parser.UsageError(s, "%s", err)
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("the options of the formatter: %w", err)
	}
	return f, nil
}
