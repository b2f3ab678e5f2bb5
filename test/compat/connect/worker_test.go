//go:build unix

package connect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
)

// worker is one of a distributed group, and its REST address.
type worker struct {
	*programs.Process
	t    *testing.T
	rest string
}

func startWorker(t *testing.T, name, bootstrap string) *worker {
	t.Helper()
	w := &worker{t: t, rest: fmt.Sprintf("127.0.0.1:%d", kafkatest.FreePort(t))}
	config := filepath.Join(t.TempDir(), "worker.properties")
	properties := []string{
		"bootstrap.servers=" + bootstrap, "group.id=connect-cluster", "listeners=http://" + w.rest,
		"config.storage.topic=connect-configs", "offset.storage.topic=connect-offsets", "status.storage.topic=connect-status",
		"config.storage.replication.factor=-1", "offset.storage.replication.factor=-1", "status.storage.replication.factor=-1", "offset.storage.partitions=5",
		"key.converter=org.apache.kafka.connect.storage.StringConverter", "value.converter=org.apache.kafka.connect.storage.StringConverter",
		"exactly.once.source.support=enabled", "plugin.discovery=service_load", "offset.flush.interval.ms=300",
		"scheduled.rebalance.max.delay.ms=500", "heartbeat.interval.ms=500", "session.timeout.ms=6000",
	}
	if err := os.WriteFile(config, []byte(strings.Join(properties, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.Process = programs.Start(t, name, programs.Java("org.apache.kafka.connect.cli.ConnectDistributed", config))
	return w
}

// call asks the worker; it returns the status and the answer's text.
func (w *worker) call(method, path string, body any) (int, string, error) {
	var content bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&content).Encode(body); err != nil {
			return 0, "", err
		}
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.rest+path, &content)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: 90 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// must calls until the worker says yes: it refuses while its group rebalances.
func (w *worker) must(method, path string, body any) string {
	w.t.Helper()
	var answer string
	programs.Await(w.t, method+" "+path, func() error {
		if err := w.Running(); err != nil {
			w.t.Fatal(err)
		}
		status, text, err := w.call(method, path, body)
		if err != nil {
			return err
		}
		if status/100 != 2 {
			return fmt.Errorf("%d: %s", status, text)
		}
		answer = text
		return nil
	})
	return answer
}

// status is what a worker says of a connector.
type status struct {
	Connector state   `json:"connector"`
	Tasks     []state `json:"tasks"`
}

type state struct {
	State    string `json:"state"`
	WorkerID string `json:"worker_id"`
	Trace    string `json:"trace"`
}

// await returns when the connector and its task are in the state.
func (w *worker) await(connector, want string) (got status) {
	w.t.Helper()
	programs.Await(w.t, connector+" is "+want, func() error {
		_, text, err := w.call(http.MethodGet, "/connectors/"+connector+"/status", nil)
		if err != nil {
			return err
		}
		got = status{}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			return fmt.Errorf("%w: %s", err, text)
		}
		tasks := 1
		if want == "STOPPED" {
			tasks = 0
		}
		if got.Connector.State != want || len(got.Tasks) != tasks {
			return fmt.Errorf("%s", text)
		}
		for _, task := range got.Tasks {
			if task.State != want {
				return fmt.Errorf("%s", text)
			}
		}
		return nil
	})
	return got
}
