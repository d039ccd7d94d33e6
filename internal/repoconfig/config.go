// Package repoconfig reads .conductor.yaml, with which a repository configures Conductor. The types in this file are the only
// definition: the parser, the JSON Schema and the reference are derived from them and their tags, so that they always agree.
package repoconfig

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tags of the fields below. yaml is the key. doc is a sentence for editors and the reference. default is the value if the key is left
// out, in YAML. is names a format of formats.go for the value or, for a list, for each item. keys names a format for the keys of a
// mapping. need:"true" means that the key is required, and that a list or a mapping must not be empty.

// Config is a .conductor.yaml.
type Config struct {
	Version int             `yaml:"version" need:"true" is:"version" doc:"The version of this file's format. It is 1."`
	Tests   map[string]Test `yaml:"tests" need:"true" keys:"label" doc:"The suites, by name. They run one after the other against the same stack. A string instead of a mapping is the command. All suites together may make at most 256 attempts: shards x (retry + 1) for each."`
	Stack   Stack           `yaml:"stack" doc:"The services that the tests run against."`
	Build   Build           `yaml:"build" doc:"Images to build besides those that the compose files build."`
	Keep    Keep            `yaml:"keep" doc:"How long the stack stays after the run: a duration such as 24h, forever, or the keys below. The operator sets the default and the longest."`
	// Path is the file's name.
	Path string `yaml:"-"`

	// lines are the positions of the values in the file, by path.
	lines map[string]mark `yaml:"-"`
	// source is the text of the file, by line.
	source []string `yaml:"-"`
}

// mark is where a value begins. Both numbers start at 1.
type mark struct{ line, column int }

// Instead returns a problem with the value at a path, and the value that it should have.
func (c *Config) Instead(path, was, instead, message string, args ...any) Error {
	e := c.Problem(path, message, args...)
	e.quote(c.source, was, instead)
	return e
}

// Problem returns a problem with the value at a path such as tests.e2e.image, at its position or that of the nearest value around it.
func (c *Config) Problem(path, message string, args ...any) Error {
	e := Error{File: c.Path, Line: 1, Column: 1, Path: path, Message: fmt.Sprintf(message, args...)}
	for at := path; at != ""; at = at[:max(0, strings.LastIndexByte(at, '.'))] {
		if p, ok := c.lines[at]; ok {
			e.Line, e.Column = p.line, p.column
			break
		}
	}
	e.quote(c.source, "", "")
	return e
}

// Suites returns the names of the suites, sorted.
func (c *Config) Suites() []string {
	names := make([]string, 0, len(c.Tests))
	for name := range c.Tests {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Test is one suite.
type Test struct {
	Command   Command           `yaml:"command" doc:"What runs the tests: a string for /bin/sh -c, or a list of the program and its arguments, run as is. Exit code 0 means passed. It replaces both entrypoint and command of the image or the service; left out, those run."`
	Image     string            `yaml:"image" is:"image" doc:"Where the command runs: a key of build.images, a compose service, or an image reference. Of a compose service only the image is used. At most one of image, service and run can be set. Left out, like the other two, it is the compose service with the suite's name, or tests, test or sut, as with service; else Dockerfile.test is built; else Dockerfile."`
	Service   string            `yaml:"service" is:"service" doc:"A compose service that is the test itself: it runs with its own image, environment, volumes, networks and command once the others are up, and is not part of the stack."`
	Run       string            `yaml:"run" is:"service" doc:"A compose service whose image, environment, volumes and networks the test uses while the service itself is up as a part of the stack, as with docker compose run. The ports, health check and hooks of the service do not apply to the test."`
	Env       map[string]string `yaml:"env" keys:"env" is:"value" doc:"Environment variables of the tests."`
	Timeout   Duration          `yaml:"timeout" default:"30m" doc:"The longest that one attempt of one shard may take. It is then terminated with SIGTERM and, 10 seconds later, SIGKILL."`
	Retry     int               `yaml:"retry" is:"retry" default:"0" doc:"How often a failed shard is run again. A test that failed and then passed counts as passed, and is reported as flaky."`
	Shards    int               `yaml:"shards" is:"shards" default:"1" doc:"The number of pods that the suite is split into. They run in parallel, as many at a time as the operator allows (stacks.testsAtOnce). CONDUCTOR_SHARD is the index of each, from 0, and CONDUCTOR_SHARDS their number."`
	Reports   Reports           `yaml:"reports" doc:"Test reports: patterns such as reports/**/*.xml from the working directory, or absolute ones such as /out/*.trx. A file may be JUnit XML, TRX, go test -json or TAP; its content decides. Left out, it is junit.xml, junit-*.xml and TEST-*.xml in the working directory and in the usual directories of test tools, and TestResults/*.trx."`
	Artifacts []string          `yaml:"artifacts" is:"glob" doc:"Files to keep in the run's record: patterns such as screenshots/** from the working directory, or absolute ones such as /out/**."`
}

// attempts returns the maximum number of executions of the suite.
func (t Test) attempts() int { return t.Shards * (t.Retry + 1) }

// Reports names the files with the tests' results.
type Reports struct {
	// JUnit are the patterns of files in any of the formats; JUnit was the only one at first.
	JUnit []string `yaml:"junit" is:"glob" doc:"The same patterns, in the notation of earlier versions."`
}

// DefaultJUnit are the patterns for test reports of suites that do not specify any: where common tools write them.
var DefaultJUnit = []string{
	"junit.xml", "junit-*.xml", "TEST-*.xml", "test-results.xml", "{reports,test-results,test-reports,junit,coverage}/{junit*,TEST-*}.xml",
	"target/surefire-reports/TEST-*.xml", "build/test-results/**/TEST-*.xml", "{TestResults,*/TestResults,*/*/TestResults}/*.trx",
}

// Command runs a suite: a line for a shell, or a program and its arguments.
type Command struct {
	// Shell is a line for /bin/sh -c; empty if Args is set.
	Shell string
	// Args are the program and its arguments; empty if Shell is set.
	Args []string
}

// Argv returns the arguments to execute.
func (c Command) Argv() []string {
	if c.Shell != "" {
		return []string{"/bin/sh", "-c", c.Shell}
	}
	return c.Args
}

// Stack describes the stack and its compose files.
type Stack struct {
	Compose  []string          `yaml:"compose" default:"docker-compose.qa.yml" is:"path" doc:"The compose files, merged in this order as docker compose -f does."`
	Profiles []string          `yaml:"profiles" is:"profile" doc:"The active compose profiles."`
	Env      map[string]string `yaml:"env" keys:"env" is:"value" doc:"Values for variables in the compose files. Nothing is taken from the environment."`
	EnvFile  []string          `yaml:"env_file" is:"path" doc:"Files with values for variables in the compose files; stack.env takes precedence over them. Left out, it is .env if that exists."`
	Ready    Ready             `yaml:"ready" doc:"When the stack counts as up."`
	Public   []Public          `yaml:"public" doc:"Services that get an address outside the cluster, if the operator offers that."`
	Strict   bool              `yaml:"strict" default:"false" doc:"Whether a compose field that is approximated or left out fails the run."`
}

// Ready determines when the stack counts as up.
type Ready struct {
	Timeout Duration `yaml:"timeout" default:"10m" doc:"The longest that the services may take until all are healthy."`
}

// Public is a service with an address outside the cluster.
type Public struct {
	Service string `yaml:"service" need:"true" is:"service" doc:"The compose service."`
	Port    int    `yaml:"port" need:"true" is:"port" doc:"The port that it listens on in its container."`
}

// Build describes images to build in addition to those of the compose files.
type Build struct {
	Images map[string]Image `yaml:"images" keys:"label" doc:"Images by name; tests.SUITE.image may name one."`
}

// Image is one image to build.
type Image struct {
	Context    string            `yaml:"context" default:"." is:"path" doc:"The build context, a directory."`
	Dockerfile string            `yaml:"dockerfile" default:"Dockerfile" is:"path" doc:"The Dockerfile, below the context."`
	Target     string            `yaml:"target" is:"target" doc:"The stage to build; left out, the last one."`
	Args       map[string]string `yaml:"args" keys:"env" is:"value" doc:"Build arguments. They end up in the image's history, so they must not contain secrets."`
}

// Keep is how long a stack is kept. The zero value means the operator's default.
type Keep struct {
	TTL Duration `yaml:"ttl" doc:"A duration such as 24h, or forever."`
	// Idle is zero if the file does not set it.
	Idle Duration `yaml:"idle" doc:"The time after which a stack that is not used is deleted earlier: a duration such as 2h. Each command about the run counts as use."`
	// AfterClose keeps the stack when its issue or pull request is closed.
	AfterClose bool `yaml:"after_close" default:"false" doc:"Whether the stack stays when its issue or pull request is closed or merged; otherwise it is deleted, and a run in progress is canceled."`
	// Forever is set if the file contains that word instead of a duration; TTL is then zero.
	Forever bool `yaml:"-"`
}

// Duration is a time.Duration in Go's notation: 90s, 30m, 1h30m.
type Duration struct{ time.Duration }
