package compose

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// preStart converts pre_start to init containers, which mount the volumes of the service.
func (u *unit) preStart() {
	for i, h := range u.s.PreStart {
		s, own := hookOf(u.s, h)
		g := u.c.unit(s, u.name)
		g.hook, g.image = "pre_start", u.out.Image
		if own {
			g.image = cmp.Or(u.c.o.HookImages[h.Image], g.named(h.Image))
		}
		g.fill(objectName("pre-start-", fmt.Sprintf("%s-%d", u.name, i+1)))
		u.adopt(g)
		u.inits = append(u.inits, g.inits...)
		u.inits = append(u.inits, g.container)
		if n := u.s.GetScale(); n > 1 && !h.PerReplica {
			u.note("pre_start", "", "it runs before each of the %d pods, not once", n)
		}
	}
}

// hookOf is a pre_start hook as a service, and whether it has an image of its own.
func hookOf(of types.ServiceConfig, h types.PreStartHook) (s types.ServiceConfig, own bool) {
	s = types.ServiceConfig{Name: of.Name, ContainerSpec: h.ContainerSpec}
	s.Volumes = over(of.Volumes, h.Volumes)
	own = h.Image != "" && h.Image != of.Image
	if !own {
		s.Build, s.Image = of.Build, of.Image
	}
	return s, own
}

// over is the union of two lists of volumes; the second wins.
func over(weak, strong []types.ServiceVolumeConfig) []types.ServiceVolumeConfig {
	has := map[string]bool{}
	for _, v := range strong {
		has[v.Target] = true
	}
	out := slices.Clone(strong)
	for _, v := range weak {
		if !has[v.Target] {
			out = append(out, v)
		}
	}
	return out
}

// lifecycleHooks converts post_start and pre_stop.
func (u *unit) lifecycleHooks() {
	after, before := u.hooks("post_start", u.s.PostStart), u.hooks("pre_stop", u.s.PreStop)
	if after != nil || before != nil {
		u.container.Lifecycle = &corev1.Lifecycle{PostStart: after, PreStop: before}
	}
}

// hooks joins all hooks into one command: Kubernetes runs one for each event.
func (u *unit) hooks(field string, hooks []types.ServiceHook) *corev1.LifecycleHandler {
	var scripts []string
	plain := []string(nil)
	for _, h := range hooks {
		if len(h.Command) == 0 {
			u.refuse(field, "", "a hook needs a command")
			continue
		}
		u.checkHook(field, h)
		plain = u.run(field, h.Command)
		scripts = append(scripts, u.script(field, h, plain))
	}
	switch {
	case len(scripts) == 0:
		return nil
	case len(scripts) == 1 && hooks[0].WorkingDir == "" && len(hooks[0].Environment) == 0:
		return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: plain}}
	}
	return &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", strings.Join(scripts, " && ")}}}
}

// script is a hook for a shell.
func (u *unit) script(field string, h types.ServiceHook, argv []string) string {
	var words []string
	for _, k := range slices.Sorted(maps.Keys(h.Environment)) {
		if v := h.Environment[k]; v != nil {
			words = append(words, k+"="+u.quoted(u.c.pieces(u.renamed(field, phrase{text: *v, key: k}))))
		}
	}
	for _, a := range argv {
		words = append(words, quote(a))
	}
	line := strings.Join(words, " ")
	if len(h.Environment) > 0 {
		line = "env " + line
	}
	if h.WorkingDir != "" {
		line = "cd " + quote(h.WorkingDir) + " && " + line
	}
	return "(" + line + ")"
}

func (u *unit) checkHook(field string, h types.ServiceHook) {
	if h.User != "" && h.User != u.s.User {
		u.report(LevelNote, Dropped, field, "", "it runs as the container's own user, not as %s", h.User)
	}
}

// dropRepeated drops findings, from index since on, that repeat for a hook what was reported for its service. The others get the hook's
// field.
func (u *unit) dropRepeated(since int) {
	if u.hook == "" {
		return
	}
	type statement struct{ service, field, reason string }
	known := map[statement]bool{}
	for _, f := range u.c.findings.list[:since] {
		known[statement{f.Service, strings.TrimPrefix(f.Field, u.hook+"."), f.Reason}] = true
	}
	at := u.c.sources.find("", "services", u.s.Name, u.hook)
	for _, f := range u.c.findings.since(since) {
		if known[statement{f.Service, f.Field, f.Reason}] {
			continue
		}
		if f.Service == u.s.Name && !strings.HasPrefix(f.Field, u.hook) {
			f.Field, f.File, f.Line = u.hook+"."+f.Field, at.file, at.line
		}
		u.c.findings.add(f)
	}
}
