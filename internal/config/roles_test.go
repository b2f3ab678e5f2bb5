package config

import (
	"fmt"
	"strings"
	"testing"
)

// The listeners of a node of a cluster; each case adds to them.
const (
	both           = "listeners=PLAINTEXT://localhost:1,C://localhost:2 controller.listener.names=C "
	brokerOnly     = "process.roles=broker listeners=PLAINTEXT://localhost:1 controller.listener.names=C "
	controllerOnly = "process.roles=controller listeners=C://localhost:2 controller.listener.names=C "
	three          = "controller.quorum.voters=1@a:1,2@b:1,3@c:1 "
)

func TestRolesOfAClusterAccepted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		properties string
		want       string
	}{
		{both + three, "broker controller clustered voters [1@a:1 2@b:1 3@c:1] servers [] inter PLAINTEXT"},
		{both + three + "node.id=3", "broker controller clustered voters [1@a:1 2@b:1 3@c:1] servers [] inter PLAINTEXT"},
		{both + "controller.quorum.bootstrap.servers=a:1,b:1", "broker controller clustered voters [] servers [a:1 b:1] inter PLAINTEXT"},
		{both + "controller.quorum.bootstrap.servers=a:2", "broker controller clustered voters [] servers [a:2] inter PLAINTEXT"},
		{both + "controller.quorum.bootstrap.servers=localhost:3", "broker controller clustered voters [] servers [localhost:3] inter PLAINTEXT"},
		{brokerOnly + three + "node.id=4", "broker clustered voters [1@a:1 2@b:1 3@c:1] servers [] inter PLAINTEXT"},
		{brokerOnly + "controller.quorum.bootstrap.servers=[::1]:9", "broker clustered voters [] servers [[::1]:9] inter PLAINTEXT"},
		{controllerOnly + three, "controller clustered voters [1@a:1 2@b:1 3@c:1] servers [] inter PLAINTEXT"},
		{controllerOnly + three + "inter.broker.listener.name=x", "controller clustered voters [1@a:1 2@b:1 3@c:1] servers [] inter X"},
		{controllerOnly + "controller.quorum.bootstrap.servers=a:1,b:1", "controller clustered voters [] servers [a:1 b:1] inter PLAINTEXT"},
		// One controller.
		{controllerOnly + "controller.quorum.voters=1@localhost:2", "controller voters [1@localhost:2] servers [] inter PLAINTEXT"},
		{controllerOnly + "controller.quorum.bootstrap.servers=localhost:2", "controller voters [] servers [localhost:2] inter PLAINTEXT"},
		{both + "controller.quorum.voters=1@elsewhere:2", "broker controller voters [1@elsewhere:2] servers [] inter PLAINTEXT"},
		{both + "controller.quorum.bootstrap.servers=localhost:2", "broker controller voters [] servers [localhost:2] inter PLAINTEXT"},
		{both + "controller.quorum.bootstrap.servers=127.0.0.1:2", "broker controller voters [] servers [127.0.0.1:2] inter PLAINTEXT"},
		{"listeners=PLAINTEXT://:1,C://:2 controller.listener.names=C advertised.listeners=PLAINTEXT://x:1,C://x:5 controller.quorum.bootstrap.servers=x:5", "broker controller voters [] servers [x:5] inter PLAINTEXT"},
	} {
		b, _, err := NewBroker(fields(test.properties))
		if err != nil {
			t.Errorf("%s: %v", test.properties, err)
			continue
		}
		got := ""
		for _, is := range []struct {
			name string
			is   bool
		}{{"broker ", b.IsBroker}, {"controller ", b.IsController}, {"clustered ", b.IsClustered()}} {
			if is.is {
				got += is.name
			}
		}
		got += fmt.Sprintf("voters %v servers %v inter %s", b.QuorumVoters, b.QuorumServers, b.InterBrokerListener)
		if got != test.want {
			t.Errorf("%s gives\n %s, want\n %s", test.properties, got, test.want)
		}
	}
}

func TestRolesOfAClusterRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		properties string
		want       string
	}{
		{both + "controller.quorum.voters=1@a", "id@host:port"},
		{both + "controller.quorum.voters=a:1", "id@host:port"},
		{both + "controller.quorum.voters=x@a:1", "id@host:port"},
		{both + "controller.quorum.voters=-1@a:1", "id@host:port"},
		{both + "controller.quorum.voters=1@:1", "id@host:port"},
		{both + "controller.quorum.voters=1@a:0", "id@host:port"},
		{both + "controller.quorum.voters=1@a:70000", "id@host:port"},
		{both + "controller.quorum.voters=1@a:1,1@b:1", "must not be the same node or address"},
		{both + "controller.quorum.voters=1@a:1,2@a:1", "must not be the same node or address"},
		{both + "controller.quorum.bootstrap.servers=a", "host:port"},
		{both + "controller.quorum.bootstrap.servers=1@a", "host:port"},
		{both + three + "node.id=4", "a controller must be among the voters, this one as 4@host:port"},
		{controllerOnly + three + "node.id=4", "a controller must be among the voters"},
		{brokerOnly + three, "node 1 is no controller by process.roles"},
		{"process.roles=controller listeners=C://:2 controller.listener.names=C", "needs controller.quorum.voters"},
		{"controller.quorum.bootstrap.servers=a:1,b:1", "the listener is required through which the controllers are reached"},
		{three, "the listener is required through which the controllers are reached"},
		{"process.roles=broker node.id=4 " + three, "the listener is required through which the controllers are reached"},
		{"process.roles=broker node.id=4 listeners=PLAINTEXT://:1,C://:2 controller.listener.names=C " + three, "C is in controller.listener.names, but this node is no controller"},
		{brokerOnly + three + "node.id=4 listener.security.protocol.map=PLAINTEXT:PLAINTEXT", "must give a security protocol for C"},
		{brokerOnly + three + "node.id=4 controller.quorum.auto.join.enable=true", "only a controller"},
		{"process.roles=controller listeners=PLAINTEXT://:1,C://:2 controller.listener.names=C " + three, "PLAINTEXT is not in controller.listener.names, but this node is no broker"},
		{"listeners=C://:2 controller.listener.names=C " + three, "at least one must not be in controller.listener.names"},
		{"listeners=PLAINTEXT://:1,C://:2 controller.listener.names=C,D " + three, "each must be one of listeners"},
		{controllerOnly + three + "inter.broker.listener.name=C", "not in controller.listener.names"},
		{"listeners=B://:1,C://:2 controller.listener.names=C listener.security.protocol.map=B:PLAINTEXT,C:PLAINTEXT " + three, "one of advertised.listeners is required"},
	} {
		_, _, err := NewBroker(fields(test.properties))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", test.properties, err, test.want)
		}
	}
}
