package broker

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/wire"
)

// TestClientsPushTheirMetrics: franz-go's client does by itself what the broker asks for, and its
// metrics are on the page of the broker's own. It takes * for a prefix, so all are asked for by theirs.
func TestClientsPushTheirMetrics(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, map[string]string{"http.listen": "127.0.0.1:0", "client.metrics.export.enable": "true"})
	n.alter(setting{kmsg.ConfigResourceTypeClientMetrics, "all", "metrics", ptr("org.apache.kafka.")})
	n.alter(setting{kmsg.ConfigResourceTypeClientMetrics, "all", "interval.ms", ptr("100")})
	n.topic("t", nil)
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.b.server.Addr("PLAINTEXT").String()), kgo.ClientID("pusher"), kgo.DefaultProduceTopic("t"))
	if err != nil {
		t.Fatal(err)
	}
	pushes := n.b.metrics.Counter("client_telemetry_pushes_total", "")
	for pushes.Value() < 2 {
		if err := cl.ProduceSync(t.Context(), kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	page := func() string {
		resp, err := http.Get("http://" + n.b.http.Addr().String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("the page of metrics: %s, %v", resp.Status, err)
		}
		return string(body)
	}()
	if !strings.Contains(page, `{client_id="pusher",client_instance_id="`) || !strings.Contains(page, `software="kgo/`) || !strings.Contains(page, "\nkafka_client_producer_") {
		t.Errorf("the client's metrics are not on the page:\n%s", page)
	}
	cl.Close()
	if invalid := n.b.metrics.Counter("client_telemetry_invalid_pushes_total", "").Value(); invalid != 0 {
		t.Errorf("%d pushes could not be read", invalid)
	}
}

// TestNobodyPushesUnasked: without a receiver the requests are not advertised, as in Kafka.
func TestNobodyPushesUnasked(t *testing.T) {
	t.Parallel()
	n := newConfigNode(t, nil)
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "test", "1"
	for _, key := range request[*kmsg.ApiVersionsResponse](n, versions).ApiKeys {
		if key.ApiKey == wire.KeyGetTelemetrySubscriptions || key.ApiKey == wire.KeyPushTelemetry {
			t.Errorf("key %d is advertised", key.ApiKey)
		}
	}
}
