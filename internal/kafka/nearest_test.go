package kafka

import "testing"

func TestNearest(t *testing.T) {
	t.Parallel()
	candidates := []string{"topic", "topics-with-overrides", "partitions", "replication-factor", "bootstrap-server"}
	for name, want := range map[string]string{
		"topci": "topic", "topics": "topic", "partition": "partitions", "replicaton-factor": "replication-factor", "bootstrap-servers": "bootstrap-server", "nonsense": "", "": "",
	} {
		if got := Nearest(name, candidates); got != want {
			t.Errorf("%q is taken for %q, want %q", name, got, want)
		}
	}
	if d := editDistance("kitten", "sitting", 100); d != 3 {
		t.Errorf("distance is %d", d)
	}
}
