//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/w3evolutionsllc/conductor/internal/agent/wrapper"
)

// wrapCommand exists for completeness: runFirst calls wrapper.Main with these arguments before main handles signals.
func wrapCommand() *cobra.Command {
	return &cobra.Command{
		Use: "wrap [FLAGS] -- PROGRAM [ARGUMENTS]", Short: "Run a test in its container, for the stack's agent",
		Hidden: true, DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error { return exitCode(wrapper.Main(args)) },
	}
}
