package handler

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/security"
)

func TestDescribeLogDirs(t *testing.T) {
	t.Parallel()
	d := newDataPlane(t)
	d.create("a", 2, 1)
	d.create("b", 1, 1)
	d.doProduce(withProduce(newProduceRequest(9, 1), "a", 1, records(t, -1, "x")))
	h := &DescribeLogDirs{Storage: d.storage, Authorizer: d}
	ask := func(version int16, topics []kmsg.DescribeLogDirsRequestTopic) *kmsg.DescribeLogDirsResponse {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.SetVersion(version)
		req.Topics = topics
		return answerOf[*kmsg.DescribeLogDirsResponse](d, h, req)
	}
	for version := int16(1); version <= 5; version++ {
		resp := ask(version, nil)
		if len(resp.Dirs) != 1 || resp.Dirs[0].Dir != "/data" || resp.Dirs[0].ErrorCode != 0 || len(resp.Dirs[0].Topics) != 2 || len(resp.Dirs[0].Topics[0].Partitions) != 2 {
			t.Fatalf("version %d: %+v", version, resp)
		}
		if p := resp.Dirs[0].Topics[0].Partitions; p[0].Size != 0 || p[1].Size == 0 || p[1].OffsetLag != 0 || p[1].IsFuture {
			t.Errorf("version %d: %+v", version, p)
		}
		if total, usable := resp.Dirs[0].TotalBytes, resp.Dirs[0].UsableBytes; version >= 4 && (total <= 0 || usable <= 0 || usable > total) {
			t.Errorf("version %d: %d of %d bytes", version, usable, total)
		}
	}
	some := []kmsg.DescribeLogDirsRequestTopic{{Topic: "a", Partitions: []int32{1, 9}}, {Topic: "nope", Partitions: []int32{0}}}
	if resp := ask(4, some); len(resp.Dirs[0].Topics) != 1 || len(resp.Dirs[0].Topics[0].Partitions) != 1 {
		t.Errorf("some: %+v", resp.Dirs)
	}
	if resp := ask(4, []kmsg.DescribeLogDirsRequestTopic{}); len(resp.Dirs) != 1 || len(resp.Dirs[0].Topics) != 0 {
		t.Errorf("none: %+v", resp.Dirs)
	}
	d.denied[security.Cluster] = true
	if resp := ask(3, nil); kafka.ErrorCode(resp.ErrorCode) != kafka.ErrClusterAuthorizationFailed || len(resp.Dirs) != 0 {
		t.Errorf("not allowed: %+v", resp)
	}
}
