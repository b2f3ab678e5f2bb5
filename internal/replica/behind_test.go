package replica

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/metrics"
	"github.com/moldau/moldau/internal/partition"
)

// TestMetricsNameWhatIsBehind: an operator sees which partitions lack replicas and how far a follower is behind, and a replica
// that is only being added is not missed, as in Kafka.
func TestMetricsNameWhatIsBehind(t *testing.T) {
	t.Parallel()
	h, _ := newClusterHarness(t)
	h.createReplicated("whole", 1, 1, 2, 3)
	h.createReplicated("lacking", 1, 1, 2)
	h.createReplicated("followed", 2, 1, 2, 3)
	h.apply(&metadata.TopicRecord{Name: "moving", TopicID: idOf("moving")},
		&metadata.PartitionRecord{TopicID: idOf("moving"), Replicas: []int32{1, 2, 3}, AddingReplicas: []int32{3}, ISR: []int32{1, 2}, Leader: 1, Directories: make([]kafka.UUID, 3)})
	if err := h.find(tpOf("followed", 0)).AppendFetched(partition.Fetched{LeaderHighWatermark: 7}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range h.options.Metrics.Gather() {
		if s.Func == nil || s.Func() == 0 || !strings.Contains(s.Name, "consumerlag") && !strings.Contains(s.Name, "underreplicated") {
			continue
		}
		got = append(got, fmt.Sprint(s.Name, labelsOf(s), s.Func()))
	}
	const want = "kafka_server_replicamanager_underreplicatedpartitions[] 1, kafka_server_fetcherlagmetrics_consumerlag[followed 0] 7, kafka_cluster_partition_underreplicated[lacking 0] 1"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %s\nwant %s", strings.Join(got, ", "), want)
	}
}

func labelsOf(s *metrics.Series) (values []string) {
	for _, l := range s.Labels {
		values = append(values, l.Value)
	}
	return values
}
