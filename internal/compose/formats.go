package compose

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	composeformat "github.com/compose-spec/compose-go/v2/format"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// format is what the text of a scalar must be.
type format struct {
	// paths are definitions of the schema and fields below them: DEFINITION.FIELD.FIELD. The items of a list are [].
	paths []string
	// check returns what is wrong with a text, or "".
	check func(text string) string
}

// formats are those that compose-go checks after the schema.
var formats = []*format{
	{
		paths: strings.Fields(`container_spec.cpus container_spec.cpu_percent deployment.resources.limits.cpus deployment.resources.reservations.cpus
			deployment.update_config.max_failure_ratio deployment.rollback_config.max_failure_ratio`),
		check: expecting("a number such as 0.5", func(s string) error { _, err := strconv.ParseFloat(s, 64); return err }),
	},
	{
		paths: strings.Fields(`container_spec.cpu_count container_spec.cpu_period container_spec.cpu_quota container_spec.cpu_rt_period
			container_spec.cpu_rt_runtime container_spec.cpu_shares container_spec.oom_score_adj container_spec.pids_limit
			healthcheck.retries service.scale deployment.replicas deployment.update_config.parallelism deployment.rollback_config.parallelism
			deployment.restart_policy.max_attempts deployment.placement.max_replicas_per_node workload_spec.ports.target`),
		check: expecting("a whole number", func(s string) error { _, err := strconv.ParseInt(s, 10, 64); return err }),
	},
	{
		paths: strings.Fields(`container_spec.init container_spec.oom_kill_disable container_spec.privileged container_spec.read_only
			container_spec.volumes.read_only container_spec.volumes.volume.nocopy container_spec.volumes.bind.create_host_path
			healthcheck.disable workload_spec.stdin_open workload_spec.tty service.attach
			workload_spec.build.no_cache workload_spec.build.pull workload_spec.build.privileged env_file.[].required
			network.internal network.attachable network.enable_ipv4 network.enable_ipv6`),
		check: expecting("true or false", isBoolean),
	},
	{
		paths: strings.Fields(`container_spec.mem_limit container_spec.mem_reservation container_spec.memswap_limit container_spec.shm_size
			container_spec.volumes.tmpfs.size workload_spec.build.shm_size deployment.resources.limits.memory deployment.resources.reservations.memory`),
		check: expecting("a size such as 512m or 2g", func(s string) error { return new(types.UnitBytes).DecodeMapstructure(s) }),
	},
	{
		paths: strings.Fields(`container_spec.stop_grace_period healthcheck.interval healthcheck.timeout healthcheck.start_period
			healthcheck.start_interval deployment.update_config.delay deployment.update_config.monitor deployment.rollback_config.delay
			deployment.rollback_config.monitor deployment.restart_policy.delay deployment.restart_policy.window`),
		check: expecting("a duration such as 30s or 1m30s", func(s string) error { return new(types.Duration).DecodeMapstructure(s) }),
	},
	{paths: []string{"workload_spec.ports.[]"}, check: wrongPort},
	{paths: []string{"container_spec.volumes.[]"}, check: wrongVolume},
	{
		paths: []string{"extra_hosts.[]"},
		check: expecting(`a host with its address, such as "db:10.0.0.5"`, func(s string) error { _, err := types.NewHostsList([]string{s}); return err }),
	},
	{
		paths: []string{"service.container_name"},
		check: expecting("a name of at least two letters, digits, dots, dashes and underscores", func(s string) error {
			if containerName.MatchString(s) {
				return nil
			}
			return strconv.ErrSyntax
		}),
	},
	{paths: []string{"container_spec.pull_policy"}, check: wrongPullPolicy},
}

// containerName is the pattern of the schema.
var containerName = regexp.MustCompile(`[a-zA-Z0-9][a-zA-Z0-9_.-]+`)

// expecting returns a check with a message that names what is expected.
func expecting(what string, parse func(text string) error) func(string) string {
	return func(text string) string {
		if parse(text) == nil {
			return ""
		}
		return fmt.Sprintf("%s is not %s", quoted(text), what)
	}
}

// quoted is a text of a file as findings show it.
func quoted(text string) string {
	const most = 80
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "..."
	}
	return strconv.Quote(text)
}

func isBoolean(text string) error {
	switch strings.ToLower(text) {
	case "true", "false", "y", "yes", "on", "n", "no", "off":
		return nil
	}
	return strconv.ErrSyntax
}

// publishing matches a port in the short form: an address and a range of the host, a range of the container, a protocol.
var publishing = regexp.MustCompile(`^(?:(?:(.*):)?([0-9-]*):)?([^:/]*)(?:/([a-z]+))?$`)

// wrongPort returns what is wrong with a port in the short form, or "".
func wrongPort(text string) string {
	_, err := types.ParsePortConfig(text)
	if err == nil {
		return ""
	}
	port := func(s string) bool {
		for p := range strings.SplitSeq(s, "-") {
			if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
				return false
			}
		}
		return true
	}
	m := publishing.FindStringSubmatch(text)
	switch {
	case m != nil && !port(m[3]):
		return fmt.Sprintf("%s: the container's port, %s, must be a number between 1 and 65535, or a range such as 8000-8010", quoted(text), quoted(m[3]))
	case m != nil && m[2] != "" && !port(m[2]):
		return fmt.Sprintf("%s: the published port, %s, must be a number between 1 and 65535, or a range such as 8000-8010", quoted(text), quoted(m[2]))
	}
	return fmt.Sprintf(`%s is not a port such as "8080", "8080:80" or "127.0.0.1:8080:80/tcp"`, quoted(text))
}

// wrongVolume returns what is wrong with a volume in the short form, or "".
func wrongVolume(text string) string {
	_, err := composeformat.ParseVolume(text)
	switch {
	case err == nil:
		return ""
	case strings.HasPrefix(text, ":"):
		return fmt.Sprintf("%s: nothing is before the first colon: a volume is SOURCE:TARGET or SOURCE:TARGET:ro", quoted(text))
	}
	return fmt.Sprintf(`%s is not a volume such as "data:/var/lib/data" or "./conf:/etc/app:ro"`, quoted(text))
}

var (
	pullPolicies = []string{"always", "never", "missing", "if_not_present", "build", "refresh", "daily", "weekly"}
	everyPolicy  = regexp.MustCompile(`^every_([0-9]+[wdhms])+$`)
)

func wrongPullPolicy(text string) string {
	if slices.Contains(pullPolicies, text) || everyPolicy.MatchString(text) {
		return ""
	}
	return oneOf(text, append(slices.Clone(pullPolicies), "every_12h"))
}

// oneOf is the message for a text that is not one of some words.
func oneOf(text string, words []string) string {
	if near := nearest.Word(text, words); near != "" {
		return fmt.Sprintf("%s is not one of %s; did you mean %s?", quoted(text), strings.Join(words, ", "), near)
	}
	return fmt.Sprintf("%s is not one of %s", quoted(text), strings.Join(words, ", "))
}
