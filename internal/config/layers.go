package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// Layers are the values of a broker's configs from their different sources. A dynamic value
// set for the broker goes before the cluster's dynamic default, that before the static
// property, that before the default.
type Layers struct {
	Static         *Broker
	DynamicBroker  map[string]string // of the broker resource named after the node's id
	DynamicDefault map[string]string // of the broker resource without a name
}

// Entry is one config as DescribeConfigs shows it.
type Entry struct {
	Name      string
	Value     *string // nil where there is none, and always for sensitive ones
	Type      Type    // 0 for configs that no table knows
	Source    kafka.ConfigSource
	ReadOnly  bool
	Sensitive bool
	Doc       string
	Synonyms  []Synonym // the values behind Value, the effective one first
}

// Synonym is one value that was given for a config, maybe under another name.
type Synonym struct {
	Name   string
	Value  *string
	Source kafka.ConfigSource
}

// topicSynonyms are the broker configs that a topic config falls back to, the first one that
// has a value in the same source wins; the multiplier turns their unit into milliseconds.
type topicSynonym struct {
	name       string
	multiplier int64
}

const (
	minuteMs = 60 * 1000
	hourMs   = 60 * minuteMs
)

var topicSynonyms = map[string][]topicSynonym{
	"cleanup.policy":                  {{"log.cleanup.policy", 0}},
	"compression.gzip.level":          {{"compression.gzip.level", 0}},
	"compression.lz4.level":           {{"compression.lz4.level", 0}},
	"compression.type":                {{"compression.type", 0}},
	"compression.zstd.level":          {{"compression.zstd.level", 0}},
	"delete.retention.ms":             {{"log.cleaner.delete.retention.ms", 0}},
	"file.delete.delay.ms":            {{"log.segment.delete.delay.ms", 0}},
	"flush.messages":                  {{"log.flush.interval.messages", 0}},
	"flush.ms":                        {{"log.flush.interval.ms", 0}, {"log.flush.scheduler.interval.ms", 0}},
	"index.interval.bytes":            {{"log.index.interval.bytes", 0}},
	"local.retention.bytes":           {{"log.local.retention.bytes", 0}},
	"local.retention.ms":              {{"log.local.retention.ms", 0}},
	"max.compaction.lag.ms":           {{"log.cleaner.max.compaction.lag.ms", 0}},
	"max.message.bytes":               {{"message.max.bytes", 0}},
	"message.timestamp.after.max.ms":  {{"log.message.timestamp.after.max.ms", 0}},
	"message.timestamp.before.max.ms": {{"log.message.timestamp.before.max.ms", 0}},
	"message.timestamp.type":          {{"log.message.timestamp.type", 0}},
	"min.cleanable.dirty.ratio":       {{"log.cleaner.min.cleanable.ratio", 0}},
	"min.compaction.lag.ms":           {{"log.cleaner.min.compaction.lag.ms", 0}},
	"min.insync.replicas":             {{"min.insync.replicas", 0}},
	"preallocate":                     {{"log.preallocate", 0}},
	"retention.bytes":                 {{"log.retention.bytes", 0}},
	"retention.ms":                    {{"log.retention.ms", 1}, {"log.retention.minutes", minuteMs}, {"log.retention.hours", hourMs}},
	"segment.bytes":                   {{"log.segment.bytes", 0}},
	"segment.index.bytes":             {{"log.index.size.max.bytes", 0}},
	"segment.jitter.ms":               {{"log.roll.jitter.ms", 0}, {"log.roll.jitter.hours", hourMs}},
	"segment.ms":                      {{"log.roll.ms", 0}, {"log.roll.hours", hourMs}},
	"unclean.leader.election.enable":  {{"unclean.leader.election.enable", 0}},
}

// brokerSynonyms are broker configs that say the same in different units, by name.
var brokerSynonyms = map[string][]string{
	"log.roll.ms":           {"log.roll.ms", "log.roll.hours"},
	"log.roll.hours":        {"log.roll.ms", "log.roll.hours"},
	"log.roll.jitter.ms":    {"log.roll.jitter.ms", "log.roll.jitter.hours"},
	"log.roll.jitter.hours": {"log.roll.jitter.ms", "log.roll.jitter.hours"},
	"log.flush.interval.ms": {"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
	"log.retention.ms":      {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	"log.retention.minutes": {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	"log.retention.hours":   {"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
}

// TopicSynonym returns the broker config that is the default of a topic config; of several the one
// that may be changed while brokers run.
func TopicSynonym(name string) (string, bool) {
	synonyms := topicSynonyms[name]
	if len(synonyms) == 0 {
		return "", false
	}
	return synonyms[0].name, true
}

// merged returns the given values of all layers by name. Dynamic values that do not parse
// are left out: a node must start whatever the cluster was told.
func (l Layers) merged() values {
	v := values(maps.Clone(l.Static.given))
	for _, dynamic := range []map[string]string{l.DynamicDefault, l.DynamicBroker} {
		for name, value := range dynamic {
			if isDynamic(name, value) {
				for _, synonym := range brokerSynonyms[name] { // such as static minutes below dynamic milliseconds
					delete(v, synonym)
				}
				v[name] = value
			}
		}
	}
	return v
}

// isDynamic reports whether a dynamic value counts: the config may be changed while brokers run, or
// is one of a listener or plug-in, and the value is one that it can have.
func isDynamic(name, value string) bool {
	d, known := BrokerDef(name)
	return (hasOpenPrefix(name) || known && d.Mode != ReadOnly) && (d == nil || d.check(value) == nil)
}

// Current returns the broker's configuration with the dynamic values in it.
func (l Layers) Current() (*Broker, error) {
	b, _, err := newBroker(l.merged())
	if err != nil {
		return nil, err
	}
	b.given = l.Static.given
	return b, nil
}

// synonyms lists the values given for a broker config under all its names, in order of
// precedence. As in Kafka, what goes before the first value under name itself is left out.
func (l Layers) synonyms(name string) []Synonym {
	names := brokerSynonyms[name]
	if names == nil {
		names = []string{name}
	}
	if base, ofListener := baseOfListener(name); ofListener {
		names = append(names, base)
	}
	var all []Synonym
	for _, layer := range []struct {
		values map[string]string
		source kafka.ConfigSource
	}{
		{l.DynamicBroker, kafka.ConfigSourceDynamicBroker},
		{l.DynamicDefault, kafka.ConfigSourceDynamicDefaultBroker},
		{l.Static.given, kafka.ConfigSourceStaticBroker},
	} {
		for _, name := range names {
			if value, ok := layer.values[name]; ok {
				all = append(all, Synonym{name, &value, layer.source})
			}
		}
	}
	for _, name := range names {
		if d, ok := brokerDefs[name]; ok && !d.NullDefault && d.Usage != DynamicOnly {
			all = append(all, Synonym{name, &d.Default, kafka.ConfigSourceDefault})
		}
	}
	for i, s := range all {
		if s.Name == name {
			return all[i:]
		}
	}
	return nil
}

// entry completes e, whose value is v, from its synonyms.
func entry(e Entry, d *Def, value *string, synonyms []Synonym) Entry {
	if d != nil {
		e.Type, e.Doc = d.Type, d.Doc
	}
	e.Source, e.Value, e.Synonyms = kafka.ConfigSourceDefault, value, synonyms
	if len(synonyms) > 0 {
		e.Source = synonyms[0].Source
	}
	if e.Sensitive = d == nil || d.Sensitive(); e.Sensitive {
		e.Value = nil
		e.Synonyms = slices.Clone(synonyms)
		for i := range e.Synonyms {
			e.Synonyms[i].Value = nil
		}
	}
	return e
}

// DescribeTopic returns every topic config by name for a topic with overrides and so many replicas.
func (l Layers) DescribeTopic(overrides map[string]string, replicas int) []Entry {
	current := l.topicValues(overrides)
	var entries []Entry
	for _, d := range topicDefsByName {
		if d.Usage == Internal {
			continue
		}
		value := current[d.Name]
		var synonyms []Synonym
		if _, ok := overrides[d.Name]; ok {
			synonyms = append(synonyms, Synonym{d.Name, &value, kafka.ConfigSourceDynamicTopic})
		}
		if fallback := topicSynonyms[d.Name]; fallback != nil {
			synonyms = append(synonyms, l.synonyms(fallback[0].name)...)
		}
		if d.Name == "min.insync.replicas" && len(synonyms) == 1 { // nobody has set it: the default follows the replicas
			value = strconv.Itoa(kafka.EffectiveMinISR(0, replicas))
			synonyms = []Synonym{{d.Name, &value, kafka.ConfigSourceDefault}}
		}
		entries = append(entries, entry(Entry{Name: d.Name}, d, &value, synonyms))
	}
	return entries
}

// MaxDefaultReplicas is how many replicas a topic gets where nobody has said, once there are as many brokers.
const MaxDefaultReplicas = 3

// scalingDefaults are the configs whose defaults follow the number of brokers.
var scalingDefaults = []string{"default.replication.factor", "offsets.topic.replication.factor", "transaction.state.log.replication.factor"}

// DescribeBroker returns every broker config by name as it is in effect on this broker, which is one of so many. One that is alone
// shows Kafka's defaults.
func (l Layers) DescribeBroker(brokers int) []Entry {
	current := l.merged()
	var entries []Entry
	for _, d := range brokerDefsByName {
		if _, isSet := current[d.Name]; !isSet && (d.Usage == Internal || d.Usage == DynamicOnly) {
			continue
		}
		value, synonyms := current.text(d), l.synonyms(d.Name)
		if _, isSet := current[d.Name]; !isSet && brokers > 1 && slices.Contains(scalingDefaults, d.Name) {
			replicas := strconv.Itoa(min(MaxDefaultReplicas, brokers))
			value, synonyms = &replicas, []Synonym{{d.Name, &replicas, kafka.ConfigSourceDefault}}
		}
		entries = append(entries, entry(Entry{Name: d.Name, ReadOnly: d.Mode == ReadOnly}, d, value, synonyms))
	}
	for _, name := range slices.Sorted(maps.Keys(current)) {
		if brokerDefs[name] == nil { // of a listener or a plug-in
			d, _ := BrokerDef(name)
			value := current[name]
			entries = append(entries, entry(Entry{Name: name, ReadOnly: true}, d, &value, l.synonyms(name)))
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return entries
}

// DescribeBrokerDefaults returns the cluster-wide dynamic values that are set, by name.
func (l Layers) DescribeBrokerDefaults() []Entry {
	var entries []Entry
	for _, name := range slices.Sorted(maps.Keys(l.DynamicDefault)) {
		d, _ := BrokerDef(name)
		value := l.DynamicDefault[name]
		synonyms := []Synonym{{name, &value, kafka.ConfigSourceDynamicDefaultBroker}}
		readOnly := brokerDefs[name] == nil || d.Mode == ReadOnly
		entries = append(entries, entry(Entry{Name: name, ReadOnly: readOnly}, d, &value, synonyms))
	}
	return entries
}
