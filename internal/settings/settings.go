// Package settings reads the operator's configuration: one YAML file, which the chart renders from its values. Unknown keys and invalid
// values are errors. The environment is not used.
package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/yaml"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Settings is the operator's configuration.
type Settings struct {
	// Namespace is the namespace of Conductor's own objects.
	Namespace string `json:"namespace"`
	// ServiceAccount is Conductor's own account in Namespace; stacks' RoleBindings name it.
	ServiceAccount string `json:"serviceAccount"`
	// Image is Conductor's own image, which stack agents and test wrappers run too.
	Image  string `json:"image"`
	GitHub GitHub `json:"github"`
	// Webhook is how deliveries reach Conductor.
	Webhook  Webhook  `json:"webhook"`
	Registry Registry `json:"registry"`
	Builds   Builds   `json:"builds"`
	Planning Planning `json:"planning"`
	Stacks   Stacks   `json:"stacks"`
	Keep     Keep     `json:"keep"`
	Triggers Triggers `json:"triggers"`
	// Bots grants the commands of bots a permission by login (name[bot]). The comments of other bots are ignored.
	Bots map[string]v1alpha1.Permission `json:"bots,omitempty"`
	// RunTimeout is the longest time until a run's outcome is known.
	RunTimeout metav1.Duration `json:"runTimeout"`
	// Deadlines limit retries of transient errors.
	Deadlines Deadlines `json:"deadlines"`
	// Retention determines which finished Runs are kept.
	Retention      Retention      `json:"retention"`
	LeaderElection LeaderElection `json:"leaderElection"`
	Memory         Memory         `json:"memory"`
	// Checkouts limits the files of active Runs.
	Checkouts Checkouts `json:"checkouts"`
}

// Checkouts limits the files of active Runs on Conductor's own disk.
type Checkouts struct {
	// SizeLimit is the size limit of the volume, a Kubernetes quantity. A Run that would exceed it waits.
	SizeLimit string `json:"sizeLimit"`
}

// MinCheckouts is the minimum of Checkouts.SizeLimit, in bytes: the maximum size of one checkout.
const MinCheckouts = 160 << 20

// Bytes returns SizeLimit in bytes.
func (c Checkouts) Bytes() int64 {
	q, err := resource.ParseQuantity(c.SizeLimit)
	if err != nil {
		return 0
	}
	return q.Value()
}

// GitHub is the GitHub that the App is installed on.
type GitHub struct {
	// APIURL is https://api.github.com, or https://HOST/api/v3 of a GitHub Enterprise Server.
	APIURL string `json:"apiURL"`
	// AppID is the App's numeric id.
	AppID int64 `json:"appID"`
	// PrivateKeyFile contains the App's PEM key. It is read again for each signature.
	PrivateKeyFile string `json:"privateKeyFile"`
	// WebhookSecretFiles contain the webhook secrets; there is more than one during a rotation.
	WebhookSecretFiles []string `json:"webhookSecretFiles"`
}

// Webhook is how GitHub's deliveries reach Conductor.
type Webhook string

const (
	// WebhookPush means that GitHub sends deliveries to Conductor's address.
	WebhookPush Webhook = "push"
	// WebhookPull means that Conductor reads them from GitHub's log of deliveries; it needs no address that GitHub can reach.
	WebhookPull Webhook = "pull"
)

// RegistryType is the kind of registry that images are pushed to.
type RegistryType string

// RegistryOCI is any registry that implements the OCI distribution protocol.
const RegistryOCI RegistryType = "oci"

// Registry is where built images are pushed.
type Registry struct {
	Type RegistryType `json:"type"`
	// Host is host or host:port.
	Host string `json:"host"`
	// Prefix precedes owner/name; it may be empty.
	Prefix string `json:"prefix,omitempty"`
	// Records is the path of the records of runs, below Prefix: Records/owner/name:run.
	Records string `json:"records"`
	// Sources is the path of the files of commits while their stacks exist, below Prefix: Sources/owner/name:run.
	Sources string `json:"sources"`
	// Insecure allows plain HTTP.
	Insecure bool `json:"insecure,omitempty"`
	// PushConfigFile and PullConfigFile are Docker config.json files. Without the first, pushes are anonymous. Without the second, stacks
	// get no pull credential.
	PushConfigFile string `json:"pushConfigFile,omitempty"`
	PullConfigFile string `json:"pullConfigFile,omitempty"`
	// Mirrors are registries that builds and image lookups try before Docker Hub.
	Mirrors []string `json:"mirrors,omitempty"`
}

// Builds configures the build Jobs.
type Builds struct {
	// Namespace is the namespace of all build Jobs.
	Namespace string `json:"namespace"`
	// Image is the Kaniko executor.
	Image string `json:"image"`
	// Timeout is the longest that one build may take.
	Timeout metav1.Duration `json:"timeout"`
	// CPU and Memory are requests, MemoryLimit a limit; Kubernetes quantities, each may be empty.
	CPU         string `json:"cpu,omitempty"`
	Memory      string `json:"memory,omitempty"`
	MemoryLimit string `json:"memoryLimit,omitempty"`
}

// Planning configures how runs are planned: each in a process of its own, with at most 256 MiB and 10 seconds of CPU time.
type Planning struct {
	// AtOnce is the number of runs planned at a time.
	AtOnce int `json:"atOnce"`
}

// Stacks configures what stacks may contain and reach.
type Stacks struct {
	// Host is the public host name of a service, with {service} and {run}; empty means no public addresses.
	Host string `json:"host,omitempty"`
	// Scheme is https, or http if nothing terminates TLS.
	Scheme string `json:"scheme,omitempty"`
	// IngressClass is used when Host is set and Gateway is not.
	IngressClass string `json:"ingressClass,omitempty"`
	// Gateway is namespace/name of the Gateway that HTTPRoutes attach to.
	Gateway string `json:"gateway,omitempty"`
	// IngressNamespaces are the namespaces of the ingress controllers, whose pods may reach the public services of stacks.
	IngressNamespaces []string `json:"ingressNamespaces,omitempty"`
	// Egress lists the external addresses that stacks and builds may reach, as CIDR or CIDR:port.
	Egress []string `json:"egress,omitempty"`
	// Registries are the host or host/path prefixes that images may come from; empty means any.
	Registries []string `json:"registries,omitempty"`
	// Allow lists the permitted exceptions from Pod Security's baseline level, which apply where a compose file asks for them; empty means
	// none.
	Allow []v1alpha1.Allowance `json:"allow,omitempty"`
	// Pods, CPU and Memory limit each stack; zero or empty means unlimited.
	Pods   int32  `json:"pods,omitempty"`
	CPU    string `json:"cpu,omitempty"`
	Memory string `json:"memory,omitempty"`
	// TestsAtOnce is the number of test pods of one run at a time; further shards wait.
	TestsAtOnce int `json:"testsAtOnce"`
	// Files limits the repository's files that are mounted in all pods of a stack, besides those in ConfigMaps. It is a Kubernetes
	// quantity; 0 means none.
	Files string `json:"files"`
}

// Keep configures how long stacks are kept.
type Keep struct {
	// Default applies if the repository does not specify a time, Max always.
	Default metav1.Duration `json:"default"`
	Max     metav1.Duration `json:"max"`
	// Forever allows `keep: forever`.
	Forever bool `json:"forever,omitempty"`
	// Idle is the time after which a stack that is not used is deleted, if the repository does not specify it; 0 means never.
	Idle metav1.Duration `json:"idle,omitempty"`
}

// Triggers configures what starts a run.
type Triggers struct {
	// Tags are patterns of short tag names, as in path.Match, where a trailing /* matches one further element.
	Tags []string `json:"tags"`
	// PollInterval is how often the matching tags are compared with those seen before.
	PollInterval metav1.Duration `json:"pollInterval"`
	// PullInterval is how often GitHub's log of deliveries is read with WebhookPull.
	PullInterval metav1.Duration `json:"pullInterval"`
}

// minPullInterval keeps the requests for GitHub's log below a third of GitHub's limit of 5,000 an hour.
const minPullInterval = 2 * time.Second

// Deadlines limit how long Conductor retries transient errors before it gives up and reports the failure.
type Deadlines struct {
	// Stage applies to a stage of a run, from the first of consecutive failures.
	Stage metav1.Duration `json:"stage"`
	// Record applies to storing a run's record, from the first of consecutive failures.
	Record metav1.Duration `json:"record"`
	// Finalize applies to the deletion of a deleted Run's namespace, from the deletion of the Run.
	Finalize metav1.Duration `json:"finalize"`
}

// LeaderElection configures the election of the leading replica.
type LeaderElection struct {
	// LeaseDuration is how long the other replicas wait after the leader was killed.
	LeaseDuration metav1.Duration `json:"leaseDuration"`
}

// RenewDeadline is when a leader that cannot renew its lease exits, well before another can take over.
func (l LeaderElection) RenewDeadline() time.Duration { return l.LeaseDuration.Duration * 2 / 3 }

// RetryPeriod is the pause between attempts to acquire or renew the lease.
func (l LeaderElection) RetryPeriod() time.Duration { return l.LeaseDuration.Duration * 2 / 15 }

// Retention determines which finished Runs are kept: those that are younger than Age and among the newest PerRepository of their repository.
type Retention struct {
	Age           metav1.Duration `json:"age"`
	PerRepository int             `json:"perRepository"`
}

// The limits of a Run's ceilings on registries and their total length in bytes.
const (
	maxRegistries       = 64
	maxRegistriesLength = 4096
)

// Memory limits the memory of Conductor's process.
type Memory struct {
	// Results limits the test results of all runs together; a Kubernetes quantity.
	Results string `json:"results"`
}

// minResults is the minimum of Memory.Results, in bytes.
const minResults = 1 << 20

// ResultBytes returns Results in bytes.
func (m Memory) ResultBytes() int64 {
	q, err := resource.ParseQuantity(m.Results)
	if err != nil {
		return 0
	}
	return q.Value()
}

// Default returns the configuration for keys that the operator's file does not set.
func Default() Settings {
	d := func(t time.Duration) metav1.Duration { return metav1.Duration{Duration: t} }
	return Settings{
		Namespace: "conductor", ServiceAccount: "conductor",
		GitHub:   GitHub{APIURL: "https://api.github.com"},
		Webhook:  WebhookPush,
		Registry: Registry{Type: RegistryOCI, Records: "records", Sources: "sources"},
		Builds: Builds{
			Namespace: "conductor-builds", Image: "ghcr.io/osscontainertools/kaniko:v1.28.3",
			Timeout: d(30 * time.Minute), CPU: "500m", Memory: "512Mi",
		},
		Planning:   Planning{AtOnce: 1},
		Stacks:     Stacks{Scheme: "https", TestsAtOnce: 8, Files: "256Mi"},
		Keep:       Keep{Default: d(24 * time.Hour), Max: d(7 * 24 * time.Hour)},
		Triggers:   Triggers{Tags: []string{"run-integration-tests", "run-integration-tests/*"}, PollInterval: d(3 * time.Minute), PullInterval: d(5 * time.Second)},
		RunTimeout: d(2 * time.Hour),
		Deadlines:  Deadlines{Stage: d(10 * time.Minute), Record: d(10 * time.Minute), Finalize: d(10 * time.Minute)},
		Retention:  Retention{Age: d(30 * 24 * time.Hour), PerRepository: 200},
		Checkouts:  Checkouts{SizeLimit: "4Gi"},

		LeaderElection: LeaderElection{LeaseDuration: d(15 * time.Second)},
		Memory:         Memory{Results: "64Mi"},
	}
}

// Read reads and validates a file. The error lists every problem on a line of its own.
func Read(file string) (Settings, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return Settings{}, fmt.Errorf("read the settings: %w", err)
	}
	s, err := Parse(data)
	if err != nil {
		return s, fmt.Errorf("settings %s: %w", file, err)
	}
	return s, nil
}

// Parse reads and validates settings.
func Parse(data []byte) (Settings, error) {
	s := Default()
	raw, err := yaml.ToJSON(data)
	if err != nil {
		return s, fmt.Errorf("invalid YAML: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil && !errors.Is(err, io.EOF) {
		return s, err
	}
	return s, s.check()
}

// checkRegistries rejects a list that exceeds the limits of a Run's ceilings.
func checkRegistries(registries []string) error {
	length := 0
	for _, r := range registries {
		length += len(r)
	}
	if len(registries) > maxRegistries || length > maxRegistriesLength {
		return fmt.Errorf("stacks.registries has %d entries with %d bytes in total, but the limits are %d entries and %d bytes, because each run holds a copy",
			len(registries), length, maxRegistries, maxRegistriesLength)
	}
	return nil
}

func (s Settings) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	required := func(key, value string) {
		if value == "" {
			bad("%s must be set", key)
		}
	}
	required("namespace", s.Namespace)
	required("serviceAccount", s.ServiceAccount)
	required("image", s.Image)
	required("registry.host", s.Registry.Host)
	required("registry.records", s.Registry.Records)
	required("registry.sources", s.Registry.Sources)
	required("builds.namespace", s.Builds.Namespace)
	required("builds.image", s.Builds.Image)
	required("github.privateKeyFile", s.GitHub.PrivateKeyFile)
	if u, err := url.Parse(s.GitHub.APIURL); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		bad("github.apiURL %q must be an http(s) URL", s.GitHub.APIURL)
	}
	if s.GitHub.AppID <= 0 {
		bad("github.appID must be set")
	}
	s.checkWebhook(bad)
	if s.Planning.AtOnce < 1 {
		bad("planning.atOnce must be at least 1")
	}
	if s.Stacks.TestsAtOnce < 1 {
		bad("stacks.testsAtOnce must be at least 1")
	}
	if s.Registry.Type != RegistryOCI {
		bad("registry.type %q is not supported: use oci", s.Registry.Type)
	}
	if err := checkRegistries(s.Stacks.Registries); err != nil {
		errs = append(errs, err)
	}
	if s.Memory.ResultBytes() < minResults {
		bad("memory.results %q must be a Kubernetes quantity of at least 1Mi", s.Memory.Results)
	}
	for _, t := range s.Triggers.Tags {
		if _, err := path.Match(t, ""); err != nil || t == "" {
			bad("triggers.tags: %q is not a valid pattern", t)
		}
	}
	s.checkBots(bad)
	s.checkDurations(bad)
	s.checkQuantities(bad)
	s.checkRoom(bad)
	s.Stacks.check(bad)
	return errors.Join(errs...)
}

func (s Settings) checkWebhook(bad func(format string, args ...any)) {
	switch {
	case s.Webhook != WebhookPush && s.Webhook != WebhookPull:
		bad("webhook %q is not supported: use push or pull", s.Webhook)
	case s.Webhook == WebhookPush && len(s.GitHub.WebhookSecretFiles) == 0:
		bad("github.webhookSecretFiles must be set: deliveries cannot be verified without a secret")
	case s.Triggers.PullInterval.Duration < minPullInterval:
		bad("triggers.pullInterval (%s) must be at least %s", s.Triggers.PullInterval.Duration, minPullInterval)
	}
}

// checkBots rejects logins that are not a bot's and permissions that do not exist.
func (s Settings) checkBots(bad func(format string, args ...any)) {
	for login, granted := range s.Bots {
		if name, ok := strings.CutSuffix(login, "[bot]"); !ok || name == "" {
			bad("bots: %q is not the login of a bot: use NAME[bot]", login)
		}
		if !slices.Contains([]v1alpha1.Permission{"read", "triage", "write", "maintain", "admin"}, granted) {
			bad("bots: %s has the permission %q: use read, triage, write, maintain or admin", login, granted)
		}
	}
}

func (s Settings) checkDurations(bad func(format string, args ...any)) {
	for key, d := range map[string]metav1.Duration{
		"runTimeout": s.RunTimeout, "builds.timeout": s.Builds.Timeout, "keep.default": s.Keep.Default, "keep.max": s.Keep.Max,
		"triggers.pollInterval": s.Triggers.PollInterval, "retention.age": s.Retention.Age,
		"deadlines.stage": s.Deadlines.Stage, "deadlines.record": s.Deadlines.Record, "deadlines.finalize": s.Deadlines.Finalize,
	} {
		if d.Duration <= 0 {
			bad("%s must be longer than 0s", key)
		}
	}
	if lease := s.LeaderElection.LeaseDuration.Duration; lease < shortestLease {
		bad("leaderElection.leaseDuration (%s) must be at least %s", lease, shortestLease)
	}
	if s.Keep.Idle.Duration < 0 {
		bad("keep.idle must not be negative; 0s means never")
	}
	if s.Keep.Default.Duration > s.Keep.Max.Duration {
		bad("keep.default (%s) must not be longer than keep.max (%s)", s.Keep.Default.Duration, s.Keep.Max.Duration)
	}
}

func (s Settings) checkQuantities(bad func(format string, args ...any)) {
	for key, q := range map[string]string{
		"builds.cpu": s.Builds.CPU, "builds.memory": s.Builds.Memory, "builds.memoryLimit": s.Builds.MemoryLimit,
		"stacks.cpu": s.Stacks.CPU, "stacks.memory": s.Stacks.Memory, "stacks.files": s.Stacks.Files,
	} {
		if _, err := resource.ParseQuantity(q); q != "" && err != nil {
			bad("%s %q must be a Kubernetes quantity, such as 500m or 2Gi", key, q)
		}
	}
}

// checkRoom validates where files are stored.
func (s Settings) checkRoom(bad func(format string, args ...any)) {
	if s.Registry.Sources == s.Registry.Records && s.Registry.Sources != "" {
		bad("registry.sources and registry.records must differ: both are %q", s.Registry.Sources)
	}
	if s.Checkouts.Bytes() < MinCheckouts {
		bad("checkouts.sizeLimit %q must be a Kubernetes quantity of at least %dMi, the maximum size of one checkout", s.Checkouts.SizeLimit, MinCheckouts>>20)
	}
}

func (s Stacks) check(bad func(format string, args ...any)) {
	for _, e := range s.Egress {
		if _, _, err := SplitEgress(e); err != nil {
			bad("stacks.egress: %v", err)
		}
	}
	for _, a := range s.Allow {
		if !slices.Contains(v1alpha1.Allowances(), a) {
			bad("stacks.allow: %q is not supported: use any of %v", a, v1alpha1.Allowances())
		}
	}
	if s.Scheme != "https" && s.Scheme != "http" {
		bad("stacks.scheme %q must be https or http", s.Scheme)
	}
	if h := s.Host; h != "" && (!strings.Contains(h, "{service}") || !strings.Contains(h, "{run}")) {
		bad("stacks.host %q must contain {service} and {run}; otherwise stacks would share an address", h)
	}
}

// SplitEgress splits CIDR or CIDR:port; port 0 means every port.
func SplitEgress(s string) (netip.Prefix, int32, error) {
	cidr, port := s, int32(0)
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') {
		if _, err := fmt.Sscanf(s[i+1:], "%d", &port); err != nil || port < 1 || port > 65535 || fmt.Sprint(port) != s[i+1:] {
			return netip.Prefix{}, 0, fmt.Errorf("%q must have a port between 1 and 65535 after its colon", s)
		}
		cidr = s[:i]
	}
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return p, 0, fmt.Errorf("%q must be CIDR or CIDR:port", s)
	}
	if m := p.Masked(); m != p {
		return p, 0, fmt.Errorf("%q has bits set beyond its mask: use %s", s, m)
	}
	return p, port, nil
}

// Ceilings returns the settings that a new Run copies.
func (s Settings) Ceilings() v1alpha1.Ceilings {
	return v1alpha1.Ceilings{
		RunTimeout: s.RunTimeout, Keep: s.Keep.Default, KeepMax: s.Keep.Max, KeepForever: s.Keep.Forever, KeepIdle: s.Keep.Idle,
		Registries: s.Stacks.Registries, Allow: s.Stacks.Allow, Pods: s.Stacks.Pods, CPU: s.Stacks.CPU, Memory: s.Stacks.Memory,
		Files: s.Stacks.Files,
	}
}
