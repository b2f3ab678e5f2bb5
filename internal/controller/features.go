package controller

import (
	"fmt"
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// Feature is a feature with the levels that this release supports (KIP-584).
type Feature struct {
	Name     string
	MinLevel int16
	MaxLevel int16
	// BootstrapLevel is finalized at the first start of a cluster; 0 leaves the feature off.
	BootstrapLevel int16
	// DefaultFrom is the metadata.version from which clusters begin with that level.
	DefaultFrom int16
	// Requires is the metadata.version that every level above 0 needs.
	Requires int16
}

// supports reports whether this release has a level.
func (f Feature) supports(level int16) bool { return f.MinLevel <= level && level <= f.MaxLevel }

// MetadataVersion is metadata.version 4.3-IV0, with which clusters begin.
const MetadataVersion = metadata.LatestMetadataVersion

// Kafka's metadata.version from which clusters begin with a feature.
const (
	transactionsFrom int16 = 24
	eligibleFrom     int16 = 26
)

// TransactionVersion is transaction.version 2: transactions with an epoch of their own (KIP-890).
const TransactionVersion int16 = 2

// TransactionVersionFeature is the feature that producers switch their protocol on by.
const TransactionVersionFeature = "transaction.version"

// ELRVersion is eligible.leader.replicas.version 1: who left the in-sync replicas below the minimum may
// still lead (KIP-966).
const ELRVersion int16 = 1

// KRaftVersionFeature says what the quorum can do, whose records have its level: the controller finalizes none.
// Level 1 keeps the voters in the metadata log (KIP-853), and there is no other here.
const (
	KRaftVersionFeature       = "kraft.version"
	KRaftVersion        int16 = 1
)

// Features returns what this release supports. Features of groups and share groups join when what
// they promise is served: clients switch on by them.
func Features() []Feature {
	return []Feature{
		{Name: metadata.MetadataVersionFeature, MinLevel: metadata.MinMetadataVersion, MaxLevel: MetadataVersion, BootstrapLevel: MetadataVersion},
		{Name: KRaftVersionFeature, MinLevel: KRaftVersion, MaxLevel: KRaftVersion},
		{Name: metadata.ELRVersionFeature, MaxLevel: ELRVersion, BootstrapLevel: ELRVersion, DefaultFrom: eligibleFrom, Requires: metadata.ELRMetadataVersion},
		{Name: TransactionVersionFeature, MaxLevel: TransactionVersion, BootstrapLevel: TransactionVersion, DefaultFrom: transactionsFrom},
	}
}

// Bootstrap returns the records with which a cluster begins: with the levels that its folder was formatted
// for, else with the newest. A cluster that an earlier release has begun gets the features that came
// since, but not those that somebody has turned off (level 0 is kept in the image), nor before every
// node that is registered has them, nor beyond its metadata.version.
func (c *Controller) Bootstrap(in Input) []metadata.Record {
	var records []metadata.Record
	image := in.Image
	isNew := !image.HasFeature(metadata.MetadataVersionFeature)
	if isNew {
		for _, f := range c.o.Features { // metadata.version comes first: it says how the others are written
			if level, chosen := c.o.Formatted[f.Name]; chosen && f.Name != KRaftVersionFeature {
				records = append(records, &metadata.FeatureLevelRecord{Name: f.Name, FeatureLevel: level})
			}
		}
	}
	version := image.MetadataVersion()
	if level, chosen := c.o.Formatted[metadata.MetadataVersionFeature]; chosen && isNew {
		version = level
	}
	for _, f := range c.o.Features {
		level := f.BootstrapLevel
		if _, chosen := c.o.Formatted[f.Name]; chosen && isNew || level == 0 || image.HasFeature(f.Name) {
			continue
		}
		switch {
		case isNew && version < f.DefaultFrom:
			level = 0 // as if turned off: it does not come by itself with a later metadata.version
		case !isNew && (version < f.DefaultFrom || c.unsupported(in, f.Name, level) != ""):
			continue
		}
		records = append(records, &metadata.FeatureLevelRecord{Name: f.Name, FeatureLevel: level})
	}
	if c.usesELR(image, records) {
		records = append(records, c.sameMinISR(image)...)
	}
	return records
}

// usesELR reports whether eligible leader replicas are on once records are applied.
func (c *Controller) usesELR(image *metadata.Image, records []metadata.Record) bool {
	level := image.FeatureLevel(metadata.ELRVersionFeature)
	for _, r := range records {
		if f, ok := r.(*metadata.FeatureLevelRecord); ok && f.Name == metadata.ELRVersionFeature {
			level = f.FeatureLevel
		}
	}
	return level > 0
}

// CheckFeatures returns an error if the cluster has finalized a level that this release does not
// support: a newer release has run on this data.
func (c *Controller) CheckFeatures(image *metadata.Image) error {
	for name, level := range image.Features() {
		if level > 0 && !c.feature(name).supports(level) {
			return kafka.Errorf(kafka.ErrUnsupportedVersion,
				"the cluster has finalized level %d of %s, and this release supports %s: start the release that wrote this data, or a newer one", level, name, c.feature(name).levels())
		}
	}
	return nil
}

// CheckFormatted returns an error if a folder was formatted for levels that this release does not support.
func CheckFormatted(levels map[string]int16) error {
	c := New(Options{Features: Features()})
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if f := c.feature(name); name != KRaftVersionFeature && !f.supports(levels[name]) {
			return kafka.Errorf(kafka.ErrUnsupportedVersion,
				"the folder was formatted for a cluster that begins with level %d of %s, and this release supports %s: start the release that formatted it, or format it again", levels[name], name, f.levels())
		}
	}
	return nil
}

// feature returns what this release supports of a feature: level 0, if it has never heard of it.
func (c *Controller) feature(name string) Feature {
	for _, f := range c.o.Features {
		if f.Name == name {
			return f
		}
	}
	return Feature{Name: name}
}

func (f Feature) levels() string { return levelRange(f.MinLevel, f.MaxLevel) }

func levelRange(lowest, highest int16) string {
	if lowest == highest {
		return fmt.Sprintf("only level %d", lowest)
	}
	return fmt.Sprintf("levels %d to %d", lowest, highest)
}
