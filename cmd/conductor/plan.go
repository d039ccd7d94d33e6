package main

import (
	"cmp"
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
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/registry"
	"github.com/w3evolutionsllc/conductor/internal/settings"
	"github.com/w3evolutionsllc/conductor/internal/text"
)

// planning is the state of `conductor plan` and `conductor validate`.
type planning struct {
	allow         []string
	quiet, lookUp bool
	// runFile and settingsFile hold a Run and an operator's settings; empty for an imaginary Run and the defaults.
	runFile, settingsFile string
	// ask returns the lookup of images.
	ask func() (imageConfig, error)

	dir      string
	run      *v1alpha1.Run
	settings settings.Settings
}

func (c *planning) flags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringArrayVar(&c.allow, "allow", nil, "something beyond Pod Security's baseline that your operator allows (stacks.allow): "+join(compose.Allowances()))
	return cmd
}

func validateCommand() *cobra.Command {
	c := planning{}
	return c.flags(&cobra.Command{
		Use: "validate [DIR]", Short: "Check .conductor.yaml and the compose files of a checkout", Args: cobra.MaximumNArgs(1),
		Long: "Check .conductor.yaml and the compose files of a checkout.\n\nExit status 0: valid, 1: invalid, 2: could not check.",
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.prepare(args)
			if err != nil {
				return err
			}
			p, err := c.make(plan.Images{})
			if err != nil {
				return printRefusal(cmd.ErrOrStderr(), err)
			}
			printNotes(cmd.ErrOrStderr(), p)
			fmt.Fprintf(cmd.OutOrStdout(), "valid: %s to build, %s%s\n", text.Plural(len(p.Builds), "image"), text.Plural(len(p.Suites), "suite"),
				noted(p))
			return nil
		},
	})
}

func planCommand() *cobra.Command {
	c := planning{ask: userRegistries}
	cmd := &cobra.Command{
		Use: "plan [DIR]", Short: "Show what a run of a checkout would build, convert and apply; offline", Args: cobra.MaximumNArgs(1),
		Long: `Show what a run of a checkout would build, convert and apply, without a cluster. Values that only a run knows (digests, the run's name)
are placeholders. The images' HEALTHCHECK, EXPOSE, USER and CMD are read only with --lookup; a run always reads them.

Exit status 0: valid, 1: invalid, 2: could not check.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			err := c.prepare(args)
			if err != nil {
				return err
			}
			return printRefusal(cmd.ErrOrStderr(), c.print(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "do not print the objects")
	cmd.Flags().BoolVar(&c.lookUp, "lookup", false, "read the images' configurations from their registries, with the logins of your Docker config")
	cmd.Flags().StringVar(&c.runFile, "run", "", "plan for an existing Run, with its names, ceilings and digests: a file with the output of kubectl get run NAME -o yaml")
	cmd.Flags().StringVar(&c.settingsFile, "settings", "", "plan with an operator's settings: a file with config.yaml of Conductor's ConfigMap")
	return c.flags(cmd)
}

// printRefusal prints why a checkout is refused and returns exit status 1; other errors are returned.
func printRefusal(w io.Writer, err error) error {
	var f *failure.Error
	if !errors.As(err, &f) || f.Kind != failure.Terminal {
		return err
	}
	fmt.Fprintln(w, f.Sentence)
	return exitCode(1)
}

// prepare validates the flags and loads the directory, the settings and the Run.
func (c *planning) prepare(args []string) error {
	for _, a := range allowances(c.allow) {
		if !slices.Contains(compose.Allowances(), a) {
			return fmt.Errorf("--allow %s: must be one of %s", a, join(compose.Allowances()))
		}
	}
	dir := "."
	if len(args) > 0 {
		dir = args[0]
	}
	var err error
	if c.dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find %s: %w", dir, err)
	}
	if st, err := os.Stat(c.dir); err != nil || !st.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	c.settings = settings.Default()
	if c.settingsFile != "" {
		if c.settings, err = settings.Read(c.settingsFile); err != nil {
			return err
		}
	} else {
		c.settings.Image = "CONDUCTOR"
	}
	c.settings.Stacks.Allow = append(c.settings.Stacks.Allow, allowances(c.allow)...)
	if c.runFile == "" {
		c.run = c.anyRun()
		return nil
	}
	data, err := os.ReadFile(c.runFile)
	c.run = &v1alpha1.Run{}
	if err == nil {
		err = yaml.UnmarshalStrict(data, c.run)
	}
	if err == nil && c.run.Name == "" {
		err = errors.New("it is empty")
	}
	if err != nil {
		return fmt.Errorf("read the Run in %s: %w", c.runFile, err)
	}
	return nil
}

// anyRun is the imaginary Run that is planned for without --run.
func (c *planning) anyRun() *v1alpha1.Run {
	repo := v1alpha1.Repository{Owner: "OWNER", Name: filepath.Base(c.dir), CloneURL: "https://github.com/OWNER/" + url.PathEscape(filepath.Base(c.dir)) + ".git"}
	return &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: "plan", Namespace: c.settings.Namespace, UID: types.UID("00000000-0000-0000-0000-000000000000")},
		Spec: v1alpha1.RunSpec{
			Repository: repo, Ref: "refs/tags/run-integration-tests", SHA: "0000000000000000000000000000000000000000",
			Trust: v1alpha1.TrustUnprotected, Ceilings: c.settings.Ceilings(),
		},
		Status: v1alpha1.RunStatus{Source: &v1alpha1.SourceStatus{Reference: "REGISTRY/sources", Digest: "sha256:DIGEST"}},
	}
}

// make plans with the images known so far.
func (c *planning) make(images plan.Images) (*plan.Plan, error) {
	return plan.Make(plan.Input{Dir: c.dir, Run: c.run, Settings: c.settings, OwnProject: c.ownProject(), Images: images})
}

// ownProject is where the repository's images are pushed; empty without settings, since the registry is then unknown.
func (c *planning) ownProject() string {
	if c.settings.Registry.Host == "" {
		return ""
	}
	return registry.ImageRepository(registryOptions(c.settings), c.run.Spec.Repository, "")
}

// names are the names from the given Run, or placeholders.
func (c *planning) names(configs map[string]compose.ImageConfig) plan.Names {
	repository := func(build string) string { return "REGISTRY/" + strings.Trim(strings.ToLower(build), "._-") }
	if c.settings.Registry.Host != "" {
		repository = func(build string) string {
			return registry.ImageRepository(registryOptions(c.settings), c.run.Spec.Repository, build)
		}
	}
	return plan.Names{
		Repository: repository,
		Reference: func(build string) string {
			for _, i := range c.run.Status.Images {
				if i.Name == build && i.Digest != "" {
					return i.Reference()
				}
			}
			return repository(build) + "@sha256:DIGEST"
		},
		Argv: func(s *plan.Suite, image string) []string {
			if own, ok := configs[image]; ok {
				if argv := s.Argv(&own); len(argv) > 0 {
					return argv
				}
			}
			return s.Offline()
		},
	}
}

// images are the known images of a plan: those in the status of the Run, and with --lookup also their configurations.
func (c *planning) images(ctx context.Context, p *plan.Plan, notes io.Writer) (plan.Images, error) {
	images := plan.Images{References: map[string]string{}, Hooks: map[string]string{}}
	names, noted := c.names(nil), map[string]string{}
	for _, i := range c.run.Status.StackImages {
		noted[i.Name] = i.Reference()
	}
	var ask []string
	for _, use := range p.Uses {
		name := use.Image
		if n := noted[name]; n != "" {
			name = n
		}
		if use.Build != "" {
			name = names.Reference(use.Build)
		}
		if use.Hook {
			images.Hooks[use.Image] = name
		} else if name != use.Image {
			images.References[use.Service] = name
		}
		if use.Build == "" || c.runFile != "" {
			ask = append(ask, name)
		}
	}
	if !c.lookUp {
		return images, nil
	}
	for _, use := range p.Uses {
		if use.Build == "" || c.runFile != "" {
			images.Known = append(images.Known, use.Service)
		}
	}
	for _, s := range p.Suites {
		if s.Build == "" {
			ask = append(ask, s.Image)
		} else if c.runFile != "" {
			ask = append(ask, names.Reference(s.Build))
		}
	}
	registries, err := c.registries()
	if err != nil {
		return images, err
	}
	images.Configs = lookUp(ctx, registries, ask, notes)
	return images, nil
}

// registries returns the lookup of images: with settings as a run does it, else as the user.
func (c *planning) registries() (imageConfig, error) {
	if c.settings.Registry.Host == "" {
		return c.ask()
	}
	r, err := registry.New(registryOptions(c.settings))
	if err != nil {
		return nil, err
	}
	return r.ImageConfig, nil
}

// print plans and prints the plan.
func (c *planning) print(ctx context.Context, out, notes io.Writer) error {
	p, err := c.make(plan.Images{})
	if err != nil {
		return err
	}
	images, err := c.images(ctx, p, notes)
	if err != nil {
		return err
	}
	if p, err = c.make(images); err != nil {
		return err
	}
	printNotes(notes, p)
	names := c.names(images.Configs)
	printSummary(out, p, names)
	if c.quiet {
		return nil
	}
	objects, err := p.Objects(names)
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

// printNotes prints what the conversion changes or leaves out.
func printNotes(w io.Writer, p *plan.Plan) {
	for _, line := range compose.Lines(p.Findings) {
		fmt.Fprintln(w, line)
	}
	for _, n := range p.Notes {
		fmt.Fprintln(w, n)
	}
}

// noted counts the findings of a plan, as the end of a sentence.
func noted(p *plan.Plan) string {
	if summary := compose.Summary(p.Findings); summary != "" {
		return "; " + summary
	}
	return ""
}

// printSummary prints what is built, started and tested, as comments.
func printSummary(out io.Writer, p *plan.Plan, names plan.Names) {
	fmt.Fprintf(out, "# %s\n#\n# Builds\n", plan.ConfigFile)
	for _, b := range p.Builds {
		fmt.Fprintf(out, "#   %s: context %s, %s%s\n", b.Name, b.Context, dockerfile(b), target(b.Target))
	}
	fmt.Fprintln(out, "# Services, in the order of their start")
	for _, s := range p.Services {
		fmt.Fprintf(out, "#   %s%s\n", s.Name, after(s))
	}
	fmt.Fprintln(out, "# Suites")
	for i := range p.Suites {
		s := &p.Suites[i]
		fmt.Fprintf(out, "#   %s: %simage %s, %s, at most %s\n", s.Name, serviceOf(s), cmp.Or(s.Build, s.Image, "-"), describe(s, names), s.Test.Timeout.Duration)
	}
}

// dockerfile describes where a build's Dockerfile is.
func dockerfile(b plan.Build) string {
	if b.Inline != "" {
		return "the Dockerfile in the compose file"
	}
	return b.Dockerfile
}

func target(t string) string {
	if t == "" {
		return ""
	}
	return ", target " + t
}

func after(s plan.Service) string {
	text := ""
	for _, d := range s.DependsOn {
		text += fmt.Sprintf(", after %s (%s)", d.Service, d.Condition)
	}
	return text
}

// serviceOf is the compose service that a suite runs as.
func serviceOf(s *plan.Suite) string {
	switch {
	case s.Service == "":
		return ""
	case s.Test.Run != "":
		return "as in service " + s.Service + ", which is up as well, "
	}
	return "service " + s.Service + ", "
}

// describe is the command of a suite.
func describe(s *plan.Suite, names plan.Names) string {
	if shell := s.Test.Command.Shell; shell != "" {
		return fmt.Sprintf("sh -c %q", shell)
	}
	argv, image := s.Argv(nil), s.Image
	if s.Build != "" {
		image = names.Reference(s.Build)
	}
	if len(argv) == 0 {
		argv = names.Argv(s, image)
	}
	return fmt.Sprintf("%q", argv)
}
