package controller

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
)

// Upgrade types of UpdateFeatures (KIP-778).
const (
	featureUpgrade         int8 = 1
	featureSafeDowngrade   int8 = 2
	featureUnsafeDowngrade int8 = 3
)

// updateFeatures finalizes other levels: all that the request names, or none (API key 57).
func (c *Controller) updateFeatures(in Input, req *kmsg.UpdateFeaturesRequest) Result {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.Version = req.Version
	var records []metadata.Record
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		if req.Version == 0 {
			u.UpgradeType = featureUpgrade
		}
		if err := c.checkFeatureUpdate(in.Image, u); err != nil {
			text := fmt.Sprintf("No feature was updated: %s", *errorText(err))
			resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), &text
			return Result{Response: resp}
		}
		records = append(records, &metadata.FeatureLevelRecord{Name: u.Feature, FeatureLevel: u.MaxVersionLevel})
	}
	if in.Image.FeatureLevel(metadata.ELRVersionFeature) == 0 && c.usesELR(in.Image, records) {
		records = append(c.sameMinISR(in.Image), records...)
	}
	if req.Version <= 1 { // later versions answer for the whole request only
		for i := range req.FeatureUpdates {
			result := kmsg.NewUpdateFeaturesResponseResult()
			// Kafka's name of no error.
			result.Feature, result.ErrorMessage = req.FeatureUpdates[i].Feature, kmsg.StringPtr("NONE")
			resp.Results = append(resp.Results, result)
		}
	}
	if req.ValidateOnly {
		records = nil
	}
	return Result{Response: resp, Records: records}
}

// checkFeatureUpdate refuses levels that this release or a registered broker does not have, and a
// lower one where the request does not say that it means to go down. Version 0 can't say so: its
// AllowDowngrade counts for nothing, as in Kafka's controller.
func (c *Controller) checkFeatureUpdate(image *metadata.Image, u *kmsg.UpdateFeaturesRequestFeatureUpdate) error {
	refuse := func(why string, args ...any) error {
		return kafka.Errorf(kafka.ErrInvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.MaxVersionLevel, u.Feature, fmt.Sprintf(why, args...))
	}
	current := image.FeatureLevel(u.Feature)
	switch {
	case u.UpgradeType < featureUpgrade || u.UpgradeType > featureUnsafeDowngrade:
		return refuse("The upgrade type %d is unknown: 1 upgrades, 2 downgrades without loss, 3 with loss.", u.UpgradeType)
	case u.MaxVersionLevel < 0:
		return refuse("A level is at least 0.")
	}
	supported := Feature{}
	for _, f := range c.o.Features {
		if f.Name == u.Feature {
			supported = f
		}
	}
	if supported.Name == "" || u.MaxVersionLevel < supported.MinLevel || u.MaxVersionLevel > supported.MaxLevel {
		return refuse("The controller supports levels %d to %d.", supported.MinLevel, supported.MaxLevel)
	}
	for b := range image.Brokers() {
		if lowest, highest := b.FeatureRange(u.Feature); u.MaxVersionLevel < lowest || u.MaxVersionLevel > highest {
			return refuse("Broker %d supports levels %d to %d.", b.ID, lowest, highest)
		}
	}
	switch {
	case u.MaxVersionLevel < current && u.UpgradeType == featureUpgrade:
		return refuse("The level is %d: a lower one needs the upgrade type of a downgrade.", current)
	case u.MaxVersionLevel > current && u.UpgradeType != featureUpgrade:
		return refuse("The level is %d: a downgrade can't lead to a newer one.", current)
	}
	return nil
}
