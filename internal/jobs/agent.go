package jobs

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"
	"github.com/w3evolutionsllc/conductor/internal/evidence"
	"github.com/w3evolutionsllc/conductor/internal/names"
)

// AgentName is the name of the ServiceAccount, the Service and the Deployment of a stack's agent, and of the ClusterRole bound to it.
const AgentName = "conductor-agent"

// Keys of the agent's Secret. Tests get only the wrapper's token, init containers that fetch files only the source's.
const (
	KeyConductorToken = "conductor"
	KeyWrapperToken   = "wrapper"
	KeySourceToken    = "source"
)

// The agent's registry credential is mounted as a directory.
const (
	registryDir       = "/registry"
	keyRegistryConfig = "config.json"
	volumeRegistry    = "registry"
)

var agentRequests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("48Mi")}

// agentData is where the agent stores logs, JUnit files and artifacts.
const agentData = "/data"

// AgentSecretName is the name of the Secret with the agent's tokens. Every Run has its own, since Conductor must not update Secrets.
func AgentSecretName(run *v1alpha1.Run) string { return "agent-" + names.Digest(string(run.UID))[:10] }

// AgentURL is the agent's address for wrappers.
func AgentURL(run *v1alpha1.Run) string {
	return fmt.Sprintf("http://%s.%s.svc:%d", AgentName, StackName(run), evidence.AgentPort)
}

// AgentSecret holds the tokens that the agent accepts.
func AgentSecret(run *v1alpha1.Run, tokens evidence.AgentTokens) *corev1.Secret {
	return opaque(run, AgentSecretName(run), map[string][]byte{
		KeyConductorToken: []byte(tokens.Conductor), KeyWrapperToken: []byte(tokens.Wrapper), KeySourceToken: []byte(tokens.Source),
	})
}

// SourceSecretName is the name of the Secret with which the agent reads the source artifact. Every Run has its own, since Conductor must
// not update Secrets.
func SourceSecretName(run *v1alpha1.Run) string {
	return "source-" + names.Digest(string(run.UID))[:10]
}

// SourceSecret holds the credential with which the agent reads the source artifact: a Docker config.json. Its type keeps it from being used
// as a pull Secret.
func SourceSecret(run *v1alpha1.Run, dockerConfig []byte) *corev1.Secret {
	return opaque(run, SourceSecretName(run), map[string][]byte{keyRegistryConfig: dockerConfig})
}

func opaque(run *v1alpha1.Run, name string, data map[string][]byte) *corev1.Secret {
	return &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: inStack(run, name),
		Type:       corev1.SecretTypeOpaque,
		Data:       data,
	}
}

// AgentBinding lets the agent list the pods of its own namespace and read their logs.
func AgentBinding(run *v1alpha1.Run) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rbac.authorization.k8s.io/v1", Kind: "RoleBinding"},
		ObjectMeta: inStack(run, AgentName),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: AgentName},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: AgentName, Namespace: StackName(run)}},
	}
}

// AgentInput describes a stack's agent.
type AgentInput struct {
	// Image is Conductor's own image, PullSecret the name of the Secret with which it is pulled; empty for none.
	Image, PullSecret string
	// Source makes the agent serve the Run's source artifact to the init containers of the stack.
	Source bool
	// Credential means that there is a SourceSecret, Insecure that the registry uses plain HTTP. Both apply only with Source.
	Credential, Insecure bool
}

// Agent returns the objects of the stack's agent: one small pod that follows the logs of its namespace, masks them, receives the files of
// the tests, and serves files of the commit to services that mount more than ConfigMaps can hold.
func Agent(run *v1alpha1.Run, in AgentInput) []client.Object {
	account := &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: inStack(run, AgentName), AutomountServiceAccountToken: new(false),
	}
	service := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: inStack(run, AgentName),
		Spec: corev1.ServiceSpec{
			Selector: agentLabels(), PublishNotReadyAddresses: true,
			Ports: []corev1.ServicePort{{Name: "http", Port: evidence.AgentPort, TargetPort: intstr.FromInt32(evidence.AgentPort)}},
		},
	}
	return []client.Object{account, service, agentEgress(run), agentDeployment(run, in)}
}

func agentLabels() map[string]string { return map[string]string{v1alpha1.LabelStage: StageAgent} }

// agentEgress lets the agent reach the API server, which no other pod of the stack can. A rule for one address would not work: whether a
// Service's address is translated before or after the rules depends on the network plugin.
func agentEgress(run *v1alpha1.Run) *networkingv1.NetworkPolicy {
	p := policy(run, AgentName, networkingv1.PolicyTypeEgress)
	p.Spec.PodSelector.MatchLabels = agentLabels()
	p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}}
	return p
}

func agentDeployment(run *v1alpha1.Run, in AgentInput) *appsv1.Deployment {
	labels := Labels(run, StageAgent)
	container := corev1.Container{
		Name: "agent", Image: in.Image, SecurityContext: ownSecurity(),
		Args:  []string{"agent", "--dir", agentData, "--listen", fmt.Sprintf(":%d", evidence.AgentPort), "--namespace", StackName(run), "--tokens", tokenDir},
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: evidence.AgentPort}},
		Resources: corev1.ResourceRequirements{
			Requests: agentRequests.DeepCopy(),
			Limits:   corev1.ResourceList{corev1.ResourceMemory: agentMemory(run)},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "data", MountPath: agentData},
			{Name: volumeToken, MountPath: tokenDir, ReadOnly: true},
			{Name: "account", MountPath: "/var/run/secrets/kubernetes.io/serviceaccount", ReadOnly: true},
		},
	}
	volumes := []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: new(resource.MustParse("8Gi"))}}},
		secretVolume(volumeToken, AgentSecretName(run)),
		{Name: "account", VolumeSource: corev1.VolumeSource{Projected: accountToken()}},
	}
	if in.Source && run.Status.Source != nil {
		container.Args = append(container.Args, "--source", run.Status.Source.Pinned())
		if in.Insecure {
			container.Args = append(container.Args, "--insecure")
		}
		if in.Credential {
			container.Args = append(container.Args, "--registry-config", registryDir+"/"+keyRegistryConfig)
			container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: volumeRegistry, MountPath: registryDir, ReadOnly: true})
			volumes = append(volumes, secretVolume(volumeRegistry, SourceSecretName(run)))
		}
	}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: inStack(run, AgentName),
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(1)),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType},
			Selector: &metav1.LabelSelector{MatchLabels: agentLabels()},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				ServiceAccountName: AgentName, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
				TerminationGracePeriodSeconds: new(int64(5)), SecurityContext: ownPodSecurity(), ImagePullSecrets: pullSecrets(in.PullSecret),
				Containers: []corev1.Container{container},
				Volumes:    volumes,
			}},
		},
	}
}

func secretVolume(name, secret string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret, DefaultMode: new(int32(0o440))}}}
}

// agentMemory is the agent's memory limit: far more than it needs, but not above the stack's ceiling for a container.
func agentMemory(run *v1alpha1.Run) resource.Quantity {
	limit := resource.MustParse("256Mi")
	if most, err := resource.ParseQuantity(run.Spec.Ceilings.Memory); err == nil && most.Cmp(limit) < 0 {
		return most
	}
	return limit
}

// accountToken is the volume that the kubelet would mount for a service account, but mounted only into the agent's container.
func accountToken() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{DefaultMode: new(int32(0o440)), Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3607))}},
		{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
		}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
			{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}},
		}}},
	}}
}

// ownUser is the user of Conductor's image.
const ownUser = 65532

// ownSecurity is the security context of Conductor's own containers in a stack: Pod Security's restricted level.
func ownSecurity() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(ownUser)), ReadOnlyRootFilesystem: new(true), AllowPrivilegeEscalation: new(false),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

func ownPodSecurity() *corev1.PodSecurityContext {
	return &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(ownUser)), FSGroup: new(int64(ownUser)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}
