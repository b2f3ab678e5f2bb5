package features

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// serves are the highest levels of the features that this release serves; others stay at 0. kraft.version says
// whether the quorum can change, which the folder need not say.
var serves = map[string]int16{"transaction.version": 2, eligibleLeaderReplicas: 1, "kraft.version": 1}

// Initial returns the levels that kafka-storage format asks a new cluster to begin with, by feature, and the name of
// its metadata.version; no levels where nothing is asked for: then it begins with the newest. release is ""
// where none is asked for.
func Initial(release string, wanted []string) (levels map[string]int16, version string, err error) {
	if release == "" && len(wanted) == 0 {
		return nil, latestMetadataVersion, nil
	}
	// The newest is not for production yet.
	metadataLevel, err := levelIn(metadataVersions[:len(metadataVersions)-1], cmp.Or(release, latestMetadataVersion))
	if err != nil {
		return nil, "", err
	}
	chosen := map[string]int16{}
	for _, text := range wanted {
		name, level, err := parseLevel(text, words)
		if err != nil {
			return nil, "", err
		}
		chosen[name] = level
	}
	if level, ok := chosen[metadataVersionName]; ok {
		if _, known := metadataName(level); !known {
			return nil, "", fmt.Errorf("No MetadataVersion with feature level %d. Valid feature levels are from %d to %d.", level, firstMetadataLevel, firstMetadataLevel+len(metadataVersions)-1) //nolint:staticcheck // the words of Kafka's tools
		}
		if release != "" {
			return nil, "", errors.New("Use --release-version instead of --feature " + metadataVersionName + "=X to avoid ambiguity.") //nolint:staticcheck // the words of Kafka's tools
		}
		metadataLevel = level
	}
	levels = map[string]int16{metadataVersionName: metadataLevel}
	for _, f := range production {
		if _, served := serves[f.name]; served && f.name != "kraft.version" {
			levels[f.name] = f.defaultLevel(metadataLevel)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		if err := checkLevel(name, chosen[name], metadataLevel); err != nil {
			return nil, "", err
		}
		if _, kept := levels[name]; kept {
			levels[name] = chosen[name]
		}
	}
	return levels, LevelText(metadataVersionName, metadataLevel), nil
}

func checkLevel(name string, level, metadataLevel int16) error {
	if name == metadataVersionName {
		if newest := int16(firstMetadataLevel + len(metadataVersions) - 2); level > newest {
			return fmt.Errorf("%s cannot begin with level %d, which this release does not serve: the newest is %d", name, level, newest)
		}
		return nil
	}
	i := slices.IndexFunc(production, func(f feature) bool { return f.name == name })
	switch {
	case i < 0:
		return fmt.Errorf("Unsupported feature: %s. Supported features are: %s", name, strings.Join(productionNames(), ", ")) //nolint:staticcheck // the words of Kafka's tools
	case level < 0 || int(level) > len(production[i].defaults):
		return sentence(words.NoLevel, "", strconv.Itoa(int(level)), name)
	case level > serves[name]:
		return fmt.Errorf("%s cannot begin with level %d, which this release does not serve: it begins with %d. Leave it out", name, level, serves[name])
	case name == eligibleLeaderReplicas && level > 0 && metadataLevel < eligibleMetadataLevel:
		return fmt.Errorf("%s could not be set to %d because it depends on %s level %d", name, level, metadataVersionName, eligibleMetadataLevel)
	}
	return nil
}

// Rank orders features as records state them: metadata.version comes before the others.
func Rank(name string) int {
	if name == metadataVersionName {
		return 0
	}
	return 1
}

func productionNames() []string {
	names := make([]string, len(production))
	for i, f := range production {
		names[i] = f.name
	}
	slices.Sort(names)
	return names
}
