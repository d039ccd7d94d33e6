package compose

import (
	"cmp"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/compose-spec/compose-go/v2/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// filesDir is the path of a directory's files in their volume.
const filesDir = "files/"

// content is a copy of files, as ConfigMaps whose keys map to paths below sub in the volume, or a key of the stack's Secret.
type content struct {
	objects []*corev1.ConfigMap
	// items are those of each object, or the one of the Secret.
	items [][]corev1.KeyToPath
	// secret is the name of the Secret; empty for a copy.
	secret string
	sub    string
	// from are the files of the repository; nil for other content. brought are those that an init container fetches; nil for a copy.
	from, brought *copies
	// refused explains why the content is missing.
	refused string
}

// volume is the content as a volume. Mode, unless nil, is the mode of its files.
func (f *content) volume(mode *int32) (name string, source corev1.VolumeSource) {
	var items [][]corev1.KeyToPath
	for _, list := range f.items {
		list = slices.Clone(list)
		for i := range list {
			if mode != nil {
				list[i].Mode = mode
			}
		}
		items = append(items, list)
	}
	if f.secret != "" {
		return objectName("secret-", items[0][0].Key), corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: f.secret, Items: items[0]}}
	}
	reference := func(i int) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: f.objects[i].Name} }
	if len(f.objects) == 1 {
		source.ConfigMap = &corev1.ConfigMapVolumeSource{LocalObjectReference: reference(0), Items: items[0]}
		return f.objects[0].Name, source
	}
	source.Projected = &corev1.ProjectedVolumeSource{}
	for i := range f.objects {
		source.Projected.Sources = append(source.Projected.Sources, corev1.VolumeProjection{
			ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: reference(i), Items: items[i]},
		})
	}
	return f.objects[0].Name, source
}

// content mounts a copy of a file or directory of the repository.
func (u *unit) content(m mount) {
	files := u.c.copyOf(m.rel)
	if files.refused != "" {
		u.refuse("volumes", m.Target, "%s", files.refused)
		return
	}
	without := ""
	if m.rel == "." {
		without = ", without the directory .git"
	}
	switch {
	case m.ReadOnly:
	case m.ignored != "":
		u.note("volumes", m.Target, "%s is a copy that cannot be written to%s, because the image does not have all of its files: .dockerignore leaves out %s",
			m.Target, without, m.ignored)
	default:
		u.note("volumes", m.Target, "%s is a copy that cannot be written to%s", m.Target, without)
	}
	u.mountContent("volumes", m.Target, m.Target, files, nil)
}

func (u *unit) mountContent(field, hint, target string, files *content, mode *int32) {
	if files.brought != nil {
		u.mountBrought(field, hint, target, files.brought)
	} else {
		name, source := files.volume(mode)
		// A subPath shows the files as they are, without the links that the kubelet keeps beside them.
		u.attach(field, name, source, corev1.VolumeMount{MountPath: target, SubPath: files.sub, ReadOnly: true})
	}
	if m, ok := u.mounted[path.Clean(target)]; ok {
		m.files = files
		u.mounted[path.Clean(target)] = m
	}
}

// copyOf copies a file, or all files below a directory, of the repository into ConfigMaps, once for each path.
func (c *converter) copyOf(rel string) *content {
	if have := c.contents[rel]; have != nil {
		return have
	}
	out := &content{}
	c.contents[rel] = out
	b := builder{c: c, name: objectName("files-", rel)}
	b.fill(out, c.copiesOf(rel, rel, ""))
	return out
}

// builder fills ConfigMaps, one after the other.
type builder struct {
	c       *converter
	name    string
	objects []*corev1.ConfigMap
	items   [][]corev1.KeyToPath
	// room is how many bytes still fit into the last one, keys how many files.
	room, keys int
}

// fill copies files, unless an init container fetches them.
func (b *builder) fill(out *content, from *copies) {
	out.sub, out.from = from.sub, from
	switch {
	case from.refused != "":
		out.refused = from.refused
	case !from.isCopied:
		out.brought = from
	default:
		if err := b.copy(from); err != nil {
			out.refused = err.Error()
			return
		}
		out.objects, out.items = b.done()
	}
}

// copy reads the files. Absent ones are recorded as needed, all of them at once.
func (b *builder) copy(from *copies) error {
	root, err := os.OpenRoot(b.c.dir)
	if err != nil {
		return fmt.Errorf("%s cannot be read", from.path)
	}
	defer root.Close() //nolint:errcheck // it was only read
	for _, f := range from.files {
		if b.c.absences.isAbsent(filepath.Join(b.c.dir, filepath.FromSlash(f.path))) {
			continue
		}
		data, err := root.ReadFile(filepath.FromSlash(f.path))
		if err != nil {
			return fmt.Errorf("%s cannot be read", f.path)
		}
		if data = b.c.renamedFile(f.path, data); len(data) > maxContent {
			return fmt.Errorf("with the names of services rewritten, %s is larger than %d KiB: build it into an image", f.path, maxContent>>10)
		}
		if err := b.add(data, f.to, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// done returns the filled ConfigMaps; there is at least one.
func (b *builder) done() ([]*corev1.ConfigMap, [][]corev1.KeyToPath) {
	if len(b.objects) == 0 {
		b.next()
	}
	return b.objects, b.items
}

// next begins another ConfigMap.
func (b *builder) next() {
	name := b.name
	if n := len(b.objects); n > 0 {
		name = cut(name, fmt.Sprintf("part-%d", n+1))
	}
	b.objects = append(b.objects, &corev1.ConfigMap{TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: b.c.meta(name, "")})
	b.items, b.room, b.keys = append(b.items, nil), maxContent, maxEntries
}

// add puts data under a key made from its path.
func (b *builder) add(data []byte, to string, mode int32) error {
	if b.c.filled += len(data) + entryCost; b.c.filled > maxCopied {
		return fmt.Errorf("with it the ConfigMaps of the stack hold more than %d MiB: build the larger files into an image", maxCopied>>20)
	}
	if len(b.objects) == 0 || b.room < len(data) || b.keys == 0 {
		b.next()
	}
	b.room, b.keys = b.room-len(data), b.keys-1
	last := len(b.objects) - 1
	object, key := b.objects[last], keyOf(strings.TrimPrefix(to, filesDir))
	if utf8.Valid(data) {
		if object.Data == nil {
			object.Data = map[string]string{}
		}
		object.Data[key] = string(data)
	} else {
		if object.BinaryData == nil {
			object.BinaryData = map[string][]byte{}
		}
		object.BinaryData[key] = data
	}
	b.items[last] = append(b.items[last], corev1.KeyToPath{Key: key, Path: to, Mode: &mode})
	return nil
}

// keyOf is the path itself where a ConfigMap can have it as a key, else its last part with a hash of the whole.
func keyOf(p string) string {
	if len(validation.IsConfigMapKey(p)) == 0 {
		return p
	}
	name := strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("0123456789-_.", r)) {
			return r
		}
		return '_'
	}, path.Base(p))
	return hash(p) + "-" + name[max(0, len(name)-200):]
}

// file mounts a config or a secret.
func (u *unit) file(field string, ref types.FileReferenceConfig, def types.FileObjectConfig, dir string) {
	target := cmp.Or(ref.Target, ref.Source)
	if !path.IsAbs(target) {
		target = dir + target
	}
	files := u.c.definition(field, ref.Source, def)
	if files.refused != "" {
		u.refuse(field, ref.Source, "%s", files.refused)
		return
	}
	var mode *int32
	if ref.Mode != nil {
		mode = new(int32(*ref.Mode) & 0o777)
	}
	u.noteExposedSecret(field, ref.Source, files, def)
	u.mountContent(field, ref.Source, target, files, mode)
}

// noteExposedSecret notes that a secret's value is in the repository.
func (u *unit) noteExposedSecret(field, name string, files *content, def types.FileObjectConfig) {
	if field != "secrets" || files.secret != "" {
		return
	}
	at := u.c.sources.find("", "secrets", name)
	what := "a file of the repository"
	if def.File == "" {
		what = "a value in the repository"
	}
	u.c.reportAt(at, LevelNote, Approximated, "", "secrets."+name, "%s is not secret: it is mounted from a ConfigMap", what)
}

// definition is the content of a config or secret.
func (c *converter) definition(field, name string, def types.FileObjectConfig) *content {
	key := field + ":" + name
	if have := c.contents[key]; have != nil {
		return have
	}
	out := &content{sub: "file"}
	c.contents[key] = out
	if secret, ok := c.secretOf(field, name, def); ok {
		mode := int32(0o444)
		out.secret, out.items = c.secretName(), [][]corev1.KeyToPath{{{Key: secret, Path: out.sub, Mode: &mode}}}
		return out
	}
	b := builder{c: c, name: objectName(strings.TrimSuffix(field, "s")+"-", name)}
	switch err := c.define(&b, field, name, def, out); {
	case err != nil:
		out.refused = err.Error()
	case out.refused == "" && out.brought == nil && out.objects == nil:
		out.objects, out.items = b.done()
	}
	return out
}

// secretOf is the declared secret that a config or secret of the file refers to.
func (c *converter) secretOf(field, name string, def types.FileObjectConfig) (string, bool) {
	switch {
	case bool(def.External):
		return c.declared(def.Name)
	case field == "secrets" && def.Environment != "":
		return c.declared(def.Environment)
	case field == "secrets" && def.File != "":
		return c.declared(name)
	}
	return "", false
}

// define copies the content of a config or secret that is not a declared secret.
func (c *converter) define(b *builder, field, name string, def types.FileObjectConfig, out *content) error {
	declare := ""
	if c.o.SecretSetting != "" {
		declare = ": declare one (" + c.o.SecretSetting + ")"
	}
	value, set := c.compose.Environment[def.Environment]
	if !set && def.Content != "" {
		value, set = def.Content, true // compose-go has it from the env_file of the include.
	}
	switch {
	case bool(def.External):
		return fmt.Errorf("%s is external, and no secret of that name is declared%s", def.Name, declare)
	case def.File != "":
		b.fill(out, c.copiesOf(field+":"+name, c.relOf(def.File), out.sub))
		if out.refused != "" && field == "secrets" {
			out.refused += ", and no secret of this name is declared" + declare
		}
		return nil
	case def.Environment == "":
		return b.add([]byte(def.Content), out.sub, 0o444)
	case hasSecret(c.pieces(value)):
		return fmt.Errorf("%s is a secret or made of one: mount the secret itself", def.Environment)
	case !set && field == "secrets":
		return fmt.Errorf("variable %s is not set, and no secret of that name is declared%s", def.Environment, declare)
	case !set:
		return fmt.Errorf("variable %s is not set", def.Environment)
	default:
		return b.add([]byte(value), out.sub, 0o444)
	}
}
