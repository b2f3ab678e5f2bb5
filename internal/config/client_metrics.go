package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// What clients can be selected by, in the match config of a client metrics subscription.
const (
	SelectorInstanceID      = "client_instance_id"
	SelectorClientID        = "client_id"
	SelectorSoftwareName    = "client_software_name"
	SelectorSoftwareVersion = "client_software_version"
	SelectorSourceAddress   = "client_source_address"
	SelectorSourcePort      = "client_source_port"
)

var selectors = []string{SelectorInstanceID, SelectorClientID, SelectorSoftwareName, SelectorSoftwareVersion, SelectorSourceAddress, SelectorSourcePort}

// AllClientMetrics in a subscription's metrics stands for every metric.
const AllClientMetrics = "*"

// Bounds of interval.ms of a client metrics subscription.
const (
	minPushIntervalMs = 100
	maxPushIntervalMs = 3600_000
)

// ClientMetricsSubscription says what metrics which clients push, and how often.
type ClientMetricsSubscription struct {
	Metrics    []string // prefixes of names, or AllClientMetrics
	IntervalMs int32
	Match      []ClientMatch // all must hold
}

// ClientMatch is one condition on a client: the whole value of Selector must match Pattern.
type ClientMatch struct {
	Selector string
	Pattern  *regexp.Regexp
}

// NewClientMetricsSubscription returns what the configs of a subscription say. Values that are not
// valid count as not given, except that an invalid match lets nobody in.
func NewClientMetricsSubscription(configs map[string]string) (ClientMetricsSubscription, error) {
	v := clientMetricsValues(configs)
	match, err := parseMatch(v["match"].List)
	return ClientMetricsSubscription{Metrics: v["metrics"].List, IntervalMs: int32(v["interval.ms"].Int), Match: match}, err
}

func clientMetricsValues(configs map[string]string) map[string]Value {
	current := map[string]Value{}
	for _, d := range clientMetricsDefsByName {
		v, err := d.Parse(d.Default)
		if err != nil {
			panic("BUG: the default of a client metrics config is not valid: " + err.Error())
		}
		if raw, given := configs[d.Name]; given {
			if own, err := d.Parse(raw); err == nil {
				v = own
			}
		}
		current[d.Name] = v
	}
	return current
}

// DescribeClientMetrics returns every config of a client metrics subscription by name.
func DescribeClientMetrics(configs map[string]string) []Entry {
	current := clientMetricsValues(configs)
	entries := make([]Entry, 0, len(clientMetricsDefsByName))
	for _, d := range clientMetricsDefsByName {
		value := current[d.Name].Text
		var synonyms []Synonym
		if _, given := configs[d.Name]; given {
			synonyms = append(synonyms, Synonym{d.Name, &value, kafka.ConfigSourceClientMetrics})
		}
		entries = append(entries, entry(Entry{Name: d.Name}, d, &value, synonyms))
	}
	return entries
}

// ValidateClientMetricsConfigs checks what the configs of a client metrics subscription would be
// after a change. As in Kafka, the error's code is INVALID_REQUEST for an unknown name and for an
// interval out of bounds, else INVALID_CONFIG.
func ValidateClientMetricsConfigs(proposed map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(proposed)) {
		if clientMetricsDefs[name] == nil {
			return kafka.Errorf(kafka.ErrInvalidRequest, "%s", unknownName("client metrics", name, clientMetricsDefsByName))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(proposed)) {
		if err := clientMetricsDefs[name].check(proposed[name]); err != nil {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%v", err)
		}
	}
	v := clientMetricsValues(proposed)
	if interval := v["interval.ms"].Int; interval < minPushIntervalMs || interval > maxPushIntervalMs {
		return kafka.Errorf(kafka.ErrInvalidRequest, "Invalid value %d for interval.ms: a number from %d to %d (1 hour) is required", interval, minPushIntervalMs, maxPushIntervalMs)
	}
	if _, err := parseMatch(v["match"].List); err != nil {
		return kafka.Errorf(kafka.ErrInvalidConfig, "%v", err)
	}
	return nil
}

// parseMatch parses the conditions of a match config. Of several about one selector the last
// counts, as in Kafka.
func parseMatch(items []string) ([]ClientMatch, error) {
	var match []ClientMatch
	for _, item := range items {
		invalid := func(allowed string) error { return &ValueError{Name: "match", Value: item, Allowed: allowed} }
		parts := strings.Split(item, "=")
		for len(parts) > 0 && parts[len(parts)-1] == "" { // Java does not count them
			parts = parts[:len(parts)-1]
		}
		if len(parts) != 2 {
			return nil, invalid("selector=regular expression is required")
		}
		selector := strings.TrimSpace(parts[0])
		if !slices.Contains(selectors, selector) {
			return nil, invalid("one of the selectors " + strings.Join(selectors, ", ") + " is required")
		}
		expression := strings.TrimSpace(parts[1])
		if _, err := regexp.Compile(expression); err != nil {
			return nil, invalid("a regular expression is required: " + err.Error())
		}
		pattern, err := regexp.Compile(`^(?:` + expression + `)$`)
		if err != nil {
			return nil, invalid("a shorter regular expression is required: " + err.Error())
		}
		match = slices.DeleteFunc(match, func(m ClientMatch) bool { return m.Selector == selector })
		match = append(match, ClientMatch{selector, pattern})
	}
	return match, nil
}
