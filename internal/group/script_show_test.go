package group

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/shard"
)

// show prints what a step gave and keeps its records as the log.
func (s *script) show(effects shard.Effects) {
	s.log = append(s.log, effects.Records...)
	for _, r := range effects.Records {
		fmt.Fprintf(&s.out, "record %s\n", s.showRecord(r))
	}
	for _, r := range effects.Responses {
		if r.Err != nil {
			fmt.Fprintf(&s.out, "%d: %v\n", r.Token, r.Err)
			continue
		}
		s.showResponse(r)
	}
}

func (s *script) showRecord(r shard.Record) string {
	if k, err := decodeOffsetCommitKey(r.Key); err == nil && r.Key[1] == byte(keyTypeOffsetCommit) {
		name := fmt.Sprintf("offset %s %s-%d", k.group, k.topic, k.partition)
		if r.Value == nil {
			return name + " tombstone"
		}
		o, err := decodeOffsetCommit(r.Value)
		if err != nil {
			s.t.Fatal(err)
		}
		expiry := ""
		if o.expireTimestampMs != noExpiry {
			expiry = fmt.Sprintf(" expires=%d", o.expireTimestampMs)
		}
		return fmt.Sprintf("%s = %d epoch=%d metadata=%q at=%d%s", name, o.offset, o.leaderEpoch, o.metadata, o.commitTimestampMs, expiry)
	}
	id, err := decodeGroupKey(r.Key)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.Value == nil {
		return "group " + id + " tombstone"
	}
	v, err := decodeGroupMetadata(r.Value)
	if err != nil {
		s.t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "group %s generation=%d type=%q protocol=%s leader=%s since=%d", id, v.Generation, v.ProtocolType, text(v.Protocol), s.aliasOf(v.Leader), v.CurrentStateTimestamp)
	for _, m := range v.Members {
		fmt.Fprintf(&b, " %s=%q", s.alias(m.MemberID), m.Assignment)
	}
	return b.String()
}

func (s *script) aliasOf(id *string) string {
	if id == nil {
		return "-"
	}
	return s.alias(*id)
}

func text(p *string) string {
	if p == nil {
		return "-"
	}
	return *p
}

func codeText(code int16) string { return kafka.ErrorCode(code).Error() }

func (s *script) showResponse(r shard.Response) {
	out := &s.out
	fmt.Fprintf(out, "%d: ", r.Token)
	switch v := r.Value.(type) {
	case *kmsg.JoinGroupResponse:
		fmt.Fprintf(out, "%s member=%s", codeText(v.ErrorCode), s.alias(v.MemberID))
		if v.ErrorCode == 0 {
			fmt.Fprintf(out, " generation=%d protocol=%s leader=%s", v.Generation, text(v.Protocol), s.alias(v.LeaderID))
		}
		if v.SkipAssignment {
			fmt.Fprint(out, " skip-assignment")
		}
		for _, m := range v.Members {
			fmt.Fprintf(out, " [%s", s.alias(m.MemberID))
			if m.InstanceID != nil {
				fmt.Fprintf(out, " %s", *m.InstanceID)
			}
			fmt.Fprint(out, "]")
		}
		fmt.Fprintln(out)
	case *kmsg.SyncGroupResponse:
		fmt.Fprintf(out, "%s", codeText(v.ErrorCode))
		if v.ErrorCode == 0 {
			fmt.Fprintf(out, " type=%s protocol=%s assignment=%q", text(v.ProtocolType), text(v.Protocol), v.MemberAssignment)
		}
		fmt.Fprintln(out)
	case *kmsg.HeartbeatResponse:
		fmt.Fprintln(out, codeText(v.ErrorCode))
	case *kmsg.LeaveGroupResponse:
		fmt.Fprint(out, codeText(v.ErrorCode))
		for _, m := range v.Members {
			fmt.Fprintf(out, " [%s %s %s]", s.alias(m.MemberID), text(m.InstanceID), codeText(m.ErrorCode))
		}
		fmt.Fprintln(out)
	default:
		s.showAdminResponse(r.Value)
	}
}

func (s *script) showAdminResponse(value any) {
	out := &s.out
	switch v := value.(type) {
	case *kmsg.OffsetCommitResponse:
		for _, t := range v.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(out, "%s-%d %s ", t.Topic, p.Partition, codeText(p.ErrorCode))
			}
		}
	case *kmsg.OffsetFetchResponseGroup:
		fmt.Fprint(out, codeText(v.ErrorCode))
		for _, t := range v.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(out, " %s-%d=%d", t.Topic, p.Partition, p.Offset)
				if p.ErrorCode != 0 {
					fmt.Fprintf(out, "(%s)", codeText(p.ErrorCode))
				}
			}
		}
	case *kmsg.OffsetDeleteResponse:
		fmt.Fprint(out, codeText(v.ErrorCode))
		for _, t := range v.Topics {
			for _, p := range t.Partitions {
				fmt.Fprintf(out, " %s-%d:%s", t.Topic, p.Partition, codeText(p.ErrorCode))
			}
		}
	case []kmsg.DescribeGroupsResponseGroup:
		for _, g := range v {
			fmt.Fprintf(out, "%s %s %s type=%q protocol=%q", g.Group, codeText(g.ErrorCode), g.State, g.ProtocolType, g.Protocol)
			for _, m := range g.Members {
				fmt.Fprintf(out, " [%s %s %s %s metadata=%dB assignment=%q]", s.alias(m.MemberID), text(m.InstanceID), m.ClientID, m.ClientHost, len(m.ProtocolMetadata), m.MemberAssignment)
			}
			fmt.Fprint(out, "; ")
		}
	case []kmsg.ListGroupsResponseGroup:
		for _, g := range v {
			fmt.Fprintf(out, "%s:%s:%s:%s ", g.Group, g.GroupType, g.GroupState, g.ProtocolType)
		}
	case []kmsg.DeleteGroupsResponseGroup:
		for _, g := range v {
			fmt.Fprintf(out, "%s:%s ", g.Group, codeText(g.ErrorCode))
		}
	default:
		s.t.Fatalf("unknown response %T", value)
	}
	fmt.Fprintln(out)
}

func (s *script) printState(id string) {
	g := s.shard.group(id)
	if g == nil {
		fmt.Fprintln(&s.out, "none")
		return
	}
	fmt.Fprintf(&s.out, "%s generation=%d leader=%s pending=%d subscribed=%v", g.state, g.generation, s.alias(g.leader), len(g.pendingMembers), sortedKeys(g.subscribed))
	for _, m := range g.members {
		fmt.Fprintf(&s.out, " %s", s.alias(m.id))
	}
	fmt.Fprintln(&s.out)
}
