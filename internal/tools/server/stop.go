package server

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
)

// Stop is kafka-server-stop: it signals this user's brokers, or those of them that
// --node-id=N or --process-role=R selects, and does not wait for their end.
func Stop(_ context.Context, s cli.Streams, args []string) error {
	directory, err := runDirectory()
	if err != nil {
		return err
	}
	return stopIn(s, directory, args)
}

func stopIn(s cli.Streams, directory string, args []string) error {
	nodeID, role, err := stopFilter(s, args)
	if err != nil {
		return err
	}
	name := strings.TrimPrefix(cmp.Or(os.Getenv("SIGNAL"), "TERM"), "SIG")
	signal, known := signals[name]
	if !known {
		return fmt.Errorf("the variable SIGNAL is %q; want TERM, INT, KILL, HUP or QUIT", name)
	}
	brokers, err := running(directory)
	if err != nil {
		return err
	}
	selected := slices.DeleteFunc(brokers, func(b broker) bool {
		return nodeID != "" && b.nodeID != nodeID || nodeID == "" && role != "" && b.processRoles != role
	})
	if len(selected) == 0 {
		s.Println("No kafka server to stop")
		return cli.Failed
	}
	for _, b := range selected {
		if err := signalProcess(b.pid, signal); err != nil {
			return fmt.Errorf("stopping the broker with node id %s (process %d): %w", b.nodeID, b.pid, err)
		}
	}
	return nil
}

// stopFilter reads --node-id=N and --process-role=R; Kafka's script knows no other form.
func stopFilter(s cli.Streams, args []string) (nodeID, role string, err error) {
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--node-id="); ok {
			nodeID = value
			continue
		}
		if value, ok := strings.CutPrefix(arg, "--process-role="); ok {
			role = value
			continue
		}
		return "", "", fmt.Errorf("unknown argument %q; kafka-server-stop takes --node-id=N and --process-role=ROLE", arg)
	}
	if nodeID != "" && role != "" {
		s.Println("When both node-id and process-role are provided, the value for node-id will take precedence")
	}
	return nodeID, role, nil
}
