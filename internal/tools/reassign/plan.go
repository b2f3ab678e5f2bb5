package reassign

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/tools/client"
)

const (
	maxFileBytes = 64 << 20
	anyDir       = "any"
)

// assignment is where one partition's replicas are, or shall be.
type assignment struct {
	tp       kafka.TopicPartition
	replicas []int32
	dirs     []string // for each replica; "any" where it does not matter
}

// replica is one broker's copy of a partition.
type replica struct {
	tp     kafka.TopicPartition
	broker int32
}

func (r replica) String() string { return fmt.Sprintf("%s-%d", r.tp, r.broker) }

func compareReplicas(a, b replica) int {
	return cmp.Or(cmp.Compare(a.broker, b.broker), client.ComparePartitions(a.tp, b.tp))
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("Unable to read file %s", path) //nolint:staticcheck // the words of Kafka's tools
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("%s has more than the %d bytes that are read", path, maxFileBytes)
	}
	return data, err
}

func unmarshal(data []byte, content any) error {
	if !json.Valid(data) {
		return errors.New("The input string is not a valid JSON") //nolint:staticcheck // the words of Kafka's tools
	}
	if err := json.Unmarshal(data, content); err != nil {
		return fmt.Errorf("the JSON file has not the expected form: %w", err)
	}
	return nil
}

func noField(name string) error {
	return fmt.Errorf("No such field exists: `%s`", name) //nolint:staticcheck // the words of Kafka's tools
}

func checkVersion(version *int) error {
	if version != nil && *version != 1 {
		return fmt.Errorf("Not supported version field value %d", *version) //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// parsePlan reads the JSON of --reassignment-json-file.
func parsePlan(data []byte) ([]assignment, error) {
	var content struct {
		Version    *int `json:"version"`
		Partitions []struct {
			Topic     *string   `json:"topic"`
			Partition *int32    `json:"partition"`
			Replicas  *[]int32  `json:"replicas"`
			LogDirs   *[]string `json:"log_dirs"`
		} `json:"partitions"`
	}
	if err := unmarshal(data, &content); err != nil {
		return nil, err
	}
	if err := checkVersion(content.Version); err != nil {
		return nil, err
	}
	var plan []assignment
	for _, p := range content.Partitions {
		switch {
		case p.Topic == nil:
			return nil, noField("topic")
		case p.Partition == nil:
			return nil, noField("partition")
		case p.Replicas == nil:
			return nil, noField("replicas")
		}
		a := assignment{tp: kafka.TopicPartition{Topic: *p.Topic, Partition: *p.Partition}, replicas: *p.Replicas}
		if p.LogDirs == nil {
			a.dirs = slices.Repeat([]string{anyDir}, len(a.replicas))
		} else {
			a.dirs = *p.LogDirs
		}
		if len(a.dirs) != len(a.replicas) {
			return nil, fmt.Errorf("Size of replicas list [%s] is different from size of log dirs list [%s] for partition %s", //nolint:staticcheck // the words of Kafka's tools
				joined(a.replicas, ", "), strings.Join(a.dirs, ", "), a.tp)
		}
		plan = append(plan, a)
	}
	return plan, nil
}

// checkPlan refuses what must not be executed.
func checkPlan(plan []assignment) error {
	if len(plan) == 0 {
		return errors.New("Partition reassignment list cannot be empty") //nolint:staticcheck // the words of Kafka's tools
	}
	count := map[kafka.TopicPartition]int{}
	var twice, repeating []string
	for _, a := range plan {
		if len(a.replicas) == 0 {
			return errors.New("Partition replica list cannot be empty") //nolint:staticcheck // the words of Kafka's tools
		}
		if count[a.tp]++; count[a.tp] == 2 {
			twice = append(twice, a.tp.String())
		}
		if brokers := duplicates(a.replicas); len(brokers) > 0 {
			repeating = append(repeating, fmt.Sprintf("%s contains multiple entries for %s", a.tp, joined(brokers, ",")))
		}
	}
	if len(twice) > 0 {
		return fmt.Errorf("Partition reassignment contains duplicate topic partitions: %s", strings.Join(twice, ",")) //nolint:staticcheck // the words of Kafka's tools
	}
	if len(repeating) > 0 {
		return fmt.Errorf("Partition replica lists may not contain duplicate entries: %s", strings.Join(repeating, ". ")) //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// parseTopics reads the JSON of --topics-to-move-json-file.
func parseTopics(data []byte) ([]string, error) {
	var content struct {
		Version *int `json:"version"`
		Topics  []struct {
			Topic *string `json:"topic"`
		} `json:"topics"`
	}
	if err := unmarshal(data, &content); err != nil {
		return nil, err
	}
	if err := checkVersion(content.Version); err != nil {
		return nil, err
	}
	var topics []string
	for _, t := range content.Topics {
		if t.Topic == nil {
			return nil, noField("topic")
		}
		topics = append(topics, *t.Topic)
	}
	if twice := duplicates(topics); len(twice) > 0 {
		return nil, fmt.Errorf("List of topics to reassign contains duplicate entries: [%s]", strings.Join(twice, ", ")) //nolint:staticcheck // the words of Kafka's tools
	}
	return topics, nil
}

func parseBrokers(text string) ([]int32, error) {
	var brokers []int32
	for item := range strings.SplitSeq(text, ",") {
		id, err := strconv.ParseInt(item, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("For input string: %q", item) //nolint:staticcheck // the words of Kafka's tools
		}
		brokers = append(brokers, int32(id))
	}
	if twice := duplicates(brokers); len(twice) > 0 {
		return nil, fmt.Errorf("Broker list contains duplicate entries: [%s]", joined(twice, ", ")) //nolint:staticcheck // the words of Kafka's tools
	}
	return brokers, nil
}

// format writes assignments as the JSON that --reassignment-json-file takes.
func format(plan []assignment) (string, error) {
	type entry struct {
		Topic     string   `json:"topic"`
		Partition int32    `json:"partition"`
		Replicas  []int32  `json:"replicas"`
		LogDirs   []string `json:"log_dirs"`
	}
	content := struct {
		Version    int     `json:"version"`
		Partitions []entry `json:"partitions"`
	}{1, []entry{}}
	for _, a := range plan {
		content.Partitions = append(content.Partitions, entry{a.tp.Topic, a.tp.Partition, a.replicas, a.dirs})
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // names of folders stay as they are
	err := encoder.Encode(content)
	return strings.TrimSpace(text.String()), err
}

// duplicates returns what a list has more than once, each once.
func duplicates[T cmp.Ordered](list []T) []T {
	count := map[T]int{}
	var twice []T
	for _, item := range list {
		if count[item]++; count[item] == 2 {
			twice = append(twice, item)
		}
	}
	return twice
}

func joined(ids []int32, separator string) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(int(id))
	}
	return strings.Join(texts, separator)
}

// partitions lists the partitions of a plan, sorted.
func partitions(plan []assignment) []kafka.TopicPartition {
	all := make([]kafka.TopicPartition, len(plan))
	for i, a := range plan {
		all[i] = a.tp
	}
	client.SortPartitions(all)
	return all
}

func names(partitions []kafka.TopicPartition) string {
	texts := make([]string, len(partitions))
	for i, tp := range partitions {
		texts[i] = tp.String()
	}
	return strings.Join(texts, ",")
}

// topicsOf lists the topics of a plan, sorted, each once.
func topicsOf(plan []assignment) []string {
	var topics []string
	for _, a := range plan {
		topics = append(topics, a.tp.Topic)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// dirMoves are the replicas of a plan that shall be in a certain log dir.
func dirMoves(plan []assignment) map[replica]string {
	moves := map[replica]string{}
	for _, a := range plan {
		for i, broker := range a.replicas {
			if a.dirs[i] != anyDir {
				moves[replica{a.tp, broker}] = a.dirs[i]
			}
		}
	}
	return moves
}
