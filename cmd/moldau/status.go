package main

import (
	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/status"
)

func statusCommand(s cli.Streams) *cobra.Command {
	options := status.Options{}
	cmd := &cobra.Command{
		Use: "status", Short: "Show how a cluster is, what is wrong with it and what to do", GroupID: "broker", Args: cobra.NoArgs,
		Long: "Shows nodes, controllers, partitions and feature levels of a cluster, what is wrong with it and what to do.\n\n" +
			"Exit code: 0 all is well, 2 something needs attention, 3 clients cannot use something at the moment, 1 the cluster does not answer.",
		RunE: func(cmd *cobra.Command, _ []string) error { return status.Run(cmd.Context(), s, options) },
	}
	cmd.Flags().StringVar(&options.Bootstrap, "bootstrap-server", "localhost:9092", "brokers to ask, host:port, separated by commas")
	cmd.Flags().StringVar(&options.CommandConfig, "command-config", "", "file with client properties")
	return cmd
}
