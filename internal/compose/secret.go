package compose

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
)

// The value of a declared secret is not known here. Interpolation inserts its name between two private-use characters, which files do not
// contain; the converter turns it into a reference where Kubernetes can resolve one.
const (
	secretBegin = "\ue000"
	secretEnd   = "\ue001"
)

func secretMark(name string) string { return secretBegin + name + secretEnd }

// marks are the variables for declared secrets.
func marks(names []string) map[string]string {
	out := map[string]string{}
	for _, n := range names {
		out[n] = secretMark(n)
	}
	return out
}

// piece is a part of a text: literal text, or the name of a secret.
type piece struct{ text, secret string }

// pieces splits a text. Marks that do not belong to a declared secret are text.
func (p *Project) pieces(s string) []piece {
	var out []piece
	for s != "" {
		before, rest, ok := strings.Cut(s, secretBegin)
		name, after, closed := strings.Cut(rest, secretEnd)
		if !ok || !closed || !slices.Contains(p.secrets, name) {
			return append(out, piece{text: s})
		}
		if before != "" {
			out = append(out, piece{text: before})
		}
		out, s = append(out, piece{secret: name}), after
	}
	return out
}

func hasSecret(pieces []piece) bool {
	return slices.ContainsFunc(pieces, func(p piece) bool { return p.secret != "" })
}

// readable is a text as its author wrote it.
func readable(s string) string {
	return unmarked.Replace(s)
}

// unmarked also finds the marks as %q writes them.
var unmarked = strings.NewReplacer(secretBegin, "${", secretEnd, "}", `\ue000`, "${", `\ue001`, "}")

// declared is the declared spelling of a secret's name: GitHub's names are not case-sensitive, and files use dashes and dots.
func (p *Project) declared(name string) (string, bool) {
	i := slices.IndexFunc(p.secrets, func(s string) bool { return strings.EqualFold(underscores.Replace(s), underscores.Replace(name)) })
	if i < 0 {
		return "", false
	}
	return p.secrets[i], true
}

// UnusedSecrets are the declared secrets that no service uses, enabled by a profile or not, and no secret of the files.
func (p *Project) UnusedSecrets() []string {
	if len(p.secrets) == 0 {
		return nil
	}
	used := map[string]bool{}
	for key, def := range p.compose.Secrets {
		for _, name := range []string{key, def.Name, def.Environment} {
			if declared, ok := p.declared(name); ok {
				used[declared] = true
			}
		}
	}
	for _, v := range []any{p.compose.AllServices(), p.compose.Configs} {
		walkTexts(reflect.ValueOf(v), "", nil, func(_ string, _ []string, text string) {
			for _, piece := range p.pieces(text) {
				used[piece.secret] = true
			}
		})
	}
	for _, s := range p.compose.AllServices() {
		for name, value := range s.Environment {
			used[name] = used[name] || value == nil // Its value comes from the variables once a profile enables the service.
		}
	}
	return slices.DeleteFunc(slices.Clone(p.secrets), func(name string) bool { return used[name] })
}

// Variables are the names of the variables of interpolation and of the services' containers, sorted.
func (p *Project) Variables() []string {
	names := map[string]bool{}
	for name := range p.compose.Environment {
		names[name] = true
	}
	for _, s := range p.compose.AllServices() {
		for name := range s.Environment {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// underscores makes one spelling of names that files write with dashes and dots.
var underscores = strings.NewReplacer("-", "_", ".", "_")

func (c *converter) secretName() string { return cmp.Or(c.o.SecretName, DefaultSecretName) }

func (c *converter) secretSource(key string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: c.secretName()}, Key: key,
	}}
}

// variable is the name of the container's variable that holds a secret, which is the secret's own unless the file gives
// that variable another value.
func (u *unit) variable(secret string) string {
	name := secret
	if v, ok := u.s.Environment[secret]; ok && (v == nil || *v != secretMark(secret)) {
		name = "SECRET_" + secret
	}
	u.variables[name] = secret
	return name
}

// expanded is a text for a place where Kubernetes expands $(NAME): commands and the values of variables.
func (u *unit) expanded(text string) string {
	pieces := u.c.pieces(text)
	if !hasSecret(pieces) {
		return literal(text)
	}
	var b strings.Builder
	for _, p := range pieces {
		if p.secret != "" {
			b.WriteString("$(" + u.variable(p.secret) + ")")
		} else {
			b.WriteString(strings.ReplaceAll(p.text, "$", "$$"))
		}
	}
	return b.String()
}

func (u *unit) allExpanded(field string, in []string) []string {
	var out []string
	for _, s := range u.renamedArgs(field, in) {
		out = append(out, u.expanded(s))
	}
	return out
}

// run is a command for a place where Kubernetes does not expand variables: probes and hooks. With a secret in it, a shell inserts the
// value when the command starts; the value is never interpreted by the shell.
func (u *unit) run(field string, argv []string) []string {
	var plain, words []string
	secret := false
	for _, a := range u.renamedArgs(field, argv) {
		pieces := u.c.pieces(a)
		secret = secret || hasSecret(pieces)
		plain, words = append(plain, a), append(words, u.quoted(pieces))
	}
	if !secret {
		return plain
	}
	return []string{"/bin/sh", "-c", "exec " + strings.Join(words, " ")}
}

// quoted is one word for a shell: its text in single quotes, secrets as variables.
func (u *unit) quoted(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		if p.secret != "" {
			b.WriteString(`"${` + u.variable(p.secret) + `}"`)
		} else {
			b.WriteString(quote(p.text))
		}
	}
	if b.Len() == 0 {
		return "''"
	}
	return b.String()
}

// quote keeps a shell from reading anything in s.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// secretVariables puts secrets before the variables that refer to them, as Kubernetes requires.
func (u *unit) secretVariables() {
	var env []corev1.EnvVar
	for _, name := range slices.Sorted(maps.Keys(u.variables)) {
		secret := u.variables[name]
		env = append(env, corev1.EnvVar{Name: name, ValueFrom: u.c.secretSource(secret)})
		if v, ok := u.s.Environment[name]; !ok || v == nil || *v != secretMark(secret) {
			u.report(LevelInfo, Approximated, "environment", name, "the container also gets the variable %s, so that the value of the secret %s can be inserted where the file uses it", name, secret)
		}
	}
	for _, e := range u.container.Env {
		if _, ok := u.variables[e.Name]; !ok {
			env = append(env, e)
		}
	}
	u.container.Env = env
}

// secretFields are the fields in which a secret can be used.
var secretFields = []string{
	"environment", "command", "entrypoint", "healthcheck.test",
	"pre_start.environment", "pre_start.command", "pre_start.entrypoint", "post_start.command", "post_start.environment", "pre_stop.command", "pre_stop.environment",
}

// checkSecrets refuses secrets where Kubernetes cannot insert a value that only the container may know.
func (c *converter) checkSecrets(s types.ServiceConfig) {
	if len(c.secrets) == 0 {
		return
	}
	walkTexts(reflect.ValueOf(s), "", nil, func(table string, file []string, text string) {
		pieces := c.pieces(text)
		if !hasSecret(pieces) || slices.Contains(secretFields, table) {
			return
		}
		secret := pieces[slices.IndexFunc(pieces, func(p piece) bool { return p.secret != "" })].secret
		reason := "only commands, variables and health checks can have one"
		if strings.HasPrefix(table, "build.") {
			reason = "build inputs stay in the image's history"
		}
		at := c.sources.find("", append([]string{"services", s.Name}, file...)...)
		c.reportAt(at, LevelRefused, Refused, s.Name, strings.Join(file, "."), "the secret %s cannot be used here: %s", secret, reason)
	})
}

// checkTopSecrets does the same for the other top-level elements.
func (c *converter) checkTopSecrets(p *types.Project) {
	if len(c.secrets) == 0 {
		return
	}
	configs, secrets := types.Configs{}, types.Secrets{}
	for k, v := range p.Configs {
		configs[k] = types.ConfigObjConfig(written(types.FileObjectConfig(v)))
	}
	for k, v := range p.Secrets {
		secrets[k] = types.SecretConfig(written(types.FileObjectConfig(v)))
	}
	for name, v := range map[string]any{"networks": p.Networks, "volumes": p.Volumes, "configs": configs, "secrets": secrets} {
		walkTexts(reflect.ValueOf(v), name, []string{name}, func(_ string, file []string, text string) {
			if hasSecret(c.pieces(text)) {
				c.reportAt(c.sources.find("", file...), LevelRefused, Refused, "", strings.Join(file, "."),
					"a secret cannot be used here: mount it as a file, or use it in a variable")
			}
		})
	}
}

// written is a config or secret without the content that compose-go took from a variable.
func written(def types.FileObjectConfig) types.FileObjectConfig {
	if def.Environment != "" {
		def.Content = ""
	}
	return def
}

// walkTexts calls visit for every text below v, with its path in the table and in the file.
func walkTexts(v reflect.Value, table string, file []string, visit func(table string, file []string, text string)) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walkTexts(v.Elem(), table, file, visit)
		}
	case reflect.String:
		visit(table, file, v.String())
	case reflect.Slice:
		for i := range v.Len() {
			walkTexts(v.Index(i), table, file, visit)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			walkTexts(v.MapIndex(k), table, append(file[:len(file):len(file)], k.String()), visit)
		}
	case reflect.Struct:
		for i, n := range fieldNames(v.Type()) {
			if n.inline {
				walkTexts(v.Field(i), table, file, visit)
			} else if n.name != "" && !v.Field(i).IsZero() {
				walkTexts(v.Field(i), strings.TrimPrefix(table+"."+n.name, "."), append(file[:len(file):len(file)], n.name), visit)
			}
		}
	}
}
