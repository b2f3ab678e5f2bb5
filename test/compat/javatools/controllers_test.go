//go:build unix

package javatools

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/moldau/moldau/internal/kafkatest"
	"github.com/moldau/moldau/test/compat/programs"
)

// controller is a node of both roles that finds its cluster through the controller at port.
func controller(t *testing.T, id, own, port int) (n *kafkatest.Broker, file string) {
	t.Helper()
	n = kafkatest.NewBroker(t, fmt.Sprintf("node.id=%d", id), "controller.listener.names=CONTROLLER", fmt.Sprintf("controller.quorum.bootstrap.servers=localhost:%d", port))
	listeners := fmt.Sprintf("listeners=PLAINTEXT://localhost:%d,CONTROLLER://localhost:%d", n.Port, own)
	n.Overrides = append(n.Overrides, listeners)
	// The tool reads it as Apache Kafka's broker would.
	file = filepath.Join(t.TempDir(), "server.properties")
	text := fmt.Sprintf("process.roles=broker,controller\nnode.id=%d\nlog.dirs=%s\n%s\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:%d\n"+
		"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n", id, n.DataDir, listeners, port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return n, file
}

// TestControllersChange: Apache Kafka's kafka-metadata-quorum has a node vote, and not vote any more, while the cluster runs.
func TestControllersChange(t *testing.T) {
	programs.Bootstrap(t) // or there is no Java
	if programs.AgainstKafka() {
		t.Skip("it starts nodes of its own, which are Moldau's")
	}
	first, second := kafkatest.FreePort(t), kafkatest.FreePort(t)
	one, _ := controller(t, 1, first, first)
	one.Start()
	two, file := controller(t, 2, second, first)
	two.Start()
	b := &bench{T: t, tools: programs.StartTools(t), bootstrap: one.Addr()}
	status := func(id int, state string) {
		t.Helper()
		pattern := regexp.MustCompile(fmt.Sprintf(`(?m)^%d\s+(\S+)\s.*%s\s*$`, id, state))
		programs.Await(t, fmt.Sprintf("node %d is %s", id, state), func() error {
			if out := b.runs("metadata-quorum", "describe", "--replication"); !pattern.MatchString(out) {
				return fmt.Errorf("the tool says %s", out)
			}
			return nil
		})
	}
	status(1, "Leader")
	status(2, "Observer")
	added := regexp.MustCompile(`Added controller 2 with directory id (\S+) and endpoints: CONTROLLER://localhost:` + fmt.Sprint(second))
	out := b.runs("metadata-quorum", "--command-config", file, "add-controller")
	directory := added.FindStringSubmatch(out)
	if directory == nil {
		t.Fatalf("the tool says %s", out)
	}
	status(2, "Follower")
	b.has(b.ends(1, "", "metadata-quorum", "--command-config", file, "add-controller"), "DuplicateVoterException")
	b.has(b.runs("metadata-quorum", "remove-controller", "--controller-id", "2", "--controller-directory-id", directory[1]), `Removed\s+KRaft controller 2 with directory id `+directory[1])
	status(2, "Observer")
	b.has(b.ends(1, "", "metadata-quorum", "remove-controller", "--controller-id", "2", "--controller-directory-id", directory[1]), "VoterNotFoundException")
}
