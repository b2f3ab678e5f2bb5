package config

// MinInSyncReplicas returns min.insync.replicas of a topic with overrides, 0 where nobody has set it:
// kafka.EffectiveMinISR says what that means. Only what all nodes see the same counts, the topic's own value and
// the cluster's dynamic one: if a leader took fewer than the controller believes, an eligible replica could lack
// acknowledged records (KIP-966). The controller stores its static value for the whole cluster.
func (l Layers) MinInSyncReplicas(overrides map[string]string) int {
	v, _ := firstValid("min.insync.replicas", overrides, l.DynamicDefault)
	return int(v.Int)
}

// UncleanElections returns unclean.leader.election.enable of a topic with overrides.
func (l Layers) UncleanElections(overrides map[string]string) bool {
	v, _ := firstValid("unclean.leader.election.enable", overrides, l.DynamicBroker, l.DynamicDefault, l.Static.given)
	return v.Bool
}

func firstValid(name string, layers ...map[string]string) (v Value, ok bool) {
	for _, layer := range layers {
		if raw, isGiven := layer[name]; isGiven {
			if v, err := topicDefs[name].Parse(raw); err == nil {
				return v, true
			}
		}
	}
	return Value{}, false
}
