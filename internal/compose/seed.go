package compose

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// seedScript copies the image's files at $0 to the volume at $1, with owners and modes, if the volume is new.
const seedScript = `if [ -d "$0" ]; then case "$(ls -A "$1")" in ''|lost+found) cp -a "$0/." "$1/";; esac; fi`

// seedDir is where a volume is mounted while it is filled.
const seedDir = "/conductor-seed"

// seed fills a new volume as Docker does, with an init container of the service's image. It needs a shell and cp, so it is done only if the
// image is known to have a shell.
func (u *unit) seed(target string) {
	if u.hook != "" || u.isCopy && u.hasClaim[u.container.VolumeMounts[len(u.container.VolumeMounts)-1].Name] {
		return
	}
	if !u.hasShell() {
		if u.c.pending(u.s.Name) {
			return
		}
		u.report(LevelInfo, Approximated, "volumes", target,
			"the volume starts empty: nothing shows that the image has a shell to copy its files at %s. If it has one, set x-conductor: {seed: true}", target)
		return
	}
	mount := u.container.VolumeMounts[len(u.container.VolumeMounts)-1]
	mount.MountPath, mount.ReadOnly = seedDir, false
	c := corev1.Container{
		Name: objectName("seed-", fmt.Sprintf("%s-%d", u.name, len(u.inits)+1)), Image: u.image, ImagePullPolicy: u.container.ImagePullPolicy,
		Command:                  []string{"/bin/sh", "-c", seedScript, literal(target), seedDir},
		VolumeMounts:             []corev1.VolumeMount{mount},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext:          &corev1.SecurityContext{RunAsUser: new(int64(0))},
	}
	c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: defaultCPU, corev1.ResourceMemory: defaultMemory}
	u.inits = append(u.inits, c)
}

// hasShell reports whether the image has a shell, judging by the file and the image's configuration.
func (u *unit) hasShell() bool {
	if e, _, _ := extensionOf(u.s); e.seed != nil {
		return *e.seed
	}
	config := u.c.o.ImageConfigs[u.image]
	tests := [][]string{}
	if h := u.healthcheck(); h != nil && !h.Disable {
		tests = append(tests, h.Test)
	}
	if config.Healthcheck != nil {
		tests = append(tests, config.Healthcheck.Test)
	}
	if slices.ContainsFunc(tests, func(t []string) bool { return len(t) > 0 && (t[0] == "CMD-SHELL" || t[0] == "CMD" && isShell(t[1:])) }) {
		return true
	}
	return isShell(u.s.Entrypoint) || len(u.s.Entrypoint) == 0 && (isShell(u.s.Command) || isShell(config.Cmd)) || isShell(config.Entrypoint)
}

// isShell reports whether a command is one for a shell.
func isShell(argv []string) bool {
	if len(argv) == 0 {
		return false
	}
	return slices.Contains([]string{"sh", "bash", "ash", "dash"}, path.Base(argv[0])) || strings.HasSuffix(argv[0], ".sh")
}
