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
	patience            time.Duration
}

// filesCommand runs in the init containers of stacks whose services mount more than ConfigMaps carry.
func filesCommand() *cobra.Command {
	var f filesFlags
	cmd := &cobra.Command{
		Use: "files", Short: "Bring files of the commit into a pod's volumes; for init containers", Hidden: true, Args: cobra.NoArgs,
		Long: `Bring files of the commit into a pod's volumes, from the stack's agent. Stacks run this in init containers.

Exit status 0: all of them are there, 1: they are not, and a sentence says why, 2: the command is wrong.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			// What is mounted is read by any user.
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
	flags.StringVar(&f.token, "token-file", "", "the file with the token that the agent takes")
	flags.StringArrayVar(&f.copies, "copy", nil, "PATH=DIR: a file or a directory of the repository, and the directory that it is copied into; a file keeps its name there")
	flags.StringVar(&f.limit, "limit", "256Mi", "the most that all copies may have together")
	flags.DurationVar(&f.patience, "timeout", 10*time.Minute, "how long the agent may take")
	return cmd
}

func (f filesFlags) options() (files.Options, error) {
	limit, err := bytesOf(f.limit)
	if err != nil {
		return files.Options{}, fmt.Errorf("--limit: %w", err)
	}
	if f.agent == "" || f.token == "" || len(f.copies) == 0 || f.patience <= 0 {
		return files.Options{}, errors.New("--agent, --token-file and at least one --copy are needed, and a --timeout longer than nothing")
	}
	o := files.Options{Agent: f.agent, Limit: limit, Patience: f.patience, Token: func() (string, error) {
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
