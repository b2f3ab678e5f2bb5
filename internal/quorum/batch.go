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
	// IsSelf says that this node leads and that everything in its log, with an entry of its own epoch,
	// is committed and handed out: the controller may act. It must act on what is committed.
	IsSelf bool
	// StartOffset is where the controller's first record goes; set with IsSelf.
	StartOffset int64
	// Office is another one, never used before in this process, each time that IsSelf becomes true; else 0.
	// In one office nothing but the controller's proposals gets into the log, all of them or none behind the
	// first that was refused: it may rest each on those before.
	Office uint64
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
