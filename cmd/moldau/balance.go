package main

import (
	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/tools/brokers"
	"github.com/moldau/moldau/internal/tools/cli"
)

// brokersCommand is moldau brokers, which Kafka has no tool for.
func brokersCommand(s cli.Streams) *cobra.Command {
	var o brokers.Options
	cmd := &cobra.Command{
		Use: "brokers", Short: "Show the brokers and what they carry; empty and retire one", GroupID: "broker", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return brokers.List(cmd.Context(), s, o) },
	}
	connect(cmd, &o)
	list := &cobra.Command{
		Use: "list", Short: "Show the brokers and what they carry", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return brokers.List(cmd.Context(), s, o) },
	}
	var cancel, wait bool
	drain := &cobra.Command{
		Use: "drain ID", Short: "Empty a broker: others lead at once, then its replicas are moved", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cancel {
				return brokers.CancelDrain(cmd.Context(), s, o, args[0])
			}
			return brokers.Drain(cmd.Context(), s, o, args[0], wait)
		},
	}
	drain.Flags().BoolVar(&cancel, "cancel", false, "let the broker keep what it still has")
	drain.Flags().BoolVar(&wait, "wait", false, "return when the broker is empty")
	remove := &cobra.Command{
		Use: "remove ID", Short: "Empty a broker, wait until it is stopped, and have the cluster forget it; also one that is dead", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return brokers.Remove(cmd.Context(), s, o, args[0]) },
	}
	cmd.AddCommand(list, drain, remove)
	return cmd
}

// balanceCommand is moldau balance.
func balanceCommand(s cli.Streams) *cobra.Command {
	var o brokers.Options
	var dryRun bool
	cmd := &cobra.Command{
		Use: "balance", Short: "Even out the load of all brokers once, or show what that would move", GroupID: "broker", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dryRun {
				return brokers.DryRun(cmd.Context(), s, o)
			}
			return brokers.Even(cmd.Context(), s, o)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only show what would be moved, and why")
	connect(cmd, &o)
	cmd.AddCommand(&cobra.Command{
		Use: "status", Short: "Show what is being moved, and what is stalled and why", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return brokers.Status(cmd.Context(), s, o) },
	})
	return cmd
}

func connect(cmd *cobra.Command, o *brokers.Options) {
	cmd.PersistentFlags().StringVar(&o.Servers, "bootstrap-server", "localhost:9092", "brokers to connect to, host:port, separated by commas")
	cmd.PersistentFlags().StringVar(&o.CommandConfig, "command-config", "", "file with client properties")
}
