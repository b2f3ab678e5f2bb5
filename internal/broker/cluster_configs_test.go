package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/kafka"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/peer"
)

// TestConfigsOfABrokerAreCheckedByItsProperties, not by those of the active controller, which is no broker: it has other
// log dirs and none of the broker's listeners.
func TestConfigsOfABrokerAreCheckedByItsProperties(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.voters = c.voters[:1]
	c.prepare = controllerOnly
	c.start(0, 1)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.running[1].server.Addr("PLAINTEXT").String()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	n := &configNode{t: t, b: c.running[1], client: client}
	set := func(name, value string) error {
		t.Helper()
		return n.tryAlter(setting{kmsg.ConfigResourceTypeBroker, "2", name, &value})
	}
	for _, s := range [][2]string{
		{"cordoned.log.dirs", c.folder(1)},
		{"listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT,CONTROLLER:PLAINTEXT"},
		{"listeners", "PLAINTEXT://127.0.0.1:0,EXTRA://127.0.0.1:0"},
	} {
		if err := set(s[0], s[1]); err != nil {
			t.Errorf("%s=%s: %v", s[0], s[1], err)
		}
	}
	eventually(t, "the broker follows its configs", func() bool {
		return slices.Equal(n.b.current.Load().CordonedLogDirs, []string{c.folder(1)}) && n.b.server.Addr("EXTRA") != nil
	})
	for _, s := range [][2]string{
		{"cordoned.log.dirs", c.folder(0)}, // the controller's
		{"listeners", "EXTRA://127.0.0.1:0"},
		{"log.cleaner.dedupe.buffer.size", "1"},
	} {
		if err := set(s[0], s[1]); !errors.Is(err, kafka.ErrInvalidRequest) {
			t.Errorf("%s=%s: %v", s[0], s[1], err)
		}
	}
}

// TestConfigsOfAController: its dynamic configs are altered where controllers are asked (KIP-919).
func TestConfigsOfAController(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.voters = c.voters[:1]
	c.prepare = controllerOnly
	c.start(0, 1)
	c.awaitMetadata(0, "the controller is registered", func(image *metadata.Image) bool { return c.running[0].isControllerKnown(image) })
	client, err := kgo.NewClient(kgo.SeedBrokers(c.running[0].server.Addr("CONTROLLER").String()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for id, want := range map[string]kafka.ErrorCode{"1": kafka.ErrNone, "2": kafka.ErrNone, "3": kafka.ErrBrokerIDNotRegistered} {
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		resource := kmsg.NewIncrementalAlterConfigsRequestResource()
		resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, id
		resource.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "max.connections", Value: kmsg.StringPtr("7" + id)}}
		req.Resources = append(req.Resources, resource)
		resp, err := client.SeedBrokers()[0].Request(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if code := kafka.ErrorCode(resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode); code != want {
			t.Errorf("node %s: %v, want %v", id, code, want)
		}
	}
	eventually(t, "each follows its own", func() bool {
		return c.running[0].current.Load().MaxConnections == 71 && c.running[1].current.Load().MaxConnections == 72
	})
}

// controllerOnly has the first node be no broker.
func controllerOnly(i int, properties map[string]string) func(b *broker) {
	if i == 0 {
		_, controller, _ := strings.Cut(properties["listeners"], ",")
		properties["process.roles"], properties["listeners"] = "controller", controller
	}
	return func(*broker) {}
}

// TestAddressOfAListenerAtAStart: a broker of a cluster opens its listeners before it has heard what was changed while it was down.
func TestAddressOfAListenerAtAStart(t *testing.T) {
	t.Parallel()
	c := newClusterNodes(t)
	c.voters = c.voters[:1]
	c.start(0, 1)
	c.stop(1)
	wanted := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	resource := kmsg.NewIncrementalAlterConfigsRequestResource()
	resource.ResourceType, resource.ResourceName = kmsg.ConfigResourceTypeBroker, "2"
	resource.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "listeners", Value: kmsg.StringPtr("PLAINTEXT://" + wanted)}}
	req.Resources = append(req.Resources, resource)
	resp, err := c.running[0].channel.Send(t.Context(), peer.Origin{Principal: "User:ANONYMOUS"}, req)
	if err != nil || resp.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode != 0 {
		t.Fatal(resp, err)
	}
	c.start(1)
	if at := c.running[1].server.Addr("PLAINTEXT"); at == nil || at.String() != wanted {
		t.Errorf("it listens at %v, not at %s", at, wanted)
	}
	c.awaitMetadata(0, "others know the address", func(image *metadata.Image) bool {
		e, ok := image.Broker(2).Endpoint("PLAINTEXT")
		return ok && fmt.Sprintf("%s:%d", e.Host, e.Port) == wanted
	})
}
