package kafka

// EffectiveMinISR returns how many replicas must be in sync for the high watermark of a partition
// with that many replicas to move: what min.insync.replicas says, but never more than there are
// (KIP-966). Where nobody has set it (0) it is 2 of three replicas or more, else 1. A leader and the
// controller must come to the same answer, or a replica may be elected that lacks acknowledged records.
func EffectiveMinISR(minInSyncReplicas, replicas int) int {
	if minInSyncReplicas == 0 {
		if minInSyncReplicas = 1; replicas >= 3 {
			minInSyncReplicas = 2
		}
	}
	return min(minInSyncReplicas, replicas)
}
