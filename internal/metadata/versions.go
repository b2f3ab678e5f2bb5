package metadata

// The levels of the metadata.version feature that images may have: 3.3-IV3, Kafka's oldest, to 4.3-IV0.
const (
	MinMetadataVersion    int16 = 7
	LatestMetadataVersion int16 = 30
)

// Levels from which records have more to say.
const (
	migrationVersion = 8
	// controllersVersion is 3.7-IV0: controllers are registered (KIP-919).
	controllersVersion = 15
	// directoriesVersion is 3.7-IV2: brokers tell of their log dirs, and in which a replica lies (KIP-858).
	directoriesVersion = 17
	// eligibleVersion is 4.0-IV1: partitions have eligible leader replicas (KIP-966).
	eligibleVersion = 23
	// cordonVersion is 4.3-IV0: log dirs may be cordoned (KIP-1066).
	cordonVersion = 30
)

// ELRMetadataVersion is the metadata.version without which there are no eligible leader replicas.
const ELRMetadataVersion int16 = eligibleVersion

// schemaChanges are the levels with which what the metadata can say has changed: below them something would
// be lost.
var schemaChanges = [...]int16{8, 11, 13, 14, 15, 17, 23, 30}

// LosesMetadata reports whether a metadata.version that falls from one level to another could lose some of it.
func LosesMetadata(from, to int16) bool {
	for _, level := range schemaChanges {
		if to < level && level <= from {
			return true
		}
	}
	return false
}

// MetadataVersion returns the level that says how records are written: the latest as long as none is finalized.
func (i *Image) MetadataVersion() int16 { return knownVersion(i.FeatureLevel(MetadataVersionFeature)) }

// MetadataVersion is Image.MetadataVersion with the Delta's changes so far.
func (d *Delta) MetadataVersion() int16 {
	if level, stated := d.features[MetadataVersionFeature]; stated {
		return knownVersion(level)
	}
	return d.base.MetadataVersion()
}

func knownVersion(level int16) int16 {
	if level == 0 {
		return LatestMetadataVersion
	}
	return level
}

// HasControllerRegistrations reports whether controllers are registered.
func (i *Image) HasControllerRegistrations() bool { return i.MetadataVersion() >= controllersVersion }

// HasDirectories reports whether the metadata knows of log dirs.
func (i *Image) HasDirectories() bool { return i.MetadataVersion() >= directoriesVersion }

// HasCordonedDirectories reports whether the metadata knows which log dirs are cordoned.
func (i *Image) HasCordonedDirectories() bool { return i.MetadataVersion() >= cordonVersion }
