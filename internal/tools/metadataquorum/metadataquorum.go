// Package metadataquorum is kafka-metadata-quorum: who votes on the cluster's metadata and how far they
// are, and who else is to vote. The command table in internal/tools calls Run; nothing here starts a goroutine.
package metadataquorum

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

var parser = &cli.SubParser{
	Program:     "kafka-metadata-quorum",
	Description: "Shows the quorum of the cluster's metadata.",
	Global: []cli.Argument{
		{Long: "--bootstrap-server", Help: "Brokers to connect to, host:port, separated by commas."},
		{Long: "--bootstrap-controller", Help: "Controllers to connect to instead."},
		{Long: "--command-config", Help: "File with client properties; for add-controller that of the controller."},
	},
	Commands: []cli.SubCommand{
		{Name: "describe", Help: "Show the quorum.", Arguments: []cli.Argument{
			{Long: "--status", IsFlag: true, Help: "In short."},
			{Long: "--replication", IsFlag: true, Help: "How far each member is."},
			{Long: "--human-readable", IsFlag: true, Help: "With --replication: times as durations."},
		}},
		{Name: "add-controller", Help: "Add a controller that runs to the quorum; --command-config is its properties file.", Arguments: []cli.Argument{{Long: "--dry-run", IsFlag: true, Help: "Only say what would be done."}}},
		{Name: "remove-controller", Help: "Remove a controller from the quorum.", Arguments: []cli.Argument{
			{Long: "--controller-id", Short: "-i", Required: true, Bits: 32, Help: "The controller's id."},
			{Long: "--controller-directory-id", Short: "-d", Required: true, Help: "The id of its directory."},
			{Long: "--dry-run", IsFlag: true, Help: "Only say what would be done."},
		}},
	},
}

// Run is kafka-metadata-quorum.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	parsed, err := parser.Parse(s, args)
	if err != nil {
		return err
	}
	if !parsed.Has("--bootstrap-server") && !parsed.Has("--bootstrap-controller") {
		return parser.Fail(s, parsed, "one of the arguments --bootstrap-server --bootstrap-controller is required")
	}
	admin, err := client.OpenParsed(s, parsed, "--command-config")
	if err != nil {
		return err
	}
	defer admin.Close()
	switch parsed.Command {
	case "add-controller":
		if !parsed.Has("--command-config") {
			return errors.New("You must supply the configuration file of the controller you are adding when using add-controller.") //nolint:staticcheck // the words of Kafka's tools
		}
		return addController(ctx, s, admin, parsed)
	case "remove-controller":
		return removeController(ctx, s, admin, parsed)
	}
	return describe(ctx, s, admin, parsed)
}

func describe(ctx context.Context, s cli.Streams, admin *client.Client, parsed *cli.Parsed) error {
	status, replication := parsed.Has("--status"), parsed.Has("--replication")
	switch {
	case status && replication:
		return errors.New("Only one of --status or --replication should be specified with describe sub-command") //nolint:staticcheck // the words of Kafka's tools
	case !status && !replication:
		return errors.New("One of --status or --replication must be specified with describe sub-command") //nolint:staticcheck // the words of Kafka's tools
	case status && parsed.Has("--human-readable"):
		return errors.New("The option --human-readable is only supported along with --replication") //nolint:staticcheck // the words of Kafka's tools
	}
	clusterID := ""
	if status {
		cluster, err := admin.Describe(ctx, false)
		if err != nil {
			return err
		}
		clusterID = cluster.ClusterID
	}
	q, err := ask(ctx, admin)
	if err != nil {
		return err
	}
	if status {
		return q.printStatus(s, clusterID)
	}
	return q.printReplication(s, parsed.Has("--human-readable"), time.Now().UnixMilli())
}

type (
	partitionState = kmsg.DescribeQuorumResponseTopicPartition
	replicaState   = kmsg.DescribeQuorumResponseTopicPartitionReplicaState
)

// quorum is what the leader said.
type quorum struct {
	partitionState
	nodes []kmsg.DescribeQuorumResponseNode
}

func ask(ctx context.Context, admin *client.Client) (quorum, error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	const topic, call = "__cluster_metadata", "describeMetadataQuorum"
	req := kmsg.NewPtrDescribeQuorumRequest()
	partition := kmsg.NewDescribeQuorumRequestTopicPartition()
	asked := kmsg.NewDescribeQuorumRequestTopic()
	asked.Topic, asked.Partitions = topic, append(asked.Partitions, partition)
	req.Topics = append(req.Topics, asked)
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	if err != nil {
		return quorum{}, client.Convert(err, call)
	}
	if len(resp.Topics) != 1 || resp.Topics[0].Topic != topic || len(resp.Topics[0].Partitions) != 1 {
		return quorum{}, errors.New("the answer about the metadata quorum is not about partition 0 of " + topic)
	}
	q := quorum{resp.Topics[0].Partitions[0], resp.Nodes}
	return q, client.FromCode(q.ErrorCode, q.ErrorMessage)
}

// leader is the voter that leads.
func (q *quorum) leader() (replicaState, error) {
	i := slices.IndexFunc(q.CurrentVoters, func(r replicaState) bool { return r.ReplicaID == q.LeaderID })
	if i < 0 {
		return replicaState{}, fmt.Errorf("the metadata quorum has no leader among its voters (leader id %d); try again", q.LeaderID)
	}
	return q.CurrentVoters[i], nil
}

func (q *quorum) printStatus(s cli.Streams, clusterID string) error {
	leader, err := q.leader()
	if err != nil {
		return err
	}
	last := slices.MinFunc(q.CurrentVoters, func(a, b replicaState) int { return int(max(-1, min(1, a.LogEndOffset-b.LogEndOffset))) })
	lagMs := int64(-1)
	switch {
	case last.ReplicaID == leader.ReplicaID:
		lagMs = 0
	case leader.LastCaughtUpTimestamp >= 0 && last.LastCaughtUpTimestamp >= 0:
		lagMs = leader.LastCaughtUpTimestamp - last.LastCaughtUpTimestamp
	}
	s.Printf("ClusterId:              %s\nLeaderId:               %d\nLeaderEpoch:            %d\nHighWatermark:          %d\n"+
		"MaxFollowerLag:         %d\nMaxFollowerLagTimeMs:   %d\nCurrentVoters:          %s\nCurrentObservers:       %s\n",
		clusterID, q.LeaderID, q.LeaderEpoch, q.HighWatermark, leader.LogEndOffset-last.LogEndOffset, lagMs, q.list(q.CurrentVoters), q.list(q.Observers))
	return nil
}

// list shows who replicas are and where.
func (q *quorum) list(replicas []replicaState) string {
	texts := make([]string, 0, len(replicas))
	for _, r := range replicas {
		text := `{"id": ` + strconv.Itoa(int(r.ReplicaID))
		if id := kafka.UUID(r.ReplicaDirectoryID); !id.IsZero() {
			text += `, "directoryId": "` + id.String() + `"`
		}
		var endpoints []string
		for _, n := range q.nodes {
			for _, l := range n.Listeners {
				if n.NodeID == r.ReplicaID {
					endpoints = append(endpoints, `"`+l.Name+"://"+net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))+`"`)
				}
			}
		}
		if len(endpoints) > 0 {
			text += `, "endpoints": [` + strings.Join(endpoints, ", ") + "]"
		}
		texts = append(texts, text+"}")
	}
	return "[" + strings.Join(texts, ", ") + "]"
}

func (q *quorum) printReplication(s cli.Streams, humanReadable bool, nowMs int64) error {
	leader, err := q.leader()
	if err != nil {
		return err
	}
	moment := func(timestampMs int64, what string) string {
		switch {
		case timestampMs == -1:
			return "-1"
		case !humanReadable:
			return strconv.FormatInt(timestampMs, 10)
		case timestampMs <= 0 || timestampMs > nowMs:
			err = fmt.Errorf("Error while computing relative time, possible drift in system clock.\nCurrent timestamp is %d, %s timestamp is %d", nowMs, what, timestampMs) //nolint:staticcheck // the words of Kafka's tools
		}
		return fmt.Sprintf("%d ms ago", nowMs-timestampMs)
	}
	var rows [][]string
	add := func(status string, replicas ...replicaState) {
		for _, r := range replicas {
			rows = append(rows, []string{
				strconv.Itoa(int(r.ReplicaID)), kafka.UUID(r.ReplicaDirectoryID).String(), strconv.FormatInt(r.LogEndOffset, 10),
				strconv.FormatInt(leader.LogEndOffset-r.LogEndOffset, 10), moment(r.LastFetchTimestamp, "last fetch"),
				moment(r.LastCaughtUpTimestamp, "last caught up"), status,
			})
		}
	}
	add("Leader", leader)
	add("Follower", slices.DeleteFunc(slices.Clone(q.CurrentVoters), func(r replicaState) bool { return r.ReplicaID == q.LeaderID })...)
	add("Observer", q.Observers...)
	if err != nil {
		return err
	}
	s.Table([]string{"NodeId", "DirectoryId", "LogEndOffset", "Lag", "LastFetchTimestamp", "LastCaughtUpTimestamp", "Status"}, rows)
	return nil
}

func removeController(ctx context.Context, s cli.Streams, admin *client.Client, parsed *cli.Parsed) error {
	id, _ := parsed.Number("--controller-id")
	if id < 0 {
		return fmt.Errorf("Invalid negative --controller-id: %d", id) //nolint:staticcheck // the words of Kafka's tools
	}
	directory, err := kafka.ParseUUID(parsed.Value("--controller-directory-id"))
	if err != nil {
		return fmt.Errorf("Failed to parse --controller-directory-id: %w", err) //nolint:staticcheck // the words of Kafka's tools
	}
	done := "Removed "
	if parsed.Has("--dry-run") {
		done = "DRY RUN of removing "
	} else {
		ctx, cancel := admin.Context(ctx)
		defer cancel()
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = int32(id), directory
		resp, err := req.RequestWith(ctx, admin)
		if err == nil {
			err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
		}
		if err != nil {
			return client.Convert(err, "removeRaftVoter")
		}
	}
	s.Printf("%s KRaft controller %d with directory id %s\n", done, id, directory)
	return nil
}
