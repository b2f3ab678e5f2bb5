package status

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

// answering serves one broker that answers with what answer returns, and leaves what it returns nil for without an answer.
func answering(t *testing.T, answer func(kmsg.Request) kmsg.Response) (address string) {
	t.Helper()
	return kafkatest.Listen(t, func(conn net.Conn) {
		for serveOne(conn, answer) == nil {
		}
	})
}

func serveOne(conn net.Conn, answer func(kmsg.Request) kmsg.Response) error {
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	frame := make([]byte, min(binary.BigEndian.Uint32(size[:]), 1<<16))
	if _, err := io.ReadFull(conn, frame); err != nil {
		return err
	}
	request := kmsg.RequestForKey(int16(binary.BigEndian.Uint16(frame)))
	request.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	body := frame[10+max(0, int(int16(binary.BigEndian.Uint16(frame[8:])))):] // behind the client's id
	if request.IsFlexible() {
		body = body[1:] // without tagged fields
	}
	if err := request.ReadFrom(body); err != nil {
		return err
	}
	response := answer(request)
	if response == nil {
		return nil
	}
	response.SetVersion(request.GetVersion())
	out := append(make([]byte, 4), frame[4:8]...)
	if response.IsFlexible() && response.Key() != kmsg.ApiVersions.Int16() {
		out = append(out, 0)
	}
	out = response.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	_, err := conn.Write(out)
	return err
}

// TestWithoutController asks a broker behind which no controller answers: one question waits for it, the rest is told, and what is not known is said.
func TestWithoutController(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var host string
	var port int32
	inVain := 0
	address := answering(t, func(request kmsg.Request) kmsg.Response {
		mu.Lock()
		defer mu.Unlock()
		switch req := request.(type) {
		case *kmsg.ApiVersionsRequest:
			resp := kmsg.NewPtrApiVersionsResponse()
			for _, key := range []kmsg.Key{kmsg.ApiVersions, kmsg.Metadata, kmsg.DescribeCluster, kmsg.DescribeQuorum, kmsg.ListPartitionReassignments} {
				resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: key.Int16(), MaxVersion: kmsg.RequestForKey(key.Int16()).MaxVersion()})
			}
			return resp
		case *kmsg.MetadataRequest:
			resp := kmsg.NewPtrMetadataResponse()
			resp.ControllerID = 1
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: 1, Host: host, Port: port})
			return resp
		case *kmsg.DescribeClusterRequest:
			if req.UnknownTags.Len() == 0 {
				resp := kmsg.NewPtrDescribeClusterResponse()
				resp.ClusterID = "c"
				resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: 1, Host: host, Port: port})
				return resp
			}
		case *kmsg.ListPartitionReassignmentsRequest:
			return kmsg.NewPtrListPartitionReassignmentsResponse()
		}
		inVain++
		return nil
	})
	tcp, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	host, port = tcp.IP.String(), int32(tcp.Port)
	mu.Unlock()
	var out bytes.Buffer
	s := cli.Streams{Out: &out, Err: &out}
	admin, err := client.NewAdminOf(s, client.Properties{}, address, "")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	admin.APITimeout = 500 * time.Millisecond
	if err := admin.Connect(t.Context(), "status"); err != nil {
		t.Fatal(err)
	}
	c, err := gather(t.Context(), admin)
	if err != nil {
		t.Fatal(err)
	}
	r := Assess(c)
	r.print(s)
	mu.Lock()
	defer mu.Unlock()
	if inVain != 1 {
		t.Errorf("%d questions were waited for in vain", inVain)
	}
	for _, want := range []string{"fails", "none is active", "no controller has answered within 500ms", "0 being moved", "Not answered  the balancer\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, &out)
		}
	}
}
