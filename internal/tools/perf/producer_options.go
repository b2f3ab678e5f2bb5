package perf

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	transactionalIDPrefix       = "performance-producer-"
	defaultTransactionDuration  = 3 * time.Second
	defaultMaxRequestSize       = 1 << 20
	propertyMetavar             = "PROP-NAME=PROP-VALUE"
	fileMetavar                 = "CONFIG-FILE"
	argumentError               = "java.lang.IllegalArgumentException: "
	defaultPayloadDelimiter     = `\n`
	defaultReportingIntervalMs  = "5000"
	producerPropsDeprecated     = "Option --producer-props has been deprecated and will be removed in a future version. Use --command-property instead."
	producerConfigDeprecated    = "Option --producer.config has been deprecated and will be removed in a future version. Use --command-config instead."
	noConnection                = "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or --command-config must be specified."
	tooManyWarmup               = "The value for --warmup-records must be strictly fewer than the number of records in the test, --num-records."
	defaultPerfProducerClientID = "perf-producer-client"
)

func producerParser() *cli.OptionParser {
	return &cli.OptionParser{
		Program:     "kafka-producer-perf-test",
		Description: "Measures how fast a topic takes records. A transactional id or --transaction-duration-ms makes it use transactions.",
		OneOf:       []string{"--record-size", "--payload-file", "--payload-monotonic"},
		Arguments: []cli.Argument{
			{Long: "--bootstrap-server", Metavar: "BOOTSTRAP-SERVER", Help: "brokers to connect to, host:port,...; wins over the property bootstrap.servers"},
			{Long: "--topic", Metavar: "TOPIC", Required: true, Help: "the topic to send to"},
			{Long: "--num-records", Metavar: "NUM-RECORDS", Required: true, Bits: 64, Help: "how many records to send"},
			{Long: "--payload-delimiter", Metavar: "PAYLOAD-DELIMITER", Default: defaultPayloadDelimiter, Help: "regular expression between the payloads of --payload-file"},
			{Long: "--throughput", Metavar: "THROUGHPUT", Required: true, Fraction: true, Help: "about so many records per second; -1: as many as possible"},
			{Long: "--producer-props", Metavar: propertyMetavar, Many: true, Help: "(DEPRECATED) the former name of --command-property"},
			{Long: "--command-property", Metavar: propertyMetavar, Many: true, Help: "properties of the producer, such as linger.ms=10 acks=1; win over those of a file"},
			{Long: "--producer.config", Metavar: fileMetavar, Help: "(DEPRECATED) the former name of --command-config"},
			{Long: "--command-config", Metavar: fileMetavar, Help: "file with producer properties"},
			{Long: "--print-metrics", IsFlag: true, Help: "print the client's metrics at the end, by the names that Kafka's Java client has for them"},
			{Long: "--transactional-id", Metavar: "TRANSACTIONAL-ID", Help: "send in transactions of this id; random with --transaction-duration-ms alone"},
			{Long: "--transaction-duration-ms", Metavar: "TRANSACTION-DURATION", Bits: 64, Help: "commit when a transaction is this old; 3000 with a transactional id alone"},
			{Long: "--warmup-records", Metavar: "WARMUP-RECORDS", Bits: 64, Default: "0", Help: "records that the steady-state summary leaves out"},
			{Long: "--reporting-interval", Metavar: "INTERVAL-MS", Bits: 64, Default: defaultReportingIntervalMs, Help: "milliseconds between two reports"},
			{Long: "--record-size", Metavar: "RECORD-SIZE", Bits: 32, Help: "bytes of random letters per record; exactly one of this and the next two"},
			{Long: "--payload-file", Metavar: "PAYLOAD-FILE", Help: "UTF-8 file of payloads, of which each record gets one at random"},
			{Long: "--payload-monotonic", IsFlag: true, Help: "each record's payload is its number"},
		},
	}
}

// producerPlan is what a checked command line asks for.
type producerPlan struct {
	topic           string
	records, warmup int64
	throughput      float64
	interval        time.Duration
	payloads        *payloads
	props           client.Properties
	transactionalID string // empty: no transactions
	duration        time.Duration
	maxRequestSize  int
	printMetrics    bool
}

func planProducer(s cli.Streams, args []string) (*producerPlan, error) {
	parser := producerParser()
	set, err := parser.Parse(s, args)
	if err != nil {
		return nil, err
	}
	if message := checkProducer(set); message != "" {
		return nil, parser.Fail(s, "%s", message)
	}
	p := &producerPlan{topic: set.Value("--topic"), payloads: newPayloads(), maxRequestSize: defaultMaxRequestSize, printMetrics: set.Has("--print-metrics")}
	p.records, _ = set.Number("--num-records")
	p.warmup, _ = set.Number("--warmup-records")
	p.throughput, err = strconv.ParseFloat(set.Value("--throughput"), 64)
	if err != nil {
		return nil, fmt.Errorf("--throughput: %w", err)
	}
	p.interval = milliseconds(set, "--reporting-interval")
	size, _ := set.Number("--record-size")
	p.payloads.size, p.payloads.monotonic = int(size), set.Has("--payload-monotonic")
	if set.Has("--payload-file") {
		delimiter := set.Value("--payload-delimiter")
		if p.payloads.lines, err = readPayloads(s, set.Value("--payload-file"), delimiter); err != nil {
			return nil, err
		}
	}
	if p.props, err = producerProperties(s, set); err != nil {
		return nil, err
	}
	p.transactions(set)
	if size, err := strconv.Atoi(p.props["max.request.size"]); err == nil {
		p.maxRequestSize = size
	}
	return p, nil
}

// milliseconds reads an option; more than an int32 means "never" to whoever wrote it.
func milliseconds(set *cli.Parsed, name string) time.Duration {
	number, _ := set.Number(name)
	return time.Duration(min(number, 1<<31)) * time.Millisecond
}

// checkProducer makes the checks of Kafka's tool in its order; "" passes.
func checkProducer(set *cli.Parsed) string {
	number := func(name string) int64 { n, _ := set.Number(name); return n }
	connected := false
	for _, name := range []string{"--bootstrap-server", "--command-property", "--producer-props", "--producer.config", "--command-config"} {
		connected = connected || set.Has(name)
	}
	switch {
	case number("--num-records") <= 0:
		return "--num-records should be greater than zero."
	case number("--warmup-records") >= number("--num-records"):
		return tooManyWarmup
	case set.Has("--record-size") && number("--record-size") <= 0:
		return "--record-size should be greater than zero."
	case !connected:
		return noConnection
	case set.Has("--command-property") && set.Has("--producer-props"):
		return "--command-property and --producer-props cannot be specified together."
	case set.Has("--command-config") && set.Has("--producer.config"):
		return "--command-config and --producer.config cannot be specified together."
	case set.Has("--transaction-duration-ms") && number("--transaction-duration-ms") <= 0:
		return "--transaction-duration-ms should be greater than zero."
	case number("--reporting-interval") <= 0:
		return "--reporting-interval should be greater than zero."
	}
	return ""
}

func producerProperties(s cli.Streams, set *cli.Parsed) (client.Properties, error) {
	pairs, file := "--command-property", "--command-config"
	if set.Has("--producer-props") {
		s.Println(producerPropsDeprecated)
		pairs = "--producer-props"
	}
	if set.Has("--producer.config") {
		s.Println(producerConfigDeprecated)
		file = "--producer.config"
	}
	props := client.Properties{}
	if set.Has(file) {
		var err error
		if props, err = cli.LoadProperties(set.Value(file)); err != nil {
			return nil, err
		}
	}
	for _, pair := range set.Values(pairs) {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" || strings.Contains(value, "=") {
			return nil, fmt.Errorf("%sInvalid property: %s", argumentError, pair)
		}
		props[name] = value
	}
	if props["client.id"] == "" {
		props["client.id"] = defaultPerfProducerClientID
	}
	if _, given := props["buffer.memory"]; !given {
		props["buffer.memory"] = strconv.Itoa(32 << 20)
	}
	if set.Has("--bootstrap-server") {
		props["bootstrap.servers"] = set.Value("--bootstrap-server")
	}
	return props, nil
}

// transactions moves the transactional id from the properties to the plan.
func (p *producerPlan) transactions(set *cli.Parsed) {
	fromProps, inProps := p.props["transactional.id"]
	delete(p.props, "transactional.id")
	switch {
	case set.Has("--transactional-id"):
		p.transactionalID = set.Value("--transactional-id")
	case inProps:
		p.transactionalID = fromProps
	case set.Has("--transaction-duration-ms"):
		id := make([]byte, 16)
		_, _ = rand.Read(id) // never fails
		p.transactionalID = transactionalIDPrefix + base64.RawURLEncoding.EncodeToString(id)
	}
	p.duration = defaultTransactionDuration
	if set.Has("--transaction-duration-ms") {
		p.duration = milliseconds(set, "--transaction-duration-ms")
	}
}
