package compose

import (
	"cmp"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v4"
)

// plainKeys are the fields that are read here, by the structure that has them. The schema takes each as whatever decode reads for it.
var plainKeys = map[reflect.Type]string{
	reflect.TypeFor[types.ServiceConfig](): `annotations attach cap_add cap_drop command container_name cpu_shares cpus cpuset deploy dns dns_opt dns_search
		domainname entrypoint expose external_links extra_hosts healthcheck hostname image init ipc labels links logging mac_address mem_limit
		mem_reservation network_mode pid pids_limit platform privileged profiles read_only restart runtime scale security_opt shm_size stdin_open
		stop_grace_period stop_signal sysctls tmpfs tty user userns_mode uts volumes_from working_dir`,
	reflect.TypeFor[types.BuildConfig]():            "dockerfile dockerfile_inline target network labels shm_size",
	reflect.TypeFor[types.HealthCheckConfig]():      "test timeout interval retries start_period start_interval disable",
	reflect.TypeFor[types.LoggingConfig]():          "driver options",
	reflect.TypeFor[types.DeployConfig]():           "mode replicas labels update_config resources restart_policy placement endpoint_mode",
	reflect.TypeFor[types.UpdateConfig]():           "parallelism delay failure_action monitor",
	reflect.TypeFor[types.Resources]():              "limits reservations",
	reflect.TypeFor[types.Resource]():               "cpus memory pids devices",
	reflect.TypeFor[types.DeviceRequest]():          "capabilities driver count device_ids",
	reflect.TypeFor[types.RestartPolicy]():          "condition delay max_attempts window",
	reflect.TypeFor[types.Placement]():              "constraints",
	reflect.TypeFor[types.EnvFile]():                "path required format",
	reflect.TypeFor[types.ServiceNetworkConfig]():   "aliases ipv4_address ipv6_address",
	reflect.TypeFor[types.ServicePortConfig]():      "name mode target published protocol app_protocol",
	reflect.TypeFor[types.ServiceVolumeConfig]():    "type source target read_only bind volume tmpfs",
	reflect.TypeFor[types.ServiceVolumeBind]():      "propagation create_host_path",
	reflect.TypeFor[types.ServiceVolumeVolume]():    "nocopy subpath",
	reflect.TypeFor[types.ServiceVolumeTmpfs]():     "size",
	reflect.TypeFor[types.ServiceSecretConfig]():    "source target uid gid mode",
	reflect.TypeFor[types.ServiceConfigObjConfig](): "source target uid gid mode",
	reflect.TypeFor[types.ServiceDependency]():      "condition restart required",
	reflect.TypeFor[types.UlimitsConfig]():          "soft hard",
	reflect.TypeFor[types.NetworkConfig]():          "name driver external internal attachable enable_ipv4 enable_ipv6 labels ipam",
	reflect.TypeFor[types.IPAMConfig]():             "driver config",
	reflect.TypeFor[types.IPAMPool]():               "subnet gateway ip_range",
	reflect.TypeFor[types.VolumeConfig]():           "name driver external labels",
	reflect.TypeFor[types.SecretConfig]():           "name file environment external",
	reflect.TypeFor[types.ConfigObjConfig]():        "name file environment content external",
}

// service reads one service.
func (p *plain) service(name string, n *yaml.Node) types.ServiceConfig {
	s := types.ServiceConfig{Name: name}
	v := reflect.ValueOf(&s).Elem()
	for _, f := range p.fields(n) {
		switch f.key {
		case "build":
			s.Build = p.build(f.value)
		case "depends_on":
			s.DependsOn = p.dependsOn(f.value)
		case "environment":
			s.Environment = p.variables(f.value, true)
		case "env_file":
			s.EnvFiles = p.envFiles(f.value)
		case "networks":
			s.Networks = p.networks(f.value)
		case "ports":
			s.Ports = p.ports(f.value)
		case "volumes":
			s.Volumes = p.volumes(f.value)
		case "secrets":
			for _, r := range p.references(f.value, "/run/secrets/") {
				s.Secrets = append(s.Secrets, types.ServiceSecretConfig(r))
			}
		case "configs":
			for _, r := range p.references(f.value, "") {
				s.Configs = append(s.Configs, types.ServiceConfigObjConfig(r))
			}
		case "group_add":
			s.GroupAdd = p.texts(f.value)
		case "pull_policy":
			s.PullPolicy = p.pullPolicy(f.value)
		case "ulimits":
			s.Ulimits = p.ulimits(f.value)
		default:
			p.member(v, f)
		}
	}
	if s.Deploy != nil {
		devices(s.Deploy.Resources)
	}
	p.implied(&s)
	return s
}

// devices completes what is open about devices that are asked for. Limits have none.
func devices(r types.Resources) {
	need(r.Limits == nil || r.Limits.Devices == nil)
	if r.Reservations == nil {
		return
	}
	for i, d := range r.Reservations.Devices {
		need(d.Capabilities != nil && (d.Count == 0 || d.IDs == nil))
		if d.Count == 0 && d.IDs == nil {
			r.Reservations.Devices[i].Count = -1
		}
	}
}

// implied adds what compose-go does: the network of all, and an order for anyone who uses something of another service.
func (p *plain) implied(s *types.ServiceConfig) {
	if s.NetworkMode == "" && len(s.Networks) == 0 {
		s.Networks = map[string]*types.ServiceNetworkConfig{"default": nil}
	}
	after := func(service string, restart bool) {
		if _, ok := s.DependsOn[service]; ok {
			return
		}
		if s.DependsOn == nil {
			s.DependsOn = types.DependsOnConfig{}
		}
		s.DependsOn[service] = types.ServiceDependency{Condition: types.ServiceConditionStarted, Restart: restart, Required: true}
	}
	for _, l := range s.Links {
		if parts := strings.Split(l, ":"); len(parts) == 2 {
			l = parts[0]
		}
		after(l, true)
	}
	for _, ref := range []string{s.NetworkMode, s.Ipc, s.Pid, s.Uts} {
		if shared, ok := strings.CutPrefix(ref, types.ServicePrefix); ok {
			after(shared, true)
		}
	}
	for _, v := range s.VolumesFrom {
		if !strings.HasPrefix(v, types.ContainerPrefix) {
			from, _, _ := strings.Cut(v, ":")
			after(from, false)
		}
	}
}

func (p *plain) build(n *yaml.Node) *types.BuildConfig {
	b := &types.BuildConfig{Context: "."}
	if n = p.follow(n); n.Kind == yaml.ScalarNode {
		b.Context = p.str(n)
	} else {
		v := reflect.ValueOf(b).Elem()
		for _, f := range p.fields(n) {
			switch f.key {
			case "context":
				b.Context = p.str(f.value)
			case "args":
				b.Args = p.variables(f.value, false)
			case "cache_from":
				b.CacheFrom = p.texts(f.value)
			default:
				p.member(v, f)
			}
		}
	}
	need(!strings.Contains(b.Context, ":") && !remote.MatchString(b.Context))
	b.Context = p.path(b.Context)
	if b.Dockerfile == "" && b.DockerfileInline == "" {
		b.Dockerfile = "Dockerfile"
	}
	return b
}

// variables are KEY: VALUE or KEY=VALUE. Without a value it is looked up; what is not found stays without one, or is left out.
func (p *plain) variables(n *yaml.Node, keep bool) types.MappingWithEquals {
	value := p.any(n)
	need(isPairs(value))
	var out types.MappingWithEquals
	need(out.DecodeMapstructure(value) == nil)
	for k, v := range out {
		if v != nil {
			continue
		}
		found, ok := p.env[k]
		in, known := p.outer[k]
		need(p.outer == nil || found == in && ok == known)
		if ok {
			out[k] = &found
		} else if !keep {
			delete(out, k)
		}
	}
	return out
}

func (p *plain) dependsOn(n *yaml.Node) types.DependsOnConfig {
	out := types.DependsOnConfig{}
	if n = p.follow(n); n.Kind == yaml.SequenceNode {
		for _, name := range p.texts(n) {
			out[name] = types.ServiceDependency{Condition: types.ServiceConditionStarted, Required: true}
		}
		return out
	}
	for _, f := range p.fields(n) {
		d := types.ServiceDependency{Required: true}
		p.structure(reflect.ValueOf(&d).Elem(), f.value)
		need(isName(f.key) && d.Extensions == nil && rank(d.Condition) >= 0)
		out[f.key] = d
	}
	return out
}

func (p *plain) envFiles(n *yaml.Node) []types.EnvFile {
	var out []types.EnvFile
	items := []*yaml.Node{n}
	if n = p.follow(n); n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	for _, c := range items {
		f := types.EnvFile{Required: true}
		if c = p.follow(c); c.Kind == yaml.ScalarNode {
			f.Path = p.str(c)
		} else {
			p.structure(reflect.ValueOf(&f).Elem(), c)
		}
		need(!slices.ContainsFunc(out, func(o types.EnvFile) bool { return o.Path == p.path(f.Path) }))
		f.Path = p.path(f.Path)
		out = append(out, f)
	}
	return out
}

func (p *plain) networks(n *yaml.Node) map[string]*types.ServiceNetworkConfig {
	out := map[string]*types.ServiceNetworkConfig{}
	if n = p.follow(n); n.Kind == yaml.SequenceNode {
		for _, name := range p.texts(n) {
			out[name] = nil
		}
		return out
	}
	for _, f := range p.fields(n) {
		need(isName(f.key))
		out[f.key] = nil
		if v := p.follow(f.value); v.Tag != "!!null" {
			out[f.key] = &types.ServiceNetworkConfig{}
			p.structure(reflect.ValueOf(out[f.key]).Elem(), v)
		}
	}
	return out
}

func (p *plain) ports(n *yaml.Node) []types.ServicePortConfig {
	var out []types.ServicePortConfig
	for _, c := range p.list(n) {
		if c = p.follow(c); c.Kind == yaml.ScalarNode {
			value := p.scalar(c)
			need(isText(value) || isInt(value))
			parsed, err := types.ParsePortConfig(fmt.Sprint(value))
			need(err == nil)
			out = append(out, parsed...)
			continue
		}
		port := types.ServicePortConfig{Protocol: "tcp", Mode: "ingress"}
		v := reflect.ValueOf(&port).Elem()
		for _, f := range p.fields(c) {
			switch f.key {
			case "target":
				port.Target = uint32(p.integer(f.value))
			case "published":
				port.Published = fmt.Sprint(p.textOrInt(f.value))
			default:
				p.member(v, f)
			}
		}
		need(port.Target > 0 && port.Target < 1<<16 && port.Protocol != "" && port.Mode != "")
		out = append(out, port)
	}
	for i, a := range out {
		need(!slices.ContainsFunc(out[:i], func(b types.ServicePortConfig) bool {
			return a.Target == b.Target && a.Protocol == b.Protocol && a.Published == b.Published
		}))
	}
	return out
}

func (p *plain) volumes(n *yaml.Node) []types.ServiceVolumeConfig {
	var out []types.ServiceVolumeConfig
	for _, c := range p.list(n) {
		v := types.ServiceVolumeConfig{}
		if c = p.follow(c); c.Kind == yaml.ScalarNode {
			var err error
			v, err = format.ParseVolume(p.str(c))
			need(err == nil)
		} else {
			p.structure(reflect.ValueOf(&v).Elem(), c)
			for _, f := range p.fields(c) {
				if f.key == "bind" && !p.has(f.value, "create_host_path") {
					v.Bind.CreateHostPath = true
				}
			}
		}
		need(v.Target != "" && (v.Type == types.VolumeTypeBind || v.Type == types.VolumeTypeVolume || v.Type == types.VolumeTypeTmpfs))
		v.Target = path.Clean(v.Target)
		if v.Type == types.VolumeTypeBind {
			v.Source = p.path(v.Source)
		}
		out = append(out, v)
	}
	return out
}

// references are uses of configs or secrets, which are mounted below dir where nothing is said.
func (p *plain) references(n *yaml.Node, dir string) []types.FileReferenceConfig {
	var out []types.FileReferenceConfig
	for _, c := range p.list(n) {
		r := types.ServiceSecretConfig{}
		if c = p.follow(c); c.Kind == yaml.ScalarNode {
			r.Source = p.str(c)
		} else {
			p.structure(reflect.ValueOf(&r).Elem(), c)
		}
		need(r.Source != "")
		if dir != "" && r.Target == "" {
			r.Target = dir + r.Source
		}
		at := cmp.Or(r.Target, "/"+r.Source)
		need(!slices.ContainsFunc(out, func(o types.FileReferenceConfig) bool { return cmp.Or(o.Target, "/"+o.Source) == at }))
		out = append(out, types.FileReferenceConfig(r))
	}
	return out
}

// texts is a list of strings or numbers, each once.
func (p *plain) texts(n *yaml.Node) []string {
	out := []string{}
	for _, c := range p.list(n) {
		s := fmt.Sprint(p.textOrInt(c))
		need(!slices.Contains(out, s))
		out = append(out, s)
	}
	return out
}

func (p *plain) textOrInt(n *yaml.Node) any {
	v := p.any(n)
	need(isText(v) || isInt(v))
	return v
}

func (p *plain) pullPolicy(n *yaml.Node) string {
	policy := p.str(n)
	if policy == types.PullPolicyIfNotPresent {
		return types.PullPolicyMissing
	}
	need(slices.Contains([]string{types.PullPolicyAlways, types.PullPolicyNever, types.PullPolicyBuild, types.PullPolicyMissing}, policy))
	return policy
}

func (p *plain) ulimits(n *yaml.Node) map[string]*types.UlimitsConfig {
	out := map[string]*types.UlimitsConfig{}
	for _, f := range p.fields(n) {
		u := &types.UlimitsConfig{}
		need(lowerCase.MatchString(f.key))
		if v := p.follow(f.value); v.Kind == yaml.ScalarNode {
			u.Single = int(p.integer(v))
		} else {
			p.structure(reflect.ValueOf(u).Elem(), v)
			need(len(v.Content) == 4)
		}
		out[f.key] = u
	}
	return out
}
