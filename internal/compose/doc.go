// Package compose converts a compose project into Kubernetes objects and says, with file and line, what it could not
// convert as it stands.
//
// Load reads the files below one directory and nothing else: no process environment, no remote resource, no path that
// leads out of the directory. Convert is a pure function of what was loaded. Which field of the Compose Specification
// becomes what is in one table, fields.go, that the converter obeys and docs/compose.md is made from; a field that is
// set and has no row there is refused.
package compose

//go:generate go test -run ^TestReferencePage$ -update .

import (
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
)

// Conditions of depends_on, in compose's own words.
const (
	ConditionStarted   = "service_started"
	ConditionHealthy   = "service_healthy"
	ConditionCompleted = "service_completed_successfully"
)

// Options is what a conversion depends on besides the project.
type Options struct {
	// Namespace is put into every object; empty leaves it to anyone who applies them.
	Namespace string
	// Images maps services to the references to run instead of what the file says: digests of what was built. A service
	// that is built and not (yet) in it gets the name that `docker compose build` would give its image.
	Images map[string]string
	// PullSecret is the name of the Secret that images are pulled with; empty for none.
	PullSecret string
	// Labels are put on every object and pod template, never into selectors.
	Labels map[string]string
	// Ceilings are the operator's limits.
	Ceilings v1alpha1.Ceilings
	// Strict refuses what would otherwise be dropped with a note.
	Strict bool
	// SecretName is the Secret that holds the values of LoadOptions.Secrets, each under its name; empty means
	// DefaultSecretName.
	SecretName string
	// SecretSetting is where users declare secrets, for sentences; without it they name no such place.
	SecretSetting string
	// ImageConfigs is what images say about themselves, by the reference that Service.Image has. An image that is not in
	// it is taken as it comes.
	ImageConfigs map[string]ImageConfig
	// HookImages are what images of pre_start represent, by what the file names: digests where they are known.
	HookImages map[string]string
	// ImagesPending are services whose image's configuration is still to come: what it may change is neither refused nor noted yet.
	ImagesPending []string
	// Egress is what services reach beyond the stack, unless they are on internal networks only. Rules are put into the
	// policies of services that the file keeps apart; such a pod has the label LabelNetworks, and no other
	// policy may let it reach the whole stack.
	Egress []networkingv1.NetworkPolicyEgressRule
	// Allow is what the operator lets pods have beyond Pod Security's baseline. AllowSetting is where, for sentences such as
	// "the operator can allow it (stacks.allow: privileged)"; without it they name no setting.
	Allow        []Allowance
	AllowSetting string
	// OwnRegistry is a host or host/path below which images belong to repositories; of these a stack may run only those below
	// OwnProject. Empty for no such registry.
	OwnRegistry, OwnProject string
	// Source is how pods get files that ConfigMaps have no room for: nil refuses them.
	Source *SourceMounts
	// InlineDockerfiles says that the caller builds from Build.Inline; without it dockerfile_inline is refused.
	InlineDockerfiles bool
}

// DefaultSecretName is the name of the Secret where Options has none.
const DefaultSecretName = "stack-secrets"

// ImageConfig is the part of an image's configuration that a conversion asks for. The zero value knows nothing.
type ImageConfig struct {
	Entrypoint, Cmd []string
	// Shell is what runs a health check that is one text; empty for /bin/sh -c.
	Shell []string
	// User is as in the image: empty for root.
	User string
	// Volumes are the paths that the image declares as volumes, ExposedPorts its ports, such as 80/tcp.
	Volumes, ExposedPorts []string
	// Healthcheck is nil for none.
	Healthcheck *Healthcheck
}

// Healthcheck is an image's HEALTHCHECK. Zero values mean Docker's defaults.
type Healthcheck struct {
	// Test begins with NONE, CMD or CMD-SHELL.
	Test                                          []string
	Interval, Timeout, StartPeriod, StartInterval time.Duration
	Retries                                       int
}

// Stack is a converted project. The same project and options give the same stack, byte for byte.
type Stack struct {
	// Shared are objects that belong to no one service: claims and file contents.
	Shared []client.Object
	// Services come in an order of start: each after what it depends on.
	Services []Service
	// Findings are sorted by file and line.
	Findings []Finding
	// Allowed are the allowances that its pods make use of, sorted.
	Allowed []Allowance
	renames renames
}

// Service is one converted service.
type Service struct {
	// Name is the service's name in the compose files. Pods carry it as the label v1alpha1.LabelService.
	Name string
	// Object is the name of the service's Service and of its Deployment or Job: what Name is as a DNS label.
	Object    string
	DependsOn []Dependency
	// OneShot services run to their end; others may wait for that.
	OneShot bool
	// Objects are those that no start waits for: the Services that names resolve to.
	Objects []client.Object
	// Workload is a Deployment, or a Job when the service is OneShot.
	Workload client.Object
	// Ports are the container's known TCP and UDP ports, sorted.
	Ports []int32
	// Image is the reference that the workload runs.
	Image string
	// Probe says in words what makes the service healthy; empty when nothing is asked.
	Probe string
	// Replicas is how many pods are wanted.
	Replicas int32
	// Shares are further services whose containers run in this one's pod (network_mode: service:NAME). They are no
	// services of the stack by themselves.
	Shares []string
}

// Dependency is one entry of depends_on.
type Dependency struct {
	Service   string
	Condition string
	// Required is false for a dependency that may be missing or fail.
	Required bool
}
