//go:build linux

package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/w3evolutionsllc/conductor/internal/agent/wrapper"
)

// containerCommands are the commands for containers: Conductor's own and those in stacks. They exist only on Linux.
func containerCommands() []*cobra.Command {
	return []*cobra.Command{serveCommand(), agentCommand(), wrapCommand(), installCommand(), waitCommand(), filesCommand()}
}

// runFirst runs commands that must start before anything else is set up, and reports whether args name one of them.
func runFirst(args []string) (status int, ran bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case "wrap": // It forwards every signal to the test.
		return wrapper.Main(args[1:]), true
	case planChild:
		if err := runPlanChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "conductor:", err)
			return 1, true
		}
		return 0, true
	}
	return 0, false
}
