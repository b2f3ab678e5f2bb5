package producer

import (
	"strconv"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// Summary is the one sentence that the usage text begins with.
const Summary = "This tool helps to read data from standard input and publish it to Kafka."

const lineReaderClass = "org.apache.kafka.tools.LineMessageReader"

const readerPropertyHelp = `A setting of the line reader, key=value:
parse.key=false
key.separator=\t
parse.headers=false
headers.delimiter=\t
headers.separator=,
headers.key.separator=:
null.marker=
ignore.error=false
A line is [headers, headers.delimiter] [key, key.separator] value. Repeatable.`

type options struct {
	*cli.Set
	parser                                            *cli.Parser
	topic, bootstrap, sync, codec, lineReader         *cli.Option
	readerProperty, readerConfig, oldProperty         *cli.Option
	commandProperty, commandConfig, oldProps, oldFile *cli.Option
	maxPartitionMemory                                *cli.Option
	merged                                            []mergedOption
}

// mergedOption is an option that stands for a client property.
type mergedOption struct {
	option   *cli.Option
	property string
}

func newOptions() *options {
	p := cli.NewParser()
	o := &options{
		parser:    p,
		topic:     p.Value("topic", "String: topic", "REQUIRED: the topic to send to."),
		bootstrap: p.Value("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to connect to, host:port,..."),
		sync:      p.Flag("sync", "Wait for each record's acknowledgement before the next line is read."),
		codec: p.Add(cli.Option{
			Name: "compression-codec", Arg: cli.OptionalArg, ArgName: "String: compression-codec",
			Help: "none, gzip, snappy, lz4 or zstd; gzip if no codec is named.",
		}),
		lineReader: p.Add(cli.Option{
			Name: "line-reader", Arg: cli.RequiredArg, ArgName: "String: reader_class", Default: lineReaderClass,
			Help: "Only Kafka's line reader is built in.",
		}),
		readerProperty:  p.Value("reader-property", "String: prop", readerPropertyHelp),
		readerConfig:    p.Value("reader-config", "String: config file", "File with settings of the line reader; --reader-property wins."),
		oldProperty:     p.Value("property", "String: prop", "(DEPRECATED) The former name of --reader-property."),
		commandProperty: p.Value("command-property", "String: producer_prop", "A property of the producer, key=value. Repeatable."),
		commandConfig:   p.Value("command-config", "String: config file", "File with producer properties; --command-property wins."),
		oldProps:        p.Value("producer-property", "String: producer_prop", "(DEPRECATED) The former name of --command-property."),
		oldFile:         p.Value("producer.config", "String: config file", "(DEPRECATED) The former name of --command-config."),
	}
	o.merge(p.Value("timeout", "Long: timeout_ms", "How long a record may wait for others to share its batch (linger.ms)."), "linger.ms")
	o.merge(withDefault(p, "request-required-acks", "String: request required acks", "-1", "Acknowledgements to wait for: all or -1, 1, 0 (acks)."), "acks")
	o.merge(withDefault(p, "request-timeout-ms", "Integer: request timeout ms", "1500", "How long a request may take (request.timeout.ms)."), "request.timeout.ms")
	o.merge(withDefault(p, "message-send-max-retries", "Integer", "3", "How often a failed record is sent again (retries)."), "retries")
	o.merge(withDefault(p, "retry-backoff-ms", "Long", "100", "Wait before a retry (retry.backoff.ms)."), "retry.backoff.ms")
	o.merge(withDefault(p, "socket-buffer-size", "Integer: size", "102400", "Accepted; the operating system sizes the buffers."), "send.buffer.bytes")
	o.merge(withDefault(p, "max-memory-bytes", "Long: total memory in bytes", "33554432", "Memory for records that wait to be sent (buffer.memory)."), "buffer.memory")
	o.merge(withDefault(p, "batch-size", "Integer: size", "16384", "Accepted; batches fill while a request is under way."), "batch.size")
	o.maxPartitionMemory = p.Value("max-partition-memory-bytes", "Integer: memory in bytes per partition", "(DEPRECATED) The former name of --batch-size.")
	o.merge(withDefault(p, "metadata-expiry-ms", "Long: metadata expiration interval", "300000", "How old metadata may get (metadata.max.age.ms)."), "metadata.max.age.ms")
	o.merge(withDefault(p, "max-block-ms", "Long: max block on send", "60000", "How long to wait for the topic's metadata (max.block.ms)."), "max.block.ms")
	return o
}

func withDefault(p *cli.Parser, name, argName, value, help string) *cli.Option {
	return p.Add(cli.Option{Name: name, Arg: cli.RequiredArg, ArgName: argName, Default: value, Help: help})
}

func (o *options) merge(option *cli.Option, property string) {
	o.merged = append(o.merged, mergedOption{option, property})
}

func (o *options) check(s cli.Streams) error {
	if err := o.CheckRequired(s, o.topic); err != nil {
		return err
	}
	pairs := []struct {
		current, former **cli.Option
		format, note    string
	}{
		{&o.commandConfig, &o.oldFile, "Options --command-config and --producer.config cannot be specified together.",
			"Warning: --producer.config is deprecated and will be removed in a future version. Use --command-config instead."},
		{&o.commandProperty, &o.oldProps, "Options --command-property and --producer-property cannot be specified together.",
			"Warning: --producer-property is deprecated and will be removed in a future version. Use --command-property instead."},
		{&o.readerProperty, &o.oldProperty, "Options --reader-property and --property cannot be specified together.",
			"Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead."},
	}
	for _, pair := range pairs {
		if o.Has(*pair.current) && o.Has(*pair.former) {
			return o.parser.UsageError(s, "%s", pair.format)
		}
	}
	for _, pair := range pairs {
		if o.Has(*pair.former) {
			s.Println(pair.note)
			*pair.current = *pair.former
		}
	}
	if o.Has(o.maxPartitionMemory) {
		s.Println("Warning: --max-partition-memory-bytes is deprecated and will be removed in Apache Kafka 5.0. Use --batch-size instead.")
	}
	if err := client.CheckBootstrap(o.String(o.bootstrap)); err != nil {
		return o.parser.UsageError(s, "%s", err)
	}
	return nil
}

func (o *options) compressionCodec() string {
	switch {
	case !o.Has(o.codec):
		return "none"
	case o.String(o.codec) == "":
		return "gzip"
	}
	return o.String(o.codec)
}

// producerProperties merges file, properties and options; an option that was given wins, then
// a property, then the option's default.
func (o *options) producerProperties() (client.Properties, error) {
	props, err := client.LoadCommandConfig(o.Set, o.commandConfig)
	if err != nil {
		return nil, err
	}
	for name, value := range cli.ParseKeyValues(o.Values(o.commandProperty)) {
		props[name] = value
	}
	props["bootstrap.servers"] = o.String(o.bootstrap)
	props["compression.type"] = o.compressionCodec()
	if props["client.id"] == "" {
		props["client.id"] = "console-producer"
	}
	for _, m := range o.merged {
		if _, set := props[m.property]; (!set && m.option.Default != "") || o.Has(m.option) {
			props[m.property] = o.String(m.option)
		}
	}
	if _, set := props["linger.ms"]; !set && o.Has(o.sync) {
		// A record that is waited for alone has no company to linger for.
		props["linger.ms"] = "0"
	}
	// The client library gives up a topic's metadata after as many tries as a record gets,
	// which Kafka's producer does not.
	if retries, err := strconv.Atoi(props["retries"]); err == nil && retries < 3 {
		props["retries"] = "3"
	}
	return props, o.Err()
}

func (o *options) readerProperties() (map[string]string, error) {
	props, err := client.LoadCommandConfig(o.Set, o.readerConfig)
	if err != nil {
		return nil, err
	}
	for name, value := range cli.ParseKeyValues(o.Values(o.readerProperty)) {
		props[name] = value
	}
	return props, nil
}
