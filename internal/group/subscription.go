package group

import "encoding/binary"

// addSubscribedTopics reads the topics of a consumer's subscription into topics. Every version
// of the consumer protocol begins as version 0 does: version int16, an int32 count, and strings
// with int16 lengths. The bytes come from a client: it returns false unless they make sense.
func addSubscribedTopics(subscription []byte, topics map[string]struct{}) bool {
	if len(subscription) < 6 || int16(binary.BigEndian.Uint16(subscription)) < 0 {
		return false
	}
	count := int32(binary.BigEndian.Uint32(subscription[2:]))
	rest := subscription[6:]
	if count < 0 || int64(count)*2 > int64(len(rest)) {
		return false
	}
	for range count {
		if len(rest) < 2 {
			return false
		}
		length := int(int16(binary.BigEndian.Uint16(rest)))
		if length < 0 || length > len(rest)-2 {
			return false
		}
		topics[string(rest[2:2+length])] = struct{}{}
		rest = rest[2+length:]
	}
	return true
}
