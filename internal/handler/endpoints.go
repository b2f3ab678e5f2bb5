package handler

import (
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/security"
)

// liveBrokers returns the brokers that are not fenced and have the client's listener: answers
// name the endpoints of the listener that the client came in on.
func liveBrokers(image *metadata.Image, listener string) map[int32]bool {
	live := make(map[int32]bool, image.BrokerCount())
	for b := range image.Brokers() {
		if _, ok := b.Endpoint(listener); ok && !b.Fenced {
			live[b.ID] = true
		}
	}
	return live
}

// anyLiveBroker names this node where it is live, else the first that is: every broker takes
// requests for the controller and forwards them. -1 stands for none.
func anyLiveBroker(image *metadata.Image, nodeID int32) int32 {
	if b := image.Broker(nodeID); b != nil && !b.Fenced {
		return nodeID
	}
	for b := range image.Brokers() {
		if !b.Fenced {
			return b.ID
		}
	}
	return -1
}

// partitionView is a partition as one listener's clients see it.
type partitionView struct {
	leader  int32
	offline []int32
	// leaderKnown tells a leader without this listener from one that is not registered.
	leaderKnown bool
}

func viewPartition(image *metadata.Image, p *metadata.Partition, live map[int32]bool, listener string) partitionView {
	view := partitionView{leader: -1, offline: []int32{}}
	if b := image.Broker(p.Leader); b != nil {
		view.leaderKnown = true
		if _, ok := b.Endpoint(listener); ok {
			view.leader = p.Leader
		}
	}
	for _, id := range p.Replicas {
		if !live[id] || image.Broker(id).HasFailedDirectory(p) {
			view.offline = append(view.offline, id)
		}
	}
	return view
}

// clusterOperations is the bit field of what the client may do on the cluster; 0 for one who
// may not even describe it.
func clusterOperations(a security.Authorizer, c *security.Connection) int32 {
	if !security.Allowed(a, c, security.OperationDescribe, security.Cluster) {
		return 0
	}
	return security.AuthorizedOperations(a, c, security.Cluster)
}
