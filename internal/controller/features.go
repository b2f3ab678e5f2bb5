package controller

import (
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
}

// MetadataVersion is metadata.version 4.3-IV0.
const MetadataVersion int16 = 30

// TransactionVersion is transaction.version 2: transactions with an epoch of their own (KIP-890).
const TransactionVersion int16 = 2

// TransactionVersionFeature is the feature that producers switch their protocol on by.
const TransactionVersionFeature = "transaction.version"

// ELRVersion is eligible.leader.replicas.version 1: who left the in-sync replicas below the minimum may
// still lead (KIP-966).
const ELRVersion int16 = 1

// Features returns what this release supports. Features of groups and share groups join when what
// they promise is served: clients switch on by them.
func Features() []Feature {
	return []Feature{
		{Name: metadata.MetadataVersionFeature, MinLevel: MetadataVersion, MaxLevel: MetadataVersion, BootstrapLevel: MetadataVersion},
		{Name: metadata.ELRVersionFeature, MinLevel: 0, MaxLevel: ELRVersion, BootstrapLevel: ELRVersion},
		{Name: TransactionVersionFeature, MinLevel: 0, MaxLevel: TransactionVersion, BootstrapLevel: TransactionVersion},
	}
}

// Bootstrap returns the records with which a cluster begins. A cluster that an earlier release has
// begun gets the features that came since, but not those that somebody has turned off: level 0 is
// kept in the image.
func (c *Controller) Bootstrap(image *metadata.Image) []metadata.Record {
	var records []metadata.Record
	for _, f := range c.o.Features {
		if f.BootstrapLevel > 0 && !image.HasFeature(f.Name) {
			records = append(records, &metadata.FeatureLevelRecord{Name: f.Name, FeatureLevel: f.BootstrapLevel})
		}
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
		supported := false
		for _, f := range c.o.Features {
			supported = supported || f.Name == name && f.MinLevel <= level && level <= f.MaxLevel
		}
		if !supported {
			return kafka.Errorf(kafka.ErrUnsupportedVersion,
				"the cluster has finalized level %d of %s, which this release does not support: start the release that wrote this data, or a newer one", level, name)
		}
	}
	return nil
}
