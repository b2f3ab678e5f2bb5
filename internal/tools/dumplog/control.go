package dumplog

import (
	"encoding/binary"
	"fmt"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/record"
)

// appendControl appends what a control record says.
func appendControl(line []byte, r record.Record) ([]byte, error) {
	kind, err := record.ParseControlKey(r.Key)
	if err != nil {
		return line, err
	}
	version := int16(0)
	if len(r.Value) >= 2 {
		version = int16(binary.BigEndian.Uint16(r.Value))
	}
	switch kind {
	case record.ControlAbort, record.ControlCommit:
		m, err := record.ParseEndTxnMarker(r.Value)
		name := "ABORT"
		if kind == record.ControlCommit {
			name = "COMMIT"
		}
		return fmt.Appendf(line, " endTxnMarker: %s coordinatorEpoch: %d", name, m.CoordinatorEpoch), err
	case record.ControlLeaderChange:
		m, err := record.ParseLeaderChange(r.Value)
		line = fmt.Appendf(line, ` LeaderChange: {"version":%d,"leaderId":%d,"voters":`, m.Version, m.LeaderID)
		line = appendVoters(line, m.Version, m.Voters)
		line = append(line, `,"grantingVoters":`...)
		return append(appendVoters(line, m.Version, m.GrantingVoters), '}'), err
	case record.ControlSnapshotHeader:
		m, err := record.ParseSnapshotHeader(r.Value)
		return fmt.Appendf(line, ` SnapshotHeader {"version":%d,"lastContainedLogTimestamp":%d}`, version, m.LastContainedLogTimestamp), err
	case record.ControlSnapshotFooter:
		_, err := record.ParseSnapshotFooter(r.Value)
		return fmt.Appendf(line, ` SnapshotFooter {"version":%d}`, version), err
	case record.ControlKRaftVersion:
		m, err := record.ParseKRaftVersion(r.Value)
		return fmt.Appendf(line, ` KRaftVersion {"version":%d,"kRaftVersion":%d}`, version, m.KRaftVersion), err
	case record.ControlKRaftVoters:
		m, err := record.ParseKRaftVoters(r.Value)
		return appendVoterSet(line, version, m), err
	}
	return fmt.Appendf(line, " controlType: UNKNOWN(%d)", int16(kind)), nil
}

func appendVoters(line []byte, version int16, voters []record.LeaderChangeVoter) []byte {
	line = append(line, '[')
	for i, v := range voters {
		if i > 0 {
			line = append(line, ',')
		}
		line = fmt.Appendf(line, `{"voterId":%d`, v.ID)
		if version >= 1 {
			line = fmt.Appendf(line, `,"voterDirectoryId":"%s"`, v.DirectoryID)
		}
		line = append(line, '}')
	}
	return append(line, ']')
}

func appendVoterSet(line []byte, version int16, set record.KRaftVoters) []byte {
	line = fmt.Appendf(line, ` KRaftVoters {"version":%d,"voters":[`, version)
	for i, v := range set.Voters {
		if i > 0 {
			line = append(line, ',')
		}
		line = fmt.Appendf(line, `{"voterId":%d,"voterDirectoryId":"%s","endpoints":[`, v.ID, v.DirectoryID)
		for j, e := range v.Endpoints {
			if j > 0 {
				line = append(line, ',')
			}
			line = append(line, `{"name":`...)
			line = kafka.AppendJSONString(line, e.Listener)
			line = append(line, `,"host":`...)
			line = kafka.AppendJSONString(line, e.Host)
			line = fmt.Appendf(line, `,"port":%d}`, e.Port)
		}
		line = fmt.Appendf(line, `],"kRaftVersionFeature":{"minSupportedVersion":%d,"maxSupportedVersion":%d}}`, v.MinVersion, v.MaxVersion)
	}
	return append(line, "]}"...)
}
