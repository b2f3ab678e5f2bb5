package config

import (
	"cmp"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/kafka"
)

// null marks a row whose default is null.
const null = "\x00"

// row is a Def as the tables write it down.
type row struct {
	name       string
	typ        Type
	def        string
	valid      Validator
	importance Importance
	mode       DynamicMode
	usage      Usage
	doc        string
}

func index(tables ...[]row) map[string]*Def {
	defs := map[string]*Def{}
	for _, table := range tables {
		for _, r := range table {
			d := &Def{Name: r.name, Type: r.typ, Default: r.def, Valid: r.valid, Importance: r.importance, Mode: r.mode, Usage: r.usage, Doc: r.doc}
			if r.def == null {
				d.Default, d.NullDefault = "", true
			}
			if defs[r.name] != nil {
				panic("BUG: two rows define the config " + r.name)
			}
			defs[r.name] = d
		}
	}
	return defs
}

var (
	topicDefs  = index(topicRows)
	brokerDefs = index(moldauRows, clusterRows, networkRows, logRows, groupRows, shareRows, transactionRows, securityRows, oauthRows, remoteRows)

	groupDefs         = index(groupResourceRows)
	clientMetricsDefs = index(clientMetricsRows)

	topicDefsByName         = sorted(topicDefs)
	brokerDefsByName        = sorted(brokerDefs)
	groupDefsByName         = sorted(groupDefs)
	clientMetricsDefsByName = sorted(clientMetricsDefs)
)

func sorted(defs map[string]*Def) []*Def {
	var all []*Def
	for _, d := range defs {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b *Def) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// TopicDef returns the row of a topic config.
func TopicDef(name string) (*Def, bool) {
	d, ok := topicDefs[name]
	return d, ok
}

// BrokerDef returns the row of a broker config. A config of one listener
// (listener.name.NAME.CONFIG) has the row of the config without the prefix.
func BrokerDef(name string) (*Def, bool) {
	if d, ok := brokerDefs[name]; ok {
		return d, true
	}
	if rest, ok := strings.CutPrefix(name, listenerPrefix); ok {
		_, base, _ := strings.Cut(rest, ".")
		if d, ok := brokerDefs[base]; ok {
			return d, true
		}
		if _, base, ok = strings.Cut(base, "."); ok { // listener.name.NAME.MECHANISM.sasl…
			d, ok := brokerDefs[base]
			return d, ok
		}
	}
	return nil, false
}

// TopicDefs returns all topic configs by name; the slice is shared and must not be modified.
func TopicDefs() []*Def { return topicDefsByName }

// BrokerDefs returns all broker configs by name; the slice is shared and must not be modified.
func BrokerDefs() []*Def { return brokerDefsByName }

// GroupDefs returns all group configs by name; the slice is shared and must not be modified.
func GroupDefs() []*Def { return groupDefsByName }

// ClientMetricsDefs returns all configs of client metrics subscriptions by name; the slice is
// shared and must not be modified.
func ClientMetricsDefs() []*Def { return clientMetricsDefsByName }

const listenerPrefix = "listener.name."

// openPrefixes begin names that a plug-in or a listener defines, not Kafka.
var openPrefixes = []string{listenerPrefix, "config.providers.", "metrics.context.", "metrics.jmx.", "rlmm.config.", "rsm.config."}

func hasOpenPrefix(name string) bool {
	return slices.ContainsFunc(openPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// nearest returns the name out of defs that name was probably meant to be, or "".
func nearest(name string, defs []*Def) string {
	var names []string
	for _, d := range defs {
		if d.Usage != Internal {
			names = append(names, d.Name)
		}
	}
	return kafka.Nearest(name, names)
}

// unknownName is the sentence for a name that no table has.
func unknownName(kind, name string, defs []*Def) string {
	text := "Unknown " + kind + " config name: " + name
	if right := nearest(name, defs); right != "" {
		text += " (did you mean " + right + "?)"
	}
	return text
}
