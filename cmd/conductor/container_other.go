//go:build !linux

package main

import "github.com/spf13/cobra"

func containerCommands() []*cobra.Command { return nil }

func runFirst([]string) (status int, ran bool) { return 0, false }
