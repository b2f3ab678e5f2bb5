package apptest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/kafkatest"
)

// carried is a line of moldau brokers.
type carried struct {
	state             string
	replicas, leaders int
}

var carriedLine = regexp.MustCompile(`(?m)^(\d+)\s+\S+\s+(\S.*?)\s*\t(\d+)\s*\t(\d+)\s*\t`)

// carries is what moldau brokers says.
func (c *cluster) carries(s *shell) map[int32]carried {
	c.t.Helper()
	all := map[int32]carried{}
	code, out, _ := s.run("", "moldau", "brokers", "--bootstrap-server", strings.Join(c.seeds(), ","))
	if code != 0 {
		return all
	}
	for _, fields := range carriedLine.FindAllStringSubmatch(out, -1) {
		id, _ := strconv.Atoi(fields[1])
		replicas, _ := strconv.Atoi(fields[3])
		leaders, _ := strconv.Atoi(fields[4])
		all[int32(id)] = carried{fields[2], replicas, leaders}
	}
	return all
}

// addBroker starts a further broker that does not vote.
func (c *cluster) addBroker(id int32) {
	c.t.Helper()
	n := kafkatest.NewBroker(c.t, fmt.Sprintf("node.id=%d", id), "process.roles=broker", "controller.listener.names=CONTROLLER")
	for _, o := range c.nodes[1].Overrides {
		if strings.HasPrefix(o, "controller.quorum.voters=") {
			n.Overrides = append(n.Overrides, o)
		}
	}
	n.Overrides = append(n.Overrides, fmt.Sprintf("listeners=PLAINTEXT://localhost:%d", n.Port))
	c.nodes[id] = n
	n.Launch()
	c.await(id)
}

// TestElasticCluster gives a loaded cluster a fourth broker, which takes its share, drains another one, evens out the load and retires the
// fourth again. Producers go on, and nothing that was acknowledged is lost or doubled.
func TestElasticCluster(t *testing.T) {
	t.Parallel()
	c, s := startCluster(t), newShell(t)
	// The disk of this machine may be fuller than the balancer allows.
	if err := c.alterBrokers("moldau.balancer.disk.limit.percent", "99"); err != nil {
		t.Fatal(err)
	}
	minISR := "2"
	if resp, err := c.admin.CreateTopic(t.Context(), clusterSize, clusterSize, map[string]*string{"min.insync.replicas": &minISR}, "t"); err != nil || resp.Err != nil {
		t.Fatal(resp, err)
	}
	if resp, err := c.admin.CreateTopic(t.Context(), 15, 2, nil, "bulk"); err != nil || resp.Err != nil {
		t.Fatal(resp, err)
	}
	c.fill("bulk", 30<<20)
	w := c.produce("t", clusterSize)
	w.awaitProgress()

	began := time.Now()
	c.addBroker(4)
	c.eventually("the new broker has its share", func() error {
		// 39 replicas on four brokers, 18 partitions.
		if b := c.carries(s)[4]; b.state != "active" || b.replicas < 8 || b.leaders < 3 {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
	t.Logf("a fourth broker took its share after %s: %s without an acknowledged record", time.Since(began), w.awaitProgress())
	began = time.Now()

	s.must("", "moldau", "brokers", "drain", "2", "--wait", "--bootstrap-server", strings.Join(c.seeds(), ","))
	if b := c.carries(s)[2]; b != (carried{"drained", 0, 0}) {
		t.Errorf("after a drain: %+v", b)
	}
	t.Logf("a broker was drained after %s: %s without an acknowledged record", time.Since(began), w.awaitProgress())
	code, _, errs := s.run("", "moldau", "brokers", "drain", "3", "--bootstrap-server", strings.Join(c.seeds(), ","))
	if code == 0 || !strings.Contains(errs, "topic t has replication factor 3, and 2 other brokers are active") {
		t.Errorf("a drain that cannot end: %d, %s", code, errs)
	}
	s.must("", "moldau", "brokers", "drain", "2", "--cancel", "--bootstrap-server", strings.Join(c.seeds(), ","))

	c.evenOut(s, 2)
	t.Logf("a broker that was empty was given its share by moldau balance: %s without an acknowledged record", w.awaitProgress())

	began = time.Now()
	remove := s.launch("moldau", "brokers", "remove", "4", "--bootstrap-server", c.nodes[1].Addr())
	remove.awaitOutput("Broker 4 is empty. Stop its process now")
	c.nodes[4].Stop()
	delete(c.nodes, 4)
	if code := remove.await(); code != 0 || !strings.Contains(remove.out.String(), "Broker 4 is removed.") {
		t.Errorf("remove: %d", code)
	}
	if all := c.carries(s); len(all) != clusterSize {
		t.Errorf("%+v", all)
	}
	t.Logf("a broker was removed after %s: %s without an acknowledged record", time.Since(began), w.awaitProgress())
	w.stop()
	c.checkAll(w)
	if out := s.must("", "moldau", "balance", "status", "--bootstrap-server", c.nodes[1].Addr()); !strings.Contains(out, "State:    idle") || !strings.Contains(out, "Draining: -") {
		t.Errorf("status:\n%s", out)
	}
}

// evenOut has a broker that carries nothing given its share, which is shown before: until then nothing moves by itself.
func (c *cluster) evenOut(s *shell, id int32) {
	c.t.Helper()
	given := regexp.MustCompile(fmt.Sprintf(`(?m)^%d\s+0 -> [1-9]`, id))
	c.eventually("a plan that gives the broker replicas", func() error {
		out := s.must("", "moldau", "balance", "--dry-run", "--bootstrap-server", c.nodes[1].Addr())
		if !given.MatchString(out) || !regexp.MustCompile(`\d+ moves, .* to copy`).MatchString(out) {
			return fmt.Errorf("moldau balance --dry-run says\n%s", out)
		}
		return nil
	})
	if b := c.carries(s)[id]; b != (carried{"active", 0, 0}) {
		c.t.Errorf("after moldau balance --dry-run: %+v", b)
	}
	s.must("", "moldau", "balance", "--bootstrap-server", c.nodes[1].Addr())
	c.eventually("the broker has its share", func() error {
		if b := c.carries(s)[id]; b.state != "active" || b.replicas < 8 || b.leaders < 3 {
			return fmt.Errorf("%+v", b)
		}
		return nil
	})
}

// alterBrokers sets a config of all brokers.
func (c *cluster) alterBrokers(name, value string) error {
	responses, err := c.admin.AlterBrokerConfigs(c.t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}})
	if err == nil {
		_, err = responses.On("", func(r *kadm.AlterConfigsResponse) error { return r.Err })
	}
	return err
}

// fill writes about so many bytes to a topic.
func (c *cluster) fill(topic string, bytes int) {
	c.t.Helper()
	value := make([]byte, 10_000)
	client := c.newClient(c.seeds(), kgo.DefaultProduceTopic(topic))
	var records []*kgo.Record
	for range bytes / len(value) {
		records = append(records, &kgo.Record{Value: value})
	}
	if err := client.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}
