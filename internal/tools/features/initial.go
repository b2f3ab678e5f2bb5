package features

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// InitialMetadataVersion is the metadata.version that a new cluster of Moldau begins with.
const InitialMetadataVersion = latestMetadataVersion

// initialLevels are what a new cluster begins with, of the features that this release serves.
// kraft.version 1 is a quorum that can change, which one node never needs to.
var initialLevels = map[string][]int16{metadataVersionName: {30}, "transaction.version": {2}, "kraft.version": {0, 1}}

// CheckInitial refuses what kafka-storage format asks a new cluster to begin with where that is something
// else than it does begin with. release is "" where none is asked for.
func CheckInitial(release string, wanted []string) error {
	if release != "" {
		// The newest is not for production yet.
		level, err := levelIn(metadataVersions[:len(metadataVersions)-1], release)
		if err != nil {
			return err
		}
		if err := checkLevel(metadataVersionName, level); err != nil {
			return err
		}
	}
	levels := map[string]int16{}
	for _, text := range wanted {
		name, level, err := parseLevel(text, words)
		if err != nil {
			return err
		}
		levels[name] = level
	}
	if level, ok := levels[metadataVersionName]; ok {
		if _, known := metadataName(level); !known {
			return fmt.Errorf("No MetadataVersion with feature level %d. Valid feature levels are from %d to %d.", level, firstMetadataLevel, firstMetadataLevel+len(metadataVersions)-1) //nolint:staticcheck // the words of Kafka's tools
		}
		if release != "" {
			return errors.New("Use --release-version instead of --feature " + metadataVersionName + "=X to avoid ambiguity.") //nolint:staticcheck // the words of Kafka's tools
		}
	}
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if err := checkLevel(name, levels[name]); err != nil {
			return err
		}
	}
	return nil
}

func checkLevel(name string, level int16) error {
	i := slices.IndexFunc(production, func(f feature) bool { return f.name == name })
	switch {
	case name == metadataVersionName:
	case i < 0:
		return fmt.Errorf("Unsupported feature: %s. Supported features are: %s", name, strings.Join(productionNames(), ", ")) //nolint:staticcheck // the words of Kafka's tools
	case level < 0 || int(level) > len(production[i].defaults):
		return sentence(words.NoLevel, "", strconv.Itoa(int(level)), name)
	}
	served, ok := initialLevels[name]
	if !ok {
		served = []int16{0}
	}
	if slices.Contains(served, level) {
		return nil
	}
	return fmt.Errorf("%s cannot begin with level %s: a new cluster begins with %s here. Leave it out; kafka-features changes levels of a running cluster",
		name, levelText(name, level), levelText(name, served[len(served)-1]))
}

func productionNames() []string {
	names := make([]string, len(production))
	for i, f := range production {
		names[i] = f.name
	}
	slices.Sort(names)
	return names
}
