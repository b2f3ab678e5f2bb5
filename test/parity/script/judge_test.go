package script

import (
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/wire"
)

// TestSteady holds what the recorded answers may excuse to Apache Kafka's own wavering: Moldau must agree with one of its
// two answers, and a few cases are all.
func TestSteady(t *testing.T) {
	t.Parallel()
	var cases []Case
	recorded := map[string]string{}
	for i := range maxWavering + 1 {
		c := Case{API: &wire.API{Name: "Produce"}, Name: fmt.Sprint("case ", i)}
		cases = append(cases, c)
		recorded[c.ID()] = "closes the connection"
	}
	for _, tt := range []struct {
		name         string
		kafka, ours  string
		times, steps int
	}{
		{"agree", "no answer", "no answer", len(cases), 0},
		{"Apache Kafka wavers", "empty", "closes the connection", 1, 1},
		{"Moldau is wrong", "closes the connection", "empty", 1, 0},
		{"Moldau is like neither", "empty", "no answer", 1, 0},
		{"too often", "empty", "closes the connection", len(cases), 0},
	} {
		var theirs, ours []string
		for i := range cases {
			if i < tt.times {
				theirs, ours = append(theirs, tt.kafka), append(ours, tt.ours)
			} else {
				theirs, ours = append(theirs, "closes the connection"), append(ours, "closes the connection")
			}
		}
		if got := Steady(cases, theirs, ours, recorded); len(got) != tt.steps {
			t.Errorf("%s: %d cases waver, expected %d: %q", tt.name, len(got), tt.steps, got)
		}
		if tt.steps > 0 && theirs[0] != ours[0] {
			t.Errorf("%s: the recorded answer was not put in", tt.name)
		}
	}
}
