package status

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/brokers"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// How long the cluster may take for one question: an operator in trouble waits for the answer.
const (
	askTimeout = 10 * time.Second
	// restTimeout is for what something can be said without, as without the active controller.
	restTimeout = 3 * time.Second
)

// Options say which cluster to ask.
type Options struct {
	Bootstrap string
	// CommandConfig is a file with client properties, "" for none.
	CommandConfig string
}

// Run prints the state of a cluster. Its error is an exit code: 2 where something needs attention, 3 where clients
// cannot use something at the moment.
func Run(ctx context.Context, s cli.Streams, o Options) error {
	props := client.Properties{}
	if o.CommandConfig != "" {
		loaded, err := cli.LoadProperties(o.CommandConfig)
		if err != nil {
			return err
		}
		props = loaded
	}
	admin, err := client.NewAdminOf(s, props, o.Bootstrap, "")
	if err != nil {
		return err
	}
	defer admin.Close()
	admin.APITimeout = min(admin.APITimeout, askTimeout)
	if err := admin.Connect(ctx, "status"); err != nil {
		return err
	}
	cluster, err := gather(ctx, admin)
	if err != nil {
		return err
	}
	report := Assess(cluster)
	report.print(s)
	if report.Level > Well {
		return &cli.ExitError{Code: int(report.Level) + 1}
	}
	return nil
}

// gather asks the cluster. Only what nothing can be said without is an error.
func gather(ctx context.Context, admin *client.Client) (Cluster, error) {
	described, err := admin.Describe(ctx, true)
	if err != nil {
		return Cluster{}, err
	}
	c := Cluster{ID: described.ClusterID}
	for _, b := range described.Brokers {
		broker := Broker{ID: b.NodeID, Address: b.Host + ":" + strconv.Itoa(int(b.Port)), Fenced: b.IsFenced}
		if b.Rack != nil {
			broker.Rack = *b.Rack
		}
		if !b.IsFenced {
			broker.Levels, broker.Err = levels(ctx, admin, b.NodeID, &c)
		}
		c.Brokers = append(c.Brokers, broker)
	}
	metadata, err := admin.Metadata(ctx, nil, "listTopics")
	if err != nil {
		return Cluster{}, err
	}
	if c.Topics, err = topics(ctx, admin, metadata.Topics); err != nil {
		return Cluster{}, err
	}
	admin.APITimeout = min(admin.APITimeout, restTimeout)
	if c.Quorum, c.QuorumErr = quorum(ctx, admin); c.QuorumErr != nil {
		c.Unanswered = append(c.Unanswered, "the balancer") // the same controller would answer
	} else if balancer, err := brokers.StatusOf(ctx, admin); err == nil {
		c.Balancer = &balancer
	} else if !errors.Is(err, brokers.ErrNoBalancer) { // which brokers that are no Moldau have not
		c.Unanswered = append(c.Unanswered, "the balancer")
	}
	if c.Adding, c.Moving, err = moving(ctx, admin); err != nil {
		c.Moving, c.Unanswered = -1, append(c.Unanswered, "reassignments")
	}
	return c, ctx.Err()
}

// levels asks one broker which levels of features it supports, and notes what the cluster has finalized.
func levels(ctx context.Context, admin *client.Client, id int32, c *Cluster) (map[string]Range, error) {
	ctx, cancel := context.WithTimeout(ctx, min(admin.APITimeout, restTimeout))
	defer cancel()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "moldau-tools", cli.KafkaVersion
	resp, err := req.RequestWith(ctx, admin.Broker(int(id)))
	if err != nil {
		return nil, client.Convert(err, "describeFeatures")
	}
	ranges := map[string]Range{}
	for _, f := range resp.SupportedFeatures {
		ranges[f.Name] = Range{f.MinVersion, f.MaxVersion}
	}
	if resp.FinalizedFeaturesEpoch > c.FeaturesEpoch || c.Finalized == nil {
		c.FeaturesEpoch, c.Finalized = resp.FinalizedFeaturesEpoch, map[string]int16{}
		for _, f := range resp.FinalizedFeatures {
			c.Finalized[f.Name] = f.MaxVersionLevel
		}
	}
	return ranges, nil
}

// quorum asks who votes and how far they are.
func quorum(ctx context.Context, admin *client.Client) (Quorum, error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = kafka.ClusterMetadataTopic
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return Quorum{}, fmt.Errorf("no controller has answered within %s", admin.APITimeout)
	}
	if err != nil {
		return Quorum{}, client.Convert(err, "describeMetadataQuorum")
	}
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return Quorum{}, errors.New("the answer about the metadata quorum is about another topic")
	}
	p := &resp.Topics[0].Partitions[0]
	if err := client.FromCode(p.ErrorCode, p.ErrorMessage); err != nil {
		return Quorum{}, err
	}
	q := Quorum{Leader: p.LeaderID, Epoch: p.LeaderEpoch, HighWatermark: p.HighWatermark, NowMs: time.Now().UnixMilli()}
	for _, r := range p.CurrentVoters {
		q.Voters = append(q.Voters, Member{r.ReplicaID, r.ReplicaDirectoryID, r.LogEndOffset, r.LastFetchTimestamp})
	}
	for _, r := range p.Observers {
		q.Observers = append(q.Observers, Member{r.ReplicaID, r.ReplicaDirectoryID, r.LogEndOffset, r.LastFetchTimestamp})
	}
	return q, nil
}

// topics adds the smallest number of in-sync replicas of each topic.
func topics(ctx context.Context, admin *client.Client, all []client.Topic) ([]Topic, error) {
	if len(all) == 0 {
		return nil, nil
	}
	var names []string
	for _, t := range all {
		names = append(names, t.Name)
	}
	configs, err := admin.DescribeConfigs(ctx, kafka.ConfigResourceTopic, names, false)
	if err != nil {
		return nil, err
	}
	topics := make([]Topic, 0, len(all))
	for _, t := range all {
		topic := Topic{Name: t.Name, MinISR: 1, Partitions: t.Partitions}
		at := slices.IndexFunc(configs[t.Name], func(c client.Config) bool { return c.Name == "min.insync.replicas" })
		if at >= 0 && configs[t.Name][at].Value != nil {
			if n, err := strconv.Atoi(*configs[t.Name][at].Value); err == nil {
				topic.MinISR = n
			}
		}
		topics = append(topics, topic)
	}
	return topics, nil
}

// moving counts the partitions that are being reassigned, and the replicas of each that are being added.
func moving(ctx context.Context, admin *client.Client) (adding map[kafka.TopicPartition]int, n int, err error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = int32(admin.APITimeout.Milliseconds())
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return nil, 0, client.Convert(err, "listPartitionReassignments")
	}
	adding = map[kafka.TopicPartition]int{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			n++
			adding[kafka.TopicPartition{Topic: t.Topic, Partition: p.Partition}] = len(p.AddingReplicas)
		}
	}
	return adding, n, nil
}
