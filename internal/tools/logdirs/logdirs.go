// Package logdirs is kafka-log-dirs: it shows what lies in the brokers' log dirs. The command table
// in internal/tools calls Run; nothing here starts a goroutine.
package logdirs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

const summary = "This tool helps to query log directory usage on the specified brokers."

// Run is kafka-log-dirs.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	p := cli.NewParser()
	bootstrap := p.Value("bootstrap-server", "String: The server(s) to use for bootstrapping", "REQUIRED: brokers to connect to.")
	config := p.Value("command-config", "String: Admin client property file", "File with client properties.")
	describe := p.Flag("describe", "Show the log dirs of the brokers.")
	topics := p.Value("topic-list", "String: Topic list", "Topics, separated by commas; all if absent.")
	brokers := p.Value("broker-list", "String: Broker list", "Ids of brokers, separated by commas; all if absent.")
	set, err := p.Parse(args)
	if err != nil {
		return fail(s, err)
	}
	if done, err := set.HelpOrVersion(s, summary); done {
		return err
	}
	if err := set.CheckRequired(s, bootstrap, describe); err != nil {
		return err
	}
	wanted, err := brokerIDs(set.String(brokers))
	if err != nil {
		return fail(s, err)
	}
	admin, err := client.Connection{Servers: bootstrap, Config: config, Defaults: client.Properties{"client.id": "log-dirs-tool"}}.Open(s, set)
	if err != nil {
		return fail(s, err)
	}
	defer admin.Close()
	if err := show(ctx, s, admin, wanted, list(set.String(topics))); err != nil {
		return fail(s, err)
	}
	return nil
}

func fail(s cli.Streams, err error) error {
	s.Errorln(err.Error())
	return cli.Failed
}

func list(text string) []string {
	return slices.DeleteFunc(strings.Split(text, ","), func(item string) bool { return item == "" })
}

func brokerIDs(text string) ([]int32, error) {
	var ids []int32
	for _, item := range list(text) {
		id, err := strconv.ParseInt(item, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("For input string: %q", item) //nolint:staticcheck // the words of Kafka's tools
		}
		ids = append(ids, int32(id))
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// The output's form, its fields in the order in which Kafka's tool prints them.
type (
	output struct {
		Brokers []brokerOutput `json:"brokers"`
		Version int            `json:"version"`
	}
	brokerOutput struct {
		Broker  int32       `json:"broker"`
		LogDirs []dirOutput `json:"logDirs"`
	}
	dirOutput struct {
		Partitions []partitionOutput `json:"partitions"`
		Error      *string           `json:"error"`
		LogDir     string            `json:"logDir"`
	}
	partitionOutput struct {
		Partition string `json:"partition"`
		Size      int64  `json:"size"`
		OffsetLag int64  `json:"offsetLag"`
		IsFuture  bool   `json:"isFuture"`
	}
)

func show(ctx context.Context, s cli.Streams, admin *client.Client, wanted []int32, topics []string) error {
	if err := admin.Connect(ctx, "listNodes"); err != nil {
		return err
	}
	cluster, err := admin.Metadata(ctx, []string{}, "listNodes")
	if err != nil {
		return err
	}
	var existing []int32
	for _, b := range cluster.Brokers {
		existing = append(existing, b.NodeID)
	}
	slices.Sort(existing)
	missing := slices.DeleteFunc(slices.Clone(wanted), func(id int32) bool { return slices.Contains(existing, id) })
	if len(missing) > 0 {
		return fmt.Errorf("ERROR: The given brokers do not exist from --broker-list: %s. Current existent brokers: %s", joined(missing), joined(existing)) //nolint:staticcheck // the words of Kafka's tools
	}
	if len(wanted) == 0 {
		wanted = existing
	}
	s.Println("Querying brokers for log directories information")
	out := output{Version: 1, Brokers: []brokerOutput{}}
	for _, id := range wanted {
		dirs, err := ask(ctx, admin, id, topics)
		if err != nil {
			return err
		}
		out.Brokers = append(out.Brokers, brokerOutput{id, dirs})
	}
	s.Println("Received log directory information from brokers " + joined(wanted))
	text, err := json.Marshal(out)
	if err != nil {
		return err
	}
	s.Println(string(text))
	return nil
}

// exceptionClass is the name of the class that Kafka's tool prints for an error.
func exceptionClass(code int16) string {
	name, _, _ := strings.Cut(client.Exception(client.FromCode(code, nil)), ":")
	return name
}

func joined(ids []int32) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, ",")
}

func ask(ctx context.Context, admin *client.Client, broker int32, topics []string) ([]dirOutput, error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	answer, err := admin.Broker(int(broker)).RetriableRequest(ctx, kmsg.NewPtrDescribeLogDirsRequest())
	if err != nil {
		return nil, client.Convert(err, "describeLogDirs")
	}
	resp, ok := answer.(*kmsg.DescribeLogDirsResponse)
	if !ok {
		return nil, fmt.Errorf("broker %d answered something else than its log dirs", broker)
	}
	if err := client.FromCode(resp.ErrorCode, nil); err != nil {
		return nil, err
	}
	dirs := []dirOutput{}
	for _, d := range resp.Dirs {
		out := dirOutput{LogDir: d.Dir, Partitions: []partitionOutput{}}
		if d.ErrorCode != 0 {
			class := exceptionClass(d.ErrorCode)
			out.Error = &class
		}
		for _, t := range d.Topics {
			if len(topics) > 0 && !slices.Contains(topics, t.Topic) {
				continue
			}
			for _, p := range t.Partitions {
				tp := kafka.TopicPartition{Topic: t.Topic, Partition: p.Partition}
				out.Partitions = append(out.Partitions, partitionOutput{tp.String(), p.Size, p.OffsetLag, p.IsFuture})
			}
		}
		dirs = append(dirs, out)
	}
	return dirs, nil
}
