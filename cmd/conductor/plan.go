package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/controller/run"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/jobs"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// planning is what the commands plan and validate were told.
type planning struct {
	allow         []string
	quiet, lookUp bool
	// ask is asked about images.
	ask func() (imageConfig, error)
}

func (c *planning) flags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringArrayVar(&c.allow, "allow", nil, "what your operator lets pods have beyond Pod Security's baseline (stacks.allow): "+join(compose.Allowances()))
	return cmd
}

func validateCommand() *cobra.Command {
	c := planning{}
	return c.flags(&cobra.Command{
		Use: "validate [DIR]", Short: "Check .conductor.yaml and the compose files of a checkout", Args: cobra.MaximumNArgs(1),
		Long: "Check .conductor.yaml and the compose files of a checkout.\n\nExit status 0: valid, 1: not valid, 2: could not look.",
		RunE: func(cmd *cobra.Command, args []string) error {
			p, _, err := c.plan(args)
			if err != nil {
				return say(cmd.ErrOrStderr(), err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "valid: %d images to build, %d suites\n", len(p.Builds), len(p.Suites))
			return nil
		},
	})
}

func planCommand() *cobra.Command {
	c := planning{ask: userRegistries}
	cmd := &cobra.Command{
		Use: "plan [DIR]", Short: "Show what a run of a checkout would build, convert and apply; offline", Args: cobra.MaximumNArgs(1),
		Long: `Show what a run of a checkout would build, convert and apply, without a cluster. What is only known in a run (digests, the run's name) stands
as a placeholder. What images say about themselves (HEALTHCHECK, EXPOSE, USER, CMD) is read with --lookup; a run always reads it.

Exit status 0: valid, 1: not valid, 2: could not look.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, dir, err := c.plan(args)
			if err == nil {
				err = c.print(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), p, dir)
			}
			return say(cmd.ErrOrStderr(), err)
		},
	}
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "leave out the objects")
	cmd.Flags().BoolVar(&c.lookUp, "lookup", false, "ask the registries what images say about themselves, with the logins of your Docker config")
	return c.flags(cmd)
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

func (c *planning) plan(args []string) (*run.Plan, string, error) {
	for _, a := range allowances(c.allow) {
		if !slices.Contains(compose.Allowances(), a) {
			return nil, "", fmt.Errorf("--allow %s: want one of %s", a, join(compose.Allowances()))
		}
	}
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
	p, err := run.NewPlan(abs, nil, run.Bounds{Ceilings: c.settings().Ceilings()})
	return p, abs, err
}

// settings are the operator's as far as they are known here.
func (c *planning) settings() settings.Settings {
	set := settings.Default()
	set.Stacks.Allow = allowances(c.allow)
	return set
}

// paper is the registry of a plan: it has names and nothing else.
type paper struct{ run.Registry }

// Repository implements run.Registry.
func (paper) Repository(_ v1alpha1.Repository, image string) string {
	return strings.TrimSuffix("REGISTRY/"+image, "/")
}

// images are what a plan knows of the images of a stack.
func (c *planning) images(ctx context.Context, p *run.Plan, notes io.Writer) (run.Images, error) {
	images := run.Images{References: map[string]string{}, Pending: p.Project.Services()}
	for service, build := range p.ServiceBuilds {
		images.References[service] = paper{}.Repository(v1alpha1.Repository{}, build) + "@sha256:DIGEST"
	}
	if !c.lookUp {
		return images, nil
	}
	ask, err := c.ask()
	if err != nil {
		return images, err
	}
	images.Configs = lookUp(ctx, ask, p.Project, nil, notes)
	images.Pending = slices.DeleteFunc(images.Pending, func(service string) bool { return p.ServiceBuilds[service] == "" })
	return images, nil
}

// planned is the Run that `plan` pretends to make.
func (c *planning) planned(dir string) *v1alpha1.Run {
	repo := v1alpha1.Repository{Owner: "OWNER", Name: filepath.Base(dir), CloneURL: "https://github.com/OWNER/" + url.PathEscape(filepath.Base(dir)) + ".git"}
	return &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: "plan", UID: types.UID("00000000-0000-0000-0000-000000000000")},
		Spec: v1alpha1.RunSpec{
			Repository: repo, Ref: "refs/tags/run-integration-tests", SHA: "0000000000000000000000000000000000000000",
			Trust: v1alpha1.TrustUnprotected, Ceilings: c.settings().Ceilings(),
		},
	}
}

func (c *planning) print(ctx context.Context, out, notes io.Writer, p *run.Plan, dir string) error {
	r := c.planned(dir)
	images, err := c.images(ctx, p, notes)
	if err != nil {
		return err
	}
	stack, err := (&run.Reconciler{Settings: c.settings(), Registry: paper{}}).Convert(r, p, images)
	if err != nil {
		return err
	}
	for _, f := range stack.Findings {
		fmt.Fprintln(notes, f)
	}
	for _, n := range p.Notes {
		fmt.Fprintln(notes, n)
	}
	fmt.Fprintf(out, "# %s\n#\n# Builds\n", run.ConfigFile)
	for _, b := range p.Builds {
		fmt.Fprintf(out, "#   %s: context %s, %s%s\n", b.Name, b.Context, dockerfile(b), target(b.Target))
	}
	fmt.Fprintln(out, "# Services, in the order of their start")
	for _, s := range stack.Services {
		fmt.Fprintf(out, "#   %s%s\n", s.Name, after(s))
	}
	fmt.Fprintln(out, "# Suites")
	for _, s := range p.Suites {
		fmt.Fprintf(out, "#   %s: image %s, %s, at most %s\n", s.Name, firstOf(s.Build, s.Image), describe(s.Test.Command), s.Test.Timeout.Duration)
	}
	if c.quiet {
		return nil
	}
	objects, err := plannedObjects(r, p, stack)
	if err != nil {
		return err
	}
	data, err := compose.YAML(&compose.Stack{Shared: objects})
	if err != nil {
		return err
	}
	if _, err := out.Write(data); err != nil {
		return fmt.Errorf("write the objects: %w", err)
	}
	return nil
}

// dockerfile says where a build's Dockerfile is.
func dockerfile(b run.Build) string {
	if b.Inline != "" {
		return "the Dockerfile in the compose file"
	}
	return b.Dockerfile
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
			Inline: b.Inline, Target: b.Target, Args: b.Args, Repository: paper{}.Repository(r.Spec.Repository, b.Name), Secret: jobs.BuildSecretName(r), Timeout: set.Builds.Timeout.Duration,
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
	objects = append(objects, jobs.Namespace(r, len(stack.Allowed) > 0), jobs.RoleBinding(r, set.ServiceAccount, set.Namespace))
	objects = append(append(objects, limits...), fence, jobs.AgentBinding(r))
	objects = append(objects, jobs.Agent(r, jobs.AgentInput{Image: "CONDUCTOR"})...)
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
	return append(objects, jobs.Wall(r, nil)...), nil
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
