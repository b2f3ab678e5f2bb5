package cli

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// TopicFilter matches whole topic names against a list of regular expressions.
type TopicFilter struct{ pattern *regexp.Regexp }

// NewTopicFilter reads Kafka's include lists: expressions separated by commas, spaces and
// surrounding quotes ignored.
func NewTopicFilter(expression string) (*TopicFilter, error) {
	cleaned := strings.ReplaceAll(strings.TrimSpace(expression), ",", "|")
	cleaned = strings.ReplaceAll(cleaned, " ", "")
	cleaned = strings.Trim(cleaned, `"'`)
	pattern, err := regexp.Compile("^(?:" + cleaned + ")$")
	if err != nil {
		return nil, fmt.Errorf("%s is an invalid regex.", cleaned) //nolint:staticcheck // the words of Kafka's tools
	}
	return &TopicFilter{pattern: pattern}, nil
}

// Allows reports whether a topic passes.
func (f *TopicFilter) Allows(topic string, excludeInternal bool) bool {
	return f.pattern.MatchString(topic) && !(excludeInternal && kafka.IsInternalTopic(topic))
}
