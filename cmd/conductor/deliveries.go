package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/w3evolutionsllc/conductor/internal/controller/delivery"
)

// deliveriesCommand is `conductor deliveries`, for people with a kubeconfig.
func deliveriesCommand() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use: "deliveries", Short: "List, show and replay GitHub's deliveries", Args: refuseUnknown,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&namespace, "namespace", "n", "conductor", "Conductor's namespace")
	open := func() (delivery.Store, error) {
		c, err := newClient()
		return delivery.Store{Client: c, Namespace: namespace}, err
	}
	cmd.AddCommand(listDeliveriesCommand(open), showDeliveryCommand(open), replayDeliveryCommand(open))
	return cmd
}

type storeOpener func() (delivery.Store, error)

func listDeliveriesCommand(open storeOpener) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the deliveries that Conductor acts on, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			list, err := s.List(cmd.Context())
			if err != nil {
				return err
			}
			return delivery.Table(cmd.OutOrStdout(), list, time.Now())
		},
	}
}

func showDeliveryCommand(open storeOpener) *cobra.Command {
	return &cobra.Command{
		Use: "show GUID", Short: "Show one delivery and what became of it", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			d, err := s.Get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return delivery.Describe(cmd.OutOrStdout(), d, time.Now())
		},
	}
}

func replayDeliveryCommand(open storeOpener) *cobra.Command {
	return &cobra.Command{
		Use: "replay GUID", Short: "Process a delivery again, or take it from GitHub's log", Args: cobra.ExactArgs(1),
		Long: "Process a delivery again. If Conductor does not have it, the leader takes it from GitHub's log of the last three days,\n" +
			"by its GUID or the id of an attempt. Effects are not repeated: a run that exists is not started again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			replayed, err := s.Replay(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), replayWords[replayed]+"\n", args[0])
			return nil
		},
	}
}

// replayWords are what the command prints.
var replayWords = map[delivery.Replayed]string{
	delivery.ReplayOpen:    "delivery %s is waiting to be processed",
	delivery.ReplayAgain:   "delivery %s is processed again",
	delivery.ReplayFromLog: "Conductor does not have delivery %s; the leader takes it from GitHub's log within a minute",
}
