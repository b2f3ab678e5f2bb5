package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// requestShapes describes how each request lies on the wire, so that inspect can walk a body
// without allocating before kmsg decodes it. The notation: a number is a fixed size in bytes, s a
// string, b bytes, (…) an array of structs, […] an array of plain values, {…} a struct; ? follows
// what may be null and @ the versions a field exists in, both with ranges such as 3-, -7 or 8-10
// (all versions when left out). Tagged fields are skipped by their size and left out, except that # and a
// number begin one whose content is a struct, which has a tag section of its own, or an array: it must be walked.
// The version range of an API's row bounds the lowest and highest version.
var requestShapes = map[int16]string{
	KeyProduce:                      "s? 2 4 (s@-12 16@13- (4 b?))",
	KeyFetch:                        "4@-14 4 4 4 1 4@7- 4@7- (s@-12 16@13- (4 4@9- 8 4@12- 8@5- 4)) (s@7-12 16@13- [4]@7-)@7- s@11- #1{4 8}",
	KeyListOffsets:                  "4 1@2- (s (4 4@4- 8)) 4@10-",
	KeyMetadata:                     "(16@10- s?10-)?1- 1@4- 1@8-10 1@8-",
	KeyOffsetCommit:                 "s 4 s s?@7- 8@-4 (s@-9 16@10- (4 8 4@6- s?))",
	KeyOffsetFetch:                  "s@-7 (s@-7 [4]@-7)?2-@-7 (s@8- s?@9- 4@9- (s@8-9 16@10- [4]@8-)?@8-)@8- 1@7-",
	KeyFindCoordinator:              "s@-3 1@1- [s]@4-",
	KeyJoinGroup:                    "s 4 4@1- s s?@5- s (s b) s?@8-",
	KeyHeartbeat:                    "s 4 s s?@3-",
	KeyLeaveGroup:                   "s s@-2 (s@3- s?@3- s?@5-)@3-",
	KeySyncGroup:                    "s 4 s s?@3- s?@5- s?@5- (s b)",
	KeyDescribeGroups:               "[s] 1@3-",
	KeyListGroups:                   "[s]@4- [s]@5-",
	KeyAPIVersions:                  "s@3- s@3-",
	KeyCreateTopics:                 "(s 4 2 (4 [4]) (s s?)) 4 1",
	KeyDeleteTopics:                 "(s?@6- 16@6-)@6- [s]@-5 4",
	KeyDeleteRecords:                "(s (4 8)) 4",
	KeyInitProducerID:               "s? 4 8@3- 2@3-",
	KeyOffsetForLeaderEpoch:         "4@3- (s (4 4 4))",
	KeyAddPartitionsToTxn:           "s@-3 8@-3 2@-3 (s [4])@-3 (s 8 2 1 (s [4]))@4-",
	KeyAddOffsetsToTxn:              "s 8 2 s",
	KeyEndTxn:                       "s 8 2 1",
	KeyWriteTxnMarkers:              "(8 2 1 (s [4]) 4 1@2-)",
	KeyTxnOffsetCommit:              "s s 8 2 4@3- s@3- s?@3- (s (4 8 4@2- s?))",
	KeyDescribeACLs:                 "1 s? 1 s? s? 1 1",
	KeyCreateACLs:                   "(1 s 1 s s 1 1)",
	KeyDeleteACLs:                   "(1 s? 1 s? s? 1 1)",
	KeyDescribeConfigs:              "(1 s [s]?) 1 1@3-",
	KeyAlterConfigs:                 "(1 s (s s?)) 1",
	KeyAlterReplicaLogDirs:          "(s (s [4]))",
	KeyDescribeLogDirs:              "(s [4])?",
	KeyCreatePartitions:             "(s 4 ([4])?) 4 1",
	KeyCreateDelegationToken:        "s?@3- s?@3- (s s) 8",
	KeyRenewDelegationToken:         "b 8",
	KeyExpireDelegationToken:        "b 8",
	KeyDescribeDelegationToken:      "(s s)?",
	KeyDeleteGroups:                 "[s]",
	KeyElectLeaders:                 "1@1- (s [4])? 4",
	KeyIncrementalAlterConfigs:      "(1 s (s 1 s?)) 1",
	KeyAlterPartitionReassignments:  "4 1@1- (s (4 [4]?))",
	KeyListPartitionReassignments:   "4 (s [4])?",
	KeyOffsetDelete:                 "s (s (4))",
	KeyDescribeClientQuotas:         "(s 1 s?) 1",
	KeyAlterClientQuotas:            "((s s?) (s 8 1)) 1",
	KeyDescribeUserSCRAMCredentials: "(s)?",
	KeyAlterUserSCRAMCredentials:    "(s 1) (s 1 4 b b)",
	KeyDescribeQuorum:               "(s (4))",
	KeyUpdateFeatures:               "4 (s 2 1@-0 1@1-) 1@1-",
	KeyUnregisterBroker:             "4",
	KeyDescribeCluster:              "1 1@1- 1@2-",
	KeyDescribeProducers:            "(s [4])",
	KeyDescribeTransactions:         "[s]",
	KeyListTransactions:             "[s] [8] 8@1- s?@2-",
	KeyGetTelemetrySubscriptions:    "16",
	KeyPushTelemetry:                "16 4 1 1 b",
	KeyListConfigResources:          "[1]@1-",
	KeyDescribeTopicPartitions:      "(s) 4 {s 4}?",
	KeyAddRaftVoter:                 "s? 4 4 16 (s s 2) 1@1-",
	KeyRemoveRaftVoter:              "s? 4 16",
	KeyUpdateRaftVoter:              "s? 4 4 16 (s s 2) {2 2}",
	KeyAlterPartition:               "4 8 (16 (4 4 [4]@-2 (4 8)@3- 1 4))",
	KeyBrokerRegistration:           "4 s 16 (s s 2 2) (s 2 2) s? 1@1- [16]@2- 8@3-",
	KeyBrokerHeartbeat:              "4 8 8 1 1 #0[16] #1[16]?",
	KeyAllocateProducerIDs:          "4 8",
	KeyControllerRegistration:       "4 16 1 (s s 2 2) (s 2 2)",
	KeyAssignReplicasToDirs:         "4 8 (16 (16 (4)))",
	KeyPeerHello:                    "2 s 4 16 16 1",
	KeyPeerRaft:                     "8 [b]",
	KeyPeerMetadata:                 "4 16 8 8 4 4 4",
	KeyPeerSnapshot:                 "8 4 8 4",
	KeyPeerForward:                  "s s s 2 2 1 b",
	KeyPeerLoad:                     "4 8 1 1 8 (8 8) (16 4 1 8 8)",
	KeyPeerBalancer:                 "1",
}

type shapeKind uint8

const (
	shapeFixed shapeKind = iota
	shapeString
	shapeBytes
	shapeStructArray
	shapePlainArray
	shapeStruct
	shapeTagged
)

type versionRange struct{ from, to int16 }

func (r versionRange) has(version int16) bool { return version >= r.from && version <= r.to }

var (
	everyVersion = versionRange{0, 1<<15 - 1}
	noVersion    = versionRange{1, 0}
)

// shape is one field of a request.
type shape struct {
	kind     shapeKind
	size     int // of shapeFixed
	tag      uint32
	versions versionRange
	nullable versionRange
	fields   []shape
}

// parsedShapes is requestShapes parsed once; a mistake in the table ends every test.
var parsedShapes = parseShapes()

func parseShapes() map[int16][]shape {
	parsed := make(map[int16][]shape, len(requestShapes))
	for key, text := range requestShapes {
		p := shapeParser{text: text}
		parsed[key] = p.fields()
		if p.at != len(text) {
			panic(fmt.Sprintf("BUG: shape of API key %d: unexpected %q", key, text[p.at:]))
		}
	}
	return parsed
}

type shapeParser struct {
	text string
	at   int
}

func (p *shapeParser) peek() byte {
	if p.at == len(p.text) {
		return 0
	}
	return p.text[p.at]
}

func (p *shapeParser) fields() []shape {
	var fields []shape
	for {
		switch p.peek() {
		case 0, ')', ']', '}':
			return fields
		case ' ':
			p.at++
		default:
			fields = append(fields, p.field())
		}
	}
}

func (p *shapeParser) field() shape {
	f := shape{versions: everyVersion, nullable: noVersion}
	switch c := p.peek(); c {
	case 's':
		f.kind = shapeString
		p.at++
	case 'b':
		f.kind = shapeBytes
		p.at++
	case '(', '[', '{':
		f.kind = map[byte]shapeKind{'(': shapeStructArray, '[': shapePlainArray, '{': shapeStruct}[c]
		p.at++
		f.fields = p.fields()
		p.at++
	case '#':
		p.at++
		f.kind, f.tag = shapeTagged, uint32(p.number(0))
		f.fields = []shape{p.field()}
	default:
		f.size = int(p.number(0))
	}
	if p.peek() == '?' {
		p.at++
		f.nullable = p.versionRange()
	}
	if p.peek() == '@' {
		p.at++
		f.versions = p.versionRange()
	}
	return f
}

func (p *shapeParser) versionRange() versionRange {
	r := everyVersion
	if c := p.peek(); c != '-' && (c < '0' || c > '9') {
		return r
	}
	r.from = p.number(0)
	p.at++ // the dash
	r.to = p.number(everyVersion.to)
	return r
}

func (p *shapeParser) number(absent int16) int16 {
	digits := p.text[p.at:]
	if end := strings.IndexFunc(digits, func(c rune) bool { return c < '0' || c > '9' }); end >= 0 {
		digits = digits[:end]
	}
	if digits == "" {
		return absent
	}
	n, err := strconv.ParseInt(digits, 10, 16)
	if err != nil {
		panic(fmt.Sprintf("BUG: shape %q: %v", p.text, err))
	}
	p.at += len(digits)
	return int16(n)
}
