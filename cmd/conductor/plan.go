package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/controller/run"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

func validateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "validate [DIR]", Short: "Check .conductor.yaml and the compose files of a checkout", Args: cobra.MaximumNArgs(1),
		Long: "Check .conductor.yaml and the compose files of a checkout.\n\nExit status 0: valid, 1: not valid, 2: could not look.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := planOf(args)
			if err != nil {
				return say(cmd.ErrOrStderr(), err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "valid: %d images to build, %d suites\n", len(p.Builds), len(p.Suites))
			return nil
		},
	}
}

func planCommand() *cobra.Command {
	var quiet bool
	cmd := &cobra.Command{
		Use: "plan [DIR]", Short: "Show what a run of a checkout would build, convert and apply; offline", Args: cobra.MaximumNArgs(1),
		Long: "Show what a run of a checkout would build, convert and apply, without a cluster. What is only known in a run (digests, the run's name) stands as a placeholder.\n\nExit status 0: valid, 1: not valid, 2: could not look.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, dir, err := planOf(args)
			if err == nil {
				err = printPlan(cmd.OutOrStdout(), cmd.ErrOrStderr(), p, dir, quiet)
			}
			return say(cmd.ErrOrStderr(), err)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "leave out the objects")
	return cmd
}

// say prints what is wrong with a checkout and ends with status 1; other errors pass.
func say(w io.Writer, err error) error {
	var f *failure.Error
	if !errors.As(err, &f) || f.Kind != failure.Terminal {
		return err
	}
	fmt.Fprintln(w, f.Sentence)
	return exitCode(1)
}

func planOf(args []string) (*run.Plan, string, error) {
	dir := "."
	if len(args) > 0 {
		dir = args[0]
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, "", fmt.Errorf("find %s: %w", dir, err)
	}
	if st, err := os.Stat(abs); err != nil || !st.IsDir() {
		return nil, "", fmt.Errorf("%s is not a directory", dir)
	}
	p, err := run.NewPlan(abs, nil, settings.Default().Ceilings())
	return p, abs, err
}

// planned is the Run that `plan` pretends to make.
func planned(dir string) *v1alpha1.Run {
	repo := v1alpha1.Repository{Owner: "OWNER", Name: filepath.Base(dir), CloneURL: "https://github.com/OWNER/" + url.PathEscape(filepath.Base(dir)) + ".git"}
	return &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: "plan", UID: types.UID("00000000-0000-0000-0000-000000000000")},
		Spec: v1alpha1.RunSpec{
			Repository: repo, Ref: "refs/tags/run-integration-tests", SHA: "0000000000000000000000000000000000000000",
			Trust: v1alpha1.TrustUnprotected, Ceilings: settings.Default().Ceilings(),
		},
	}
}

func printPlan(out, notes io.Writer, p *run.Plan, dir string, quiet bool) error {
	r := planned(dir)
	images := map[string]string{}
	for service, build := range p.ServiceBuilds {
		images[service] = "REGISTRY/" + build + "@sha256:DIGEST"
	}
	stack, err := compose.Convert(p.Project, compose.Options{
		Namespace: jobs.StackName(r), Images: images, Ceilings: r.Spec.Ceilings, Labels: jobs.Labels(r, jobs.StageStack),
	})
	if err != nil {
		return failure.Terminalf(v1alpha1.ReasonInvalidCompose, nil, "%v", err)
	}
	for _, f := range stack.Findings {
		fmt.Fprintln(notes, f)
	}
	fmt.Fprintf(out, "# %s\n#\n# Builds\n", run.ConfigFile)
	for _, b := range p.Builds {
		fmt.Fprintf(out, "#   %s: context %s, %s%s\n", b.Name, b.Context, b.Dockerfile, target(b.Target))
	}
	fmt.Fprintln(out, "# Services, in the order of their start")
	for _, s := range stack.Services {
		fmt.Fprintf(out, "#   %s%s\n", s.Name, after(s))
	}
	fmt.Fprintln(out, "# Suites")
	for _, s := range p.Suites {
		fmt.Fprintf(out, "#   %s: image %s, %s, at most %s\n", s.Name, firstOf(s.Build, s.Image), describe(s.Test.Command), s.Test.Timeout.Duration)
	}
	if quiet {
		return nil
	}
	objects, err := plannedObjects(r, p, stack)
	if err != nil {
		return err
	}
	return printObjects(out, objects)
}

// plannedObjects are the objects of a run in the order in which they are made, but for Secrets.
func plannedObjects(r *v1alpha1.Run, p *run.Plan, stack *compose.Stack) ([]client.Object, error) {
	set := settings.Default()
	clone, err := url.Parse(r.Spec.Repository.CloneURL)
	if err != nil {
		return nil, fmt.Errorf("the clone address: %w", err)
	}
	var objects []client.Object
	for _, b := range p.Builds {
		job, err := jobs.Kaniko(jobs.KanikoInput{
			Run: r, Image: b.Name, Namespace: set.Builds.Namespace, Executor: set.Builds.Image, CloneURL: clone, Context: b.Context, Dockerfile: b.Dockerfile,
			Target: b.Target, Args: b.Args, Repository: "REGISTRY/" + b.Name, Secret: jobs.BuildSecretName(r), Timeout: set.Builds.Timeout.Duration,
			CPU: set.Builds.CPU, Memory: set.Builds.Memory,
		})
		if err != nil {
			return nil, err
		}
		objects = append(objects, job)
	}
	fence, err := jobs.Fence(r, nil)
	if err != nil {
		return nil, err
	}
	limits, err := jobs.Limits(r)
	if err != nil {
		return nil, err
	}
	objects = append(objects, jobs.Namespace(r), jobs.RoleBinding(r, set.ServiceAccount, set.Namespace))
	objects = append(append(objects, limits...), fence, jobs.AgentBinding(r))
	objects = append(objects, jobs.Agent(r, "CONDUCTOR", "")...)
	objects = append(objects, stack.Objects()...)
	for _, s := range p.Suites {
		image := s.Image
		if s.Build != "" {
			image = "REGISTRY/" + s.Build + "@sha256:DIGEST"
		}
		argv := jobs.Literal(s.Test.Command.Argv())
		if len(argv) == 0 {
			argv = []string{"WHAT-THE-IMAGE-RUNS"}
		}
		for shard := range s.Test.Shards {
			objects = append(objects, jobs.Test(jobs.TestInput{
				Run: r, Key: evidence.AttemptKey{Suite: s.Name, Shard: shard, Number: 1}, Shards: s.Test.Shards, Image: image, Wrapper: "CONDUCTOR",
				Argv: argv, Env: s.Test.Env, Timeout: s.Test.Timeout.Duration, JUnit: s.Test.Reports.JUnit, Artifacts: s.Test.Artifacts,
			}))
		}
	}
	return append(objects, jobs.Wall(r, nil)), nil
}

func printObjects(out io.Writer, objects []client.Object) error {
	for _, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("write %s: %w", o.GetName(), err)
		}
		fmt.Fprintf(out, "---\n%s", data)
	}
	return nil
}

func target(t string) string {
	if t == "" {
		return ""
	}
	return ", target " + t
}

func after(s compose.Service) string {
	text := ""
	for _, d := range s.DependsOn {
		text += fmt.Sprintf(", after %s (%s)", d.Service, d.Condition)
	}
	return text
}

func firstOf(values ...string) string {
	i := slices.IndexFunc(values, func(s string) bool { return s != "" })
	if i < 0 {
		return "-"
	}
	return values[i]
}

func describe(c repoconfig.Command) string {
	if c.Shell != "" {
		return "sh -c " + fmt.Sprintf("%q", c.Shell)
	}
	return fmt.Sprintf("%q", c.Args)
}
