package apptest

import (
	"os"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	kafkatest.RemoveBinary()
	os.Exit(code)
}

// full reports whether to run for minutes rather than seconds.
func full() bool { return os.Getenv("MOLDAU_APPTEST") == "full" }
