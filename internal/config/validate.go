package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// topicValues returns the effective value of every topic config. Values that are not valid
// count as not given: a node must work whatever an older or a foreign one stored.
func (l Layers) topicValues(overrides map[string]string) map[string]string {
	broker := l.merged()
	current := map[string]string{}
	for _, d := range topicDefsByName {
		current[d.Name] = d.Default
		fallback, _ := topicFallback(d, broker)
		for _, raw := range []*string{fallback, given(overrides, d.Name)} {
			if raw == nil {
				continue
			}
			if v, err := d.Parse(*raw); err == nil {
				current[d.Name] = v.Text
			}
		}
	}
	return current
}

func given(settings map[string]string, name string) *string {
	if value, ok := settings[name]; ok {
		return &value
	}
	return nil
}

// topicFallback is the value of a topic config that the topic does not set: the first of the
// broker's synonyms that is given, or the default of the first one that has a default. It
// also returns that synonym's name.
func topicFallback(d *Def, broker values) (*string, string) {
	synonyms := topicSynonyms[d.Name]
	for _, s := range synonyms {
		if _, ok := broker[s.name]; ok {
			text := s.inTopicUnit(broker)
			return &text, s.name
		}
	}
	for _, s := range synonyms {
		if !brokerDefs[s.name].NullDefault {
			text := s.inTopicUnit(broker)
			return &text, s.name
		}
	}
	return nil, ""
}

func (s topicSynonym) inTopicUnit(broker values) string {
	v := broker.get(s.name)
	switch {
	case s.multiplier == 0:
		return v.Text
	case v.Int < 0: // no limit, in any unit
		return "-1"
	default:
		return strconv.FormatInt(v.Int*s.multiplier, 10)
	}
}

// Topic returns the typed configs of a topic with overrides. It costs tens of microseconds:
// whoever asks for many topics without overrides asks once.
func (l Layers) Topic(overrides map[string]string) TopicConfig {
	v := topicSettings(l.topicValues(overrides))
	segmentBytes := v.get("segment.bytes").Int
	if v["internal.segment.bytes"] != "" {
		segmentBytes = v.get("internal.segment.bytes").Int
	}
	policy := v.get("cleanup.policy").List
	return TopicConfig{
		Delete:               slices.Contains(policy, "delete"),
		Compact:              slices.Contains(policy, "compact"),
		SegmentBytes:         int32(segmentBytes),
		SegmentMs:            v.get("segment.ms").Int,
		SegmentJitterMs:      v.get("segment.jitter.ms").Int,
		SegmentIndexBytes:    int32(v.get("segment.index.bytes").Int),
		IndexIntervalBytes:   int32(v.get("index.interval.bytes").Int),
		RetentionMs:          v.get("retention.ms").Int,
		RetentionBytes:       v.get("retention.bytes").Int,
		FlushMessages:        v.get("flush.messages").Int,
		FlushMs:              v.get("flush.ms").Int,
		MaxMessageBytes:      int32(v.get("max.message.bytes").Int),
		DeleteRetentionMs:    v.get("delete.retention.ms").Int,
		MinCompactionLagMs:   v.get("min.compaction.lag.ms").Int,
		MaxCompactionLagMs:   v.get("max.compaction.lag.ms").Int,
		MinCleanableRatio:    v.get("min.cleanable.dirty.ratio").Double,
		FileDeleteDelayMs:    v.get("file.delete.delay.ms").Int,
		MinInsyncReplicas:    int32(l.MinInSyncReplicas(overrides)),
		CompressionType:      v.get("compression.type").Text,
		GzipLevel:            int32(v.get("compression.gzip.level").Int),
		LZ4Level:             int32(v.get("compression.lz4.level").Int),
		ZstdLevel:            int32(v.get("compression.zstd.level").Int),
		LogAppendTime:        v.get("message.timestamp.type").Text == "LogAppendTime",
		TimestampBeforeMaxMs: v.get("message.timestamp.before.max.ms").Int,
		TimestampAfterMaxMs:  v.get("message.timestamp.after.max.ms").Int,
	}
}

// topicSettings are effective topic config values by name.
type topicSettings map[string]string

func (v topicSettings) get(name string) Value {
	value, err := topicDefs[name].Parse(v[name])
	if err != nil {
		panic("BUG: a topic config was not validated: " + err.Error())
	}
	return value
}

// ValidateTopicConfigs checks what a topic's overrides would be after a change. existing are
// the overrides before it (nil for a new topic). The error's code is INVALID_CONFIG.
func (l Layers) ValidateTopicConfigs(existing, proposed map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(proposed)) {
		d, ok := topicDefs[name]
		if !ok {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%s", unknownName("topic", name, topicDefsByName))
		}
		if _, err := d.Parse(proposed[name]); err != nil {
			return kafka.Errorf(kafka.ErrInvalidConfig, "%v", err)
		}
	}
	v := topicSettings(l.topicValues(proposed))
	if low, high := v.get("min.compaction.lag.ms").Int, v.get("max.compaction.lag.ms").Int; low > high {
		return kafka.Errorf(kafka.ErrInvalidConfig, "min.compaction.lag.ms (%d) must not exceed max.compaction.lag.ms (%d)", low, high)
	}
	wasRemote := strings.EqualFold(existing["remote.storage.enable"], "true")
	switch remote := v.get("remote.storage.enable").Bool; {
	case remote && !wasRemote:
		return kafka.Errorf(kafka.ErrInvalidConfig, "remote.storage.enable=true needs tiered storage, which the brokers do not have")
	case wasRemote && !remote && !v.get("remote.log.delete.on.disable").Bool:
		return kafka.Errorf(kafka.ErrInvalidConfig, "remote.storage.enable=false loses what is in tiered storage: remote.log.delete.on.disable=true must be set too")
	}
	return nil
}

// ValidateBrokerConfigs checks what the dynamic values of a broker (perBroker) or of the
// cluster's default would be after a change. The error's code is INVALID_REQUEST, as Kafka
// answers here and not INVALID_CONFIG (KAFKA-13609).
func (l Layers) ValidateBrokerConfigs(proposed map[string]string, perBroker bool) error {
	if err := validateEach(proposed, perBroker); err != nil {
		return err
	}
	after := l
	if perBroker {
		after.DynamicBroker = proposed
	} else {
		after.DynamicDefault = proposed
	}
	changed, err := after.Current()
	if err != nil {
		return kafka.Errorf(kafka.ErrInvalidRequest, "%v", err)
	}
	present, err := l.Current()
	if err != nil {
		present = changed // configs that contradict each other bind nobody who mends them
	}
	old, merged := l.merged(), after.merged()
	if err := cmp.Or(checkListenerChange(present, changed, old, merged), checkListenerLimits(present.Listeners, old, merged), checkSteps(old, merged)); err != nil {
		return kafka.Errorf(kafka.ErrInvalidRequest, "%v", err)
	}
	return nil
}

// ValidateOtherBrokerConfigs checks what the dynamic values of another broker would be after a change, one by one: how they
// go together with its properties only that broker can tell.
func ValidateOtherBrokerConfigs(proposed map[string]string) error {
	return validateEach(proposed, true)
}

func validateEach(proposed map[string]string, perBroker bool) error {
	for _, name := range slices.Sorted(maps.Keys(proposed)) {
		if err := validateDynamic(name, proposed[name], perBroker); err != nil {
			return kafka.Errorf(kafka.ErrInvalidRequest, "%v", err)
		}
	}
	return nil
}

// pools are the configs whose dynamic changes may not be larger than to half or double.
var pools = []string{"background.threads", "log.cleaner.threads", "num.io.threads", "num.recovery.threads.per.data.dir", "num.replica.fetchers"}

// checkSteps refuses changes that Kafka allows in properties only.
func checkSteps(before, after values) error {
	for _, name := range pools {
		if err := checkStep(name, before.int64(name), after.int64(name)); err != nil {
			return err
		}
	}
	return after.checkLocalRetention()
}

func checkStep(name string, old, changed int64) error {
	if old != changed && (changed < 1 || changed < old/2 || changed > 2*old) {
		return &ValueError{Name: name, Value: strconv.FormatInt(changed, 10), Allowed: fmt.Sprintf("while brokers run, a number from half of the present %d to its double is required", old)}
	}
	return nil
}

func validateDynamic(name, value string, perBroker bool) error {
	d, known := brokerDefs[name]
	if !known {
		base, ofListener := baseOfListener(name)
		switch {
		case ofListener && !perBroker && !slices.Contains(limitsOfListeners, base):
			return &dynamicError{notForAll + name}
		case hasOpenPrefix(name):
			if d, known = BrokerDef(name); known {
				return d.check(value)
			}
			return nil
		}
		return &dynamicError{unknownName("broker", name, brokerDefsByName)}
	}
	switch {
	case d.Mode == ReadOnly:
		return &dynamicError{"Cannot update these configs dynamically: " + name}
	case d.Mode == PerBroker && !perBroker:
		return &dynamicError{notForAll + name}
	case slices.Contains(onlyOfOneListener, name):
		return &dynamicError{name + " can be changed only for one listener, as listener.name.NAME." + name}
	}
	_, err := d.Parse(value)
	return err
}

// checkLocalRetention refuses to keep more of a tiered log on local disks than there is of the log.
func (v values) checkLocalRetention() error {
	ms, _ := topicFallback(topicDefs["retention.ms"], v)
	for _, pair := range []struct{ local, whole, limit string }{
		{"log.local.retention.ms", "log.retention.ms", *ms}, {"log.local.retention.bytes", "log.retention.bytes", v.get("log.retention.bytes").Text},
	} {
		limit, err := strconv.ParseInt(pair.limit, 10, 64)
		if err != nil {
			return err
		}
		if local := v.int64(pair.local); limit >= 0 && local != -2 && (local == -1 || local > limit) {
			return &ValueError{Name: pair.local, Value: v.get(pair.local).Text, Allowed: fmt.Sprintf("at most %s (%d) is required", pair.whole, limit)}
		}
	}
	return nil
}

// notForAll begins the refusal of a config of single brokers that is set for all of them.
const notForAll = "Cannot update these configs at default cluster level, broker id must be specified: "

type dynamicError struct{ text string }

func (e *dynamicError) Error() string { return e.text }
