package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// logEndTag is the tagged field of a voter's answer to a heartbeat with the end of its metadata log.
const logEndTag = 20000

// SetLogEnd has a voter's answer say where its metadata log ends.
func SetLogEnd(resp *kmsg.BrokerHeartbeatResponse, endOffset int64) {
	resp.UnknownTags.Set(logEndTag, binary.BigEndian.AppendUint64(nil, uint64(endOffset)))
}

// LogEnd returns where the metadata log of the voter ends that has answered; 0 where it is of a release that does not say.
func LogEnd(resp *kmsg.BrokerHeartbeatResponse) (endOffset int64) {
	resp.UnknownTags.Each(func(tag uint32, value []byte) {
		if tag == logEndTag && len(value) == 8 {
			endOffset = int64(binary.BigEndian.Uint64(value))
		}
	})
	return endOffset
}
