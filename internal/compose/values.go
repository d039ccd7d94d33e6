package compose

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/w3evolutionsllc/conductor/internal/repoconfig/nearest"
)

// compose-go takes values that Docker refuses when it makes the container. They are refused here, before anything starts.

var (
	restartPolicies   = []string{"no", "always", "on-failure", "unless-stopped"}
	restartConditions = []string{"none", "on-failure", "any", "no", "unless-stopped", "always"} // The last are those of restart, which docker compose takes, too.
	// knownArchitectures are those of Go that Docker and Kubernetes run Linux on.
	knownArchitectures = []string{"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x"}
	// knownCaps are the capabilities of Linux. https://man7.org/linux/man-pages/man7/capabilities.7.html
	knownCaps = strings.Fields(`ALL AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH
		FOWNER FSETID IPC_LOCK IPC_OWNER KILL LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST NET_RAW
		PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO
		SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG WAKE_ALARM`)
)

// checkValues refuses values that Docker refuses.
func (c *converter) checkValues(s types.ServiceConfig) {
	if policy, _, _ := strings.Cut(s.Restart, ":"); policy != "" && !slices.Contains(restartPolicies, policy) {
		c.refuse(s.Name, "restart", "", "%s", oneOf(policy, restartPolicies))
	}
	if d := s.Deploy; d != nil && d.RestartPolicy != nil {
		if on := d.RestartPolicy.Condition; on != "" && !slices.Contains(restartConditions, on) {
			c.refuse(s.Name, "deploy.restart_policy.condition", "", "%s", oneOf(on, restartConditions))
		}
	}
	if why := wrongPlatform(s.Platform); why != "" {
		c.refuse(s.Name, "platform", "", "%s", why)
	}
	if s.CPUS < 0 {
		c.refuse(s.Name, "cpus", "", "%v is less than 0", s.CPUS)
	}
	for field, size := range map[string]types.UnitBytes{"mem_limit": s.MemLimit, "mem_reservation": s.MemReservation, "shm_size": s.ShmSize} {
		if size < 0 {
			c.refuse(s.Name, field, "", "%d is less than 0", int64(size))
		}
	}
	if s.WorkingDir != "" && !path.IsAbs(s.WorkingDir) {
		c.refuse(s.Name, "working_dir", "", "%s is not an absolute path: write /%s", quoted(s.WorkingDir), strings.TrimPrefix(path.Clean(s.WorkingDir), "./"))
	}
	for field, caps := range map[string][]string{"cap_add": s.CapAdd, "cap_drop": s.CapDrop} {
		for _, name := range caps {
			if plain := strings.TrimPrefix(strings.ToUpper(name), "CAP_"); !slices.Contains(knownCaps, plain) {
				c.refuse(s.Name, field, name, "Linux does not have the capability %s%s", name, meant(plain, knownCaps))
			}
		}
	}
}

// meant suggests a word for one that is not known; it is empty if none is near.
func meant(word string, known []string) string {
	if near := nearest.Word(word, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// wrongPlatform returns what is wrong with the architecture of a platform, or "".
func wrongPlatform(platform string) string {
	parts := strings.Split(platform, "/")
	if len(parts) < 2 || parts[0] != "linux" {
		return "" // The conversion checks these.
	}
	arch := parts[1]
	if known := architectures[arch]; known != "" || slices.Contains(knownArchitectures, arch) {
		return ""
	}
	return fmt.Sprintf("the architecture %s does not exist%s", arch, meant(arch, knownArchitectures))
}
