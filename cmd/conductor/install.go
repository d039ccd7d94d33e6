//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// installCommand copies this program into a volume of a test's pod.
func installCommand() *cobra.Command {
	return &cobra.Command{
		Use: "install DIR", Short: "Copy this program to DIR/conductor", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return install("/proc/self/exe", args[0]) },
	}
}

// install copies a program to DIR/conductor atomically.
func install(program, dir string) (err error) {
	from, err := os.Open(program)
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	defer from.Close()
	to, err := os.CreateTemp(dir, ".conductor-*")
	if err != nil {
		return fmt.Errorf("install into %s: %w", dir, err)
	}
	defer func() {
		to.Close()
		if err != nil {
			_ = os.Remove(to.Name())
			err = fmt.Errorf("install into %s: %w", dir, err)
		}
	}()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if err := to.Chmod(0o755); err != nil {
		return err
	}
	// Close before the rename: a file that is open for writing cannot be executed.
	if err := to.Close(); err != nil {
		return err
	}
	return os.Rename(to.Name(), filepath.Join(dir, "conductor"))
}
