package quorum

import (
	"github.com/moldau/moldau/internal/kafka"
)

// MetadataFolder is the name of the metadata log's folder inside its log dir.
const MetadataFolder = kafka.ClusterMetadataTopic + "-0"

// Batch is one committed Raft entry. Control batches have no Records; they still move the offset.
type Batch struct {
	BaseOffset int64
	LastOffset int64
	Epoch      int32
	// Records are encoded metadata records (metadata.Decode reads them).
	Records [][]byte
}

// Leadership says who leads the quorum. Epoch is Raft's term.
type Leadership struct {
	LeaderID int32 // kafka.NoLeader while there is none
	Epoch    int32
	// IsSelf says that this node leads and that every earlier entry, and one of its own epoch,
	// is committed and handed out: the controller may act.
	IsSelf bool
	// StartOffset is the offset after that entry of its own epoch, where the controller's first
	// record goes; set with IsSelf.
	StartOffset int64
}

// SnapshotID names a snapshot: EndOffset is the offset after the last record it contains, Epoch
// the epoch of that record.
type SnapshotID struct {
	EndOffset int64
	Epoch     int32
}

// VoterSpec is one configured voter.
type VoterSpec struct {
	NodeID      int32
	DirectoryID kafka.UUID
	Listeners   []VoterListener
}

// VoterListener is an address at which a voter's controller listens.
type VoterListener struct {
	Name string
	Host string
	Port uint16
}
