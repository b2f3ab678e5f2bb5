package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// clusterNodes is how many nodes the clusters have, each broker and controller.
const clusterNodes = 3

// clusterSettings are those that matter to what is measured and differ between the two by default.
// Both have three replicas, of which two must be in sync.
var clusterSettings = append([]string{"group.initial.rebalance.delay.ms=0", "offsets.topic.num.partitions=3", "transaction.state.log.num.partitions=3"}, fleetSettings...)

// clusterFolders makes a cluster's folders and gives its nodes ports.
func clusterFolders(folder string, nodes int) (folders []string, ports []int) {
	for node := 1; node <= nodes; node++ {
		folders = append(folders, filepath.Join(folder, strconv.Itoa(node)))
		ports = append(ports, freePort())
	}
	return folders, ports
}

func makeFolders(folders []string) error {
	var all error
	for _, f := range folders {
		all = errors.Join(all, os.MkdirAll(f, 0o755))
	}
	return all
}

// newMoldauCluster has nodes beyond clusterNodes join the first ones.
func newMoldauCluster(binary, folder string, nodes int, settings []string) system {
	folders, ports := clusterFolders(folder, nodes)
	var voters []string
	for i := range clusterNodes {
		voters = append(voters, fmt.Sprintf("%d@localhost:%d", i+1, ports[i]+1))
	}
	s := system{name: "Moldau", folder: folder, format: func(context.Context) error { return makeFolders(folders) }}
	for i, folder := range folders {
		args := []string{"start", "--data-dir", filepath.Join(folder, "data")}
		own := []string{"http.listen="}
		if i < clusterNodes {
			own = append(own, fmt.Sprintf("listeners=PLAINTEXT://localhost:%d,CONTROLLER://localhost:%d", ports[i], ports[i]+1),
				fmt.Sprintf("node.id=%d", i+1), "controller.listener.names=CONTROLLER", "controller.quorum.voters="+strings.Join(voters, ","))
		} else {
			args = append(args, "--join", fmt.Sprintf("localhost:%d", ports[0]))
			own = append(own, fmt.Sprintf("listeners=PLAINTEXT://localhost:%d", ports[i]))
		}
		for _, setting := range append(own, settings...) {
			args = append(args, "--override", setting)
		}
		s.nodes = append(s.nodes, node{folder, ports[i], func() *exec.Cmd { return exec.Command(binary, args...) }})
	}
	return s
}

// newKafkaCluster has the stock heap of 1 GiB for each node.
func newKafkaCluster(script, folder string, settings []string) system {
	port := freePorts(clusterNodes)
	s := system{name: "Apache Kafka", folder: folder}
	s.format = func(ctx context.Context) error {
		args := append([]string{"format", "--nodes", strconv.Itoa(clusterNodes), "--port", strconv.Itoa(port), "--dir", folder}, settings...)
		if out, err := exec.CommandContext(ctx, script, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	for i := range clusterNodes {
		folder := filepath.Join(folder, strconv.Itoa(i+1))
		s.nodes = append(s.nodes, node{folder, port + 2*i, func() *exec.Cmd { return exec.Command(script, "serve", filepath.Join(folder, "server.properties")) }})
	}
	return s
}

// newProbeCluster replicates and does nothing else.
func newProbeCluster(binary, folder string) system {
	folders, ports := clusterFolders(folder, clusterNodes)
	s := system{name: "probe", folder: folder, format: func(context.Context) error { return makeFolders(folders) }}
	var peers []string
	for i, folder := range folders {
		s.nodes = append(s.nodes, node{folder: folder, port: ports[i]})
		peers = append(peers, s.nodes[i].addr())
	}
	for i := range s.nodes {
		n := &s.nodes[i]
		n.command = func() *exec.Cmd {
			return exec.Command(binary, "-listen", n.addr(), "-dir", filepath.Join(n.folder, "data"), "-id", strconv.Itoa(i+1), "-peers", strings.Join(peers, ","))
		}
	}
	return s
}
