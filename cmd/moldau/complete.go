package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/moldau/moldau/internal/tools"
	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/completion"
)

func completionCommand(s cli.Streams, commands []tools.Command) *cobra.Command {
	return &cobra.Command{
		Use: "completion bash|zsh|fish", Short: "Print a script that completes moldau and Kafka's tools in a shell", GroupID: "broker",
		Long: `Prints a script that has a shell complete sub-commands, flags and, where a
--bootstrap-server stands in the line, topics and groups, for moldau and for
the links of install-tools.

  source <(moldau completion bash)       # in ~/.bashrc
  source <(moldau completion zsh)        # in ~/.zshrc
  moldau completion fish | source        # in ~/.config/fish/config.fish`,
		Args: cobra.ExactArgs(1), ValidArgs: completion.Shells,
		RunE: func(_ *cobra.Command, args []string) error {
			script, err := completion.Script(args[0], tools.Names(commands))
			if err != nil {
				return err
			}
			s.Printf("%s", script)
			return nil
		},
	}
}

// suggest prints what the last word of a line may become. tool is that of the name under which the
// program was started, if any.
func suggest(ctx context.Context, s cli.Streams, commands []tools.Command, tool tools.Command, line string) {
	completable := tools.Completable(ctx, commands)
	local := localClusterCommand(s)
	for i := range completable {
		if help := &completable[i].Help; slices.Contains(completable[i].Names, clusterTool) && tool.KafkaName == "" {
			help.Commands = append(help.Commands, cli.HelpCommand{Name: local.Name(), Text: local.Short, Options: flagOptions(local)})
		}
	}
	for _, cmd := range newRoot(s, nil).Commands() {
		t := completion.Tool{Names: []string{cmd.Name()}, Summary: cmd.Short}
		t.Help.Options = flagOptions(cmd)
		for _, arg := range cmd.ValidArgs {
			t.Help.Commands = append(t.Help.Commands, cli.HelpCommand{Name: arg})
		}
		for _, sub := range cmd.Commands() {
			t.Help.Commands = append(t.Help.Commands, cli.HelpCommand{Name: sub.Name(), Text: sub.Short, Options: flagOptions(sub)})
		}
		completable = append(completable, t)
	}
	completion.Suggest(ctx, s, completable, tool.KafkaName, line)
}

func flagOptions(cmd *cobra.Command) (options []cli.HelpOption) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		options = append(options, cli.HelpOption{Names: []string{"--" + f.Name}, Takes: f.NoOptDefVal == "", Text: f.Usage})
	})
	return options
}
