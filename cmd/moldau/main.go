// Command moldau is an event-streaming broker that speaks Kafka's protocol, together with
// Kafka's command-line tools: moldau start, moldau topics, or a link named kafka-topics.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/audit"
	"github.com/moldau/moldau/internal/broker"
	"github.com/moldau/moldau/internal/env/vfs"
	"github.com/moldau/moldau/internal/tools"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/completion"
	"github.com/moldau/moldau/internal/tools/demo"
	"github.com/moldau/moldau/internal/tools/install"
	"github.com/moldau/moldau/internal/tools/server"
)

func main() {
	// A terminal that is closed (SIGHUP) asks for an orderly end too, unless nohup has it ignored.
	ends := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		ends = append(ends, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), ends...)
	defer stop()
	// A reader that goes away ends a write with an error, not this process: a broker runs on, and
	// a consumer commits what it has printed.
	signal.Ignore(syscall.SIGPIPE)
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(run(ctx, streams, os.Args))
}

func run(ctx context.Context, s cli.Streams, args []string) int {
	commands := tools.Commands(startBroker)
	tool, isTool := tools.ByProgram(commands, args[0])
	if len(args) == 3 && args[1] == completion.SuggestCommand {
		suggest(ctx, s, commands, tool, args[2])
		return 0
	}
	if isTool {
		return cli.Exit(s, tool.Run(ctx, s, args[1:]))
	}
	root := newRoot(s, commands)
	root.SetArgs(args[1:])
	return cli.Exit(s, root.ExecuteContext(ctx))
}

func newRoot(s cli.Streams, commands []tools.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "moldau",
		Short: "An event-streaming broker that speaks Kafka's protocol, with Kafka's tools",
		Long: `Moldau is an event-streaming broker that speaks Kafka's protocol: every Kafka
client and tool works unmodified.

  moldau start           run a broker on localhost:9092
  moldau demo            see what it does, in ten seconds
  moldau cluster local   run three nodes on this machine`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (%s --help lists the flags)", err, cmd.CommandPath())
	})
	root.AddGroup(&cobra.Group{ID: "broker", Title: "Broker:"}, &cobra.Group{ID: "tools", Title: "Kafka's tools:"})
	root.AddCommand(startCommand(s), demoCommand(s), installCommand(s, commands), auditCommand(s), statusCommand(s), brokersCommand(s), balanceCommand(s), versionCommand(s), completionCommand(s, commands))
	for _, tool := range commands {
		cmd := &cobra.Command{
			Use: tool.Name(), Aliases: []string{tool.KafkaName}, Short: tool.Summary, GroupID: "tools",
			// The tools read Kafka's spellings themselves.
			DisableFlagParsing: true,
			RunE:               func(cmd *cobra.Command, args []string) error { return tool.Run(cmd.Context(), s, args) },
		}
		cmd.SetHelpFunc(func(cmd *cobra.Command, _ []string) { _ = tool.Run(cmd.Context(), s, []string{"--help"}) })
		if tool.KafkaName == clusterTool {
			cmd.AddCommand(localClusterCommand(s))
		}
		root.AddCommand(cmd)
	}
	return root
}

func startCommand(s cli.Streams) *cobra.Command {
	var flags server.Flags
	cmd := &cobra.Command{
		Use: "start", Short: "Run a broker", GroupID: "broker",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%s: moldau start takes flags only; a server.properties file is given with --config", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			properties, err := server.Properties(flags)
			if err == nil && flags.Join != "" {
				err = server.Join(cmd.Context(), s, properties, flags.Join)
			}
			if err != nil {
				return err
			}
			return server.Run(cmd.Context(), s, startBroker, properties)
		},
	}
	cmd.Flags().StringVar(&flags.DataDir, "data-dir", "", "folder for the data (property log.dirs)")
	cmd.Flags().IntVar(&flags.Port, "port", 0, "port for clients (property listeners), 9092 if absent")
	cmd.Flags().StringVar(&flags.File, "config", "", "server.properties file, with Kafka's property names")
	cmd.Flags().StringVar(&flags.Join, "join", "", "host:port of any node of a cluster that this one is to join as a broker")
	cmd.Flags().StringArrayVar(&flags.Overrides, "override", nil, "a property, name=value; repeatable; wins over all else")
	return cmd
}

func demoCommand(s cli.Streams) *cobra.Command {
	options := demo.Options{}
	cmd := &cobra.Command{
		Use: "demo", Short: "Run a broker with a stream of orders for ten seconds", GroupID: "broker", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program to run a broker: %w", err)
			}
			options.Program = program
			return demo.Run(cmd.Context(), s, options)
		},
	}
	cmd.Flags().DurationVar(&options.Duration, "duration", demo.DefaultDuration, "how long to run")
	cmd.Flags().StringVar(&options.Bootstrap, "bootstrap-server", "", "use this running cluster instead of starting a broker")
	return cmd
}

func installCommand(s cli.Streams, commands []tools.Command) *cobra.Command {
	return &cobra.Command{
		Use: "install-tools DIR", Short: "Write links with the names of Kafka's tools, and their completion, into DIR", GroupID: "broker", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			program, err := os.Executable()
			if err == nil {
				program, err = filepath.EvalSymlinks(program)
			}
			if err != nil {
				return fmt.Errorf("finding this program to link to: %w", err)
			}
			return install.Run(s, program, args[0], tools.Names(commands))
		},
	}
}

func auditCommand(s cli.Streams) *cobra.Command {
	return &cobra.Command{
		Use: "audit DIR...", Short: "Verify data folders of a broker that does not run", GroupID: "broker", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all error
			for _, dir := range args {
				var progress *cli.Progress
				report := func(line string) {
					if progress != nil {
						progress.Clear()
					}
					s.Println(line)
				}
				err := audit.Run(cmd.Context(), vfs.OS{}, dir, report, func(done, total int) {
					if progress == nil {
						progress = s.Progress("Verifying "+dir, int64(total))
					}
					progress.Set(int64(done))
				})
				if progress != nil {
					progress.Clear()
				}
				if err != nil && !errors.Is(err, audit.ErrProblems) {
					return err
				}
				all = cmp.Or(all, err)
			}
			return all
		},
	}
}

func versionCommand(s cli.Streams) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", GroupID: "broker", Args: cobra.NoArgs,
		Run: func(*cobra.Command, []string) {
			s.Printf("moldau %s, the protocol of Apache Kafka %s\n", version(), cli.KafkaVersion)
		},
	}
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}

// startBroker runs the broker of this process.
func startBroker(ctx context.Context, properties map[string]string, s cli.Streams) error {
	return broker.Run(ctx, broker.Options{Properties: properties, Stdout: s.Out, Stderr: s.Err})
}
