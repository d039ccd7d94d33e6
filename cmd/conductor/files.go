//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/w3evolutionsllc/conductor/internal/agent/files"
)

// filesFlags are the flags of `conductor files`.
type filesFlags struct {
	agent, token, limit string
	copies              []string
	timeout             time.Duration
}

// filesCommand runs in the init containers of services that mount more than ConfigMaps can hold.
func filesCommand() *cobra.Command {
	var f filesFlags
	cmd := &cobra.Command{
		Use: "files", Short: "Copy files of the commit into a pod's volumes; for init containers", Hidden: true, Args: cobra.NoArgs,
		Long: `Copy files of the commit from the stack's agent into a pod's volumes. Stacks run this in init containers.

Exit status 0: all files were copied, 1: they were not, and the reason is printed, 2: usage error.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			// Containers with any user must be able to read the files.
			syscall.Umask(0o022)
			o.Out = cmd.OutOrStdout()
			if err := files.Bring(cmd.Context(), o); err != nil {
				fmt.Fprintln(cmd.OutOrStdout(), err)
				return exitCode(1)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.agent, "agent", "", "the address of the stack's agent")
	flags.StringVar(&f.token, "token-file", "", "the file with the agent's token")
	flags.StringArrayVar(&f.copies, "copy", nil, "PATH=DIR: a file or a directory of the repository, and the directory to copy it into; a file keeps its name")
	flags.StringVar(&f.limit, "limit", "256Mi", "the maximum size of all copies together")
	flags.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long the agent may take")
	return cmd
}

func (f filesFlags) options() (files.Options, error) {
	limit, err := bytesOf(f.limit)
	if err != nil {
		return files.Options{}, fmt.Errorf("--limit: %w", err)
	}
	if f.agent == "" || f.token == "" || len(f.copies) == 0 || f.timeout <= 0 {
		return files.Options{}, errors.New("--agent, --token-file and at least one --copy are required, and --timeout must be greater than 0")
	}
	o := files.Options{Agent: f.agent, Limit: limit, Patience: f.timeout, Token: func() (string, error) {
		data, err := os.ReadFile(f.token)
		if err != nil {
			return "", fmt.Errorf("read the agent's token: %w", err)
		}
		return string(data), nil
	}}
	for _, text := range f.copies {
		c, err := files.ParseCopy(text)
		if err != nil {
			return o, fmt.Errorf("--copy: %w", err)
		}
		o.Copies = append(o.Copies, c)
	}
	return o, nil
}
