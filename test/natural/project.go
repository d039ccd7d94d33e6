package natural

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/compose"
	"github.com/w3evolutionsllc/conductor/internal/failure"
	"github.com/w3evolutionsllc/conductor/internal/plan"
	"github.com/w3evolutionsllc/conductor/internal/repoconfig"
	"github.com/w3evolutionsllc/conductor/internal/settings"
)

// configFile is the file that names the compose files and the suites of a project.
const configFile = ".conductor.yaml"

//go:embed images.yaml
var imagesFile []byte

//go:embed sentences.yaml
var sentencesFile []byte

// alwaysTrue are sentences that a person read and that are true wherever they occur.
var alwaysTrue = mustDecode[[]string](sentencesFile)

// knownImages are the configurations of public images, by repository.
var knownImages = mustDecode[map[string]*ImageConfig](imagesFile)

func mustDecode[T any](data []byte) T {
	var v T
	if err := yaml.UnmarshalStrict(data, &v); err != nil {
		panic(err)
	}
	return v
}

// readConfig reads a project's .conductor.yaml.
func readConfig(dir string) (*repoconfig.Config, error) {
	data, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil {
		return nil, err
	}
	return repoconfig.Parse(configFile, data)
}

// variableFiles are the files whose variables are used in the compose files.
func variableFiles(dir string) []string {
	config, err := readConfig(dir)
	if err != nil || len(config.Stack.EnvFile) == 0 {
		return []string{".env"}
	}
	return config.Stack.EnvFile
}

// Run runs a command for a project, as a person does, and parses what it prints.
func Run(ctx context.Context, binary, dir, command string, services []string) (*Output, error) {
	args, report := []string{command, "."}, ""
	if command == convertCommand {
		file, err := os.CreateTemp("", "report")
		if err != nil {
			return nil, err
		}
		report = file.Name()
		defer os.Remove(report)
		if err := file.Close(); err != nil {
			return nil, err
		}
		if args, err = ConvertArgs(dir); err != nil {
			return nil, err
		}
		args = slices.Concat([]string{convertCommand}, args, []string{"--report", report})
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("%s: %w", command, err)
	}
	o, parseErr := parseOutput(command, stdout.String(), stderr.String(), services)
	if parseErr != nil {
		return nil, parseErr
	}
	o.Failed = err != nil
	switch {
	case command == convertCommand:
		err = o.addReport(report, stderr.String())
	case !o.Failed:
		err = o.addPlan(dir, stderr.String(), services)
	default:
		err = nil
	}
	return o, err
}

// ConvertArgs are the arguments of convert for what a project's .conductor.yaml names.
func ConvertArgs(dir string) ([]string, error) {
	config, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	var args []string
	for flag, values := range map[string][]string{"-f": config.Stack.Compose, "--profile": config.Stack.Profiles, "--env-file": config.Stack.EnvFile} {
		for _, v := range values {
			args = append(args, flag, v)
		}
	}
	for k, v := range config.Stack.Env {
		args = append(args, "--env", k+"="+v)
	}
	return args, nil
}

// addReport replaces the findings by those of a report of convert: a printed line may stand for several.
func (o *Output) addReport(file, printed string) error {
	data, err := os.ReadFile(file)
	if err != nil || len(data) == 0 {
		return err // Nothing was loaded.
	}
	var report struct{ Fields []compose.Finding }
	if err := json.Unmarshal(data, &report); err != nil {
		return fmt.Errorf("read the report: %w", err)
	}
	o.Findings = nil
	for _, f := range report.Fields { // The report also has fields that are converted.
		if isPrinted(printed, f.Reason) {
			o.Findings = append(o.Findings, findingOf(f))
		}
	}
	return nil
}

// isPrinted reports whether a sentence was printed: by itself, or as one of those that differ in their subject alone, which a line lists.
func isPrinted(printed, reason string) bool {
	if strings.Contains(printed, reason) {
		return true
	}
	subject, _, _ := strings.Cut(strings.TrimPrefix(reason, "variable "), " ")
	parts := strings.Split(reason, subject)
	for line := range strings.Lines(printed) {
		sentence, also, ok := strings.Cut(line, " (also ")
		isOther := strings.Contains(also, subject+",") || strings.Contains(also, subject+")")
		if ok && isOther && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(sentence, part) }) {
			return true
		}
	}
	return false
}

// addPlan replaces the findings by those of the plan, all of which must be printed.
func (o *Output) addPlan(dir, printed string, services []string) error {
	p, err := plan.Make(input(dir))
	if err != nil {
		return err
	}
	o.Findings = planFindings(p, services)
	for _, f := range o.Findings {
		if !isPrinted(printed, f.Reason) {
			return fmt.Errorf("plan does not print %s", f)
		}
	}
	return nil
}

func findingOf(f compose.Finding) Finding {
	return Finding{
		File: f.File, Line: f.Line, Level: string(f.Level), Service: f.Service, Field: f.Field, Reason: f.Reason, What: strings.Trim(f.Service+"."+f.Field, "."),
	}
}

// planFindings are the findings of a plan and its notes on suites.
func planFindings(p *plan.Plan, services []string) []Finding {
	var all []Finding
	for _, f := range p.Findings {
		all = append(all, findingOf(f))
	}
	return append(all, parseFindings(strings.Join(p.Notes, "\n"), services)...)
}

// input plans for a Run that does not exist.
func input(dir string) plan.Input {
	set := settings.Default()
	set.Image = "CONDUCTOR"
	run := &v1alpha1.Run{
		ObjectMeta: metav1.ObjectMeta{Name: "plan", Namespace: set.Namespace, UID: types.UID("00000000-0000-0000-0000-000000000000")},
		Spec: v1alpha1.RunSpec{
			Repository: v1alpha1.Repository{Owner: "OWNER", Name: "NAME", CloneURL: "https://github.com/OWNER/NAME.git"},
			Ref:        "refs/tags/run-integration-tests", SHA: strings.Repeat("0", 40), Trust: v1alpha1.TrustUnprotected, Ceilings: set.Ceilings(),
		},
		Status: v1alpha1.RunStatus{Source: &v1alpha1.SourceStatus{Reference: "REGISTRY/sources", Digest: "sha256:DIGEST"}},
	}
	return plan.Input{Dir: dir, Run: run, Settings: set}
}

// Plan plans a project as a run does, which knows the configuration of every image.
func Plan(dir string, v *Verdict, services []string) (*Output, error) {
	in := input(dir)
	p, err := plan.Make(in)
	if err != nil {
		return refusal(err, services)
	}
	in.Images = images(p, v)
	if p, err = plan.Make(in); err != nil {
		return refusal(err, services)
	}
	objects, err := p.Objects(placeholders(in.Images.Configs))
	if err != nil {
		return nil, err
	}
	data, err := compose.YAML(&compose.Stack{Shared: objects})
	if err != nil {
		return nil, err
	}
	o, err := parseOutput(runCommand, summary(p)+string(data), "", services)
	if err == nil {
		o.Findings = planFindings(p, services)
	}
	return o, err
}

func refusal(err error, services []string) (*Output, error) {
	var f *failure.Error
	if !errors.As(err, &f) || f.Kind != failure.Terminal {
		return nil, err
	}
	return &Output{Command: runCommand, Failed: true, Findings: parseFindings(f.Sentence, services)}, nil
}

const digest = "@sha256:DIGEST"

// images are the references and configurations of a plan's images.
func images(p *plan.Plan, v *Verdict) plan.Images {
	out := plan.Images{References: map[string]string{}, Hooks: map[string]string{}, Configs: map[string]compose.ImageConfig{}, AllKnown: true}
	set := func(reference string, config *ImageConfig) {
		if config == nil {
			return
		}
		c := compose.ImageConfig{Entrypoint: config.Entrypoint, Cmd: config.Cmd, User: config.User, Volumes: config.Volumes, ExposedPorts: config.Expose}
		if len(config.Health) > 0 {
			c.Healthcheck = &compose.Healthcheck{Test: config.Health}
		}
		out.Configs[reference] = c
	}
	for _, use := range p.Uses {
		if use.Build != "" {
			reference := "REGISTRY/" + use.Build + digest
			out.References[use.Service] = reference
			set(reference, v.Services[use.Service].Config)
			continue
		}
		set(use.Image, knownImages[repository(use.Image)])
	}
	for _, s := range p.Suites { // A run always reads the image of a suite.
		reference, config := s.Image, knownImages[repository(s.Image)]
		if s.Build != "" {
			reference, config = "REGISTRY/"+s.Build+digest, v.Services[v.Suites[s.Name].Service].Config
		}
		if _, ok := out.Configs[reference]; !ok {
			set(reference, cmp.Or(config, &ImageConfig{}))
		}
	}
	return out
}

// placeholders are the names that only a run knows, as `conductor plan` prints them.
func placeholders(configs map[string]compose.ImageConfig) plan.Names {
	return plan.Names{
		Repository: func(build string) string { return "REGISTRY/" + build },
		Reference:  func(build string) string { return "REGISTRY/" + build + digest },
		Argv: func(s *plan.Suite, image string) []string {
			if own, ok := configs[image]; ok {
				return s.Argv(&own)
			}
			return nil
		},
	}
}

// summary is the part of the summary of `conductor plan` that is compared.
func summary(p *plan.Plan) string {
	var b strings.Builder
	b.WriteString("# Builds\n")
	for _, build := range p.Builds {
		fmt.Fprintf(&b, "#   %s: context %s, %s", build.Name, build.Context, build.Dockerfile)
		if build.Target != "" {
			fmt.Fprintf(&b, ", target %s", build.Target)
		}
		b.WriteString("\n")
	}
	b.WriteString("# Services\n")
	for _, s := range p.Services {
		fmt.Fprintf(&b, "#   %s", s.Name)
		for _, d := range s.DependsOn {
			fmt.Fprintf(&b, ", after %s (%s)", d.Service, d.Condition)
		}
		b.WriteString("\n")
	}
	return b.String() + "---\n"
}

// servicesOf are the services that the project's compose files mention, for the parser of findings.
func servicesOf(v *Verdict, dir string) []string {
	found := map[string]bool{}
	if v != nil {
		for name := range v.Services {
			found[name] = true
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.y*ml"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		asJSON, err := yaml.YAMLToJSON(data)
		var top struct{ Services map[string]json.RawMessage }
		if err == nil && json.Unmarshal(asJSON, &top) == nil {
			for name := range top.Services {
				found[name] = true
			}
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	return names
}
