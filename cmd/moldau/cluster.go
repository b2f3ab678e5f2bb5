package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/localcluster"
)

// clusterTool is the tool of Kafka's whose sub-command of moldau has one more that is Moldau's own: local.
const clusterTool = "kafka-cluster"

func localClusterCommand(s cli.Streams) *cobra.Command {
	options := localcluster.Options{}
	cmd := &cobra.Command{
		Use: "local", Short: "Run a cluster of several nodes on this machine, for trying out", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return fmt.Errorf("finding this program to run the nodes: %w", err)
			}
			options.Program = program
			return localcluster.Run(cmd.Context(), s, options)
		},
	}
	cmd.Flags().IntVar(&options.Nodes, "nodes", 0, fmt.Sprintf("how many nodes a new cluster gets, %d if absent", localcluster.DefaultNodes))
	cmd.Flags().StringVar(&options.DataDir, "data-dir", "", "folder of the cluster; one that has a cluster goes on with it")
	cmd.Flags().IntVar(&options.Port, "port", 0, fmt.Sprintf("first node's port for clients, %d if absent; the others follow, controllers 100 further up, HTTP 200", localcluster.DefaultPort))
	cmd.SetHelpFunc(cmd.Root().HelpFunc())
	return cmd
}
