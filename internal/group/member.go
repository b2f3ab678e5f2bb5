package group

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/shard"
)

// assignorProtocol is one assignor that a member supports, with the member's metadata for it
// (for consumers: the subscription). The coordinator does not look into the metadata except to
// learn the subscribed topics.
type assignorProtocol struct {
	name     string
	metadata []byte
}

// member is one member of a classic group.
type member struct {
	id                 string
	instanceID         *string // static membership, KIP-345
	clientID           string
	clientHost         string
	rebalanceTimeoutMs int32
	sessionTimeoutMs   int32
	protocols          []assignorProtocol
	assignment         []byte

	joinToken   shard.Token // the JoinGroup that waits for the rebalance, or 0
	syncToken   shard.Token // the SyncGroup that waits for the leader's, or 0
	pendingSync bool        // has not sent SyncGroup in this generation
	// isNew is set until the first JoinGroup of the member is answered: it does not know its id
	// yet, so it cannot heartbeat, and waiting does not count as a sign of life.
	isNew     bool
	heartbeat timer
}

func (m *member) awaitsJoin() bool { return m.joinToken != 0 }
func (m *member) awaitsSync() bool { return m.syncToken != 0 }

// satisfiesHeartbeat reports whether the member's parked request proves that it lives.
func (m *member) satisfiesHeartbeat() bool {
	return !m.isNew && (m.awaitsJoin() || m.awaitsSync())
}

// metadataFor returns the member's metadata for the assignor called name, nil if it has none.
func (m *member) metadataFor(name string) []byte {
	for i := range m.protocols {
		if m.protocols[i].name == name {
			return m.protocols[i].metadata
		}
	}
	return nil
}

// matches reports whether protocols is exactly what the member joined with.
func (m *member) matches(protocols []assignorProtocol) bool {
	if len(protocols) != len(m.protocols) {
		return false
	}
	for i := range protocols {
		if protocols[i].name != m.protocols[i].name || !bytes.Equal(protocols[i].metadata, m.protocols[i].metadata) {
			return false
		}
	}
	return true
}

// copyProtocols takes the protocols of a request, whose bytes alias the connection's buffer.
// A name that comes twice counts once: the votes of a group must not exceed its members.
func copyProtocols(list []kmsg.JoinGroupRequestProtocol) []assignorProtocol {
	protocols := make([]assignorProtocol, 0, len(list))
	seen := make(map[string]struct{}, len(list))
	for i := range list {
		if _, again := seen[list[i].Name]; again {
			continue
		}
		seen[list[i].Name] = struct{}{}
		protocols = append(protocols, assignorProtocol{name: list[i].Name, metadata: append([]byte{}, list[i].Metadata...)})
	}
	return protocols
}
