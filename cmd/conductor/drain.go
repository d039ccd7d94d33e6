package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// drainCommand deletes every Run and waits until all are gone, so that an uninstall leaves no namespace behind.
func drainCommand() *cobra.Command {
	var namespace string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "drain", Short: "Delete every run with its stack and wait until they are gone", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClient()
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return drain(ctx, c, namespace, func(format string, args ...any) { fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...) })
		},
	}
	cmd.Flags().StringVarP(&namespace, "namespace", "n", "conductor", "Conductor's namespace")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "how long to wait")
	return cmd
}

func drain(ctx context.Context, c client.Client, namespace string, logf func(string, ...any)) error {
	for {
		var runs v1alpha1.RunList
		if err := c.List(ctx, &runs, client.InNamespace(namespace)); err != nil {
			return fmt.Errorf("list runs: %w", err)
		}
		if len(runs.Items) == 0 {
			logf("all runs are gone")
			return nil
		}
		for i := range runs.Items {
			run := &runs.Items[i]
			if run.DeletionTimestamp != nil {
				continue
			}
			if err := client.IgnoreNotFound(c.Delete(ctx, run)); err != nil {
				return fmt.Errorf("delete run %s: %w", run.Name, err)
			}
			logf("deleted run %s", run.Name)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("timed out: %d runs are not gone yet, the first is %s", len(runs.Items), runs.Items[0].Name)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
