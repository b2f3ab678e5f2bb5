package controller

import (
	"fmt"
	"maps"
	"slices"

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
	proposed := maps.Collect(in.Image.Features())
	for i := range req.FeatureUpdates {
		proposed[req.FeatureUpdates[i].Feature] = req.FeatureUpdates[i].MaxVersionLevel
	}
	text := "No feature was updated:"
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		if req.Version == 0 {
			u.UpgradeType = featureUpgrade
		}
		if err := c.checkFeatureUpdate(in, u, proposed); err != nil { // all of them are named: a release is several
			text += " " + *errorText(err)
			resp.ErrorCode, resp.ErrorMessage = int16(kafka.CodeOf(err)), &text
			continue
		}
		if u.Feature == KRaftVersionFeature {
			continue // it has that level
		}
		records = append(records, &metadata.FeatureLevelRecord{Name: u.Feature, FeatureLevel: u.MaxVersionLevel})
	}
	if resp.ErrorCode != 0 {
		return Result{Response: resp}
	}
	isDivisible := false
	switch had, has := in.Image.FeatureLevel(metadata.ELRVersionFeature) > 0, c.usesELR(in.Image, records); {
	case has && !had:
		records = append(c.sameMinISR(in.Image), records...)
	case had && !has:
		records, isDivisible = append(records, c.dropELR(in.Image, records)...), true
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
	return Result{Response: resp, Records: records, Divisible: isDivisible}
}

// checkFeatureUpdate refuses levels that this release or a registered node does not have, a lower one
// where the request does not say that it means to go down, and one that another feature's level
// excludes; proposed are the levels after the whole request. Version 0 can't say that it goes down: its
// AllowDowngrade counts for nothing, as in Kafka's controller.
func (c *Controller) checkFeatureUpdate(in Input, u *kmsg.UpdateFeaturesRequestFeatureUpdate, proposed map[string]int16) error {
	refuse := func(why string, args ...any) error {
		return kafka.Errorf(kafka.ErrInvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.MaxVersionLevel, u.Feature, fmt.Sprintf(why, args...))
	}
	current := in.Image.FeatureLevel(u.Feature)
	if u.Feature == KRaftVersionFeature {
		current = KRaftVersion
	}
	switch {
	case u.UpgradeType < featureUpgrade || u.UpgradeType > featureUnsafeDowngrade:
		return refuse("The upgrade type %d is unknown: 1 upgrades, 2 downgrades without loss, 3 with loss.", u.UpgradeType)
	case u.MaxVersionLevel < 0:
		return refuse("A level is at least 0.")
	}
	if why := c.unsupported(in, u.Feature, u.MaxVersionLevel); why != "" {
		return refuse("%s", why)
	}
	switch {
	case u.MaxVersionLevel < current && u.UpgradeType == featureUpgrade:
		return refuse("The level is %d: a lower one needs the upgrade type of a downgrade.", current)
	case u.MaxVersionLevel > current && u.UpgradeType != featureUpgrade:
		return refuse("The level is %d: a downgrade can't lead to a newer one.", current)
	}
	if u.Feature == metadata.MetadataVersionFeature {
		if u.MaxVersionLevel < current && metadata.LosesMetadata(current, u.MaxVersionLevel) {
			// Also where the request allows for loss: Kafka 4.3 does not do that yet (KAFKA-13896).
			return refuse("The level is %d, and metadata may hold what level %d cannot say: it would be lost.", current, u.MaxVersionLevel)
		}
		return nil
	}
	if f := c.feature(u.Feature); u.MaxVersionLevel > 0 && proposed[metadata.MetadataVersionFeature] < f.Requires {
		return refuse("It depends on level %d of %s, which is %d.", f.Requires, metadata.MetadataVersionFeature, proposed[metadata.MetadataVersionFeature])
	}
	return nil
}

// unsupported says which node of the cluster does not have a level, "" if all have it.
func (c *Controller) unsupported(in Input, name string, level int16) string {
	if f := c.feature(name); !f.supports(level) {
		return fmt.Sprintf("The controller supports %s.", f.levels())
	}
	for b := range in.Image.Brokers() {
		if lowest, highest := b.FeatureRange(name); level < lowest || level > highest {
			return fmt.Sprintf("Broker %d supports %s.", b.ID, levelRange(lowest, highest))
		}
	}
	if !in.Image.HasControllerRegistrations() {
		return "" // nobody can say
	}
	registered := map[int32]bool{}
	for r := range in.Image.Controllers() {
		registered[r.ID] = true
		if in.Voters != nil && !slices.Contains(in.Voters, r.ID) {
			continue // it was removed, of which the registrations do not tell; one that observes may be ended by the level, and is upgraded then
		}
		if lowest, highest := r.FeatureRange(name); r.ID != c.o.NodeID && (level < lowest || level > highest) {
			return fmt.Sprintf("Controller %d supports %s.", r.ID, levelRange(lowest, highest))
		}
	}
	for _, id := range in.Voters {
		if id != c.o.NodeID && !registered[id] {
			return fmt.Sprintf("Controller %d has not registered: it may be of a release that does not have it.", id)
		}
	}
	return ""
}
