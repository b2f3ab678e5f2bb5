package kafka

import (
	"math"
	"testing"
)

func TestJavaFloat(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{
		0: "0.0", 0.5: "0.5", 1: "1.0", 0.001: "0.001", 0.0001: "1.0E-4", 1e7: "1.0E7", 9999999: "9999999.0", 1.5e-10: "1.5E-10", -0.25: "-0.25",
		1.7976931348623157e308: "1.7976931348623157E308", math.Inf(1): "Infinity", math.Inf(-1): "-Infinity",
	} {
		if got := JavaFloat(f, 64); got != want {
			t.Errorf("%g is %s, want %s", f, got, want)
		}
	}
	if got := JavaFloat(math.NaN(), 64); got != "NaN" {
		t.Errorf("NaN is %s", got)
	}
}
