package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
)

// resolveTimeout bounds the look-up of bootstrap servers' names.
const resolveTimeout = 10 * time.Second

// Waits between attempts to connect, as reconnect.backoff.ms and its maximum.
const (
	firstConnectWait = 50 * time.Millisecond
	maxConnectWait   = time.Second
)

// Client is a connection to a cluster with the time-outs its properties ask for.
type Client struct {
	*kgo.Client
	// APITimeout bounds one administrative call (default.api.timeout.ms).
	APITimeout time.Duration
	// MaxBlock bounds the wait for a topic's metadata before producing (max.block.ms).
	MaxBlock time.Duration
	// ToControllers has Request and RequestSharded go to the active controller.
	ToControllers bool

	opts       []kgo.Opt
	controller *kgo.Client // of the active controller's address alone; nil until it is asked for
}

// Context returns a context that ends after the client's API time-out.
func (c *Client) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.APITimeout)
}

// Connect waits, up to the API time-out, until a broker answers: the client library itself
// gives up at once where a connection is refused, Kafka's admin client goes on trying.
func (c *Client) Connect(ctx context.Context, call string) error {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	for wait := firstConnectWait; ; wait = min(2*wait, maxConnectWait) {
		err := c.reach(ctx)
		if _, answered := errors.AsType[*Error](err); err == nil || answered {
			return err
		}
		select {
		case <-ctx.Done():
			return Convert(err, call)
		case <-time.After(wait):
		}
	}
}

// reach asks one broker, or the controllers, for an answer.
func (c *Client) reach(ctx context.Context) error {
	if c.ToControllers {
		_, err := c.activeController(ctx)
		return err
	}
	_, err := within(ctx, func() (struct{}, error) { return struct{}{}, c.Ping(ctx) })
	return err
}

// within returns when ask does, or when ctx ends: the client library waits ten seconds for a broker that lets
// it connect and then says nothing, whatever ctx says. What is left of ask ends with the client.
func within[T any](ctx context.Context, ask func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		value, err := ask()
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// NewAdmin returns a client for administrative requests.
func NewAdmin(streams cli.Streams, props Properties) (*Client, error) {
	s := &settings{}
	if err := s.apply(props, commonProperties); err != nil {
		return nil, err
	}
	admin, err := open(streams, props, s)
	if err != nil {
		return nil, fmt.Errorf("Failed to create new KafkaAdminClient: %w", err) //nolint:staticcheck // the words of Kafka's tools
	}
	return admin, nil
}

// NewProducer returns a client that produces, with the further options.
func NewProducer(streams cli.Streams, props Properties, opts ...kgo.Opt) (*Client, error) {
	s := &settings{acks: kgo.AllISRAcks(), inflight: 5}
	s.add(kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(5*time.Millisecond),
		kgo.ProducerBatchMaxBytes(1<<20), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordDeliveryTimeout(2*time.Minute), kgo.UnknownTopicRetries(-1))
	if err := s.apply(props, commonProperties, producerProperties); err != nil {
		return nil, err
	}
	s.add(kgo.RequiredAcks(s.acks))
	if s.acks != kgo.AllISRAcks() && s.idempotent != nil && *s.idempotent {
		return nil, fmt.Errorf("Must set acks to all in order to use the idempotent producer. Otherwise we cannot guarantee idempotence.") //nolint:staticcheck // the words of Kafka's tools
	}
	if s.acks != kgo.AllISRAcks() || s.inflight > 5 || (s.idempotent != nil && !*s.idempotent) {
		s.add(kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(max(s.inflight, 1)))
	}
	s.add(opts...)
	return open(streams, props, s)
}

// Matching selects the topics whose whole names match a regular expression: Kafka matches whole
// names, the client library parts of them.
func Matching(include string, excludeInternal bool) ([]kgo.Opt, error) {
	if _, err := regexp.Compile(include); err != nil {
		return nil, err
	}
	opts := []kgo.Opt{kgo.ConsumeRegex(), kgo.ConsumeTopics("^(?:" + include + ")$")}
	if excludeInternal {
		opts = append(opts, kgo.ConsumeExcludeTopics("^(?:"+kafka.ConsumerOffsetsTopic+"|"+kafka.TransactionStateTopic+"|"+kafka.ShareGroupStateTopic+")$"))
	}
	return opts, nil
}

// NewConsumer returns a client that consumes what the further options say.
func NewConsumer(streams cli.Streams, props Properties, opts ...kgo.Opt) (*Client, error) {
	s := &settings{}
	s.add(kgo.AllowAutoTopicCreation())
	tables := [][]property{commonProperties, consumerProperties}
	group := props["group.id"]
	if group != "" {
		// Kafka's default is range with cooperative-sticky as the second choice.
		s.add(kgo.ConsumerGroup(group), kgo.Balancers(kgo.RangeBalancer(), kgo.CooperativeStickyBalancer()),
			kgo.RebalanceTimeout(5*time.Minute))
		tables = append(tables, groupProperties)
	}
	if err := s.apply(props, tables...); err != nil {
		return nil, err
	}
	s.add(opts...)
	return open(streams, props, s)
}

func open(streams cli.Streams, props Properties, s *settings) (*Client, error) {
	if err := checkSecurity(props); err != nil {
		return nil, err
	}
	seeds, err := ParseBootstrap(props["bootstrap.servers"])
	if err != nil {
		return nil, err
	}
	if err := checkResolvable(streams, seeds); err != nil {
		return nil, err
	}
	if s.apiTimeout <= 0 {
		s.apiTimeout = DefaultAPITimeout
	}
	if s.maxBlock <= 0 {
		s.maxBlock = DefaultAPITimeout
	}
	s.add(
		kgo.SeedBrokers(seeds...),
		kgo.SoftwareNameAndVersion("moldau-tools", cli.KafkaVersion),
		kgo.RequestRetries(1<<20), // the context of each call ends the trying
		kgo.RetryTimeout(s.apiTimeout),
		kgo.WithHooks(&connectLog{streams: streams}),
		kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(100*time.Millisecond),
	)
	cl, err := kgo.NewClient(s.opts...)
	if err != nil {
		return nil, err
	}
	return &Client{Client: cl, opts: s.opts, APITimeout: s.apiTimeout, MaxBlock: s.maxBlock}, nil
}

// ParseBootstrap splits bootstrap.servers and checks each address.
func ParseBootstrap(servers string) ([]string, error) {
	var seeds []string
	for server := range strings.SplitSeq(servers, ",") {
		server = strings.TrimSpace(server)
		if server == "" {
			continue
		}
		// A listener's protocol may stand before the address.
		if _, after, ok := strings.Cut(server, "://"); ok {
			server = after
		}
		if !validAddress(server) {
			return nil, fmt.Errorf("Invalid url in bootstrap.servers: %s", server) //nolint:staticcheck // the words of Kafka's tools
		}
		seeds = append(seeds, server)
	}
	if len(seeds) == 0 {
		return nil, fmt.Errorf("No resolvable bootstrap urls given in bootstrap.servers") //nolint:staticcheck // the words of Kafka's tools
	}
	return seeds, nil
}

// checkResolvable complains if no server's name leads to an address, which waiting seldom mends.
func checkResolvable(streams cli.Streams, seeds []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	for _, seed := range seeds {
		host, _, err := net.SplitHostPort(seed)
		if err == nil {
			_, err = net.DefaultResolver.LookupHost(ctx, host)
		}
		if err == nil {
			return nil
		}
		streams.Log("WARN", fmt.Sprintf("Couldn't resolve server %s from bootstrap.servers: %v", seed, err), "org.apache.kafka.clients.ClientUtils")
	}
	return errors.New("No resolvable bootstrap urls given in bootstrap.servers") //nolint:staticcheck // the words of Kafka's tools
}

func validAddress(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return false
	}
	number, err := net.LookupPort("tcp", port)
	return err == nil && number > 0
}

// CheckBootstrap is the check that some tools make before anything else; its messages end
// with an empty line, as Kafka's do.
func CheckBootstrap(servers string) error {
	if strings.TrimSpace(servers) == "" {
		return fmt.Errorf("Error while validating the bootstrap address\n") //nolint:staticcheck // the words of Kafka's tools
	}
	if _, err := ParseBootstrap(servers); err != nil {
		return fmt.Errorf("Please provide valid host:port like host1:9091,host2:9092\n") //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// connectLog tells the user, at most once a second, that a broker cannot be reached while the
// client goes on trying.
type connectLog struct {
	streams cli.Streams
	mu      sync.Mutex
	last    time.Time
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (l *connectLog) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.last) < time.Second {
		return
	}
	l.last = time.Now()
	node := fmt.Sprintf("%d (%s:%d)", meta.NodeID, meta.Host, meta.Port)
	if meta.NodeID < 0 {
		node = fmt.Sprintf("-1 (%s:%d)", meta.Host, meta.Port)
	}
	l.streams.Log("WARN", fmt.Sprintf("Connection to node %s could not be established. Node may not be available: %v", node, err),
		"org.apache.kafka.clients.NetworkClient")
}
