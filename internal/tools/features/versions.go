package features

import (
	"fmt"
	"strings"
)

const metadataVersionName = "metadata.version"

// metadataVersions are the names of the levels of metadata.version in Kafka 4.3, from firstMetadataLevel on.
var metadataVersions = []string{
	"3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4",
	"3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0", "4.4-IV0",
}

const (
	firstMetadataLevel     = 7
	latestMetadataVersion  = "4.3-IV0"
	eligibleLeaderReplicas = "eligible.leader.replicas.version"
	// eligibleMetadataLevel is what eligible leader replicas need.
	eligibleMetadataLevel = 23
)

// feature is one of Kafka 4.3's, with the metadata.version at which each of its levels becomes the
// default: that of level i+1 at defaults[i].
type feature struct {
	name     string
	defaults []int16
}

var production = []feature{
	{"kraft.version", []int16{21}}, {"transaction.version", []int16{24, 24}}, {"group.version", []int16{22}},
	{eligibleLeaderReplicas, []int16{26}}, {"share.version", []int16{28}}, {"streams.version", []int16{29}},
}

// defaultLevel is the level of the feature in a cluster of a metadata.version.
func (f feature) defaultLevel(metadataLevel int16) int16 {
	level := int16(0)
	for i, from := range f.defaults {
		if metadataLevel >= from {
			level = int16(i + 1)
		}
	}
	return level
}

// metadataLevelOf finds the level of a release: 4.3, 4.3.1 or 4.3-IV0.
func metadataLevelOf(release string) (int16, error) { return levelIn(metadataVersions, release) }

func levelIn(versions []string, release string) (int16, error) {
	key := release
	if parts := strings.Split(release, "."); len(parts) > 2 {
		key = parts[0] + "." + parts[1]
	}
	level := int16(-1)
	for i, name := range versions {
		short, _, _ := strings.Cut(name, "-")
		if name == key || short == key { // of a release without -IV, the last level
			level = int16(firstMetadataLevel + i)
		}
	}
	if level < 0 {
		return 0, fmt.Errorf("Unknown metadata.version '%s'. Supported metadata.version are: %s", release, strings.Join(versions, ", ")) //nolint:staticcheck // the words of Kafka's tools
	}
	return level, nil
}

// metadataName is the name of a level of metadata.version.
func metadataName(level int16) (string, bool) {
	i := int(level) - firstMetadataLevel
	if i < 0 || i >= len(metadataVersions) {
		return "", false
	}
	return metadataVersions[i], true
}

// LevelText shows a level of a feature.
func LevelText(name string, level int16) string {
	if name != metadataVersionName {
		return fmt.Sprint(level)
	}
	if text, ok := metadataName(level); ok {
		return text
	}
	return fmt.Sprintf("UNKNOWN %d", level)
}
