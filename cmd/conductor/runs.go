package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/authority"
	"github.com/w3evolutionsllc/conductor/internal/runs"
)

// runsCommand is `conductor runs`, which uses the same service as webhooks, for people with a kubeconfig.
func runsCommand() *cobra.Command {
	var namespace string
	cmd := &cobra.Command{
		Use: "runs", Short: "List, watch, cancel and read runs; extend and delete their stacks", Args: refuseUnknown,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVarP(&namespace, "namespace", "n", "conductor", "Conductor's namespace")
	open := func() (*runs.Service, error) {
		c, err := newClient()
		if err != nil {
			return nil, err
		}
		return &runs.Service{Client: c, Namespace: namespace}, nil
	}
	cmd.AddCommand(listCommand(open), getCommand(open), watchCommand(open), cancelCommand(open), extendCommand(open), downCommand(open), logsCommand(&namespace), recordCommand(open))
	return cmd
}

// refuseUnknown refuses unknown subcommands; cobra does so only at the top level.
func refuseUnknown(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var known []string
	for _, sub := range cmd.Commands() {
		known = append(known, sub.Name())
	}
	return fmt.Errorf("unknown command %q for %q%s", args[0], cmd.CommandPath(), didYouMean(args[0], known))
}

// oneRun refuses other numbers of arguments than one.
func oneRun(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("%s requires the name of one run: %s. See conductor runs list", cmd.CommandPath(), cmd.UseLine())
}

type opener func() (*runs.Service, error)

func listCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the runs, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			list, err := s.List(cmd.Context(), 0)
			if err != nil {
				return err
			}
			return runs.Table(cmd.OutOrStdout(), list, time.Now())
		},
	}
}

func getCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use: "get RUN", Short: "Show one run with its timeline", Args: oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			run, err := s.Get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return runs.Describe(cmd.OutOrStdout(), run, time.Now())
		},
	}
}

func watchCommand(open opener) *cobra.Command {
	return &cobra.Command{
		Use: "watch RUN", Short: "Follow a run until its outcome is known; exit status 0 if it passed", Args: oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			last := ""
			run, err := s.Watch(cmd.Context(), args[0], func(run *v1alpha1.Run) {
				if line := progress(run); line != last {
					fmt.Fprintln(cmd.OutOrStdout(), line)
					last = line
				}
			})
			if err != nil {
				return err
			}
			if run.Status.Outcome != v1alpha1.OutcomePassed {
				return exitCode(1)
			}
			return nil
		},
	}
}

// progress is the state of a Run in one line.
func progress(run *v1alpha1.Run) string {
	line := string(run.Status.Phase)
	if run.Status.Outcome != "" {
		return line + " " + string(run.Status.Outcome) + ": " + run.Status.Message
	}
	for _, c := range run.Status.Conditions {
		if c.Reason == v1alpha1.ReasonInProgress {
			line += " | " + c.Message
		}
	}
	return line
}

func cancelCommand(open opener) *cobra.Command {
	var by, reason string
	cmd := &cobra.Command{
		Use: "cancel RUN", Short: "Cancel a run and delete its stack", Args: oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			if err := s.Cancel(cmd.Context(), args[0], runs.Cancellation{By: authority.OperatorNamed(by), Reason: reason}); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "run %s canceled\n", args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&by, "by", "kubectl", "who cancels the run")
	cmd.Flags().StringVar(&reason, "reason", "", "why the run is canceled")
	return cmd
}

func extendCommand(open opener) *cobra.Command {
	var by, length string
	cmd := &cobra.Command{
		Use: "extend RUN --for 4h", Short: "Keep a run's stack for at least a time from now, or forever", Args: oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := extension(by, length, time.Now())
			if err != nil {
				return err
			}
			s, err := open()
			if err != nil {
				return err
			}
			expiry, err := s.Extend(cmd.Context(), args[0], e)
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), extended(args[0], e, expiry))
			return nil
		},
	}
	cmd.Flags().StringVar(&by, "by", "kubectl", "who extends the stack")
	cmd.Flags().StringVar(&length, "for", "", "a duration such as 4h, or forever")
	return cmd
}

// extension is what the flags ask for.
func extension(by, length string, now time.Time) (runs.Extension, error) {
	e := runs.Extension{By: authority.OperatorNamed(by), Forever: length == v1alpha1.Forever, AskedAt: now}
	if e.Forever {
		return e, nil
	}
	var err error
	if e.For, err = time.ParseDuration(length); err != nil || e.For <= 0 {
		return e, fmt.Errorf("--for %q is neither a duration such as 4h nor forever", length)
	}
	return e, nil
}

// extended is the answer to an extension.
func extended(run string, e runs.Extension, expiry time.Time) string {
	if expiry.IsZero() {
		return "the stack of run " + run + " is kept until it is deleted"
	}
	line := fmt.Sprintf("the stack of run %s is kept until %s", run, expiry.UTC().Format("2006-01-02 15:04 MST"))
	if e.Forever || expiry.Before(e.AskedAt.Add(e.For).Truncate(time.Second)) {
		line += ", the longest time that the operator allows (keep.max)"
	}
	return line
}

func downCommand(open opener) *cobra.Command {
	var by, reason string
	cmd := &cobra.Command{
		Use: "down RUN", Short: "Delete the kept stack of a finished run", Args: oneRun,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := open()
			if err != nil {
				return err
			}
			err = s.Down(cmd.Context(), args[0], runs.Cancellation{By: authority.OperatorNamed(by), Reason: reason})
			if errors.Is(err, runs.ErrNoStack) {
				return fmt.Errorf("%w. End it with conductor runs cancel %s", err, args[0])
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the stack of run %s is deleted\n", args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&by, "by", "kubectl", "who deletes the stack")
	cmd.Flags().StringVar(&reason, "reason", "", "why the stack is deleted")
	return cmd
}

func logsCommand(namespace *string) *cobra.Command {
	var what string
	cmd := &cobra.Command{
		Use: "logs RUN [NAME]", Short: "Print the log of a run's tests, of a service or of a build", Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClient()
			if err != nil {
				return err
			}
			config, err := clusterConfig()
			if err != nil {
				return err
			}
			kube, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("connect to the cluster: %w", err)
			}
			s := &runs.Service{Client: c, Namespace: *namespace, Logs: runs.PodLogs(kube)}
			name := ""
			if len(args) > 1 {
				name = args[1]
			}
			stream, err := s.Log(cmd.Context(), args[0], what, name)
			if err != nil {
				return err
			}
			defer stream.Close()
			_, err = io.Copy(cmd.OutOrStdout(), stream)
			return err
		},
	}
	cmd.Flags().StringVar(&what, "of", "test", "the kind of log: test, service or build")
	return cmd
}
