package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/record"
	"github.com/w3evolutionsllc/conductor/internal/registry"
)

// recordFlags are the flags of `conductor runs record`.
type recordFlags struct {
	extract, repository, registry, records string
	json, insecure                         bool
}

// recordCommand is `conductor runs record`. It does not need a cluster if the flags locate the record.
func recordCommand(open opener) *cobra.Command {
	var f recordFlags
	cmd := &cobra.Command{
		Use: "record RUN", Short: "Print the results of a run from its record in the registry, and extract its files", Args: oneRun,
		Long: `Print the results of a run from its record in the registry, and extract its files: the result, JUnit, artifacts, logs.

The record outlives the stack and the Run. RUN is the name of a Run. If the Run is deleted, add --repository and --registry, or
give the record's whole reference as RUN: HOST/PATH:RUN. The credentials for the registry come from your Docker config.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			rec, err := f.find(cmd.Context(), open, args[0])
			if err != nil {
				return err
			}
			if f.extract != "" {
				if err := rec.Extract(f.extract); err != nil {
					return err
				}
				fmt.Fprintf(cmd.ErrOrStderr(), "extracted %d files to %s\n", len(rec.Layers), f.extract)
			}
			return f.print(cmd.OutOrStdout(), rec)
		},
	}
	cmd.Flags().StringVar(&f.extract, "extract", "", "write the record's files into this directory")
	cmd.Flags().BoolVar(&f.json, "json", false, "print result.json")
	cmd.Flags().StringVar(&f.repository, "repository", "", "the repository, as owner/name, if the Run is deleted")
	cmd.Flags().StringVar(&f.registry, "registry", "", "the registry and the prefix in it, as HOST[/PREFIX]; required with --repository, otherwise it replaces the Run's")
	cmd.Flags().StringVar(&f.records, "records", registry.DefaultRecords, "the path of records below the registry's prefix (operator setting registry.records)")
	cmd.Flags().BoolVar(&f.insecure, "insecure", false, "use plain HTTP for the registry")
	return cmd
}

// find fetches the record that the command names.
func (f *recordFlags) find(ctx context.Context, open opener, run string) (*registry.Record, error) {
	host, prefix, _ := strings.Cut(f.registry, "/")
	reference, repo := run, v1alpha1.Repository{}
	switch {
	case strings.Contains(run, "/"):
		host, prefix = "", ""
	case f.repository != "":
		owner, name, ok := strings.Cut(f.repository, "/")
		if !ok || host == "" {
			return nil, errors.New("--repository must be owner/name, and requires --registry")
		}
		repo = v1alpha1.Repository{Owner: owner, Name: name}
	default:
		found, err := recordOf(ctx, open, run)
		if err != nil {
			return nil, err
		}
		repo = found.Spec.Repository
		reference = found.Status.Record.Reference + "@" + found.Status.Record.Digest
	}
	if host == "" {
		host, _, _ = strings.Cut(reference, "/")
	}
	login, err := registry.UserCredential()
	if err != nil {
		return nil, err
	}
	r, err := registry.New(registry.Options{Host: host, Prefix: prefix, Records: f.records, Insecure: f.insecure, Credential: login})
	if err != nil {
		return nil, err
	}
	if repo.Name != "" && f.registry != "" {
		return r.PullRecord(ctx, repo, run)
	}
	return r.Pull(ctx, reference)
}

// recordOf returns a Run, or an error if it has no record.
func recordOf(ctx context.Context, open opener, name string) (*v1alpha1.Run, error) {
	s, err := open()
	var run *v1alpha1.Run
	if err == nil {
		run, err = s.Get(ctx, name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (if the Run is deleted, add --repository and --registry, or give HOST/PATH:RUN)", err)
	}
	if run.Status.Record == nil {
		for _, c := range run.Status.Conditions {
			if c.Type == v1alpha1.ConditionRecorded && c.Message != "" {
				return nil, fmt.Errorf("run %s has no record: %s", name, c.Message)
			}
		}
		return nil, fmt.Errorf("run %s has no record yet", name)
	}
	return run, nil
}

// print prints the record's result.
func (f *recordFlags) print(w io.Writer, rec *registry.Record) error {
	if f.json {
		data, err := rec.ResultJSON()
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	}
	result, err := rec.Result()
	if err != nil {
		return err
	}
	return record.Print(w, rec.Reference, rec.Digest, result, rec.Layers)
}
