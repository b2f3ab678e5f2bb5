//go:build unix

package eos

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/kafkatest"
)

// asWorker tells the test's binary to be an instance of the franz-go program.
const asWorker = "EOS_FRANZGO_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(franzgoWorker())
	}
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// full reports whether to run for minutes rather than seconds.
func full() bool { return os.Getenv("MOLDAU_APPTEST") == "full" }

// seeded returns what the troubles are drawn from; MOLDAU_SEED repeats a run as far as processes allow it.
func seeded(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MOLDAU_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("MOLDAU_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}
