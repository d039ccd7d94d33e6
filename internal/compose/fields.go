package compose

import (
	"reflect"
	"strings"
	"sync"

	"github.com/compose-spec/compose-go/v2/types"
)

// row defines what becomes of one field of the Compose Specification, and of all fields below it that do not have rows of their own.
type row struct {
	// path is the field's path as in the file, with names that users choose left out: networks.aliases.
	path    string
	outcome Outcome
	// level is that of the finding when the field is set; if empty, the code that converts the field reports on it.
	level Level
	// text is a sentence: how the field is converted, what differs, or why it is not converted.
	text string
}

// serviceRows is the table for services.
var serviceRows = []row{
	// What runs
	{"image", Converted, "", "The container's image, or the digest that was resolved for it. One that another service builds under this name is that. It must match the operator's stacks.registries, and in the operator's own registry the repository's own project."},
	{"build", Converted, "", "Built before the service starts; see the fields below. A Dockerfile that starts or copies from the image of another service is refused."},
	{"build.context", Converted, "", "A directory of the repository; remote contexts are refused."},
	{"build.dockerfile", Converted, "", "A file of the repository."},
	{"build.dockerfile_inline", Converted, "", "Built like a file, of at most 200 KiB."},
	{"build.args", Converted, "", "Build arguments. One without a value is taken from the variables of interpolation."},
	{"build.target", Converted, "", "The stage to build."},
	{"build.cache_from", Dropped, LevelInfo, "the operator decides where builds cache"},
	{"build.cache_to", Dropped, LevelInfo, "the operator decides where builds cache"},
	{"build.no_cache", Dropped, LevelInfo, "the operator decides where builds cache"},
	{"build.no_cache_filter", Dropped, LevelInfo, "the operator decides where builds cache"},
	{"build.pull", Dropped, LevelInfo, "base images are always resolved"},
	{"build.tags", Dropped, LevelInfo, "the image is named by its digest"},
	{"build.labels", Dropped, LevelNote, "labels are not put into the image"},
	{"build.provenance", Dropped, LevelInfo, "the operator decides what is attested"},
	{"build.sbom", Dropped, LevelInfo, "the operator decides what is attested"},
	{"build.shm_size", Dropped, LevelNote, "a build has the node's default /dev/shm"},
	{"build.ulimits", Dropped, LevelNote, "a build has the node's default limits"},
	{"build.isolation", Dropped, LevelInfo, "Linux builds know one isolation only"},
	{"build.additional_contexts", Refused, LevelRefused, "Kaniko builds from one context: copy the files into it, or use a stage"},
	{"build.entitlements", Refused, LevelRefused, "builds get no entitlements"},
	{"build.extra_hosts", Refused, LevelRefused, "builds cannot be given hosts yet"},
	{"build.network", Refused, LevelRefused, "builds have the network that the operator gives them"},
	{"build.platforms", Refused, LevelRefused, "builds make images for the cluster's own platform only"},
	{"build.privileged", Refused, LevelRefused, "builds are not privileged"},
	{"build.secrets", Refused, LevelRefused, "build secrets are not available yet"},
	{"build.ssh", Refused, LevelRefused, "builds have no SSH agent"},
	{"dockerfile", Refused, LevelRefused, "this is a field of Compose 1: use build.dockerfile"},
	{"command", Converted, "", "The container's args. `$` is escaped so that Kubernetes expands nothing in it but declared secrets."},
	{"entrypoint", Converted, "", "The container's command. An empty one needs a command beside it, or an image whose own is known."},
	{"environment", Converted, "", "The container's env, escaped as command is. A variable without a value is taken from the variables of interpolation, else left out with a note. A declared secret becomes a secretKeyRef, and a text with one refers to it as $(NAME)."},
	{"env_file", Converted, "", "Read from the repository and merged below environment, as compose does."},
	{"env_file.path", Converted, "", "A file of the repository."},
	{"env_file.required", Converted, "", "With false the file may be missing."},
	{"env_file.format", Converted, "", "raw takes values literally."},
	{"working_dir", Converted, "", "The container's workingDir."},
	{"user", Approximated, "", "Numbers, and root and nobody: runAsUser and runAsGroup. With other names the image's own USER applies, with a note unless it is the same: the image's /etc/passwd is not read."},
	{"group_add", Converted, "", "Numbers become supplementalGroups; names other than root and nobody are refused: the image's /etc/group is not read."},
	{"tty", Converted, "", "The container's tty."},
	{"stdin_open", Converted, "", "The container's stdin."},
	{"init", Approximated, LevelInfo, "the pod's pause container is process 1 and reaps what is left; the program gets its signals from the node itself"},
	{"platform", Converted, "", "A nodeSelector for operating system and architecture."},
	{"pull_policy", Approximated, "", "always is imagePullPolicy Always, unless the image is named by its digest. With all others the image is pulled when the node does not have it."},
	{"pull_refresh_after", Dropped, LevelInfo, "images are pulled when the node does not have them"},
	{"profiles", Converted, "", "Services of other profiles are left out."},
	{"extends", Converted, "", "Resolved when loading; the file must be in the repository."},
	{"extends.file", Converted, "", "A file of the repository."},
	{"extends.service", Converted, "", "The service to start from."},
	{"attach", Dropped, LevelInfo, "all logs are kept"},
	{"develop", Dropped, LevelInfo, "a stack runs one commit; it is not synchronized with an editor"},
	{"labels", Approximated, LevelInfo, "labels become annotations below compose.conductor.digitalservic.es: nothing acts on them"},
	{"label_file", Converted, "", "Read from the repository and merged below labels."},
	{"annotations", Approximated, LevelInfo, "annotations are put below compose.conductor.digitalservic.es: nothing acts on them"},
	{"logging", Dropped, LevelInfo, "logs are collected by the cluster"},
	{"log_driver", Dropped, LevelInfo, "logs are collected by the cluster"},
	{"log_opt", Dropped, LevelInfo, "logs are collected by the cluster"},
	{"stop_grace_period", Converted, "", "terminationGracePeriodSeconds, rounded up; 10 seconds when not set, as with Docker."},
	{"stop_signal", Dropped, LevelNote, "the container is stopped with the signal that its image names, else SIGTERM"},
	{"pre_start", Converted, "", "Init containers, in their order, with the volumes of the service. Fields of their containers are as those of services. Each runs before every pod, also without per_replica, with a note where that makes a difference."},
	{"pre_start.per_replica", Converted, "", "Each pod runs its own anyway."},
	{"post_start", Approximated, "", "The container's postStart: one command for all, joined in a shell if there are several. It may run while the program starts, and if it fails the container is restarted."},
	{"post_start.command", Converted, "", "The command; with a secret, working_dir or environment in a shell."},
	{"post_start.user", Dropped, "", "The container's own user runs it, with a note where that is another."},
	{"post_start.privileged", Refused, LevelRefused, "a stack's pods may not be privileged"},
	{"post_start.working_dir", Converted, "", "The shell changes to it."},
	{"post_start.environment", Converted, "", "Set for the command alone."},
	{"pre_stop", Approximated, "", "The container's preStop, as post_start. It runs within stop_grace_period."},
	{"pre_stop.command", Converted, "", "The command; with a secret, working_dir or environment in a shell."},
	{"pre_stop.user", Dropped, "", "The container's own user runs it, with a note where that is another."},
	{"pre_stop.privileged", Refused, LevelRefused, "a stack's pods may not be privileged"},
	{"pre_stop.working_dir", Converted, "", "The shell changes to it."},
	{"pre_stop.environment", Converted, "", "Set for the command alone."},
	{"provider", Refused, LevelRefused, "a service that is not a container cannot run in the stack"},
	{"models", Refused, LevelRefused, "models cannot run in the stack"},
	{"use_api_socket", Refused, LevelRefused, "pods have no access to a container engine"},
	{"runtime", Refused, LevelRefused, "the operator chooses the runtime"},
	{"isolation", Refused, LevelRefused, "this is a setting for Windows containers"},
	{"credential_spec", Refused, LevelRefused, "this is a setting for Windows containers"},

	// Order and health
	{"depends_on", Converted, "", "Conductor starts a service when its dependencies are ready."},
	{"depends_on.condition", Converted, "", "service_started, service_healthy (ready; it makes the service a Deployment) and service_completed_successfully (it makes the service a Job). With service_started, as with the short form, the dependency may be either."},
	{"depends_on.required", Converted, "", "An optional dependency that fails does not block others."},
	{"depends_on.restart", Dropped, LevelInfo, "a service is not restarted with what it depends on"},
	{"healthcheck", Converted, "", "A readinessProbe, and a startupProbe that runs every second (or start_interval) until the first success. Never a livenessProbe: compose does not restart unhealthy containers. What the file leaves out comes from the image's own HEALTHCHECK, where the image's configuration is known."},
	{"healthcheck.test", Converted, "", "CMD is run as written, CMD-SHELL by the SHELL of the image, else /bin/sh -c; with NONE no probe is made. A shell in the container inserts secrets, in CMD as well."},
	{"healthcheck.interval", Converted, "", "periodSeconds of the readinessProbe, rounded up to seconds; 30 when not set."},
	{"healthcheck.timeout", Converted, "", "timeoutSeconds, rounded up to seconds; 30 when not set."},
	{"healthcheck.retries", Converted, "", "failureThreshold of the readinessProbe; 3 when not set."},
	{"healthcheck.start_period", Converted, "", "Not needed: until the first success no failure counts, however long it takes."},
	{"healthcheck.start_interval", Converted, "", "periodSeconds of the startupProbe, rounded up to seconds; 1 when not set."},
	{"healthcheck.disable", Converted, "", "No probe is made."},
	{"restart", Approximated, "", "always and unless-stopped: a Deployment, whose container is restarted whenever it ends. Otherwise a Job, unless something shows a server (see above). Under a Job the container is restarted until it ends with exit code 0. The run fails when others wait for its completion and it fails once, after N+1 failures with on-failure:N, after 7 with on-failure, else as for a Deployment that crashes. In a Deployment the container is restarted, too, but a run takes exit code 0 for completion and scales it to 0."},
	{"scale", Converted, "", "The number of pods."},

	// Network
	{"ports", Converted, "", "The container's port at the service's name. Nothing is published on nodes."},
	{"ports.name", Converted, "", "The port's name, where Kubernetes takes it."},
	{"ports.target", Converted, "", "The port at the service's name."},
	{"ports.published", Converted, "", "Where it differs from target, it is a port of one more Service, NAME-published. Nothing is published on nodes."},
	{"ports.protocol", Converted, "", "tcp, udp or sctp."},
	{"ports.app_protocol", Converted, "", "appProtocol."},
	{"ports.mode", Dropped, "", "Ports are never published on nodes."},
	{"ports.host_ip", Dropped, LevelInfo, "ports are never published on nodes"},
	{"expose", Converted, "", "As ports; ranges too. Ports that are not listed can be reached as well."},
	{"links", Converted, "", "The alias is a name for every service of the stack. Two services with different links of one name are refused if they use it."},
	{"external_links", Refused, LevelRefused, "there is nothing outside the stack to link to"},
	{"container_name", Converted, "", "One more name that resolves to the service. One that no Kubernetes Service can have is rewritten to the service's."},
	{"hostname", Converted, "", "The pod's hostname, and one more name that resolves to the service, unless another service has it. Of a name with dots the first part."},
	{"domainname", Dropped, LevelNote, "pods have the cluster's domain"},
	{"networks", Approximated, "", "NetworkPolicies, where the file keeps services apart; see the networks below."},
	{"networks.aliases", Converted, "", "More names that resolve to the service, for every service of the stack."},
	{"networks.use_service_name_alias", Dropped, LevelNote, "the service's name always resolves"},
	{"networks.ipv4_address", Dropped, LevelNote, "pods get their addresses from the cluster: use the service's name"},
	{"networks.ipv6_address", Dropped, LevelNote, "pods get their addresses from the cluster: use the service's name"},
	{"networks.link_local_ips", Dropped, LevelNote, "pods get their addresses from the cluster: use the service's name"},
	{"networks.mac_address", Dropped, LevelNote, "pods get their addresses from the cluster"},
	{"networks.driver_opts", Dropped, LevelInfo, "the cluster's network has no such options"},
	{"networks.gw_priority", Dropped, LevelInfo, "a pod has one network"},
	{"networks.interface_name", Dropped, LevelNote, "a pod's interface is eth0"},
	{"networks.priority", Dropped, LevelInfo, "a pod has one network"},
	{"network_mode", Approximated, "", "bridge changes nothing. With service:NAME and container:NAME the container runs in that service's pod: they start together and are ready together, whatever depends_on declares between them. none is a NetworkPolicy that allows nothing. host is refused unless the operator allows hostNetwork."},
	{"net", Refused, LevelRefused, "this is a field of Compose 1: use network_mode"},
	{"mac_address", Dropped, LevelNote, "pods get their addresses from the cluster"},
	{"extra_hosts", Converted, "", "hostAliases. host-gateway is dropped with a note: the node is out of reach."},
	{"dns", Approximated, LevelNote, "these servers are asked after the cluster's own, and only if it does not answer"},
	{"dns_opt", Converted, "", "dnsConfig.options."},
	{"dns_search", Converted, "", "dnsConfig.searches, after the cluster's own."},

	// Files
	{"volumes", Converted, "", "By type: volume, bind, tmpfs; see the fields below."},
	{"volumes.type", Converted, "", "volume, bind and tmpfs; others are refused."},
	{"volumes.source", Converted, "", "A named volume is one claim, however many services use it. A file or directory of the repository is a copy, read-only: in ConfigMaps as far as they have room (see Bounds), else out of the run's source artifact; but it is not mounted where the image holds the same files (see above). The directory .git is not part of a copy. A directory that is not there starts empty, as with Docker. So does a path of the machine that a fresh one does not have, such as /tmp/x, ~/data or /srv/app, on a volume that all services which mount it share. /dev/shm is an emptyDir in memory. Paths of the machine's system, sockets, and what leads out of the repository with .. are refused unless the operator allows hostPaths, and containerEngine for the container engine's socket."},
	{"volumes.target", Converted, "", "The mount's path. Inside a copy it is refused, unless the copy has the path: a copy is read-only, so nothing can be made there to mount on."},
	{"volumes.read_only", Converted, "", "A read-only mount."},
	{"volumes.consistency", Dropped, LevelInfo, "this is a setting for Docker Desktop"},
	{"volumes.bind", Converted, "", "See the fields below."},
	{"volumes.bind.create_host_path", Converted, "", "With false a source that is not in the repository, or a path of the machine, is refused."},
	{"volumes.bind.propagation", Dropped, LevelNote, "a copy has no mounts to propagate"},
	{"volumes.bind.recursive", Dropped, LevelInfo, "a copy has no mounts below it"},
	{"volumes.bind.selinux", Dropped, LevelInfo, "the node decides about SELinux labels"},
	{"volumes.volume", Converted, "", "See the fields below."},
	{"volumes.volume.labels", Dropped, LevelInfo, "an anonymous volume has no object of its own"},
	{"volumes.volume.nocopy", Converted, "", "With it the volume starts empty."},
	{"volumes.volume.subpath", Converted, "", "The mount's subPath."},
	{"volumes.tmpfs", Converted, "", "See the fields below."},
	{"volumes.tmpfs.size", Converted, "", "The emptyDir's sizeLimit."},
	{"volumes.tmpfs.mode", Dropped, LevelNote, "everyone may write to it"},
	{"volumes.image", Refused, LevelRefused, "images cannot be mounted yet"},
	{"volumes_from", Converted, "", "The volumes of the other service, at the same targets; an anonymous one becomes a claim that both have."},
	{"volume_driver", Refused, LevelRefused, "the cluster's storage class decides how volumes are made"},
	{"tmpfs", Converted, "", "An emptyDir in memory, with a sizeLimit when size= is given; it counts against the memory limit. Other options are dropped with a note, since everyone may write to it."},
	{"shm_size", Converted, "", "An emptyDir in memory at /dev/shm, with this sizeLimit."},
	{"configs", Converted, "", "A file at its target, from a ConfigMap; readable by all unless mode is set."},
	{"configs.source", Converted, "", "The config at the top level."},
	{"configs.target", Converted, "", "The file's path."},
	{"configs.mode", Converted, "", "The file's mode."},
	{"configs.uid", Dropped, LevelNote, "the file belongs to root"},
	{"configs.gid", Dropped, LevelNote, "the file belongs to root"},
	{"secrets", Converted, "", "A file at /run/secrets/NAME or its target, from the stack's Secret if the secret is declared. A file of the repository is not secret any more: it becomes a ConfigMap."},
	{"secrets.source", Converted, "", "The secret at the top level."},
	{"secrets.target", Converted, "", "The file's path."},
	{"secrets.mode", Converted, "", "The file's mode."},
	{"secrets.uid", Dropped, LevelNote, "the file belongs to root"},
	{"secrets.gid", Dropped, LevelNote, "the file belongs to root"},
	{"read_only", Converted, "", "readOnlyRootFilesystem."},
	{"storage_opt", Dropped, LevelNote, "the node decides how large a container's own file system may grow"},
	{"umask", Dropped, LevelNote, "the image's own umask holds"},

	// Resources
	{"deploy", Converted, "", "See the fields below."},
	{"deploy.mode", Converted, "", "replicated. With global there is one pod, and a note; other modes are refused."},
	{"deploy.replicas", Converted, "", "The number of pods."},
	{"deploy.labels", Dropped, LevelInfo, "a stack has no Swarm services to label"},
	{"deploy.update_config", Dropped, LevelInfo, "a stack is not updated"},
	{"deploy.rollback_config", Dropped, LevelInfo, "a stack is not updated"},
	{"deploy.restart_policy", Approximated, "", "As restart, which wins."},
	{"deploy.restart_policy.condition", Approximated, "", "none, on-failure and any, as no, on-failure and always; any when not set."},
	{"deploy.restart_policy.max_attempts", Converted, "", "The N of on-failure:N."},
	{"deploy.restart_policy.delay", Dropped, LevelInfo, "Kubernetes waits 10 seconds, then twice as long each time"},
	{"deploy.restart_policy.window", Dropped, LevelInfo, "Kubernetes waits 10 seconds, then twice as long each time"},
	{"deploy.placement", Dropped, LevelNote, "the operator decides where pods run"},
	{"deploy.endpoint_mode", Dropped, LevelInfo, "names resolve to the pods themselves"},
	{"deploy.resources", Converted, "", "See the fields below."},
	{"deploy.resources.limits", Converted, "", "See the fields below."},
	{"deploy.resources.limits.cpus", Converted, "", "limits.cpu."},
	{"deploy.resources.limits.memory", Converted, "", "limits.memory."},
	{"deploy.resources.limits.pids", Dropped, LevelNote, "the node limits processes, not the service"},
	{"deploy.resources.limits.devices", Refused, LevelRefused, "pods get no devices"},
	{"deploy.resources.limits.generic_resources", Refused, LevelRefused, "the cluster does not know this resource"},
	{"deploy.resources.reservations", Converted, "", "See the fields below."},
	{"deploy.resources.reservations.cpus", Converted, "", "requests.cpu; 10m when not set."},
	{"deploy.resources.reservations.memory", Converted, "", "requests.memory; 32Mi when not set."},
	{"deploy.resources.reservations.pids", Dropped, LevelNote, "the node limits processes, not the service"},
	{"deploy.resources.reservations.devices", Refused, LevelRefused, "pods get no devices"},
	{"deploy.resources.reservations.generic_resources", Refused, LevelRefused, "the cluster does not know this resource"},
	{"cpus", Converted, "", "limits.cpu."},
	{"mem_limit", Converted, "", "limits.memory."},
	{"mem_reservation", Converted, "", "requests.memory."},
	{"cpu_quota", Converted, "", "limits.cpu, in parts of cpu_period (100 ms when not set)."},
	{"cpu_period", Converted, "", "See cpu_quota."},
	{"cpu_shares", Approximated, LevelNote, "1024 shares are requested as one CPU"},
	{"cpu_count", Dropped, LevelNote, "this is a setting for Windows containers"},
	{"cpu_percent", Dropped, LevelNote, "this is a setting for Windows containers"},
	{"cpu_rt_period", Dropped, LevelNote, "pods have no real-time scheduling"},
	{"cpu_rt_runtime", Dropped, LevelNote, "pods have no real-time scheduling"},
	{"cpuset", Dropped, LevelNote, "the node chooses the CPUs"},
	{"memswap_limit", Dropped, LevelInfo, "pods have no swap"},
	{"mem_swappiness", Dropped, LevelInfo, "pods have no swap"},
	{"oom_kill_disable", Dropped, LevelNote, "a container above its memory limit is killed"},
	{"oom_score_adj", Dropped, LevelNote, "the node decides which process it kills when memory is short"},
	{"pids_limit", Dropped, LevelNote, "the node limits processes, not the service"},
	{"blkio_config", Dropped, LevelNote, "pods have no limits on block devices"},
	{"ulimits", Dropped, "", "Pods have the node's limits; a note names each one."},
	{"gpus", Refused, LevelRefused, "pods get no devices"},

	// Rights
	{"cap_drop", Converted, "", "capabilities.drop."},
	{"cap_add", Converted, "", "Those that Pod Security's baseline allows; others are refused unless the operator allows them."},
	{"security_opt", Converted, "", "no-new-privileges. unconfined is refused unless the operator allows it, all others always; SELinux labels are dropped with a note."},
	{"sysctls", Converted, "", "Those that Pod Security's baseline allows; others are refused unless the operator allows them."},
	{"privileged", Refused, LevelRefused, "a stack's pods may not be privileged"},
	{"devices", Refused, LevelRefused, "a stack's pods may not have devices of the node"},
	{"device_cgroup_rules", Refused, LevelRefused, "a stack's pods may not have devices of the node"},
	{"pid", Refused, LevelRefused, "a stack's pods may not see the processes of the node or of each other"},
	{"ipc", Converted, "", "private and shareable change nothing; host is refused unless the operator allows hostNamespaces, others always."},
	{"uts", Refused, LevelRefused, "a stack's pods may not share the node's host name"},
	{"userns_mode", Refused, LevelRefused, "the operator decides about user namespaces"},
	{"cgroup", Converted, "", "private changes nothing; host is refused."},
	{"cgroup_parent", Refused, LevelRefused, "the node decides which control group a pod is in"},
}

// rowOf is the row that applies to a path: its own or the nearest above.
func rowOf(rows map[string]row, path string) (row, bool) {
	// The container of a pre_start hook is converted, and its fields checked, like that of a service.
	if _, own := rows[path]; strings.HasPrefix(path, "pre_start.") && !own {
		return row{outcome: Dropped}, true
	}
	for {
		if r, ok := rows[path]; ok {
			return r, true
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return row{}, false
		}
		path = path[:i]
	}
}

func index(rows []row) map[string]row {
	m := make(map[string]row, len(rows))
	for _, r := range rows {
		m[r.path] = r
	}
	return m
}

var (
	serviceTable = index(serviceRows)
	topTable     = index(topRows)
)

// ends reports whether r covers all fields below it.
func (r row) ends() bool { return r.outcome == Dropped || r.outcome == Refused }

// fieldName is a field's name in YAML; empty for what is not in the file. Inline fields are part of the struct around them.
func fieldName(f reflect.StructField) (name string, inline bool) {
	tag, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch {
	case !f.IsExported() || tag == "-" || strings.HasPrefix(tag, "#"):
		return "", false
	case tag == "" && strings.Contains(options, "inline"):
		return "", f.Type.Kind() == reflect.Struct
	case tag == "":
		return strings.ToLower(f.Name), false
	}
	return tag, false
}

// yamlField is the result of fieldName.
type yamlField struct {
	name   string
	inline bool
}

// namesOf caches results of fieldName: reading tags takes longer than a conversion's use of them.
var namesOf sync.Map

// fieldNames are those of a struct's fields, in their order.
func fieldNames(t reflect.Type) []yamlField {
	if known, ok := namesOf.Load(t); ok {
		return known.([]yamlField)
	}
	out := make([]yamlField, t.NumField())
	for i := range out {
		out[i].name, out[i].inline = fieldName(t.Field(i))
	}
	namesOf.Store(t, out)
	return out
}

// setFields calls visit for every field of the struct v that is set, with its path in the table and in the file, and goes
// below where visit returns true.
func setFields(v reflect.Value, table string, file []string, visit func(table string, file []string) bool) {
	for i, n := range fieldNames(v.Type()) {
		if n.inline {
			setFields(v.Field(i), table, file, visit)
			continue
		}
		if n.name == "" || !isSet(v.Field(i)) {
			continue
		}
		name := n.name
		t, f := strings.TrimPrefix(table+"."+name, "."), append(file[:len(file):len(file)], name)
		if visit(t, f) {
			setBelow(v.Field(i), t, f, visit)
		}
	}
}

func setBelow(v reflect.Value, table string, file []string, visit func(table string, file []string) bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			setBelow(v.Elem(), table, file, visit)
		}
	case reflect.Struct:
		setFields(v, table, file, visit)
	case reflect.Slice:
		for i := range v.Len() {
			setBelow(v.Index(i), table, file, visit)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			setBelow(v.MapIndex(k), table, append(file[:len(file):len(file)], k.String()), visit)
		}
	}
}

func isSet(v reflect.Value) bool {
	if k := v.Kind(); k == reflect.Map || k == reflect.Slice {
		return v.Len() > 0
	}
	return v.IsZero() == (v.Type() == reflect.TypeFor[types.OptOut]())
}
