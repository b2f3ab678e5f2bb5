package wire

import (
	"slices"
	"sort"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Keys of what only nodes of one cluster send to each other: Moldau's own requests, which no client
// learns of, and Kafka's own between brokers and controllers.
const (
	KeyAlterPartition         int16 = 56
	KeyBrokerRegistration     int16 = 62
	KeyBrokerHeartbeat        int16 = 63
	KeyAllocateProducerIDs    int16 = 67
	KeyControllerRegistration int16 = 70
	KeyAssignReplicasToDirs   int16 = 73
	KeyUpdateRaftVoter        int16 = 82
	KeyPeerHello              int16 = 20000
	KeyPeerRaft               int16 = 20001
	KeyPeerMetadata           int16 = 20002
	KeyPeerSnapshot           int16 = 20003
	KeyPeerForward            int16 = 20004
	KeyPeerLoad               int16 = 20005
	KeyPeerBalancer           int16 = 20006
)

const (
	peersOnBoth       = both | PeersOnly
	peersOnController = ControllerListener | PeersOnly
)

// peerAPIs is sorted by key. Its rows are never advertised. All of Kafka's, PeerLoad and PeerBalancer travel inside
// PeerForward, BrokerHeartbeat also by itself.
var peerAPIs = []API{
	{KeyAlterPartition, "AlterPartition", 2, 3, 2, 0, peersOnController},
	{KeyBrokerRegistration, "BrokerRegistration", 0, 4, 0, 0, peersOnController},
	{KeyBrokerHeartbeat, "BrokerHeartbeat", 0, 2, 0, 0, peersOnController},
	{KeyAllocateProducerIDs, "AllocateProducerIds", 0, 0, 0, 0, peersOnController},
	{KeyControllerRegistration, "ControllerRegistration", 0, 0, 0, 0, peersOnController},
	{KeyAssignReplicasToDirs, "AssignReplicasToDirs", 0, 0, 0, 0, peersOnController},
	{KeyUpdateRaftVoter, "UpdateRaftVoter", 0, 0, 0, 0, peersOnController},
	{KeyPeerHello, "PeerHello", 0, 0, 0, 0, peersOnBoth},
	{KeyPeerRaft, "PeerRaft", 0, 0, 0, 0, peersOnController},
	{KeyPeerMetadata, "PeerMetadata", 0, 0, 0, 0, peersOnController},
	{KeyPeerSnapshot, "PeerSnapshot", 0, 0, 0, 0, peersOnController},
	{KeyPeerForward, "PeerForward", 0, 0, 0, 0, peersOnController},
	{KeyPeerLoad, "PeerLoad", 0, 0, 0, 0, peersOnController},
	{KeyPeerBalancer, "PeerBalancer", 0, 0, 0, 0, peersOnController},
}

// PeerAPIs returns the table of what nodes send each other besides Kafka's public requests, sorted by
// key. The caller must not change it.
func PeerAPIs() []API { return peerAPIs }

// LookupPeerAPI returns the row of key among those that only peers may send.
func LookupPeerAPI(key int16) (*API, bool) { return lookup(peerAPIs, key) }

func lookup(rows []API, key int16) (*API, bool) {
	i := sort.Search(len(rows), func(i int) bool { return rows[i].Key >= key })
	if i == len(rows) || rows[i].Key != key {
		return nil, false
	}
	return &rows[i], true
}

// lookupAny returns the row of key in either table.
func lookupAny(key int16) (*API, bool) {
	if api, ok := LookupAPI(key); ok {
		return api, true
	}
	return LookupPeerAPI(key)
}

// allAPIs returns the rows of both tables.
func allAPIs() []API { return slices.Concat(apis, peerAPIs) }

// newRequest returns an empty request of any key in the two tables.
func newRequest(key int16) kmsg.Request {
	switch key {
	case KeyPeerHello:
		return &PeerHelloRequest{}
	case KeyPeerRaft:
		return &PeerRaftRequest{}
	case KeyPeerMetadata:
		return &PeerMetadataRequest{}
	case KeyPeerSnapshot:
		return &PeerSnapshotRequest{}
	case KeyPeerForward:
		return &PeerForwardRequest{}
	case KeyPeerLoad:
		return &PeerLoadRequest{}
	case KeyPeerBalancer:
		return &PeerBalancerRequest{}
	}
	return kmsg.RequestForKey(key)
}
