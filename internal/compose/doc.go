// Package compose converts a compose project to Kubernetes objects and reports, with file and line, what differs or is refused.
//
// Load reads the files below one directory and nothing else: no process environment, no remote resource, no path that
// leads out of the directory. Convert is a pure function of what was loaded. One table, fields.go, defines what becomes of
// each field of the Compose Specification; the converter follows it and docs/compose.md is generated from it. A field
// without a row is refused.
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
	// Namespace is set on every object, if not empty.
	Namespace string
	// Images maps services to the references to run instead of those in the file, such as digests of built images. A service with a build
	// that is not in it gets the name that `docker compose build` would give its image.
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
	// SecretSetting is where users declare secrets, for the reasons of findings; empty leaves that part out.
	SecretSetting string
	// ImageConfigs are the configurations of images, by the reference in Service.Image. Other images are treated as having none.
	ImageConfigs map[string]ImageConfig
	// HookImages maps the images of pre_start in the file to the references to run, such as digests.
	HookImages map[string]string
	// ImagesPending are services whose image's configuration is not known yet: what depends on it is neither refused nor noted.
	ImagesPending []string
	// Egress allows services to reach beyond the stack, unless they are on internal networks only. The rules are added to the policies of
	// services that the file isolates; their pods have the label LabelNetworks, and no other policy may open the whole stack to them.
	Egress []networkingv1.NetworkPolicyEgressRule
	// Allow are the exceptions to Pod Security's baseline that the operator allows. AllowSetting is the name of that setting, for reasons
	// such as "the operator can allow it (stacks.allow: privileged)"; empty leaves that part out.
	Allow        []Allowance
	AllowSetting string
	// OwnRegistry is a host or host/path whose images belong to repositories. Of these a stack may run only those below OwnProject.
	OwnRegistry, OwnProject string
	// Source is how pods get files that do not fit into ConfigMaps: nil refuses them.
	Source *SourceMounts
	// InlineDockerfiles is set when the caller builds from Build.Inline; otherwise dockerfile_inline is refused.
	InlineDockerfiles bool
	// SeparateBuilds is set when the caller builds every image by itself: none can be based on the image of another service.
	SeparateBuilds bool
	// Tests are the services that run as tests, by name.
	Tests map[string]TestService
}

// DefaultSecretName is the name of the Secret where Options has none.
const DefaultSecretName = "stack-secrets"

// ImageConfig is the part of an image's configuration that a conversion needs. The zero value is an unknown image.
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
	// Shared are objects that do not belong to one service: claims and file contents.
	Shared []client.Object
	// Services are in order of start: each comes after its dependencies.
	Services []Service
	// Tests are the pods of the services that run as tests, sorted by service.
	Tests []Test
	// Findings are sorted by file and line.
	Findings []Finding
	// Allowed are the allowances that its pods use, sorted.
	Allowed   []Allowance
	hostNames *hostNames
}

// Service is one converted service.
type Service struct {
	// Name is the service's name in the compose files. Pods carry it as the label v1alpha1.LabelService.
	Name string
	// Object is the name of the service's Service and of its Deployment or Job: what Name is as a DNS label.
	Object    string
	DependsOn []Dependency
	// OneShot services run to their end. Others may wait for it, and such a service can serve until then.
	OneShot bool
	// Awaited means that others wait for the service's completion (service_completed_successfully).
	Awaited bool
	// MaxFailures is how many failed ends a OneShot service may have; 0 if the file does not limit them.
	MaxFailures int32
	// MayEnd are the containers of a Deployment's pod that may end with exit code 0: under compose they would stay ended.
	MayEnd []string
	// Objects are the Services that names resolve to.
	Objects []client.Object
	// Workload is a Deployment, or a Job when the service is OneShot.
	Workload client.Object
	// Ports are the container's known TCP and UDP ports, sorted.
	Ports []int32
	// Image is the reference that the workload runs.
	Image string
	// Probe describes the health check; empty without one.
	Probe string
	// Replicas is how many pods are wanted.
	Replicas int32
	// Shares are other services whose containers run in this one's pod (network_mode: service:NAME). Stack.Services does not list them.
	Shares []string
}

// Dependency is one entry of depends_on.
type Dependency struct {
	Service   string
	Condition string
	// Required is false for a dependency that may be missing or fail.
	Required bool
}
