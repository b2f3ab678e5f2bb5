package handler

import (
	"log/slog"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/kafka"
)

// rootLogger is the one logger of the broker, under the name that Kafka's tools know (KIP-412).
const rootLogger = "root"

// logLevels maps Kafka's level names to ours; names that say the same to us come after the one
// that describeLogger answers.
var logLevels = []struct {
	name  string
	level slog.Level
}{
	{"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo}, {"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError},
	{"TRACE", slog.LevelDebug}, {"FATAL", slog.LevelError},
}

func describeLogger(level slog.Level) config.Entry {
	name := level.String()
	for _, l := range logLevels {
		if l.level == level {
			name = l.name
			break
		}
	}
	return config.Entry{Name: rootLogger, Value: &name, Source: kafka.ConfigSourceDynamicBrokerLogger}
}

// alterLogger sets the broker's log level.
func alterLogger(level *slog.LevelVar, configs []kmsg.IncrementalAlterConfigsRequestResourceConfig, validateOnly bool) error {
	for _, c := range configs {
		if c.Op != kmsg.IncrementalAlterConfigOpSet && c.Op != kmsg.IncrementalAlterConfigOpDelete {
			return kafka.Errorf(kafka.ErrInvalidRequest, "operation %d is not allowed for a broker's loggers", c.Op)
		}
		if c.Name != rootLogger {
			return kafka.Errorf(kafka.ErrInvalidConfig, "logger %s does not exist; the broker has one, %s", c.Name, rootLogger)
		}
		if c.Op == kmsg.IncrementalAlterConfigOpDelete {
			return kafka.Errorf(kafka.ErrInvalidRequest, "the log level of the %s logger cannot be removed", rootLogger)
		}
		wanted, ok := parseLogLevel(*c.Value)
		if !ok {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%q is not a log level; use DEBUG, INFO, WARN or ERROR", *c.Value)
		}
		if !validateOnly {
			level.Set(wanted)
		}
	}
	return nil
}

func parseLogLevel(name string) (slog.Level, bool) {
	for _, l := range logLevels {
		if l.name == name {
			return l.level, true
		}
	}
	return 0, false
}
