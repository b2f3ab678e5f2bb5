package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moldau/moldau/internal/metrics"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	registry := metrics.NewRegistry()
	registry.Counter("moldau_test_total", "A counter.", "kind", "a").Add(3)
	registry.Counter("moldau_test_total", "A counter.", "kind", "b").Add(4)
	registry.Gauge("moldau_level", "A gauge.").Set(-2)
	registry.GaugeFunc("moldau_answer", "A computed gauge.", func() float64 { return 42 })
	registry.Histogram("moldau_wait_seconds", "A histogram.", []float64{1, 2}).Observe(1.5)
	var ready atomic.Bool
	h, err := ListenHTTP(t.Context(), HTTPOptions{Address: "127.0.0.1:0", Metrics: registry, Health: func() Health {
		if ready.Load() {
			return Health{Ready: true, Status: "ready", NodeID: 1}
		}
		return Health{Status: "starting", NodeID: 1}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	base := "http://" + h.Addr().String()

	if status, _ := get(t, base+"/healthz"); status != http.StatusServiceUnavailable {
		t.Errorf("not ready: status %d", status)
	}
	ready.Store(true)
	status, body := get(t, base+"/healthz")
	var health Health
	if err := json.Unmarshal([]byte(body), &health); err != nil || status != http.StatusOK || health.Status != "ready" {
		t.Errorf("ready: status %d, %s, %v", status, body, err)
	}

	status, body = get(t, base+"/metrics")
	if status != http.StatusOK {
		t.Errorf("metrics: status %d", status)
	}
	for _, line := range []string{
		`moldau_test_total{kind="a"} 3`, `moldau_test_total{kind="b"} 4`, "moldau_level -2", "moldau_answer 42", `moldau_wait_seconds_bucket{le="2"} 1`,
		"moldau_wait_seconds_count 1", "# TYPE moldau_test_total counter", "go_goroutines ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, "\n"+line) && !strings.HasPrefix(body, line) {
			t.Errorf("metrics lack %q", line)
		}
	}
	for _, path := range []string{"/", "/debug/pprof/"} {
		if status, _ := get(t, base+path); status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, status)
		}
	}
	if _, err := ListenHTTP(t.Context(), HTTPOptions{Address: h.Addr().String(), Metrics: registry}); err == nil || !strings.Contains(err.Error(), "http.listen") {
		t.Errorf("address in use: %v", err)
	}
}
