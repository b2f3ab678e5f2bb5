package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moldau/moldau/internal/kafka"
)

// groupSynonyms are the broker configs that a group config falls back to.
var groupSynonyms = map[string]string{
	"consumer.assignment.interval.ms":    "group.consumer.assignment.interval.ms",
	"consumer.heartbeat.interval.ms":     "group.consumer.heartbeat.interval.ms",
	"consumer.session.timeout.ms":        "group.consumer.session.timeout.ms",
	"share.assignment.interval.ms":       "group.share.assignment.interval.ms",
	"share.delivery.count.limit":         "group.share.delivery.count.limit",
	"share.heartbeat.interval.ms":        "group.share.heartbeat.interval.ms",
	"share.partition.max.record.locks":   "group.share.partition.max.record.locks",
	"share.record.lock.duration.ms":      "group.share.record.lock.duration.ms",
	"share.session.timeout.ms":           "group.share.session.timeout.ms",
	"streams.assignment.interval.ms":     "group.streams.assignment.interval.ms",
	"streams.heartbeat.interval.ms":      "group.streams.heartbeat.interval.ms",
	"streams.initial.rebalance.delay.ms": "group.streams.initial.rebalance.delay.ms",
	"streams.num.standby.replicas":       "group.streams.num.standby.replicas",
	"streams.session.timeout.ms":         "group.streams.session.timeout.ms",
}

// groupBounds are the broker configs between which a group config must lie, as must the broker
// config that it falls back to; "" is no bound.
var groupBounds = []struct{ name, low, high string }{
	{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
	{"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	{"share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
	{"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	{"share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"},
	{"share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	{"share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"},
	{"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	{"streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	{"streams.num.standby.replicas", "", "group.streams.max.standby.replicas"},
	{"streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"},
}

// groupProtocols begin the names of a group's configs; each has a session that must outlast the
// interval of its heartbeats.
var groupProtocols = []string{"consumer", "share", "streams"}

// groupValues returns the effective value of every group config. Values that are not valid count
// as not given.
func (l Layers) groupValues(overrides map[string]string) map[string]Value {
	broker := l.merged()
	current := map[string]Value{}
	for _, d := range groupDefsByName {
		v, err := d.Parse(d.Default)
		if synonym := groupSynonyms[d.Name]; synonym != "" {
			v, err = broker.get(synonym), nil
		}
		if err != nil {
			panic("BUG: the default of a group config is not valid: " + err.Error())
		}
		if raw, given := overrides[d.Name]; given {
			if own, err := d.Parse(raw); err == nil {
				v = own
			}
		}
		current[d.Name] = v
	}
	return current
}

// DescribeGroup returns every group config by name for a group with overrides.
func (l Layers) DescribeGroup(overrides map[string]string) []Entry {
	current := l.groupValues(overrides)
	entries := make([]Entry, 0, len(groupDefsByName))
	for _, d := range groupDefsByName {
		value := current[d.Name].Text
		var synonyms []Synonym
		if _, given := overrides[d.Name]; given {
			synonyms = append(synonyms, Synonym{d.Name, &value, kafka.ConfigSourceGroup})
		}
		if broker := groupSynonyms[d.Name]; broker != "" {
			synonyms = append(synonyms, l.synonyms(broker)...)
		} else {
			synonyms = append(synonyms, Synonym{d.Name, &d.Default, kafka.ConfigSourceDefault})
		}
		entries = append(entries, entry(Entry{Name: d.Name}, d, &value, synonyms))
	}
	return entries
}

// ValidateGroupConfigs checks what a group's overrides would be after a change. The error's code
// is INVALID_CONFIG.
func (l Layers) ValidateGroupConfigs(proposed map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(proposed)) {
		d, ok := groupDefs[name]
		if !ok {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%s", unknownName("group", name, groupDefsByName))
		}
		if err := d.check(proposed[name]); err != nil {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%v", err)
		}
	}
	current, broker := l.groupValues(proposed), l.merged()
	for _, b := range groupBounds {
		if err := checkBounds(b.name, current[b.name], broker, b.low, b.high); err != nil {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%v", err)
		}
	}
	for _, protocol := range groupProtocols {
		session, heartbeat := protocol+".session.timeout.ms", protocol+".heartbeat.interval.ms"
		if current[session].Int <= current[heartbeat].Int {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%s (%d) must be greater than %s (%d)", session, current[session].Int, heartbeat, current[heartbeat].Int)
		}
	}
	return nil
}

// checkBounds checks that v, the value of name, lies between the broker configs low and high.
func checkBounds(name string, v Value, broker values, low, high string) error {
	switch {
	case low != "" && v.Int < broker.int64(low):
		return &ValueError{Name: name, Value: v.Text, Allowed: fmt.Sprintf("at least %s (%d) is required", low, broker.int64(low))}
	case v.Int > broker.int64(high):
		return &ValueError{Name: name, Value: v.Text, Allowed: fmt.Sprintf("at most %s (%d) is required", high, broker.int64(high))}
	}
	return nil
}

// checkGroupDefaults checks the broker configs that groups fall back to, which for a group nobody could.
func (v values) checkGroupDefaults() error {
	for _, b := range groupBounds {
		name := groupSynonyms[b.name]
		if err := checkBounds(name, v.get(name), v, b.low, b.high); err != nil {
			return err
		}
	}
	for _, protocol := range groupProtocols {
		session, heartbeat := "group."+protocol+".session.timeout.ms", "group."+protocol+".heartbeat.interval.ms"
		if v.int64(session) <= v.int64(heartbeat) {
			return &ValueError{Name: heartbeat, Value: v.get(heartbeat).Text, Allowed: fmt.Sprintf("less than %s (%d) is required", session, v.int64(session))}
		}
	}
	return nil
}

// offsetReset is where a share group may begin to read.
func offsetReset() Validator {
	return Validator{"earliest, latest, or by_duration:PnDTnHnMn.nS", func(v Value) bool {
		age, byDuration := strings.CutPrefix(v.Text, "by_duration:")
		return v.Text == "earliest" || v.Text == "latest" || byDuration && isAge(age)
	}}
}

// isoDuration is what Java reads as a duration: days, hours, minutes and seconds of ISO 8601.
var isoDuration = regexp.MustCompile(`^(?i)([-+]?)P(?:([-+]?[0-9]+)D)?(T(?:([-+]?[0-9]+)H)?(?:([-+]?[0-9]+)M)?(?:([-+]?[0-9]+)(?:[.,]([0-9]{0,9}))?S)?)?$`)

// isAge reports whether text is a duration that is not negative and not too long to be told.
func isAge(text string) bool {
	parts := isoDuration.FindStringSubmatch(text)
	if parts == nil || strings.EqualFold(parts[3], "T") || parts[2] == "" && parts[3] == "" {
		return false
	}
	seconds := 0.0
	for i, unit := range map[int]time.Duration{2: 24 * time.Hour, 4: time.Hour, 5: time.Minute, 6: time.Second} {
		if parts[i] == "" {
			continue
		}
		n, err := strconv.ParseInt(parts[i], 10, 64)
		if err != nil {
			return false
		}
		seconds += float64(n) * unit.Seconds()
	}
	if parts[7] != "" && parts[7] != strings.Repeat("0", len(parts[7])) {
		if strings.HasPrefix(parts[6], "-") {
			seconds -= 0.5 // of whatever size: only the sign matters
		} else {
			seconds += 0.5
		}
	}
	if parts[1] == "-" {
		seconds = -seconds
	}
	return seconds >= 0 && seconds < 1<<63
}
