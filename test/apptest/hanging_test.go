package apptest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafkatest"
)

// TestAHangingTransactionIsFoundAndAborted makes the coordinator forget a transaction, as a lost
// disk would (KIP-664): nobody ends it, and it holds readers of committed records up. The tool finds
// it and aborts it.
func TestAHangingTransactionIsFoundAndAborted(t *testing.T) {
	t.Parallel()
	broker := kafkatest.StartBroker(t)
	admin := kadm.NewClient(broker.Client())
	if _, err := admin.CreateTopics(t.Context(), 1, 1, nil, "held"); err != nil {
		t.Fatal(err)
	}
	producer := broker.Client(kgo.TransactionalID("lost"), kgo.DefaultProduceTopic("held"))
	if err := producer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := producer.ProduceSync(t.Context(), kgo.StringRecord("never ended")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	tool := func(arguments string) string {
		t.Helper()
		out, err := exec.Command(kafkatest.Binary(t), append([]string{"transactions", "--bootstrap-server", broker.Addr()}, strings.Fields(arguments)...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", arguments, err, out)
		}
		return string(out)
	}
	const find = "find-hanging --topic held --max-transaction-timeout -1"
	if out := tool(find); strings.Count(out, "\n") != 1 {
		t.Fatalf("its coordinator knows it still: %s", out)
	}
	broker.Stop()
	folders, err := filepath.Glob(filepath.Join(broker.DataDir, "__transaction_state-*"))
	if err != nil || len(folders) == 0 {
		t.Fatalf("%d folders of __transaction_state, %v", len(folders), err)
	}
	for _, folder := range folders {
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	broker.Start()
	stable := func() int64 {
		offsets, err := admin.ListCommittedOffsets(t.Context(), "held")
		if err != nil {
			t.Fatal(err)
		}
		return offsets["held"][0].Offset
	}
	lines := strings.Split(tool(find), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "held ") || stable() != 0 {
		t.Fatalf("last stable offset %d, found %q", stable(), lines)
	}
	startOffset := strings.TrimSpace(strings.Split(lines[1], "\t")[5])
	tool("abort --topic held --partition 0 --start-offset " + startOffset)
	if got := stable(); got != 2 {
		t.Errorf("last stable offset %d after the abort, want 2", got)
	}
	if out := tool(find); strings.Count(out, "\n") != 1 {
		t.Errorf("still found: %s", out)
	}
}
