package client

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/tools/cli"
)

// Properties are client properties by Kafka's names.
type Properties map[string]string

// DefaultAPITimeout is how long Kafka's clients try before they give up.
const DefaultAPITimeout = 60 * time.Second

// settings collects what properties ask for.
type settings struct {
	opts       []kgo.Opt
	apiTimeout time.Duration
	maxBlock   time.Duration
	acks       kgo.Acks
	idempotent *bool
	inflight   int
}

type property struct {
	name  string
	apply func(s *settings, value string) error
}

// commonProperties apply to every client.
var commonProperties = []property{
	{"client.id", func(s *settings, v string) error { s.add(kgo.ClientID(v)); return nil }},
	{"client.rack", func(s *settings, v string) error { s.add(kgo.Rack(v)); return nil }},
	{"default.api.timeout.ms", millis(func(s *settings, d time.Duration) { s.apiTimeout = d })},
	{"request.timeout.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.RequestTimeoutOverhead(d)) })},
	{"socket.connection.setup.timeout.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.DialTimeout(d)) })},
	{"connections.max.idle.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.ConnIdleTimeout(d)) })},
	{"metadata.max.age.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.MetadataMaxAge(max(d, time.Second))) })},
	{"retry.backoff.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.RetryBackoffFn(backoff(d))) })},
}

var producerProperties = []property{
	{"acks", applyAcks},
	{"compression.type", applyCompression},
	{"linger.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.ProducerLinger(d)) })},
	{"max.request.size", number(func(s *settings, n int64) { s.add(kgo.ProducerBatchMaxBytes(int32(min(n, math.MaxInt32)))) })},
	{"buffer.memory", number(func(s *settings, n int64) { s.add(kgo.MaxBufferedBytes(int(n))) })},
	{"retries", number(func(s *settings, n int64) { s.add(kgo.RecordRetries(int(n))) })},
	{"delivery.timeout.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.RecordDeliveryTimeout(max(d, time.Second))) })}, // less is refused by the library
	{"max.block.ms", millis(func(s *settings, d time.Duration) { s.maxBlock = d })},
	{"enable.idempotence", boolean(func(s *settings, on bool) { s.idempotent = &on })},
	{"max.in.flight.requests.per.connection", number(func(s *settings, n int64) { s.inflight = int(n) })},
	{"transaction.timeout.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.TransactionTimeout(d)) })},
	{"transactional.id", func(_ *settings, v string) error {
		return fmt.Errorf("transactional.id=%s: transactions are not supported yet by this tool", v)
	}},
}

var consumerProperties = []property{
	{"auto.offset.reset", applyOffsetReset},
	{"isolation.level", applyIsolation},
	{"fetch.min.bytes", number(func(s *settings, n int64) { s.add(kgo.FetchMinBytes(int32(n))) })},
	{"fetch.max.bytes", number(func(s *settings, n int64) { s.add(kgo.FetchMaxBytes(int32(n))) })},
	{"max.partition.fetch.bytes", number(func(s *settings, n int64) { s.add(kgo.FetchMaxPartitionBytes(int32(n))) })},
	{"fetch.max.wait.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.FetchMaxWait(d)) })},
	{"check.crcs", boolean(func(s *settings, on bool) {
		if !on {
			s.add(kgo.DisableFetchCRCValidation())
		}
	})},
	{"enable.auto.commit", boolean(func(*settings, bool) {})}, // the tool commits itself
}

var groupProperties = []property{
	{"session.timeout.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.SessionTimeout(d)) })},
	{"heartbeat.interval.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.HeartbeatInterval(d)) })},
	{"max.poll.interval.ms", millis(func(s *settings, d time.Duration) { s.add(kgo.RebalanceTimeout(d)) })},
	{"auto.commit.interval.ms", millis(func(*settings, time.Duration) {})}, // likewise
	{"group.instance.id", func(s *settings, v string) error { s.add(kgo.InstanceID(v)); return nil }},
	{"partition.assignment.strategy", applyAssignors},
	{"group.protocol", applyGroupProtocol},
}

func (s *settings) add(opts ...kgo.Opt) { s.opts = append(s.opts, opts...) }

// apply runs the properties that are present, in the order of the tables.
func (s *settings) apply(props Properties, tables ...[]property) error {
	for _, p := range slices.Concat(tables...) {
		value, ok := props[p.name]
		if !ok {
			continue
		}
		if err := p.apply(s, strings.TrimSpace(value)); err != nil {
			return invalidValue(p.name, value, err)
		}
	}
	return nil
}

// reason is the second half of Kafka's complaint about a value.
type reason string

func (r reason) Error() string { return string(r) }

func invalidValue(name, value string, err error) error {
	if r, ok := err.(reason); ok {
		return fmt.Errorf("Invalid value %s for configuration %s: %s", value, name, string(r)) //nolint:staticcheck // the words of Kafka's tools
	}
	return err
}

func oneOf(words ...string) error {
	return reason("String must be one of: " + strings.Join(words, ", "))
}

func number(set func(*settings, int64)) func(*settings, string) error {
	return func(s *settings, value string) error {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return reason("Not a number of type LONG")
		}
		if n < 0 {
			return reason("Value must be at least 0")
		}
		set(s, n)
		return nil
	}
}

func millis(set func(*settings, time.Duration)) func(*settings, string) error {
	return number(func(s *settings, n int64) {
		// More than the client library accepts means "never" to whoever wrote it.
		set(s, min(time.Duration(min(n, math.MaxInt32))*time.Millisecond, 24*time.Hour))
	})
}

func boolean(set func(*settings, bool)) func(*settings, string) error {
	return func(s *settings, value string) error {
		switch strings.ToLower(value) {
		case "true":
			set(s, true)
		case "false":
			set(s, false)
		default:
			return reason("Expected value to be either true or false")
		}
		return nil
	}
}

// backoff doubles from the given wait to a second.
func backoff(first time.Duration) func(int) time.Duration {
	return func(failures int) time.Duration {
		return min(first<<min(max(failures-1, 0), 10), time.Second)
	}
}

func applyAcks(s *settings, value string) error {
	switch value {
	case "all", "-1":
		s.acks = kgo.AllISRAcks()
	case "1":
		s.acks = kgo.LeaderAck()
	case "0":
		s.acks = kgo.NoAck()
	default:
		return oneOf("all", "-1", "0", "1")
	}
	return nil
}

func applyCompression(s *settings, value string) error {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	codec, ok := codecs[value]
	if !ok {
		return oneOf("none", "gzip", "snappy", "lz4", "zstd")
	}
	s.add(kgo.ProducerBatchCompression(codec))
	return nil
}

func applyOffsetReset(s *settings, value string) error {
	switch strings.ToLower(value) {
	case "earliest":
		s.add(kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	case "latest":
		s.add(kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	case "none":
		s.add(kgo.ConsumeStartOffset(kgo.NewOffset().AtCommitted()), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	default:
		return reason("Invalid value " + value + " for configuration auto.offset.reset: the accepted values are earliest, latest and none")
	}
	return nil
}

func applyIsolation(s *settings, value string) error {
	switch value {
	case "read_committed":
		s.add(kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	case "read_uncommitted":
		s.add(kgo.FetchIsolationLevel(kgo.ReadUncommitted()))
	default:
		return oneOf("read_committed", "read_uncommitted")
	}
	return nil
}

func applyGroupProtocol(_ *settings, value string) error {
	switch strings.ToLower(value) {
	case "classic":
		return nil
	case "consumer":
		return fmt.Errorf("group.protocol=%s is not supported yet by this tool; use group.protocol=classic", value)
	}
	return oneOf("CONSUMER", "CLASSIC")
}

func applyAssignors(s *settings, value string) error {
	var balancers []kgo.GroupBalancer
	for name := range strings.SplitSeq(value, ",") {
		name = strings.TrimSpace(name)
		switch name[strings.LastIndexByte(name, '.')+1:] {
		case "RangeAssignor", "range":
			balancers = append(balancers, kgo.RangeBalancer())
		case "RoundRobinAssignor", "roundrobin":
			balancers = append(balancers, kgo.RoundRobinBalancer())
		case "StickyAssignor", "sticky":
			balancers = append(balancers, kgo.StickyBalancer())
		case "CooperativeStickyAssignor", "cooperative-sticky":
			balancers = append(balancers, kgo.CooperativeStickyBalancer())
		default:
			return fmt.Errorf("partition.assignment.strategy: the assignor %q is not known to this tool", name)
		}
	}
	s.add(kgo.Balancers(balancers...))
	return nil
}

// checkSecurity refuses what would otherwise silently send secrets or data in the clear.
func checkSecurity(props Properties) error {
	protocol := strings.ToUpper(strings.TrimSpace(props["security.protocol"]))
	if protocol != "" && protocol != "PLAINTEXT" {
		return fmt.Errorf("security.protocol=%s is not supported yet; only PLAINTEXT is", protocol)
	}
	return nil
}

// LoadCommandConfig reads the file that an option such as --command-config names; without the
// option there are no properties.
func LoadCommandConfig(set *cli.Set, option *cli.Option) (Properties, error) {
	if !set.Has(option) {
		return Properties{}, nil
	}
	return cli.LoadProperties(set.String(option))
}
