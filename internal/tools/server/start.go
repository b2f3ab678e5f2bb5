package server

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/tools/cli"
)

// StartFunc runs a broker until the context ends. Errors are one line for the operator.
type StartFunc func(ctx context.Context, properties map[string]string, s cli.Streams) error

const startUsage = "USAGE: %s [-daemon] server.properties [--override property=value]*"

// StartCommand is kafka-server-start.
func StartCommand(start StartFunc) func(ctx context.Context, s cli.Streams, args []string) error {
	return func(ctx context.Context, s cli.Streams, args []string) error {
		if len(args) > 0 && args[0] == "-daemon" {
			return startDaemon(s, args[1:])
		}
		properties, done, err := startProperties(s, args)
		if done || err != nil {
			return err
		}
		return Run(ctx, s, start, properties)
	}
}

// startProperties reads FILE --override name=value ...
func startProperties(s cli.Streams, args []string) (properties map[string]string, done bool, err error) {
	p := cli.NewParser()
	override := p.Value("override", "String", "A property that wins over the file's, name=value. Repeatable.")
	if len(args) == 0 {
		s.Printf(startUsage+"\n", "kafka-server-start")
		return nil, true, cli.Failed
	}
	if slices.Contains(args, "--help") {
		return nil, true, p.UsageError(s, startUsage, "kafka-server-start")
	}
	if slices.Contains(args, "--version") {
		s.Println(cli.KafkaVersion)
		return nil, true, nil
	}
	properties, err = cli.LoadProperties(args[0])
	if err != nil {
		return nil, true, err
	}
	set, err := p.Parse(args[1:])
	if err != nil {
		return nil, true, err
	}
	if extra := set.Operands(); len(extra) > 0 {
		return nil, true, p.UsageError(s, "Found non argument parameters: %s", strings.Join(extra, ","))
	}
	maps.Copy(properties, cli.ParseKeyValues(set.Values(override)))
	return properties, false, nil
}

// Run runs a broker with a run file beside it for as long as it lives.
func Run(ctx context.Context, s cli.Streams, start StartFunc, properties map[string]string) error {
	directory, err := runDirectory()
	if err == nil {
		var file *runFile
		if file, err = writeRunFile(directory, describe(properties)); err == nil {
			defer file.remove()
		}
	}
	if err != nil {
		s.Errorln("warning: kafka-server-stop will not find this broker: " + err.Error())
	}
	return start(ctx, properties, s)
}

// startDaemon starts this program again, detached from the terminal, with its output in a file.
func startDaemon(s cli.Streams, args []string) error {
	if _, done, err := startProperties(s, args); done || err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program to start it in the background: %w", err)
	}
	path, err := daemonLog()
	if err != nil {
		return err
	}
	output, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("opening the log of the background process: %w", err)
	}
	defer output.Close()
	command := exec.Command(program, slices.Concat([]string{"server-start"}, args)...)
	command.Stdout, command.Stderr = output, output
	command.SysProcAttr = detached()
	if err := command.Start(); err != nil {
		return fmt.Errorf("starting the broker in the background: %w", err)
	}
	s.Printf("Started in the background as process %d; its output goes to %s\n", command.Process.Pid, path)
	return command.Process.Release()
}

// daemonLog is kafkaServer.out in LOG_DIR, as Kafka's script has it, or beside the run files.
func daemonLog() (string, error) {
	directory := os.Getenv("LOG_DIR")
	if directory == "" {
		run, err := runDirectory()
		if err != nil {
			return "", err
		}
		directory = filepath.Join(filepath.Dir(run), "logs")
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", fmt.Errorf("creating the folder for the log of the background process: %w", err)
	}
	return filepath.Join(directory, "kafkaServer.out"), nil
}
