package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// imageRepository is the repository of Conductor's own image.
const imageRepository = "ghcr.io/w3evolutionsllc/conductor"

// composeFiles are the default compose files: Conductor's own, then those of docker compose in its order.
// https://docs.docker.com/compose/intro/compose-application-model/#the-compose-file
var composeFiles = []string{compose.DefaultFile, "compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}

// conversion is the state of `conductor convert`.
type conversion struct {
	load              compose.LoadOptions
	env, images       []string
	allow             []string
	namespace, report string
	// secretName is the Secret with the values of secrets, pullSecret the Secret with which images are pulled.
	secretName, pullSecret string
	waitImage              string
	waitTimeout            time.Duration
	strict, lookUp, quiet  bool
	// ask returns the lookup of images.
	ask    func() (imageConfig, error)
	output string
	// directory is where a chart or kustomization is written.
	directory  string
	out, notes io.Writer
	// root is the only directory from which files are read.
	root string
	// given are the images of --image, by service.
	given map[string]string
}

func convertCommand() *cobra.Command { return convertAsking(userRegistries) }

// convertAsking returns the command with a lookup of images.
func convertAsking(ask func() (imageConfig, error)) *cobra.Command {
	c := conversion{ask: ask, load: compose.LoadOptions{Flags: true}}
	cmd := &cobra.Command{
		Use: "convert [-o helm|kustomize DIR]", Short: "Convert compose files into manifests for a cluster without Conductor", Args: cobra.MaximumNArgs(1),
		Long: `Convert compose files into manifests for kubectl on a cluster without Conductor:

  conductor convert -n shop | kubectl apply -f -

Objects go to standard output, notes to standard error: file:line: level: service.field: sentence. Findings with the same sentence are
one line, which counts the services or places; --report lists each by itself.
With -o helm or -o kustomize, the files of a chart or of a kustomization are written into DIR.
Only files in the working directory are read, or, if a file of -f is outside, in the directory of the first one. Environment
variables are not read.

Exit status 0: converted, 1: refused, 2: usage error, or a file could not be read or written.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.out, c.notes = cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := c.check(args); err != nil {
				return err
			}
			return c.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&c.load.Files, "file", "f", nil, "a compose file; later files override earlier ones (default "+strings.Join(composeFiles, ", ")+", with its override)")
	f.StringArrayVar(&c.load.Profiles, "profile", nil, "a profile to enable")
	f.StringArrayVar(&c.load.EnvFiles, "env-file", nil, "a file of variables for interpolation (default .env)")
	f.StringArrayVar(&c.env, "env", nil, "a variable for interpolation, KEY=VALUE")
	f.StringArrayVar(&c.load.Secrets, "secret", nil, "a variable whose value is a secret: objects reference a key of this name, and its value is not read")
	f.StringVar(&c.secretName, "secret-name", compose.DefaultSecretName, "the Secret with the keys of --secret; you create it")
	f.StringVar(&c.pullSecret, "pull-secret", "", "the Secret with which images are pulled; you create it")
	f.StringVarP(&c.namespace, "namespace", "n", "", "the objects' namespace (default none, or the namespace default if a service waits for a Job)")
	f.StringArrayVar(&c.allow, "allow", nil, "allow something beyond Pod Security's baseline: "+join(compose.Allowances()))
	f.BoolVar(&c.strict, "strict", false, "refuse what would not behave as under compose")
	f.StringVar(&c.report, "report", "", "write the result for each field to this file, as JSON")
	f.BoolVar(&c.lookUp, "lookup", false, "read the images' HEALTHCHECK, EXPOSE and CMD from their registries, with the logins of your Docker config")
	f.BoolVarP(&c.quiet, "quiet", "q", false, "do not print infos: differences that a test cannot observe")
	f.StringArrayVar(&c.images, "image", nil, "the image of a service, SERVICE=REFERENCE")
	f.StringVarP(&c.output, "output", "o", "yaml", "the format: yaml, helm or kustomize")
	f.StringVar(&c.waitImage, "wait-image", imageRepository+":"+version, "Conductor's image, for init containers that wait for dependencies")
	f.DurationVar(&c.waitTimeout, "wait-timeout", 30*time.Minute, "how long an init container waits before it is restarted")
	return cmd
}

// check validates the flags before anything is read or written.
func (c *conversion) check(args []string) error {
	switch c.output {
	case "yaml":
		if len(args) > 0 {
			return fmt.Errorf("unexpected argument %s: manifests go to standard output. Name compose files with -f", args[0])
		}
	case "helm", "kustomize":
		if len(args) == 0 {
			return fmt.Errorf("-o %s requires a directory", c.output)
		}
		c.directory = args[0]
	default:
		return fmt.Errorf("-o %s: must be yaml, helm DIR or kustomize DIR", c.output)
	}
	if c.namespace != "" && len(validation.IsDNS1123Label(c.namespace)) > 0 {
		return fmt.Errorf("-n %s is not a valid namespace name", c.namespace)
	}
	for _, name := range []string{c.secretName, c.pullSecret} {
		if name != "" && len(validation.IsDNS1123Subdomain(name)) > 0 {
			return fmt.Errorf("%s is not a valid name for a Secret", name)
		}
	}
	if c.waitTimeout <= 0 {
		return errors.New("--wait-timeout must be greater than 0")
	}
	for _, a := range allowances(c.allow) {
		if !slices.Contains(compose.Allowances(), a) {
			return fmt.Errorf("--allow %s: must be one of %s", a, join(compose.Allowances()))
		}
	}
	var err error
	if c.load.Env, err = pairs("--env", c.env); err != nil {
		return err
	}
	if c.given, err = pairs("--image", c.images); err != nil {
		return err
	}
	for _, service := range slices.Sorted(maps.Keys(c.given)) {
		name, _, _ := strings.Cut(c.given[service], "@")
		if why := compose.RefusesImage(name, compose.Options{}); why != "" {
			return fmt.Errorf("--image %s: %s", service, why)
		}
	}
	return c.locate()
}

func allowances(names []string) []compose.Allowance {
	var out []compose.Allowance
	for _, a := range names {
		out = append(out, compose.Allowance(a))
	}
	return out
}

func join(all []compose.Allowance) string {
	var names []string
	for _, a := range all {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// pairs parses a list of NAME=VALUE.
func pairs(flag string, list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s %s: must be NAME=VALUE", flag, s)
		}
		out[name] = value
	}
	return out, nil
}

// locate finds the compose files and the root, the only directory from which files are read, and makes file names relative to it.
func (c *conversion) locate() error {
	if len(c.load.Files) == 0 {
		c.load.Files = compose.FilesOf(".", c.load)
	}
	if len(c.load.Files) == 0 {
		c.load.Files = defaultFiles()
	}
	if len(c.load.Files) == 0 {
		if near := compose.FilesIn("."); len(near) > 0 {
			return fmt.Errorf("no compose file with a usual name found. Name a file with -f: this directory has %s", strings.Join(near, ", "))
		}
		return fmt.Errorf("no compose file found: this directory has none of %s. Name a file with -f", strings.Join(composeFiles, ", "))
	}
	here, err := filepath.Abs(".")
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	c.root = here
	for _, f := range c.load.Files {
		if st, err := os.Stat(f); err != nil {
			return fmt.Errorf("read %s: %w", f, err)
		} else if st.IsDir() {
			return fmt.Errorf("%s is a directory, not a compose file", f)
		}
		if rel, err := filepath.Rel(here, absolutePath(here, f)); err != nil || !filepath.IsLocal(rel) {
			c.root = filepath.Dir(absolutePath(here, c.load.Files[0]))
		}
	}
	for _, list := range [][]string{c.load.Files, c.load.EnvFiles} {
		for i, f := range list {
			rel, err := filepath.Rel(c.root, absolutePath(here, f))
			if err != nil || !filepath.IsLocal(rel) {
				return fmt.Errorf("%s is outside of %s; only files inside are read", f, c.root)
			}
			list[i] = rel
		}
	}
	return nil
}

func absolutePath(here, name string) string {
	if filepath.IsAbs(name) {
		return filepath.Clean(name)
	}
	return filepath.Join(here, name)
}

// defaultFiles are the first existing file of composeFiles and its override, as in docker compose.
func defaultFiles() []string {
	i := slices.IndexFunc(composeFiles, isRegular)
	if i < 0 {
		return nil
	}
	files := []string{composeFiles[i]}
	base, _ := strings.CutSuffix(composeFiles[i], filepath.Ext(composeFiles[i]))
	if composeFiles[i] == compose.DefaultFile {
		return files
	}
	for _, ext := range []string{".yml", ".yaml"} {
		if f := base + ".override" + ext; isRegular(f) {
			return append(files, f)
		}
	}
	return files
}

func isRegular(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular()
}

// run converts, prints the notes and writes the objects.
func (c *conversion) run(ctx context.Context) error {
	stack, findings, err := c.convert(ctx)
	if refused := (*compose.Errors)(nil); errors.As(err, &refused) {
		return c.finish(refused.Findings, findings, exitCode(1))
	} else if err != nil {
		return err
	}
	if err := c.write(stack); err != nil {
		return err
	}
	return c.finish(stack.Findings, findings, nil)
}

// convert also returns a function that completes the findings to the whole report.
func (c *conversion) convert(ctx context.Context) (*compose.Stack, func([]compose.Finding) []compose.Finding, error) {
	same := func(f []compose.Finding) []compose.Finding { return f }
	p, err := compose.Load(c.root, c.load)
	if err != nil {
		return nil, same, err
	}
	for service := range c.given {
		if !slices.Contains(p.Services(), service) {
			return nil, same, fmt.Errorf("--image %s: the service does not exist. The compose files have %s", service, strings.Join(p.Services(), ", "))
		}
	}
	for _, name := range p.UnusedSecrets() { // Most likely a typo, which would put the value of the actual variable into the objects.
		return nil, same, fmt.Errorf("--secret %s: the compose files do not use this variable%s", name, didYouMean(name, p.Variables()))
	}
	var configs map[string]compose.ImageConfig
	if c.lookUp {
		ask, err := c.ask()
		if err != nil {
			return nil, same, err
		}
		configs = lookUp(ctx, ask, projectImages(p, c.given), c.notes)
	}
	stack, err := compose.Manifest(p,
		compose.Options{
			Namespace: c.namespace, Images: c.given, SecretName: c.secretName, PullSecret: c.pullSecret, InlineDockerfiles: true, ImageConfigs: configs,
			Allow: allowances(c.allow), AllowSetting: "--allow",
			Egress: []networkingv1.NetworkPolicyEgressRule{compose.Internet()},
		},
		compose.ManifestOptions{WaitImage: c.waitImage, WaitTimeout: c.waitTimeout, Strict: c.strict})
	return stack, p.Report, err
}

// didYouMean suggests the known word that was probably meant; it is empty if there is none.
func didYouMean(word string, known []string) string {
	if near := nearest.Word(word, slices.DeleteFunc(slices.Clone(known), func(k string) bool { return k == word })); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// finish prints the notes and writes the report.
func (c *conversion) finish(findings []compose.Finding, report func([]compose.Finding) []compose.Finding, end error) error {
	c.print(findings, end == nil)
	if c.report == "" {
		return end
	}
	data, err := compose.ReportJSON(report(findings))
	if err == nil {
		err = os.WriteFile(c.report, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return end
}

// print prints the findings, and counts them if the files are converted.
func (c *conversion) print(findings []compose.Finding, isConverted bool) {
	shown := findings
	if c.quiet {
		shown = slices.DeleteFunc(slices.Clone(findings), func(f compose.Finding) bool { return f.Level == compose.LevelInfo })
	}
	for _, line := range compose.Lines(shown) {
		fmt.Fprintln(c.notes, line)
	}
	summary := compose.Summary(findings)
	if !isConverted || summary == "" {
		return
	}
	if compose.Summary(shown) == summary && slices.ContainsFunc(findings, func(f compose.Finding) bool { return f.Level == compose.LevelInfo }) {
		summary += " (--quiet hides infos)"
	}
	fmt.Fprintln(c.notes, "converted:", summary)
}

func (c *conversion) write(stack *compose.Stack) error {
	var files []compose.File
	var err error
	switch c.output {
	case "helm":
		files, err = compose.Helm(stack, c.directory)
	case "kustomize":
		files, err = compose.Kustomize(stack)
	default:
		data, err := compose.YAML(stack)
		if err != nil {
			return err
		}
		if _, err := c.out.Write(data); err != nil {
			return fmt.Errorf("write the objects: %w", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	return eject(c.directory, files)
}
